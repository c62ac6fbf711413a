"""The end of a daemon: it stays in the store with a last report, or resolves its faults and is removed."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from ..errors import StoreError, StoreUnavailable
from ..units import format_duration
from .reporter import Reporter
from .tasks import cancel

_LOG = logging.getLogger("zc.cimaa.agent")


async def end(reporter: Reporter, *, keep: bool, patience: float) -> None:
    """End all work of the reporter, whose checks have ended.  Each step takes at most ``patience`` seconds.

    Unless ``keep``, everything that alerters have triggered is resolved, and the agent is
    removed from the store.  If an alerter fails, it stays there, so that no open incident is
    forgotten.  Checks that one agent of several runs are left to the others, with their alerts.
    """
    reporter.end()
    await cancel(reporter.tasks())
    try:
        await (_stay(reporter, patience) if keep else _leave(reporter, patience))
    except StoreError as error:
        _LOG.error("the agent stays in the store as last reported, as the store is unavailable: %s", error)
    await cancel(reporter.notifier.tasks())


async def _stay(reporter: Reporter, patience: float) -> None:
    await _finish_alerts(reporter, patience)
    await _within(patience, _report(reporter))
    await _within(patience, _give_up(reporter))


async def _leave(reporter: Reporter, patience: float) -> None:
    notifier = reporter.notifier
    await _finish_alerts(reporter, patience)
    await _within(patience, _give_up(reporter))
    if notifier:
        notifier.resolve_all()
        await _within(patience, _report(reporter))
        notifier.send()
        await _finish_alerts(reporter, patience)
    if alerters := notifier.open():
        notifier.keep_open()
        _LOG.error("the agent stays in the store, as not everything is resolved by: %s", ", ".join(alerters))
        await _within(patience, _report(reporter))
    else:
        await _within(patience, reporter.store.remove())


async def _finish_alerts(reporter: Reporter, patience: float) -> None:
    if tasks := reporter.notifier.tasks():
        await asyncio.wait(tasks, timeout=patience)
        await cancel(tasks)


async def _report(reporter: Reporter) -> None:
    await reporter.store.idle()
    await reporter.report_once()


async def _give_up(reporter: Reporter) -> None:
    """Leave checks that one agent of several runs to the others."""
    await reporter.store.idle()
    await reporter.exclusive.give_up()


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Wait for the work.

    :raises StoreError: if it fails, or takes longer.
    """
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        await cancel([task])
        raise StoreUnavailable(f"no answer within {format_duration(seconds)}")
    task.result()
