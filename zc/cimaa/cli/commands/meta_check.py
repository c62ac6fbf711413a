"""The command that checks that agents report, and that no squelch is forgotten."""

import time
from collections.abc import Sequence
from typing import Any

import click

from ... import options
from ...agent import config as settings
from ...checks.items import Item, Measurement
from ...checks.states import State
from ...errors import StoreUnavailable
from ...faults import ERROR, WARNING
from ...metacheck import findings, fleet_state
from ...metacheck.findings import Finding, Verdict
from ...metacheck.rules import Rules
from ...squelches import Matcher
from ...threads import within
from ..nagios import Plugin, finish, timeout_option
from ..output import write_json
from ..params import DURATION, INTERVAL, Parsed, complete_agents, configuration, examples, open_store

NAME = "meta-check"

_TIMEOUT = "30s"
_GOOD = "the agents report, each once, and no squelch is forgotten"


def _intervals(text: str) -> float:
    try:
        count: float = options.NUMBER.parse(text)
    except ValueError:
        count = 0
    if not 0 < count < 1_000_000:
        raise ValueError(f"{text!r} is not a number of intervals: write it like 2 or 2.5; --interval sets their length")
    return count


_INTERVALS = Parsed("intervals", _intervals)


class _MetaCheck(Plugin):
    """A Nagios plugin with ``--nagios``, otherwise an ordinary command."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """The context, in which the arguments are read."""
        if "--nagios" in args:
            return super().make_context(info_name, args, *rest, **extra)
        return click.Command.make_context(self, info_name, args, *rest, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        return super().invoke(ctx) if ctx.params["as_plugin"] else click.Command.invoke(self, ctx)


@click.command(
    cls=_MetaCheck,
    epilog=examples(
        "cimaa meta-check",
        "cimaa meta-check --nagios --warning 3 --error 10",
        "cimaa meta-check --ignore '^backup$' --ignore '^test'",
        "cimaa meta-check --match '^backup$' --interval 1d --forget 90d",
    ),
)
@click.option("--nagios/--json", "as_plugin", help="Be a Nagios plugin, or write the JSON of a check.  [default: JSON]")
@click.option(
    "--interval",
    type=INTERVAL,
    metavar="DURATION",
    help="How often the agents report (60s, 15m).  [default: base_interval in the configuration's [agent], or 60s]",
)
@click.option(
    "-w",
    "--warning",
    type=_INTERVALS,
    default="2",
    show_default=True,
    metavar="INTERVALS",
    help="Silence for this many intervals is a warning.",
)
@click.option(
    "-c",
    "--error",
    type=_INTERVALS,
    default="5",
    show_default=True,
    metavar="INTERVALS",
    help="Silence for this many intervals is an error.",
)
@click.option(
    "--forget",
    type=INTERVAL,
    default="30d",
    show_default=True,
    metavar="DURATION",
    help="Agents silent for this long are reported together, as one fault of severity info.",
)
@click.option(
    "--match",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_agents,
    help="Only agents whose name matches this regular expression (RE2); may be repeated.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_agents,
    help="Ignore agents whose name matches this regular expression (RE2); may be repeated.",
)
@click.option(
    "--squelched",
    type=DURATION,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="Report squelches that are older than this and not permanent.",
)
@click.option(
    "--planned",
    type=DURATION,
    default="7d",
    show_default=True,
    metavar="DURATION",
    help="A squelch that ends within this time after it was set is at most a warning, whichever faults it hides.",
)
@timeout_option(_TIMEOUT, "How long to wait for the store (a duration, or seconds).")
@click.pass_context
def meta_check(ctx: click.Context, /, as_plugin: bool, interval: int | None, timeout: float, **rules: Any) -> None:
    """Check that agents report, and that no squelch is forgotten.

    Reports silent agents (together, if most of them fell silent at once), agents that run more than once, squelches
    that are neither permanent nor new, and history that should have been deleted (see: cimaa tend).  An agent is silent
    if it did not report within the time that it said itself; --interval, --warning and --error are for the others.

    By default, the command writes the JSON of an agent's check, with faults and metrics, for a section of a check file.
    With --nagios it is a Nagios plugin: status 0 if all is well, 1 for a warning, 2 for an error, 3 if the store could
    not be checked (wrong usage included).  Squelched findings are shown, but do not change the status.
    """

    def verdict() -> tuple[Verdict, list[str]]:
        every = settings.base_interval(configuration(ctx)) if interval is None else interval
        return _verdict(ctx, Rules(interval=every, **rules))

    if as_plugin:
        finish(NAME, lambda: items(*verdict()), timeout, _GOOD, 1)
    try:
        found, _ = within(verdict, timeout)
    except TimeoutError as error:
        raise StoreUnavailable(f"the store did not answer: {error}; --timeout gives it more time") from error
    write_json(found.document())


def _verdict(ctx: click.Context, rules: Rules) -> tuple[Verdict, list[str]]:
    """The verdict, and the regular expressions of the squelches in force."""
    with open_store(ctx) as db:
        seen = fleet_state.read(db, rules)
    return findings.judge(seen, rules, time.time()), [squelch["regex"] for squelch in seen.squelches]


def items(verdict: Verdict, squelches: Sequence[str]) -> list[Item]:
    """The output of a Nagios plugin for the verdict, where these squelches are in force."""
    figures = verdict.figures
    summary = f"agents reporting: {figures['reporting']} of {figures['agents']}; squelches: {figures['squelches']}"
    metrics = tuple(Measurement(name, value, minimum=0) for name, value in figures.items())
    matching = Matcher(squelches).matching
    return [Item("", State.OK, summary, metrics), *(_item(f, matching(f.name)) for f in verdict.findings)]


def _item(finding: Finding, squelches: Sequence[str]) -> Item:
    if squelches and not finding.squelches:  # findings about squelches cannot be squelched
        text = f"{finding.message} (squelched by {', '.join(squelches)})"
        return Item(finding.name, State.OK, text, noted=True)
    state = _state(finding.severity)
    return Item(finding.name, state, finding.message, noted=state is State.OK)


def _state(severity: int) -> State:
    if severity >= ERROR:
        return State.CRITICAL
    return State.WARNING if severity >= WARNING else State.OK
