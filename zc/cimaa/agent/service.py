"""The daemon as a process: its signals, its log, and its notifications to systemd."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial

from ..db import DB
from ..errors import Error
from ..masking import mask_urls
from ..systemd.notify import Systemd
from ..text import json_safe, one_line
from ..units import format_duration
from . import runner
from .action_duty import ActionDuty
from .clock import SystemClock
from .config import check_environment
from .daemon import Daemon
from .publisher import Publisher
from .reload import Configuration, Reloader
from .store import StoreClient
from .tasks import Signalled, until_signal

_LOG = logging.getLogger("zc.cimaa.agent")

# Ticks without a notification after which systemd may restart the daemon.
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
    """Run the daemon for ``count`` ticks, or until a signal ends it, and return the exit status.

    :raises ConfigurationError: if there are no checks, or a sink cannot be started.
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
    publisher = Publisher(configuration.sinks, clock)
    store = StoreClient(settings.name, db, clock)

    def tick(_tick: int) -> None:
        systemd.notify("WATCHDOG=1")
        actions.tick()

    daemon = Daemon(
        settings,
        store,
        configuration.alerters,
        clock,
        partial(runner.run, environment=check_environment(configuration.config)),
        on_tick=tick,
        on_results=publisher.publish,
    )
    actions = ActionDuty(daemon, store, clock)
    publisher.start()
    actions.configure(configuration.config, settings)
    reloader = Reloader(daemon, publisher, configuration, actions.configure)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.request)
    _log_start(daemon)
    systemd.notify("READY=1")
    systemd.prolong_watchdog(_WATCHDOG_TICKS * settings.base_interval)
    try:
        await until_signal(_work(daemon, actions, publisher, count), (signal.SIGTERM, signal.SIGINT))
        return 0
    except Signalled as error:
        systemd.notify("STOPPING=1")
        await actions.end()
        await daemon.end(keep=keep)
        _LOG.info("%s ends", settings.name)
        return 128 + signal.SIGINT if error.number == signal.SIGINT else 0
    finally:
        await publisher.close()


def _log_start(daemon: Daemon) -> None:
    settings, checks = daemon.settings, len(daemon.states)
    base = format_duration(settings.base_interval)
    _LOG.info("%s runs %d check%s every %s", settings.name, checks, "" if checks == 1 else "s", base)


async def _work(daemon: Daemon, actions: ActionDuty, publisher: Publisher, count: int | None) -> None:
    await daemon.run(count)
    await actions.finish()
    await daemon.finish()  # what was found meanwhile is reported, too
    await publisher.finish()


class _JSON(logging.Formatter):
    """Formats a record as one line of JSON, with the URLs in it masked."""

    def format(self, record: logging.LogRecord) -> str:
        shape = {"time": record.created, "level": record.levelname, "logger": record.name}
        shape["message"] = mask_urls(record.getMessage())
        if record.exc_info:
            shape["traceback"] = mask_urls(self.formatException(record.exc_info))
        return json_safe(json.dumps(shape))


class _Lines(logging.Formatter):
    """Formats a record, with its traceback, as one line without control characters, with the URLs in it masked."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return one_line(mask_urls(text))


@contextlib.contextmanager
def _log_to_stderr(*, as_json: bool) -> Iterator[None]:
    """Log on standard error: all messages of zc.cimaa, and warnings and errors of other packages."""
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
