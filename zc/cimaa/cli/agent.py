"""The command that runs checks and reports what they found: once, or as a daemon."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import click

from .. import config
from ..agents import this_host
from ..config import Setting
from ..errors import StoreError
from ..faults import Fault
from ..options import PATH
from ..types import FoundFault
from . import listing
from .listing import counted
from .output import message
from .parameters import config_file, examples, open_store


@click.command(epilog=examples("cimaa agent --once", "cimaa agent --once --json"))
@click.option("--once", is_flag=True, help="Run every check once, report, list the faults, and end.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N intervals, and stay in the store.")
@click.option("--keep", is_flag=True, help="Stay in the store also when told to end (SIGTERM).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: with --once the faults, else each line of the log.")
@click.pass_context
def agent(ctx: click.Context, once: bool, count: int | None, keep: bool, as_json: bool) -> None:
    """Run the checks of this host.

    Their faults are reported to the store, and alerts are passed on by the [alerter:NAME] sections.  Without a
    configuration the checks that come with zc.cimaa look at this host's disks, memory and load.  With a directory in
    the [agent] section, the *.cfg files there have a section for each check, with its command, which may be a Nagios
    plugin, or print JSON: {"faults": [{"name", "severity", "message"}]}.

    With --once that is all.  Else it runs on, and logs on standard error: it ends with SIGTERM, and reads its
    configuration anew with SIGHUP.  Only then errors escalate, and alerts are sent.
    """
    if once:
        if count is not None or keep:
            raise click.UsageError("--count and --keep are not for --once.")
        _once(ctx, as_json)
    else:
        from ..agent import reloading, service

        path = config_file(ctx)
        configuration = reloading.read(path)
        with open_store(ctx) as db, _configuration_for_checks(ctx):
            ctx.exit(service.run(configuration, db, path, count=count, keep=keep, as_json=as_json))


@contextmanager
def _configuration_for_checks(ctx: click.Context) -> Iterator[None]:
    """See to it that a check's own ``cimaa``, which runs in another directory, has this very configuration."""
    file = config.find_file(config_file(ctx))
    before = os.environ.get("CIMAA_CONFIG")
    if file is None:
        yield
        return
    os.environ["CIMAA_CONFIG"] = os.fspath(file.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["CIMAA_CONFIG"]
        else:
            os.environ["CIMAA_CONFIG"] = before


def _once(ctx: click.Context, as_json: bool) -> None:
    from ..agent import rounds, settings

    ours = settings.load(config_file(ctx))
    with open_store(ctx, this_host()) as db:
        with _configuration_for_checks(ctx):
            done = rounds.run(ours)
        try:
            db.set_faults(ours.name, done.faults)
            found = db.find_faults(agent=ours.name)
        except StoreError:
            # Nobody else learns of them now.
            listing.show(_unstored(ours.name, done.faults), as_json=as_json)
            raise
        listing.show(listing.listed(db, found), as_json=as_json)
    ran = f"{ours.name} ran {counted(done.checks, 'check')}"
    message(f"{ran}: {counted(len(found)) if found else 'no faults'}, stored in {_store(ctx)}.")


def _unstored(agent: str, faults: list[Fault]) -> list[listing.Listed]:
    now = int(time.time())
    return [listing.Listed(cast(FoundFault, {"agent": agent, "since": now, **fault}), []) for fault in faults]


def _store(ctx: click.Context) -> str:
    """Which store it is: its backend, and what tells it from another of the kind."""
    settings = config.database_settings(config_file(ctx))
    telling = [f"{s.option.name} {s.shown}" for s in settings if _tells(s)]
    return " ".join([settings[0].text or "", f"({', '.join(telling)})" if telling else ""]).strip()


def _tells(setting: Setting) -> bool:
    given = setting.source != "default" or setting.option.type is PATH
    return given and setting.text is not None and not setting.option.secret and setting.option.name != "class"
