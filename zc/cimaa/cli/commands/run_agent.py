"""The command that runs checks and reports what they found: once, or as a daemon."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import click

from ...agents import this_host
from ...config import Setting
from ...errors import StoreError
from ...faults import Fault
from ...options import PATH
from ...types import FoundFault
from .. import fault_list
from ..fault_list import UNSQUELCHED, counted
from ..output import message, report_traceback
from ..params import COUNT, configuration, examples, open_store


@click.command(
    epilog=examples(
        "cimaa agent --once", "cimaa agent --once --json", "cimaa agent --once --exit-code || echo 'something is wrong'"
    )
)
@click.option("--once", is_flag=True, help="Run every check once, report, list the faults, and end.")
@click.option("--count", type=COUNT, metavar="N", help="End after N intervals, and stay in the store.")
@click.option("--keep", is_flag=True, help="When told to end (SIGTERM), stay in the store, and resolve no alerts.")
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

    Without a configuration the checks that come with zc.cimaa look at this host's disks, memory and load.  With a
    directory in the [agent] section, the *.cfg files there have a section for each check, with its command, which may
    be a Nagios plugin, or print JSON: {"faults": [{"name", "severity", "message"}]}.

    With --once each check runs once; errors do not escalate, and no alerts are sent.  Without it, the agent runs until
    SIGTERM ends it, and logs on standard error; SIGHUP makes it read its configuration again.  Only then do errors
    escalate, and only then are alerts sent, by the [alerter:NAME] sections.
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
        with open_store(ctx) as db, configuration_for_checks(ctx):
            ctx.exit(service.run(daemon, db, count=count, keep=keep, as_json=as_json))


@contextmanager
def configuration_for_checks(ctx: click.Context) -> Iterator[None]:
    """Pass this configuration on to the ``cimaa`` that a check runs, in another directory."""
    file = configuration(ctx).path
    before = os.environ.get("CIMAA_CONFIG")
    if file is None:
        yield
        return
    os.environ["CIMAA_CONFIG"] = os.fspath(file)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CIMAA_CONFIG"]
        else:
            os.environ["CIMAA_CONFIG"] = before


class _Tracebacks(logging.Handler):
    """Of what is logged, shows the tracebacks alone, if they are wanted: the rest is among the faults."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show the traceback, if there is one."""
        if record.exc_info and record.exc_info[1]:
            report_traceback(record.exc_info[1])


def _once(ctx: click.Context, as_json: bool) -> bool:
    """Run the checks once; true if they found a fault that is not squelched."""
    from ...agent import config as settings
    from ...agent import once as rounds

    ours = settings.load(configuration(ctx))
    logging.getLogger("zc.cimaa").addHandler(_Tracebacks())
    with open_store(ctx, this_host()) as db:
        with configuration_for_checks(ctx):
            done = rounds.run(ours)
        try:
            db.set_faults(ours.name, done.faults)
            found = db.find_faults(agent=ours.name)
        except StoreError:
            # They are shown nowhere else.
            fault_list.show(_unstored(ours.name, done.faults), as_json=as_json)
            raise
        shown = fault_list.listed(db, found)
        fault_list.show(shown, as_json=as_json)
    ran = f"{ours.name} ran {counted(done.checks, 'check')}"
    message(f"{ran}: {counted(len(found)) if found else 'no faults'}, stored in {_store(ctx)}.")
    return fault_list.any_unsquelched(shown)


def _unstored(agent: str, faults: list[Fault]) -> list[fault_list.Listed]:
    now = int(time.time())
    return [fault_list.Listed(cast(FoundFault, {"agent": agent, "since": now, **fault}), []) for fault in faults]


def _store(ctx: click.Context) -> str:
    """Which store it is: its backend, and what tells it from another of the kind."""
    settings = configuration(ctx).database.settings
    telling = [f"{s.option.name} {s.shown}" for s in settings if _tells(s)]
    return " ".join([settings[0].text or "", f"({', '.join(telling)})" if telling else ""]).strip()


def _tells(setting: Setting) -> bool:
    given = setting.source != "default" or setting.option.type is PATH
    return given and setting.text is not None and not setting.option.secret and setting.option.name != "class"
