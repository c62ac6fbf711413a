"""The daemon as a process: its signals, its log, and its messages to systemd."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator

from ..db import DB
from ..errors import Error
from ..systemd.notify import Systemd
from ..units import format_duration
from . import runner
from .clock import SystemClock
from .daemon import Daemon
from .notifier import Alerts
from .publisher import Measuring
from .reload import Configuration, Reloader
from .store import Link

_LOG = logging.getLogger("zc.cimaa.agent")

# Ticks without a sign of life before systemd restarts the daemon.
_WATCHDOG_TICKS = 5
#: The exit status after a bug.
FAILED = 1


def run(
    configuration: Configuration,
    db: DB,
    *,
    count: int | None,
    keep: bool,
    as_json: bool,
) -> int:
    """Run the daemon for ``count`` ticks, or until a signal ends it; the exit status.

    :raises ConfigurationError: if there are no checks, or a sink cannot start.
    """
    with _log_to_stderr(as_json=as_json):
        try:
            return asyncio.run(_run(configuration, db, count, keep))
        except Error:
            raise
        except Exception as error:
            _LOG.critical("a bug in zc.cimaa, please report it: %s: %s", type(error).__name__, error, exc_info=error)
            return FAILED


async def _run(configuration: Configuration, db: DB, count: int | None, keep: bool) -> int:
    settings, clock, systemd = configuration.agent, SystemClock(), Systemd(os.environ)
    alerts = Alerts(settings.name, configuration.alerters, clock)
    daemon = Daemon(settings, Link(settings.name, db, clock), alerts, clock, runner.run)
    measuring = Measuring(configuration.sinks, clock)
    measuring.start()
    daemon.on_tick = lambda _tick: systemd.notify("WATCHDOG=1")
    daemon.on_report = lambda: measuring.publish(daemon)
    ended = _on_signals(Reloader(daemon, measuring, configuration))
    count_of, base = len(daemon.standing()), format_duration(settings.base_interval)
    _LOG.info("%s runs %d check%s every %s", settings.name, count_of, "" if count_of == 1 else "s", base)
    systemd.notify("READY=1")
    systemd.prolong_watchdog(_WATCHDOG_TICKS * settings.base_interval)
    try:
        await daemon.run(count)
        await measuring.finish()
        return 0
    except asyncio.CancelledError:
        systemd.notify("STOPPING=1")
        await daemon.end(keep=keep)
        _LOG.info("%s ends", settings.name)
        return 128 + signal.SIGINT if signal.SIGINT in ended else 0
    finally:
        await measuring.close()


class _JSON(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        shape = {"time": record.created, "level": record.levelname, "logger": record.name}
        shape["message"] = record.getMessage()
        return json.dumps(shape | ({"traceback": self.formatException(record.exc_info)} if record.exc_info else {}))


class _Lines(logging.Formatter):
    """Each record as one line, a traceback included, with escapes for what steers a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def _log_to_stderr(*, as_json: bool) -> Iterator[None]:
    """Log on standard error: what is zc.cimaa's, and warnings and errors of other packages."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON() if as_json else _Lines())
    loggers = ours, _ = logging.getLogger("zc.cimaa"), logging.getLogger()
    before = ours.level, ours.propagate
    ours.setLevel(logging.INFO)
    ours.propagate = False
    for logger in loggers:
        logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger in loggers:
            logger.removeHandler(handler)
        ours.setLevel(before[0])
        ours.propagate = before[1]


def _on_signals(reloader: Reloader) -> set[int]:
    """Have signals act on the daemon; the set is to hold those that told it to end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    ended: set[int] = set()

    def end(number: int) -> None:
        if not ended:
            ended.add(number)
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, reloader.ask)
    return ended
