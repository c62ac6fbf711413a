"""The package as a whole: its style, its types, what importing it loads, and which room imports which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zc" / "cimaa"

DRIVERS = {
    "lmdb",
    "psycopg",
    "boto3",
    "botocore",
    "stevedore",
    "click",
    "rich",
    "psutil",
    "urllib3",
    "prometheus_client",
}

# Each room, and the rooms before it, which it may import.
ROOMS = [
    {"errors", "types"},
    {"backoff", "limits", "units"},
    {"faults"},
    {"agents", "squelches", "options"},
    {"db"},
    {"config"},
    {"memory", "lmdb", "postgres", "dynamodb"},
    {"testing", "checks", "alerters", "metrics", "systemd"},
    {"agent"},
    {"meta"},
    {"cli"},
    {"__main__"},
]


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=lambda command: " ".join(command),
)
def test_style_and_types(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_package_loads_no_driver() -> None:
    code = "import sys, zc.cimaa; print(sorted(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert DRIVERS.isdisjoint(ast.literal_eval(loaded))


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports, wherever in it."""
    package = ("zc", "cimaa", *path.relative_to(PACKAGE).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            found |= {".".join((*module, name.name)) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.split(".")[2] for name in found if name.startswith("zc.cimaa.")}


def test_imports_run_one_way() -> None:
    level = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        others = imported_rooms(path) - {room}
        assert others <= set(level), path
        wrong = {other for other in others if level[other] >= level[room]}
        assert not wrong, path
