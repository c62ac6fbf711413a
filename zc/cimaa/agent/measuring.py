"""The figures of an interval, and their way to the sinks."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from ..errors import ConfigurationError
from ..faults import SEVERITIES
from ..metrics import Sample, Sink
from ..text import storable
from ..threads import Call
from ..units import format_duration
from .clock import Clock
from .daemon import Daemon

_LOG = logging.getLogger("zc.cimaa.agent")

# So long (seconds) the daemon waits for a sink before it says that it is slow.
_PATIENCE = 10


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

    def __init__(self, sinks: Mapping[str, Sink], clock: Clock) -> None:
        self._sinks: Mapping[str, Sink] = sinks
        self._clock = clock
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
        """Pass figures on to these from now on, once those that are not among them are closed."""
        old, self._sinks = self._sinks, {}
        for name, sink in old.items():
            if sinks.get(name) is not sink:
                await self._close(name, sink)
        self._sinks = sinks

    def publish(self, daemon: Daemon) -> None:
        """Pass on the figures as they stand; a sink that is still busy with the last ones gets none."""
        if not self._sinks:
            return
        found = samples(daemon, self._clock.time())
        for name, sink in self._sinks.items():
            if not self._is_busy(name):
                self._tasks[name] = asyncio.create_task(self._call(name, partial(sink.write, found)))

    async def finish(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*self._tasks.values())

    async def _close(self, name: str, sink: Sink) -> None:
        if name in self._tasks:
            await self._tasks.pop(name)
        await self._call(name, sink.close, "it cannot be closed: ")
        del self._calls[name]  # one that hangs must not block the sink that has its name next

    def _is_busy(self, name: str) -> bool:
        task, call = self._tasks.get(name), self._calls.get(name)
        return (task is not None and not task.done()) or (call is not None and call.is_running())

    async def _call(self, name: str, function: Callable[[], None], failed: str = "") -> None:
        """Call a sink's method, and log that it failed, if it did."""
        self._calls[name] = call = Call(function)
        if not await call.ended(_PATIENCE):
            _LOG.warning("metrics %s: %sit takes longer than %s", name, failed, format_duration(_PATIENCE))
            return
        try:
            call.result()
        except Exception as error:  # a sink is foreign code, and must not end the agent
            _LOG.warning("metrics %s: %s%s", name, failed, str(error) or type(error).__name__)


def _figures(daemon: Daemon) -> dict[str, float]:
    calls, alerts = daemon.link.figures, daemon.alerts
    severities = [fault["severity"] for fault in daemon.faults()]
    counts = {f"faults_{name}": float(severities.count(level)) for name, level in SEVERITIES.items()}
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
