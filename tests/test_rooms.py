"""The structure of the package: imports run one way, names mean one thing, classes and functions are short."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from tests.support.pages import ROOT

PACKAGE = ROOT / "zc" / "cimaa"
TESTS = ROOT / "tests"

# The rooms, floor by floor; each may import those of the floors before it.
ROOMS = [
    {"__init__"},
    {"errors", "text", "types", "outcomes", "proc"},
    {"limits", "units", "masking", "ini", "process_tree", "process_guard", "threads", "backoff", "durable"},
    {"faults", "naming", "tags", "times", "child_process"},
    {"agents", "squelches", "options"},
    {"filters", "entries", "history", "recent_reports"},
    {"leases"},
    {"db", "entrypoints", "uptime"},
    {"config"},
    {"memory", "lmdb", "postgres", "dynamodb", "cfengine"},
    {"testing", "checks", "alerters", "metrics", "systemd"},
    {"actions"},
    {"agent"},
    {"metacheck"},
    {"cli"},
    {"__main__"},
]

# What does input or output, waits, or reads the time: a module that calls itself pure imports none of it.  (psycopg is
# not here: its parser of connection strings is pure.)
IMPURE = {
    *("asyncio", "http", "io", "logging", "multiprocessing", "selectors", "shutil", "socket", "ssl", "subprocess"),
    *("tempfile", "threading", "time", "urllib.request"),
    *("apprise", "boto3", "botocore", "click", "lmdb", "psutil", "rich", "stevedore", "urllib3"),
}

# The same role in sibling rooms: backends, alerters, sinks, modules.
SIBLING_FILES = {"config", "db", "errors", "event_log", "install", "log", "records", "writes"}
SIBLING_CLASSES = {"Alerter", "Connection", "DB", "Module", "Sink"}

# The contract and its suite are read from top to bottom, and are as long as what they promise.
LONG_CLASSES = {
    *("db.DB", "dynamodb.db.DB", "lmdb.db.DB", "postgres.db.DB"),
    *("testing.conformance.Conformance", "testing.history_promises.HistoryConformance"),
}


def module_name(path: Path) -> str:
    """The name of a module within the package: ``agent.daemon``; of a room itself: ``agent``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_names(path: Path) -> Iterator[tuple[str, ...]]:
    """What a module imports, wherever in it, as absolute dotted names."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*module, name.name) for name in node.names)


def imports(path: Path) -> set[str]:
    """The modules of the package that a module imports; for the name of an object, its module."""
    found = set()
    for name in imported_names(path):
        if name[:2] == ("zc", "cimaa"):
            own = ".".join(name[2:])
            found.add(own if own in MODULES else ".".join(name[2:-1]) or "__init__")
    return found - {module_name(path)}


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def test_rooms_import_only_those_before_them() -> None:
    floor = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    for module, others in IMPORTS.items():
        room = module.partition(".")[0]
        wrong = {other for other in others if (its := other.partition(".")[0]) != room and floor[its] >= floor[room]}
        assert not wrong, module


def circles(graph: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """The sets of modules that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        found: set[str] = set()
        pending = list(graph[start])
        while pending:
            if (module := pending.pop()) not in found:
                found.add(module)
                pending += graph[module]
        reached[start] = found
    groups = {frozenset(other for other in found if start in reached[other]) for start, found in reached.items()}
    return [set(group) for group in groups if group]


def test_a_circle_is_found_however_long() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": []}
    assert circles(graph) == [{"a", "b", "c"}]


def test_no_circle_of_imports_is_in_any_room() -> None:
    """Imports in functions count, too: they only hide a circle."""
    assert sorted(map(sorted, circles(IMPORTS))) == []


def is_pure(path: Path) -> bool:
    """True if the first paragraph of the module's docstring says so."""
    return "  Pure" in (ast.get_docstring(tree(path)) or "").partition("\n\n")[0]


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if is_pure(path)])
def test_pure_modules_do_no_input_or_output(name: str) -> None:
    found = {".".join(parts[:length]) for parts in imported_names(MODULES[name]) for length in (1, 2)}
    assert found & IMPURE == set()


def test_a_file_name_means_one_thing() -> None:
    """A stem is there once, or it is the same role in sibling rooms."""
    rooms = defaultdict(list)
    for path in MODULES.values():
        rooms[path.stem].append(module_name(path.parent / "__init__.py"))
    twice = {stem: where for stem, where in rooms.items() if len(where) > 1 and stem != "__init__"}
    assert set(twice) - SIBLING_FILES == set(), twice


def definitions(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Each definition of these kinds, wherever it is, by module and name."""
    for module, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, kinds):
                yield f"{module}.{node.name}", node  # type: ignore[attr-defined]  # definitions have one


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]  # definitions have both


def test_a_public_class_name_means_one_thing() -> None:
    modules = defaultdict(list)
    for module, path in MODULES.items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(module)
    twice = {name: where for name, where in modules.items() if len(where) > 1}
    assert set(twice) - SIBLING_CLASSES == set(), twice


def test_no_class_is_longer_than_150_lines() -> None:
    long = {name for name, node in definitions(ast.ClassDef) if length(node) > 150}
    assert long - LONG_CLASSES == set()


def test_functions_are_short() -> None:
    lengths = [(name, length(node)) for name, node in definitions(ast.FunctionDef, ast.AsyncFunctionDef)]
    assert {name for name, lines in lengths if lines > 40} == set()
    assert median(lines for _, lines in lengths) <= 8


def test_the_rules_are_pure() -> None:
    """A rule that stops saying so would no longer be tested."""
    rules = {name for name in MODULES if name.startswith("agent.rules.")}
    rules |= {"faults", "agents", "squelches", "naming", "entries", "leases"}
    assert [name for name in rules if not is_pure(MODULES[name])] == []


def test_no_test_file_imports_another() -> None:
    """What two of them use is in tests/support; fixtures come from there as plugins, named in conftest.py."""
    for path in TESTS.rglob("*.py"):
        names = {".".join(name) for name in imported_names(path) if name[0] == "tests"}
        assert not {name for name in names if not name.startswith("tests.support.")}, path


def test_the_docstring_of_the_package_names_every_room() -> None:
    lines = [line for line in (ast.get_docstring(tree(MODULES["__init__"])) or "").splitlines() if line[:2] == "``"]
    named = [room.strip("`") for line in lines for room in line.split(", ")]
    assert sorted([*named, "__init__", "__main__"]) == sorted({name.partition(".")[0] for name in MODULES})


def test_the_files_that_the_page_on_the_architecture_names_are_there() -> None:
    page = (ROOT / "doctests" / "architecture.rst").read_text()
    names = re.findall(r"``([\w./]+(?:/|\.\w+))``", page.partition("Where a change goes")[2].partition("A report:")[0])
    assert len(names) > 10
    for name in names:
        places = [ROOT / name, PACKAGE / name, *PACKAGE.rglob(name.rstrip("/"))]
        assert any(place.exists() for place in places), name
