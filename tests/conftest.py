"""The conditions under which all tests run.  The fixtures are in tests/support: see conftest.py of the root."""

import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings

# Tests must not fail because a machine is busy.
settings.register_profile("cimaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("unshrunk", settings.get_profile("cimaa"), phases=[Phase.generate])
settings.load_profile("cimaa")


def pytest_configure() -> None:
    """Restore the default handling of signals, of which some are ignored in a background job (``nohup pytest &``)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason for which tests were skipped, above the failures."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, number in sorted(Counter(report.longrepr[2] for report in skipped).items()):
        terminalreporter.write_line(f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}")
