"""What the rules find in the state of a fleet: faults with global names.  Pure.

A finding's name and message are the same on every host that runs the meta check,
and do not change as long as nothing happens: they contain times instead of ages,
and large numbers are rounded.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ..faults import SEVERITIES
from ..naming import fault_name, message
from ..squelches import Matcher
from ..text import cut, hex_digest, shell_quoted
from ..types import Agent, AgentInstance, NewFault, Squelch
from ..units import format_duration, format_utc
from .fleet_state import FleetState
from .rules import Rules, fell_together, is_planned, is_stale, selector

CRITICAL, ERROR, WARNING, INFO = (SEVERITIES[name] for name in ("critical", "error", "warning", "info"))

#: The name of the check's file in the names of all findings.
FILE = "meta-check"

#: More findings of one kind than this are reported as one: an agent reads at most 1 MiB from a check.
MANY = 500

# The last reports of agents that fell silent together lie within this many intervals.
_TOGETHER = 2
# The number of names that a message about many agents shows.
_EXAMPLES = 3
# The most bytes of a user's text that a message shows.
_SHOWN = 200
# Numbers up to this are shown exactly.
_EXACT = 100


class Finding(NamedTuple):
    """A problem, as a fault with a global name."""

    name: str
    severity: int
    message: str
    #: The names of the agents concerned.
    agents: tuple[str, ...] = ()
    #: The regular expressions of the squelches concerned.
    squelches: tuple[str, ...] = ()

    def fault(self) -> NewFault:
        """The finding as a fault in the JSON of a check."""
        return {"name": self.name, "severity": self.severity, "message": self.message}


class Verdict(NamedTuple):
    """The result of the meta check."""

    #: The worst first.
    findings: list[Finding]
    #: The names of the agents that report, sorted.
    reporting: list[str]
    #: The metrics, by name.
    figures: dict[str, int]

    def document(self) -> dict[str, Any]:
        """The verdict as the JSON of a check."""
        return {
            "faults": [finding.fault() for finding in self.findings],
            "metrics": [{"name": name, "value": value} for name, value in self.figures.items()],
        }


def judge(seen: FleetState, rules: Rules, now: float) -> Verdict:
    """Apply the rules to the state of a fleet; ``now`` is in seconds since the epoch."""
    selected = selector(rules)
    agents = [agent for agent in seen.agents if selected(agent["name"])]
    forgotten = [agent for agent in agents if agent["name"] in seen.forgotten]
    silent = [agent for agent in agents if agent["name"] in seen.late and agent["name"] not in seen.forgotten]
    reporting = sorted(agent["name"] for agent in agents if agent["name"] not in seen.late)
    doubles = [agent for agent in seen.doubles if selected(agent["name"])]
    hidden = _hidden(seen)
    stale = [squelch for squelch in seen.squelches if is_stale(squelch, rules, now)]
    findings = [
        *_none_reporting(seen, reporting or silent, rules),
        *_silent(silent, seen.lost, len(reporting), rules),
        *_forgotten(forgotten, rules),
        *_double(doubles, rules),
        *_stale(stale, hidden, rules),
        *_overdue(seen),
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


def about(number: int) -> str:
    """The number; a large one is rounded down, so that a message with it changes seldom."""
    if number <= _EXACT:
        return str(number)
    unit = 10 ** (len(str(number)) - 2)
    return f"about {number // unit * unit}"


def digest(*texts: str) -> str:
    """16 hexadecimal digits that identify the texts."""
    return hex_digest("\0".join(texts), 8)


def _none_reporting(seen: FleetState, recent: Sequence[object], rules: Rules) -> Iterable[Finding]:
    """A finding if no agent has reported recently: otherwise a fleet that is down would look healthy."""
    if recent:
        return
    within = format_duration(rules.forget)
    if not seen.agents:
        text = "no agent ever reported to this store; is it the right one? See: cimaa config"
    elif rules.match or rules.ignore:
        text = (
            f"none of {len(seen.agents)} agents is both selected (--match, --ignore) and has reported within {within}"
        )
    else:
        text = f"no agent has reported for more than {within}"
    yield _finding(_group_name("nobody", rules), ERROR, text)


def _silent(silent: Sequence[Agent], lost: Collection[str], reporting: int, rules: Rules) -> Iterable[Finding]:
    """One finding for each silent agent, and a single one for all agents that fell silent together."""
    together = fell_together(((a["updated"], a["name"]) for a in silent), reporting, _TOGETHER * rules.interval)
    single = [agent for agent in silent if agent["name"] not in together]
    group = [agent for agent in silent if agent["name"] in together]
    if len(single) > MANY:
        single, group = [], list(silent)
    if group:
        severity = ERROR if any(agent["name"] in lost for agent in group) else WARNING
        text = _group_message(group, reporting + len(silent), bool(together))
        yield _finding(_group_name("silent", rules), severity, text, agents=[agent["name"] for agent in group])
    for agent in single:
        name = agent["name"]
        text = f"{name} has not reported since {format_utc(agent['updated'])}{_reporter(agent)}"
        yield _finding(fault_name(name, FILE, "silent"), ERROR if name in lost else WARNING, text, agents=[name])


def _group_message(group: Sequence[Agent], total: int, together: bool) -> str:
    names = [agent["name"] for agent in group]
    last = format_utc(max(agent["updated"] for agent in group))
    part = f"{about(len(names))} of {about(total)} agents"
    if together:
        return f"{part} fell silent together, the last at {last}: check the network and the store; {_among(names)}"
    return f"{part} are silent, the last since {last}; {_among(names)}"


def _forgotten(forgotten: Sequence[Agent], rules: Rules) -> Iterable[Finding]:
    """One finding for all agents that are probably no longer in use."""
    if names := [agent["name"] for agent in forgotten]:
        text = f"{_agents(names)} not reported for more than {format_duration(rules.forget)}; {_among(names)}"
        text += "; cimaa remove-agent removes agents that are no longer in use"
        yield _finding(_group_name("forgotten", rules), INFO, text, agents=names)


def _double(doubles: Sequence[Agent], rules: Rules) -> Iterable[Finding]:
    if len(doubles) > MANY:
        names = [agent["name"] for agent in doubles]
        text = f"{about(len(names))} agents run more than once; {_among(names)}"
        yield _finding(_group_name("double", rules), ERROR, text, agents=names)
        return
    for agent in doubles:
        name = agent["name"]
        instances = ", ".join(sorted(_instance(instance) for instance in agent["instances"]))
        text = f"{len(agent['instances'])} instances report as {name}, and overwrite each other's reports: {instances}"
        yield _finding(fault_name(name, FILE, "double"), ERROR, text, agents=[name])


class _Hidden(NamedTuple):
    """The numbers of squelched faults, and of critical ones among them: in all, and by squelch."""

    faults: int
    criticals: int
    by: Counter[str]
    criticals_by: Counter[str]


def _hidden(seen: FleetState) -> _Hidden:
    matching = Matcher(squelch["regex"] for squelch in seen.squelches).matching
    faults = criticals = 0
    by: Counter[str] = Counter()
    criticals_by: Counter[str] = Counter()
    own = fault_name(FILE, "") + "/"
    for fault in seen.faults:
        # The finding about a squelch must not change because it is reported itself.
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
        text = f"{about(len(stale))} squelches that are not permanent, set by {_several(users)}; see: cimaa squelches"
        regexes = [squelch["regex"] for squelch in stale]
        yield _finding(fault_name(FILE, "squelches"), ERROR if grave else WARNING, text, squelches=regexes)
        return
    for squelch in stale:
        regex = squelch["regex"]
        hides = _hides(hidden.by[regex], hidden.criticals_by[regex])
        # The name must not contain the expression, which would match it.
        name = fault_name(FILE, "squelch", digest(regex))
        severity = ERROR if regex in grave else WARNING
        yield _finding(name, severity, _squelch_message(squelch, hides, rules), squelches=[regex])


def _overdue(seen: FleetState) -> Iterable[Finding]:
    if seen.overdue:
        text = "the store has history that should have been deleted two days ago: run cimaa tend once a day"
        yield _finding(fault_name(FILE, "history"), WARNING, text)


def _squelch_message(squelch: Squelch, hides: str, rules: Rules) -> str:
    end = "has no end"
    if "expires" in squelch:
        end = f"ends {'' if is_planned(squelch, rules) else 'only '}{format_utc(squelch['expires'])}"
    user = cut(squelch["user"], _SHOWN) or "an unknown user"
    reason = cut(squelch["reason"], _SHOWN) or "no reason was given"
    # Quoted for a shell, because it is pasted into cimaa unsquelch, and may contain quotes.
    pattern = shell_quoted(cut(squelch["regex"], _SHOWN))
    return f"{user} set squelch {pattern} at {format_utc(squelch['time'])}; it {end}, and hides {hides}: {reason}"


def _group_name(what: str, rules: Rules) -> str:
    """The name of a finding about all agents that these rules select."""
    patterns = (*rules.match, "", *rules.ignore) if rules.match or rules.ignore else ()
    return fault_name(FILE, what, digest(*patterns) if patterns else "")


def _finding(name: str, severity: int, text: str, agents: Iterable[str] = (), squelches: Iterable[str] = ()) -> Finding:
    return Finding(name, severity, message(text), tuple(agents), tuple(squelches))


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
    """The host on which the agent ran, if that is not its name."""
    instances = agent.get("instances", ())
    host = max(instances, key=lambda instance: instance["last"])["host"] if instances else ""
    return f", when it ran on {host}" if host and host != agent["name"] else ""


def _instance(instance: AgentInstance) -> str:
    return f"{instance['host']} " + ("from cron" if instance["pid"] is None else f"pid {instance['pid']}")
