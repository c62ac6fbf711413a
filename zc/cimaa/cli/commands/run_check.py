"""The command that runs one check, and shows its result."""

import shlex
from collections.abc import Iterable
from typing import Any

import click

from ...agent import check_files, trial
from ...agent.config import Settings, check_environment
from ...agent.rules.check import path
from ...agent.rules.thresholds import Threshold
from ...agent.trial import Trial
from ...errors import Error
from ...faults import severity_name
from ...options import COMMAND
from ...outcomes import Finished, Flooded, NotStarted, Outcome, TimedOut
from ...units import format_duration, format_size
from ..cells import Cell
from ..output import message, report_traceback, write_json, write_table
from ..params import configuration, examples, json_option

_OUTCOMES = {Finished: "finished", TimedOut: "timed out", Flooded: "wrote too much", NotStarted: "not started"}


def _complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The agent's checks."""
    from click.shell_completion import CompletionItem

    try:
        names = [path(check) for check in check_files.of_agent(Settings.load(configuration(ctx)))]
    except Error as error:
        report_traceback(error)
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]


@click.command(epilog=examples("cimaa run host/disk", "cimaa run disk --json"))
@click.argument("check", shell_complete=_complete)
@json_option
@click.pass_context
def run(ctx: click.Context, check: str, as_json: bool) -> None:
    """Run one check, and show its result.

    CHECK is FILE/SECTION, or the section alone.  The check runs as under the agent.  Its output, its exit status and
    its duration are shown, and the faults, metrics, thresholds and escalation that follow.  Nothing is stored, and no
    alert is sent.  The exit status is 0 if the check ran, even if it found faults.
    """
    ours = Settings.load(configuration(ctx))
    found = trial.find(ours, check)
    done = trial.run(ours.name, found, check_environment(configuration(ctx)))
    if as_json:
        write_json(_shape(done))
        return
    write_table(("what", "value"), _rows(done))
    if not done.faults:
        message("No faults.")


def _rows(done: Trial) -> Iterable[tuple[Cell, ...]]:
    check, outcome = done.check, done.outcome
    yield "check", path(check)
    if check.command:
        yield "command", _command(done)
        yield "directory", str(check.directory)
    yield "result", f"{_ending(outcome)}, after {done.seconds:.2f} s"
    if isinstance(outcome, Finished):
        yield from (("output", line) for line in _text(outcome.output).splitlines())
        yield from (("standard error", line) for line in _text(outcome.errors).splitlines())
    for fault in done.faults:
        yield "fault", f"{severity_name(fault['severity'])} {fault['name']}: {fault['message']}"
    for metric in done.result.metrics:
        yield "metric", f"{metric.name} = {metric.value:.15g}{metric.unit}"
    for threshold, result in trial.judged(done):
        yield "threshold", f"{_rule(threshold)}: {result}"
    yield "escalation", _escalation(done)


def _shape(done: Trial) -> dict[str, Any]:
    check, outcome = done.check, done.outcome
    ended = outcome if isinstance(outcome, Finished) else None
    return {
        "check": path(check),
        "command": _command(done) if check.command else None,
        "directory": str(check.directory) if check.command else None,
        "outcome": "built in" if outcome is None else _OUTCOMES[type(outcome)],
        "status": ended and ended.status,
        "seconds": round(done.seconds, 3),
        "output": ended and _text(ended.output),
        "errors": ended and _text(ended.errors),
        "faults": done.faults,
        "metrics": [metric._asdict() for metric in done.result.metrics],
        "thresholds": [{"threshold": _rule(threshold), "result": result} for threshold, result in trial.judged(done)],
        "escalation": _escalation(done),
    }


def _command(done: Trial) -> str:
    return COMMAND.shown(shlex.join(done.check.command))


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _ending(outcome: Outcome | None) -> str:
    match outcome:
        case None:
            return "built-in check"
        case Finished():
            status = outcome.status
            return f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
        case TimedOut():
            return f"killed as it took longer than {format_duration(outcome.timeout)}"
        case Flooded():
            return f"killed as it wrote more than {format_size(outcome.limit)}"
        case NotStarted():
            return f"not started: {outcome.reason}"


def _rule(threshold: Threshold) -> str:
    rules = [f"{severity_name(severity)} {rule}" for severity, rule in reversed(threshold.levels)]
    rules += [f"clear {threshold.clear}"] if threshold.clear else []
    return " ".join([threshold.name, *(["optional"] if threshold.optional else []), *rules])


def _escalation(done: Trial) -> str:
    check = done.check
    every = f"it runs every {format_duration(check.interval)}"
    if not check.escalates:
        return f"none (escalates = false); {every}"
    again = format_duration(min(check.interval, check.retry_interval))
    return f"an error becomes critical when it occurs {check.retry + 1} times in a row; {every}, while it fails {again}"
