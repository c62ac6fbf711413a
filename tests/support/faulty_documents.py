"""Documents of actions: a good one, and hundreds with one fault each, and the culprit that its message must name."""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zc.cimaa.errors import InvalidInput

#: When the good document may run (seconds since the epoch): within 2100-01-01.
VALID_FROM, EXPIRES = 4102444800, 4102448400

GOOD: dict[str, Any] = {
    "name": "who has it",
    "target": "agent=~^web os=~Linux tag=db",
    "operations": [{"module": "look", "parameters": {"path": "/etc"}}],
    "validfrom": "2100-01-01T00:00:00Z",
    "expireafter": "2100-01-01T01:00:00Z",
    "description": {"author": "Jane", "email": "jane@example.com", "url": "https://example.com/1", "revision": 3},
    "threat": {"ref": "incident 7", "level": "high", "family": "malware", "type": "file"},
    "syntaxversion": 3,
}


def check_look(parameters: Mapping[str, Any]) -> None:
    """The parameters of a module that looks: ``path``."""
    for name, value in parameters.items():
        if name != "path":
            raise InvalidInput(f"there is no parameter {name!r}")
        if not isinstance(value, str) or not value.startswith("/"):
            raise InvalidInput(f"parameter 'path': {value!r} is not an absolute path")


def check_command(parameters: Mapping[str, Any]) -> None:
    """The parameters of a module that runs commands: ``name``."""
    if list(parameters) != ["name"]:
        raise InvalidInput("parameter 'name' is missing, or not the only one")


MODULES = {"look": check_look, "command": check_command}


class Faulty(NamedTuple):
    """A document with one fault."""

    data: bytes
    #: What its message must contain.
    culprit: str
    #: What was done to the good one.
    how: str


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def changed(path: tuple[Any, ...], value: Any) -> bytes:
    """The good document, with another value at a place in it."""
    document = copy.deepcopy(GOOD)
    *way, last = path
    place: Any = document
    for step in way:
        place = place[step]
    place[last] = value
    return encoded(document)


def without(path: tuple[Any, ...]) -> bytes:
    """The good document, without something in it."""
    document = copy.deepcopy(GOOD)
    *way, last = path
    place: Any = document
    for step in way:
        place = place[step]
    del place[last]
    return encoded(document)


def faulty() -> list[Faulty]:
    """All of them."""
    return [*_texts(), *_keys(), *_types(), *_times(), *_targets(), *_agents(), *_operations(), *_values()]


def _texts() -> Iterator[Faulty]:
    good = encoded(GOOD)
    for data, culprit in [
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"{", "not JSON"),
        (good[:-1], "not JSON"),
        (good + b"x", "not JSON"),
        (good + good, "Extra data"),
        (b"\xff" + good, "not UTF-8"),
        (good.replace(b"who", b"\xc3\x28"), "not UTF-8"),
        (good.decode().encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf" + good, "not JSON"),
        (good.replace(b"who", b"w\nho"), "not JSON"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"a":' * 10_000, "nested too deeply"),
        (b"null", "not null"),
        (b"true", "not true"),
        (b"3", "not a number"),
        (b'"x"', "not text"),
        (b"[]", "not a list"),
        (encoded(GOOD | {"name": "x" * 70_000}), "65536"),
        (good.replace(b'"syntaxversion": 3', b'"syntaxversion": NaN'), "NaN"),
        (good.replace(b'"revision": 3', b'"revision": Infinity'), "Infinity"),
        (good.replace(b'"revision": 3', b'"revision": -Infinity'), "-Infinity"),
        (good.replace(b'"revision": 3', b'"revision": ' + b"9" * 5000), "number"),
        (good.replace(b'"revision": 3', b'"revision": 1e999'), "revision"),
        (good.replace(b'"revision": 3', b'"revision": 03'), "not JSON"),
        (good.replace(b'"', b"'"), "not JSON"),
        (good[:-1] + b",}", "not JSON"),
        (good.replace(b"{", b"{ // comment\n", 1), "not JSON"),
    ]:
        yield Faulty(data, culprit, f"the text {data[:30]!r}")


def _keys() -> Iterator[Faulty]:
    for key in ("name", "target", "operations", "validfrom", "expireafter", "syntaxversion"):
        yield Faulty(without((key,)), f"{key} is missing", f"without {key}")
    for key in ("module", "parameters"):
        yield Faulty(without(("operations", 0, key)), f"operations[0].{key} is missing", f"without {key}")
    for key in GOOD:
        value = json.dumps(GOOD[key])
        doubled = encoded(GOOD)[:-1] + f', "{key}": {value}}}'.encode()
        yield Faulty(doubled, f"'{key}' is there twice", f"{key} twice")
        yield Faulty(encoded({**GOOD, f"{key}s": 1}), f"{key}s", f"a key {key}s")
        yield Faulty(encoded({**GOOD, key.upper(): 1}), key.upper(), f"a key {key.upper()}")
    for key in ("id", "pgpsignatures", "status", "starttime", "finishtime", "counters", "", " name", "name\0"):
        yield Faulty(encoded({**GOOD, key: 1}), repr(key) if key else "the key of the object", f"a key {key!r}")
    for part in ("description", "threat"):
        for key in GOOD[part]:
            yield Faulty(changed((part, f"{key}x"), "1"), f"{part} has no key '{key}x'", f"{part}.{key}x")
    for key in ("modules", "parameter", "Module", "weight", ""):
        culprit = f"operations[0] has no key {key!r}" if key else "the key of operations[0]"
        yield Faulty(changed(("operations", 0, key), "1"), culprit, f"operations[0].{key}")
    inner = encoded(GOOD).replace(b'"path": "/etc"', b'"path": "/etc", "path": "/"')
    yield Faulty(inner, "'path' is there twice", "a parameter twice")


def _types() -> Iterator[Faulty]:
    others = {"null": None, "true": True, "a number": 3, "text": "x", "a list": ["x"], "an object": {"x": 1}}
    wanted = {
        ("name",): "text",
        ("target",): "text",
        ("operations",): "a list",
        ("validfrom",): "text",
        ("expireafter",): "text",
        ("description",): "an object",
        ("threat",): "an object",
        ("syntaxversion",): "a number",
        ("operations", 0): "an object",
        ("operations", 0, "module"): "text",
        ("operations", 0, "parameters"): "an object",
        **{("description", key): "text" for key in ("author", "email", "url")},
        ("description", "revision"): "a number",
        **{("threat", key): "text" for key in GOOD["threat"]},
    }
    for path, right in wanted.items():
        culprit = "operations[0]" if len(path) == 2 and path[0] == "operations" else str(path[-1])
        for kind, value in others.items():
            if kind != right:
                yield Faulty(changed(path, value), culprit, f"{'.'.join(map(str, path))} is {kind}")
    for version in (2, 4, 0, -3, 3.0, "3", 2**40):
        yield Faulty(changed(("syntaxversion",), version), "syntaxversion", f"syntaxversion {version!r}")


def _times() -> Iterator[Faulty]:
    wrong = (
        *("", "now", "2100-01-01", "2100-01-01T00:00:00", "2100-01-01 00:00:00Z", "2100-01-01T00:00:00+02:00"),
        *("2100-13-01T00:00:00Z", "2100-02-30T00:00:00Z", "2100-01-01T24:00:01Z", "2100-01-01T00:60:00Z"),
        *("2100-01-01T00:00:00z", "2100-1-1T00:00:00Z", "0000-01-01T00:00:00Z", "2100-01-01T00:00Z", "4102444800"),
        *("2100-01-01T00:00:00-00:00", "2100-01-01T00:00:00Z ", "٢١٠٠-01-01T00:00:00Z", "2100-01-01T00:00:00.Z"),
    )
    for key in ("validfrom", "expireafter"):
        for text in wrong:
            yield Faulty(changed((key,), text), key, f"{key} {text!r}")
    yield Faulty(changed(("expireafter",), GOOD["validfrom"]), "expireafter", "an empty window")
    yield Faulty(
        changed(("expireafter",), "2099-12-31T00:00:00Z"), "expireafter", "a window that ends before it begins"
    )
    over = {"validfrom": "2020-01-01T00:00:00Z", "expireafter": "2020-01-02T00:00:00Z"}
    yield Faulty(encoded(GOOD | over), "window ended at 2020-01-02T00:00:00Z", "a window that is over")


def _targets() -> Iterator[Faulty]:
    for text, culprit in {
        "": "agent=~.",
        " \t": "agent=~.",
        "web": "'web'",
        "agent=~^web web": "'web'",
        "agents=web": "did you mean agent",
        "agent=~(": "'agent=~('",
        "agent=~(?=x)": "(?=x)",
        "agent=": "'agent='",
        "agent==web": "'agent==web'",
        "=web": "'=web'",
        "agent": "no operator",
        "pid>3": "'pid'",
        "silent<5m": "'silent'",
        "severity>=error": "'severity'",
        "tags=db": "did you mean tag",
        "version>=new": "invalid version 'new'",
        "version=": "'version='",
        "agent=web or agent=db": "'or'",
        "not agent=web": "'not'",
        'agent="web': "not closed",
        "agent='web'x": "after the closing quote",
        "!web": "'!web'",
        "agent~web": "operator",
        "agent:web": "operator",
        "team=shop": "'team'",
        "agent=~" + "x" * 2000: "1024",
        "host=~[": "'host=~['",
        "os!~*": "'os!~*'",
    }.items():
        yield Faulty(changed(("target",), text), culprit, f"the target {text[:40]!r}")
    yield Faulty(changed(("agents",), ["web1"]), "target and agents", "target and agents")


def _agents() -> Iterator[Faulty]:
    rest = {key: value for key, value in GOOD.items() if key != "target"}
    for agents, culprit in [
        ([], "the list is empty"),
        ("web1", "agents must be a list"),
        ({"web1": 1}, "agents must be a list"),
        (None, "agents must be a list"),
        ([""], "number 1"),
        (["web1", 3], "number 2"),
        (["web1", None], "number 2"),
        (["web1", ["web2"]], "number 2"),
        (["web1", "_"], "number 2"),
        (["web1", "x" * 300], "number 2"),
        (["web1", "db1", "web1"], "'web1' is there twice"),
    ]:
        yield Faulty(encoded({**rest, "agents": agents}), culprit, f"the agents {str(agents)[:40]}")


def _operations() -> Iterator[Faulty]:
    look = GOOD["operations"][0]
    yield Faulty(changed(("operations",), []), "operations has 0 elements", "no operations")
    yield Faulty(changed(("operations",), [look] * 33), "operations has 33 elements", "33 operations")
    for number in (1, 2, 31):
        for parameters, culprit in [({"paths": "/"}, "'paths'"), ({"path": "etc"}, "'etc'"), ({"path": 3}, "3")]:
            operations = [look] * number + [{"module": "look", "parameters": parameters}]
            where = f"operations[{number}].parameters of look"
            yield Faulty(changed(("operations",), operations), where, f"operation {number}: {parameters}")
            yield Faulty(changed(("operations",), operations), culprit, f"operation {number}: {parameters}, itself")
    for module in ("", "Look", "look ", "fil", "../look", "zc.cimaa.module:look", "look\0"):
        yield Faulty(changed(("operations", 0, "module"), module), "operations[0].module", f"the module {module!r}")
    yield Faulty(changed(("operations", 0), {"module": "command", "parameters": {}}), "'name'", "a missing parameter")


def _values() -> Iterator[Faulty]:
    for value, what in [("a\0b", "a NUL"), ("\ud800", "half of a surrogate pair")]:
        for path in (("name",), ("target",), ("description", "author"), ("threat", "ref"), ("operations", 0, "module")):
            yield Faulty(changed(path, value), path[-1], f"{what} in {path[-1]}")
        yield Faulty(
            changed(("operations", 0, "parameters", "path"), value), "parameters.path", f"{what} in a parameter"
        )
        yield Faulty(
            changed(("operations", 0, "parameters", value), "/"), "operations[0].parameters", f"{what} in a key"
        )
    yield Faulty(changed(("name",), ""), "name is empty", "an empty name")
    yield Faulty(changed(("name",), "x" * 1025), "1024", "a long name")
    yield Faulty(changed(("description", "revision"), 2**63), "description.revision", "a large integer")
    yield Faulty(changed(("description", "revision"), 1e200), "description.revision", "a large number")
    deep: Any = "/"
    for _ in range(30):
        deep = [deep]
    yield Faulty(changed(("operations", 0, "parameters", "path"), deep), "nested too deeply", "a deep parameter")
