"""The conformance suite fails every backend that breaks a promise, at that promise, and passes one that breaks none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import broken_backends


@pytest.fixture(scope="module")
def failures() -> dict[str, set[int]]:
    """The promises that the suite found broken, by backend."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile=unshrunk"]  # how it fails is not looked at
    result = subprocess.run(
        [*command, str(Path(broken_backends.__file__))], capture_output=True, text=True, timeout=300, check=False
    )
    found: dict[str, set[int]] = {backend.__name__: set() for backend in broken_backends.BACKENDS}
    for name, number in re.findall(r"^FAILED .*::Test(\w+)::test_(\d+)_", result.stdout, re.MULTILINE):
        found[name].add(int(number))
    assert " passed" in result.stdout, result.stdout + result.stderr
    assert "ERROR" not in result.stdout
    return found


@pytest.mark.parametrize("backend", broken_backends.BACKENDS, ids=lambda backend: backend.__name__)
def test_a_broken_promise_is_found(backend: type[broken_backends.BreaksNone], failures: dict[str, set[int]]) -> None:
    if backend.breaks:
        assert backend.breaks in failures[backend.__name__]
    else:
        assert failures[backend.__name__] == set()
