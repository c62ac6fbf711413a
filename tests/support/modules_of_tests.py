"""Modules of actions for tests: ``look`` and ``command``, installed like those of another project."""

from collections.abc import Callable
from pathlib import Path

import pytest

ENTRY_POINTS = """\
look = tests.support.modules_of_tests:Look
command = tests.support.modules_of_tests:Command
"""


class Look:
    """Looks at a path."""

    only_looks = True

    @staticmethod
    def check(parameters: object) -> None:
        from tests.support.faulty_documents import check_look

        check_look(parameters)  # type: ignore[arg-type]  # an object, as documents make sure


class Command:
    """Runs a command."""

    @staticmethod
    def check(parameters: object) -> None:
        from tests.support.faulty_documents import check_command

        check_command(parameters)  # type: ignore[arg-type]  # see above


@pytest.fixture
def install_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs modules beside those that are there: lines of their group of entry points."""

    def install(lines: str) -> None:
        from stevedore import _cache, extension

        info = tmp_path / "site" / "modules_of_tests-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: modules-of-tests\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[zc.cimaa.module]\n{lines}")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setattr(extension.ExtensionManager, "ENTRY_POINT_CACHE", {})
        monkeypatch.setattr(_cache, "_c", _cache.Cache(str(tmp_path / "cache")))

    return install


@pytest.fixture
def modules_of_tests(install_modules: Callable[[str], None]) -> None:
    install_modules(ENTRY_POINTS)
