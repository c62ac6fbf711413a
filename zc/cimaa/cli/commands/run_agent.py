"""The command that runs the agent: once, or as a daemon."""

import logging
import time
from typing import TYPE_CHECKING, cast

import click

from ...agents import tagged, this_host, this_process
from ...config import ACTIONS, Config, Setting
from ...errors import StoreError
from ...faults import FaultDict
from ...options import PATH
from ...types import FoundFault
from .. import fault_list
from ..fault_list import UNSQUELCHED, counted
from ..output import message, report_traceback
from ..params import COUNT, configuration, examples, open_store

if TYPE_CHECKING:
    from ...agent.config import Settings
    from ...agent.once_actions import OnceActions


@click.command(
    epilog=examples(
        "cimaa agent --once", "cimaa agent --once --json", "cimaa agent --once --exit-code || echo 'something is wrong'"
    )
)
@click.option("--once", is_flag=True, help="Run every check once, report, list the faults, and end.")
@click.option("--count", type=COUNT, metavar="N", help="End after N intervals, and keep the agent in the store.")
@click.option("--keep", is_flag=True, help="At the end (SIGTERM), keep the agent in the store, and resolve no alerts.")
@click.option(
    "-e",
    "--exit-code",
    is_flag=True,
    help=f"With --once: exit with status {UNSQUELCHED} if a fault is listed that is not squelched.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: with --once the faults, else each line of the log.")
@click.pass_context
def agent(ctx: click.Context, once: bool, count: int | None, keep: bool, exit_code: bool, as_json: bool) -> None:
    """Run the checks of this host, and report their faults to the store.

    Without a configuration, built-in checks watch the disks, the memory and the load of this host.  If the [agent]
    section names a directory, the *.cfg files in it have a section for each check, with its command: a Nagios plugin,
    or a program that prints JSON: {"faults": [{"name", "severity", "message"}]}.

    Without --once, the agent runs until SIGTERM, and logs on standard error; SIGHUP reloads its configuration.  It
    escalates errors, and sends the alerts of the [alerter:NAME] sections.  With --once, each check runs once; errors do
    not escalate, and no alerts are sent.
    """
    if once:
        if count is not None or keep:
            raise click.UsageError("--count and --keep are not for --once.")
        if _once(ctx, as_json) and exit_code:
            ctx.exit(UNSQUELCHED)
    elif exit_code:
        raise click.UsageError("--exit-code is for --once.")
    else:
        from ...agent import reload, service

        daemon = reload.load(configuration(ctx))
        with open_store(ctx, tagged(this_process(), daemon.agent.tags)) as db:
            ctx.exit(service.run(daemon, db, count=count, keep=keep, as_json=as_json))


class _Tracebacks(logging.Handler):
    """Shows only the tracebacks of log records, with CIMAA_DEBUG: the rest is reported as faults."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show the traceback, if the record has one."""
        if record.exc_info and record.exc_info[1]:
            report_traceback(record.exc_info[1])


def _once(ctx: click.Context, as_json: bool) -> bool:
    """Run the checks once; true if they found a fault that is not squelched."""
    from ...agent import once
    from ...agent.config import Settings, check_environment

    ours = Settings.load(configuration(ctx))
    logging.getLogger("zc.cimaa").addHandler(_Tracebacks())
    with open_store(ctx, tagged(this_host(), ours.tags)) as db:
        done = once.run(ours, check_environment(configuration(ctx)), db)
        actions = _actions(configuration(ctx), ours) if ACTIONS in configuration(ctx).sections else None
        faults = [*done.faults, *(actions.faults() if actions is not None else ())]
        try:
            woken = db.report(ours.name, faults)
            found = db.find_faults(agent=ours.name)
        except StoreError:
            # Otherwise they would be lost.
            fault_list.show(_unstored(ours.name, faults), as_json=as_json)
            raise
        shown = fault_list.listed(db, found)
        fault_list.show(shown, as_json=as_json)
        if actions is None and woken:
            actions = _actions(configuration(ctx), ours)
        if actions is not None and (problem := actions.run(db, woken)):
            message(f"actions: {problem}")
    ran = f"{ours.name} ran {counted(done.checks, 'check')}"
    if done.elsewhere:
        ran += f" ({done.elsewhere} more: another agent runs {'it' if done.elsewhere == 1 else 'them'})"
    message(f"{ran}: {counted(len(found)) if found else 'no faults'}, stored in {_store(ctx)}.")
    return fault_list.any_unsquelched(shown)


def _actions(config: Config, ours: "Settings") -> "OnceActions":
    from ...agent.once_actions import OnceActions

    return OnceActions(config, ours)


def _unstored(agent: str, faults: list[FaultDict]) -> list[fault_list.Listed]:
    now = int(time.time())
    return [fault_list.Listed(cast(FoundFault, {"agent": agent, "since": now, **fault}), []) for fault in faults]


def _store(ctx: click.Context) -> str:
    """The store: its backend, and the settings that identify it."""
    settings = configuration(ctx).database.settings
    shown = [f"{s.option.name} {s.shown}" for s in settings if _identifies(s)]
    return " ".join([settings[0].text or "", f"({', '.join(shown)})" if shown else ""]).strip()


def _identifies(setting: Setting) -> bool:
    given = setting.source != "default" or setting.option.type is PATH
    return given and setting.text is not None and not setting.option.secret and setting.option.name != "class"
