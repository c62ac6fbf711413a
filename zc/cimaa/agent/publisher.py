"""The figures of an interval, and their way to the sinks."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..errors import ConfigurationError, unexpected
from ..faults import SEVERITIES, severity_level
from ..metrics import Sample, Sink
from ..text import storable
from ..threads import Call
from .clock import Clock
from .daemon import Daemon

_LOG = logging.getLogger("zc.cimaa.agent")

# Seconds that the daemon waits for a sink before it reports that it is slow.
_PATIENCE = 10.0


def samples(daemon: Daemon, now: float) -> list[Sample]:
    """What the checks measured in their last runs, and the agent's own figures."""
    agent = daemon.settings.name
    own = [Sample(now, agent, "", name, value) for name, value in _figures(daemon).items()]
    return own + [
        Sample(now, agent, storable(f"{standing.check.file}/{standing.check.section}"), *metric)
        for standing in daemon.standing()
        for metric in standing.metrics
    ]


class Measuring:
    """The sinks, of which none waits for another, and nothing waits for them."""

    def __init__(self, sinks: Mapping[str, Sink], clock: Clock, patience: float = _PATIENCE) -> None:
        """A call of a sink that takes longer than ``patience`` seconds is logged, and not waited for."""
        self._sinks: Mapping[str, Sink] = sinks
        self._clock = clock
        self._patience = patience
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, Call[None]] = {}

    def start(self) -> None:
        """Have the sinks get ready.

        :raises ConfigurationError: if one cannot.
        """
        for name, sink in self._sinks.items():
            try:
                sink.start()
            except ConfigurationError as error:
                raise ConfigurationError(f"[metrics:{name}] {error}") from error

    async def replace(self, sinks: Mapping[str, Sink]) -> None:
        """Pass figures to these from now on; sinks that are not among them are closed, and new ones started.

        One that cannot start is tried again with the next figures.
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
        """Close all sinks, each in at most twice the patience, whatever it still does."""
        old, self._sinks = self._sinks, {}
        await asyncio.gather(*(self._close(name, sink) for name, sink in old.items()))

    def publish(self, daemon: Daemon) -> None:
        """Pass the current figures on; a sink that still works on earlier ones gets none."""
        if not self._sinks:
            return
        found = samples(daemon, self._clock.time())
        for name, sink in self._sinks.items():
            if not self._is_busy(name):
                write = partial(_start_and_write, sink, found)
                self._tasks[name] = asyncio.create_task(self._call(name, write, "write the figures"))

    async def finish(self) -> None:
        """Wait for the figures that are being passed on."""
        await asyncio.gather(*self._tasks.values())

    def _is_busy(self, name: str) -> bool:
        task, call = self._tasks.get(name), self._calls.get(name)
        return (task is not None and not task.done()) or (call is not None and call.is_running())

    async def _close(self, name: str, sink: Sink) -> None:
        if name in self._tasks:
            await self._tasks.pop(name)
        await self._call(name, sink.close, "close")
        del self._calls[name]  # one that hangs must not block the sink that has its name next

    async def _call(self, name: str, function: Callable[[], None], what: str) -> None:
        """Call a method of a sink, which may be foreign code; if it fails, that is logged."""
        self._calls[name] = call = Call(function)
        if not await call.ended(self._patience):
            _LOG.warning("metrics %s: cannot %s: not done within %g s", name, what, self._patience)
            return
        try:
            call.result()
        except Exception as error:
            reason = str(error) or type(error).__name__
            _LOG.warning("metrics %s: cannot %s: %s", name, what, reason, exc_info=unexpected(error))


def _start_and_write(sink: Sink, found: Sequence[Sample]) -> None:
    sink.start()  # it does nothing if it is ready
    sink.write(found)


def _figures(daemon: Daemon) -> dict[str, float]:
    calls, alerts = daemon.link.figures, daemon.alerts
    levels = [severity_level(fault["severity"]) for fault in daemon.faults()]
    counts = {f"faults_{name}": float(levels.count(name)) for name in SEVERITIES}
    return counts | {
        "checks": float(len(daemon.standing())),
        "missed_ticks": float(daemon.missed),
        "store_calls": float(calls.calls),
        "store_errors": float(calls.errors),
        "store_seconds": calls.seconds,
        "last_report": calls.last_report,
        "alerts_sent": float(alerts.sent),
        "alerts_failed": float(alerts.failed),
    }
