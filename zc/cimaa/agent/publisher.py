"""Passes the metrics of each interval to the sinks."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..errors import ConfigurationError, unexpected
from ..faults import SEVERITIES
from ..masking import mask_urls
from ..metrics import Sample, Sink, severity_level
from ..text import storable
from ..threads import Call
from .clock import AsyncClock
from .daemon import Daemon
from .rules.check import path

_LOG = logging.getLogger("zc.cimaa.agent")

# Seconds after which a call of a sink is not waited for any longer.
_PATIENCE = 10.0


def samples(daemon: Daemon, now: float) -> list[Sample]:
    """The metrics of the last run of each check, and those of the agent itself."""
    agent = daemon.settings.name
    own = [Sample(time=now, agent=agent, check="", name=name, value=value) for name, value in _figures(daemon).items()]
    return own + [
        Sample(time=now, agent=agent, check=storable(path(state.check)), **metric._asdict())
        for state in daemon.states
        for metric in state.metrics
    ]


class Publisher:
    """Calls the sinks, each independent of the others; nothing waits for them."""

    def __init__(self, sinks: Mapping[str, Sink], clock: AsyncClock, patience: float = _PATIENCE) -> None:
        """A call of a sink that takes longer than ``patience`` seconds is logged, and not waited for any longer."""
        self._sinks: Mapping[str, Sink] = sinks
        self._clock = clock
        self._patience = patience
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, Call[None]] = {}

    def start(self) -> None:
        """Start the sinks.

        :raises ConfigurationError: if one cannot be started.
        """
        for name, sink in self._sinks.items():
            try:
                sink.start()
            except ConfigurationError as error:
                raise ConfigurationError(f"[metrics:{name}] {error}") from error

    async def replace(self, sinks: Mapping[str, Sink]) -> None:
        """Use these sinks from now on; others are closed, and new ones started.

        A sink that cannot be started is started again with the next metrics.
        """
        old, self._sinks = self._sinks, {}
        for name, sink in old.items():
            if sinks.get(name) is not sink:
                await self._close(name, sink)
        for name, sink in sinks.items():
            if old.get(name) is not sink:
                await self._call(name, sink.start, "start")
        self._sinks = sinks

    async def close(self) -> None:
        """Close all sinks; each takes at most twice the patience, even if it hangs."""
        old, self._sinks = self._sinks, {}
        await asyncio.gather(*(self._close(name, sink) for name, sink in old.items()))

    def publish(self, daemon: Daemon) -> None:
        """Pass the current metrics to the sinks, except those that are still busy with earlier ones."""
        if not self._sinks:
            return
        found = samples(daemon, self._clock.time())
        for name, sink in self._sinks.items():
            if not self._is_busy(name):
                write = partial(_start_and_write, sink, found)
                self._tasks[name] = asyncio.create_task(self._call(name, write, "write metrics"))

    async def finish(self) -> None:
        """Wait for the metrics that are being written."""
        await asyncio.gather(*self._tasks.values())

    def _is_busy(self, name: str) -> bool:
        task, call = self._tasks.get(name), self._calls.get(name)
        return (task is not None and not task.done()) or (call is not None and call.is_running())

    async def _close(self, name: str, sink: Sink) -> None:
        if name in self._tasks:
            await self._tasks.pop(name)
        await self._call(name, sink.close, "close")
        del self._calls[name]  # a hanging call must not block the next sink with this name

    async def _call(self, name: str, function: Callable[[], None], what: str) -> None:
        """Call a method of a sink, which may be foreign code; errors are logged."""
        self._calls[name] = call = Call(function)
        if not await call.ended(self._patience):
            _LOG.warning("metrics %s: cannot %s: not done within %g s", name, what, self._patience)
            return
        try:
            call.result()
        except Exception as error:
            reason = mask_urls(str(error)) or type(error).__name__
            _LOG.warning("metrics %s: cannot %s: %s", name, what, reason, exc_info=unexpected(error))


def _start_and_write(sink: Sink, found: Sequence[Sample]) -> None:
    sink.start()  # does nothing if it is started
    sink.write(found)


def _figures(daemon: Daemon) -> dict[str, float]:
    calls, alerts = daemon.reporter.store.figures, daemon.reporter.notifier.shared
    counts = Counter(severity_level(severity) for severity in daemon.reporter.contents.severities())
    return {f"faults_{name}": float(counts[name]) for name in SEVERITIES} | {
        "checks": float(len(daemon.states)),
        "missed_ticks": float(daemon.missed),
        "store_calls": float(calls.calls),
        "store_errors": float(calls.errors),
        "store_seconds": calls.seconds,
        "last_report": calls.last_report,
        "alerts_sent": float(alerts.sent),
        "alerts_failed": float(alerts.failed),
    }
