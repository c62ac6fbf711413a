"""The package as a whole: what it is built into, what importing it loads, and which room imports which."""

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import zc.cimaa

from .pages import ROOT

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
    {"__version__"},  # of the package itself
    {"errors", "types"},
    {"limits", "units", "masking", "ini", "process_tree", "text", "threads", "backoff"},
    {"faults"},
    {"agents", "squelches", "options"},
    {"db", "entrypoints"},
    {"config"},
    {"memory", "lmdb", "postgres", "dynamodb", "cfengine"},
    {"testing", "checks", "alerters", "metrics", "systemd"},
    {"agent"},
    {"meta"},
    {"cli"},
    {"__main__"},
]


def test_the_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("zc.cimaa") == zc.cimaa.__version__
    assert (ROOT / "CHANGES.rst").read_text().splitlines()[3].split()[0] == zc.cimaa.__version__


def test_the_source_distribution_holds_all_that_the_tests_need(tmp_path: Path) -> None:
    """Built in a copy, where nothing of an earlier build is left over."""
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out)
    shutil.copytree(ROOT / ".ci", tmp_path / "copy" / ".ci")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, tmp_path / "copy"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert {name for name in copied if "egg-info" not in name} <= held


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
