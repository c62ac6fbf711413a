"""The check that watches the watchers: agents that fell silent, or are there twice, and squelches that were forgotten.

:func:`look` reads what there is to judge from a store, and :func:`judge` judges it.
The latter is pure, and so is all else here.

A finding's name and message are the same on every host that looks, and from one
look to the next for as long as nothing happens: they tell times and no ages, and
large numbers roughly.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from .agent.naming import cut, fault_name, message
from .agents import SEEN_WITHIN
from .db import DB
from .errors import InvalidInput
from .faults import SEVERITIES
from .squelches import Matcher, check_regex, compiled
from .types import Agent, AgentInstance, FoundFault, Heartbeat, NewFault, Squelch
from .units import format_duration, format_utc

CRITICAL, ERROR, WARNING, INFO = (SEVERITIES[name] for name in ("critical", "error", "warning", "info"))

#: What stands in the names of all findings for the file of a check.
FILE = "meta-check"

#: Of so many agents lately seen, or more, most may fall silent together.
HANDFUL = 5
#: If there is more to tell of one kind than this, it is told as one: an agent reads no more than 1 MiB of a check.
MANY = 500

# Agents fell silent together if their last reports lie within so many intervals.
_TOGETHER = 2
# So many are named of those that are told as one.
_EXAMPLES = 3
# Bytes that a message shows of a text that people wrote.
_SHOWN = 200
# Numbers up to this are told exactly.
_EXACT = 100


class Rules(NamedTuple):
    """What is to be told.  Times are in seconds."""

    #: How often an agent should report.
    interval: float = 60
    #: After so many intervals without a report, silence is a warning, and an error.
    warning: float = 2
    error: float = 5
    #: Those that have been silent so long are told as one, as mere information.
    forget: float = SEEN_WITHIN
    #: How old a squelch may be that is not permanent.
    squelched: float = 60 * 60
    #: A squelch that ends so soon after it was set is no error, whatever it hides.
    planned: float = 7 * 24 * 60 * 60
    #: Only agents are looked at whose name one of these matches, if there are any; and never those that one of
    #: ``ignore`` matches.  Regular expressions of RE2.
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def check(self) -> "Rules":
        """The rules themselves, if they make sense.

        :raises InvalidInput: naming what does not.
        """
        if self.warning > self.error:
            raise InvalidInput(
                f"the warning would come after the error: after {self.warning:g} intervals, and after {self.error:g}"
            )
        if self.forget <= self.error * self.interval:
            raise InvalidInput(
                f"agents would be forgotten after {format_duration(self.forget)}, before their silence is an error:"
                f" that is after {self.error:g} intervals of {format_duration(self.interval)}"
            )
        for pattern in (*self.match, *self.ignore):
            compiled(check_regex(pattern))
        return self


class Seen(NamedTuple):
    """What there is to judge."""

    #: As :meth:`~zc.cimaa.db.DB.get_agents` gives them.
    agents: Sequence[Agent] = ()
    #: The names of those silent for longer than a warning takes, an error, and until they are forgotten.
    late: Collection[str] = ()
    lost: Collection[str] = ()
    forgotten: Collection[str] = ()
    #: As :meth:`~zc.cimaa.db.DB.double_agents` gives them.
    doubles: Sequence[Agent] = ()
    #: The squelches in force, as :meth:`~zc.cimaa.db.DB.get_squelch_details` gives them.
    squelches: Sequence[Squelch] = ()
    #: The current faults, if there are squelches.
    faults: Sequence[FoundFault] = ()


class Finding(NamedTuple):
    """Something that is wrong, as a fault with a global name."""

    name: str
    severity: int
    message: str
    #: The agents that it is about.
    agents: tuple[str, ...] = ()
    #: The regular expressions of the squelches that it is about.
    squelches: tuple[str, ...] = ()

    def fault(self) -> NewFault:
        """The finding as a check tells it."""
        return {"name": self.name, "severity": self.severity, "message": self.message}


class Verdict(NamedTuple):
    """What came of it."""

    #: The worst first.
    findings: list[Finding]
    #: The agents that report, sorted.
    reporting: list[str]
    #: How many there are of what, by what a metric calls it.
    figures: dict[str, int]

    def document(self) -> dict[str, Any]:
        """The verdict as the JSON of a check."""
        return {
            "faults": [finding.fault() for finding in self.findings],
            "metrics": [{"name": name, "value": value} for name, value in self.figures.items()],
        }


def look(db: DB, rules: Rules) -> Seen:
    """Read what there is to judge; how long an agent has been silent is told by the store's clock.

    :raises InvalidInput: if the rules make no sense.
    """
    rules.check()
    everyone = db.get_agents()
    # Each is part of the one before, and most often the first is empty.
    late = _names(db.old_agents(rules.warning * rules.interval))
    lost = _names(db.old_agents(rules.error * rules.interval)) if late else late
    forgotten = _names(db.old_agents(rules.forget)) if lost else lost
    doubles = db.double_agents(rules.warning * rules.interval)
    in_force = set(db.get_squelches())
    squelches = [squelch for squelch in db.get_squelch_details() if squelch["regex"] in in_force] if in_force else []
    return Seen(everyone, late, lost, forgotten, doubles, squelches, db.find_faults() if squelches else [])


def judge(seen: Seen, rules: Rules, now: float) -> Verdict:
    """Judge what was seen; ``now`` is in seconds since the epoch."""
    wanted = _chooser(rules)
    agents = [agent for agent in seen.agents if wanted(agent["name"])]
    forgotten = [agent for agent in agents if agent["name"] in seen.forgotten]
    silent = [agent for agent in agents if agent["name"] in seen.late and agent["name"] not in seen.forgotten]
    reporting = sorted(agent["name"] for agent in agents if agent["name"] not in seen.late)
    doubles = [agent for agent in seen.doubles if wanted(agent["name"])]
    hidden = _hidden(seen)
    stale = [squelch for squelch in seen.squelches if is_stale(squelch, rules, now)]
    findings = [
        *_nobody(seen, reporting or silent, rules),
        *_silence(silent, seen.lost, len(reporting), rules),
        *_forgotten(forgotten, rules),
        *_double(doubles, rules),
        *_stale(stale, hidden, rules),
    ]
    figures = {
        "agents": len(reporting) + len(silent),
        "reporting": len(reporting),
        "silent": len(silent),
        "forgotten": len(forgotten),
        "double": len(doubles),
        "squelches": len(seen.squelches),
        "stale_squelches": len(stale),
        "hidden_faults": hidden.faults,
        "hidden_criticals": hidden.criticals,
    }
    return Verdict(sorted(findings, key=lambda f: (-f.severity, f.name)), reporting, figures)


def is_stale(squelch: Squelch, rules: Rules, now: float) -> bool:
    """True if it is to be told who set the squelch, and why: it is not meant to stand, and not new."""
    return not squelch["permanent"] and now - squelch["time"] > rules.squelched


def is_planned(squelch: Squelch, rules: Rules) -> bool:
    """True if the squelch ends by itself, soon enough after it was set: then nobody need be woken for it."""
    return "expires" in squelch and squelch["expires"] - squelch["time"] <= rules.planned


def fell_together(silent: Iterable[tuple[int, str]], reporting: int, window: float) -> set[str]:
    """The names of those that fell silent together, and were most of the agents there were then.

    ``silent`` has for each silent agent when it reported last, and its name; so many are
    ``reporting`` still.  The last reports of those that fall silent together lie within
    the ``window`` (seconds).
    """
    last = sorted(silent)
    found: set[str] = set()
    end = told = 0
    for start, (time, _) in enumerate(last):
        while end < len(last) and last[end][0] <= time + window:
            end += 1
        there = reporting + len(last) - start
        if there >= HANDFUL and 2 * (end - start) > there:
            found.update(name for _, name in last[max(start, told) : end])
            told = end
    return found


def _nobody(seen: Seen, lately: Sequence[object], rules: Rules) -> Iterable[Finding]:
    """A finding if nobody reported ``lately``: then there is nothing to watch, and all would seem well."""
    if lately:
        return
    if not seen.agents:
        text = "no agent ever reported to this store; is it the right one? See: cimaa config"
    elif rules.match or rules.ignore:
        text = f"none of {len(seen.agents)} agents is one that is looked for, and reported in the last "
        text += format_duration(rules.forget)
    else:
        text = f"no agent has reported for more than {format_duration(rules.forget)}"
    yield _finding(_group_name("nobody", rules), ERROR, text)


def _silence(silent: Sequence[Agent], lost: Collection[str], reporting: int, rules: Rules) -> Iterable[Finding]:
    """One finding for each silent agent; but one for all of those that fell silent together."""
    together = fell_together(((a["updated"], a["name"]) for a in silent), reporting, _TOGETHER * rules.interval)
    each = [agent for agent in silent if agent["name"] not in together]
    as_one = [agent for agent in silent if agent["name"] in together]
    if len(each) > MANY:
        each, as_one = [], list(silent)
    if as_one:
        names = [agent["name"] for agent in as_one]
        severity = ERROR if any(name in lost for name in names) else WARNING
        until = format_utc(max(agent["updated"] for agent in as_one))
        of = about(reporting + len(silent))
        if together:
            text = f"{about(len(names))} of {of} agents fell silent together, the last of them at {until}"
            text += ": look after the network, and the store"
        else:
            text = f"{about(len(names))} of {of} agents are silent, the last of them since {until}"
        yield _finding(_group_name("silent", rules), severity, f"{text}; {_among(names)}", agents=names)
    for agent in each:
        name = agent["name"]
        text = f"{name} has not reported since {format_utc(agent['updated'])}{_reporter(agent)}"
        yield _finding(fault_name(name, FILE, "silent"), ERROR if name in lost else WARNING, text, agents=[name])


def _forgotten(forgotten: Sequence[Agent], rules: Rules) -> Iterable[Finding]:
    """One finding for all agents that are probably no more."""
    if names := [agent["name"] for agent in forgotten]:
        text = f"{_agents(names)} not reported for more than {format_duration(rules.forget)}; {_among(names)}"
        text += "; cimaa remove-agent removes those that are no more"
        yield _finding(_group_name("forgotten", rules), INFO, text, agents=names)


def _double(doubles: Sequence[Agent], rules: Rules) -> Iterable[Finding]:
    if len(doubles) > MANY:
        names = [agent["name"] for agent in doubles]
        text = f"{about(len(names))} agents run more than once; {_among(names)}"
        yield _finding(_group_name("double", rules), ERROR, text, agents=names)
        return
    for agent in doubles:
        name = agent["name"]
        who = ", ".join(sorted(_instance(instance) for instance in agent["instances"]))
        text = f"{len(agent['instances'])} report as {name}, and overwrite each other's reports: {who}"
        yield _finding(fault_name(name, FILE, "double"), ERROR, text, agents=[name])


class _Hidden(NamedTuple):
    """How many faults are hidden, and how many critical ones of these: by all squelches, and by each."""

    faults: int
    criticals: int
    by: Counter[str]
    criticals_by: Counter[str]


def _hidden(seen: Seen) -> _Hidden:
    matching = Matcher(squelch["regex"] for squelch in seen.squelches).matching
    faults = criticals = 0
    by: Counter[str] = Counter()
    criticals_by: Counter[str] = Counter()
    own = fault_name(FILE, "") + "/"
    for fault in seen.faults:
        # What is told of a squelch must not change because it is told.
        if fault["name"].startswith(own) or not (regexes := matching(fault["name"])):
            continue
        faults += 1
        by.update(regexes)
        if fault["severity"] >= CRITICAL:
            criticals += 1
            criticals_by.update(regexes)
    return _Hidden(faults, criticals, by, criticals_by)


def _stale(stale: Sequence[Squelch], hidden: _Hidden, rules: Rules) -> Iterable[Finding]:
    grave = {s["regex"] for s in stale if hidden.criticals_by[s["regex"]] and not is_planned(s, rules)}
    if len(stale) > MANY:
        users = sorted({squelch["user"] for squelch in stale})
        text = f"{about(len(stale))} squelches that are not permanent, of {_several(users)}; see: cimaa squelches"
        regexes = [squelch["regex"] for squelch in stale]
        yield _finding(fault_name(FILE, "squelches"), ERROR if grave else WARNING, text, squelches=regexes)
        return
    for squelch in stale:
        regex = squelch["regex"]
        severity = ERROR if regex in grave else WARNING
        hides = _hides(hidden.by[regex], hidden.criticals_by[regex])
        end = "has no end"
        if "expires" in squelch:
            end = f"ends {'' if is_planned(squelch, rules) else 'only '}{format_utc(squelch['expires'])}"
        who = cut(squelch["user"], _SHOWN) or "somebody"
        why = cut(squelch["reason"], _SHOWN) or "no reason was given"
        # As it is, so that it may be pasted into cimaa unsquelch.
        what = f"'{cut(regex, _SHOWN)}'"
        text = f"{who} set squelch {what} at {format_utc(squelch['time'])}; it {end}, and hides {hides}: {why}"
        # The name must hold nothing of the expression, or that would match it.
        yield _finding(fault_name(FILE, "squelch", digest(regex)), severity, text, squelches=[regex])


def about(number: int) -> str:
    """The number; a large one roughly, so that a message with it does not change all the time."""
    if number <= _EXACT:
        return str(number)
    unit = 10 ** (len(str(number)) - 2)
    return f"about {number // unit * unit}"


def digest(*texts: str) -> str:
    """16 hexadecimal digits, the same for the same texts."""
    return blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


def _chooser(rules: Rules) -> Callable[[str], bool]:
    """Tells whether the agent of a name is to be looked at."""
    match = [compiled(pattern).search for pattern in rules.match]
    ignore = [compiled(pattern).search for pattern in rules.ignore]
    return lambda name: (not match or any(s(name) for s in match)) and not any(s(name) for s in ignore)


def _group_name(what: str, rules: Rules) -> str:
    """The name of a finding about all agents that these rules choose."""
    patterns = (*rules.match, "", *rules.ignore) if rules.match or rules.ignore else ()
    return fault_name(FILE, what, digest(*patterns) if patterns else "")


def _finding(name: str, severity: int, text: str, agents: Iterable[str] = (), squelches: Iterable[str] = ()) -> Finding:
    return Finding(name, severity, message(text), tuple(agents), tuple(squelches))


def _names(rows: Iterable[Heartbeat]) -> frozenset[str]:
    return frozenset(row["name"] for row in rows)


def _hides(faults: int, criticals: int) -> str:
    if not faults:
        return "nothing now"
    plural = "s" if faults != 1 else ""
    if criticals == faults:
        return f"{about(faults)} critical fault{plural} now"
    critical = f", {about(criticals)} of them critical" if criticals else ""
    return f"{about(faults)} fault{plural} now{critical}"


def _agents(names: Sequence[str]) -> str:
    return "1 agent has" if len(names) == 1 else f"{about(len(names))} agents have"


def _among(names: Sequence[str]) -> str:
    return f"{'among them' if len(names) > _EXAMPLES else 'namely'}: {', '.join(sorted(names)[:_EXAMPLES])}"


def _several(names: Sequence[str]) -> str:
    shown = ", ".join(cut(name, _SHOWN) for name in names[:_EXAMPLES])
    return f"{shown} and others" if len(names) > _EXAMPLES else shown


def _reporter(agent: Agent) -> str:
    """Where the agent ran, if its name does not say so."""
    instances = agent.get("instances", ())
    host = max(instances, key=lambda instance: instance["last"])["host"] if instances else ""
    return f", when it ran on {host}" if host and host != agent["name"] else ""


def _instance(instance: AgentInstance) -> str:
    return f"{instance['host']} " + ("from cron" if instance["pid"] is None else f"pid {instance['pid']}")
