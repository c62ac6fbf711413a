"""The conditions under which all tests run.  The fixtures are in tests/support: see conftest.py of the root."""

import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings

# A busy machine is no reason to fail.
settings.register_profile("cimaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("unshrunk", settings.get_profile("cimaa"), phases=[Phase.generate])
settings.load_profile("cimaa")


def pytest_configure() -> None:
    """Signals have their usual effect, even in a background job (``nohup pytest &``), where some are ignored."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason for which tests were skipped, above the failures."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, number in sorted(Counter(report.longrepr[2] for report in skipped).items()):
        terminalreporter.write_line(f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}")
