"""What the signers of an action may ask for: the same as in MIG."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa.actions import permissions
from zc.cimaa.actions.documents import Operation
from zc.cimaa.actions.permissions import Permission, Permissions
from zc.cimaa.config import Config
from zc.cimaa.errors import ActionRefused, ConfigurationError

KNOWN = ("file", "package", "port", "command", "command:restart")


def only_looks(module: str) -> bool:
    return module != "command"


# MIG's documented example.
BOB_AND_JOHN = {"permission:file": {"minimum": "2", "weights": "Bob.Kelso 2, John.Smith 1"}}


def operations(*modules: str) -> list[Operation]:
    return [Operation(module, {}) for module in modules]


def is_permitted(granted: Permissions, asked: list[Operation], signers: list[str]) -> bool:
    try:
        granted.check(asked, signers)
    except ActionRefused:
        return False
    return True


def mig_permits(acl: dict[str, Any], module: str, signers: list[str]) -> bool:
    """MIG's rule, written down from its source (verifyPermission in acl.go); each signer has one key."""
    entry = acl.get(module, acl.get("default"))
    if entry is None or entry["minimumweight"] < 1:
        return False
    if len(set(signers)) < len(signers):
        return False
    return sum(entry["investigators"].get(signer, 0) for signer in signers) >= entry["minimumweight"]


@pytest.mark.parametrize(
    ("signers", "permitted"),
    [
        (["John.Smith"], False),
        (["Bob.Kelso"], True),
        (["John.Smith", "Bob.Kelso"], True),
        ([], False),
        (["Mallory"], False),
        (["John.Smith", "Mallory"], False),
    ],
)
def test_the_documented_example_of_mig_comes_out_as_documented(signers: list[str], permitted: bool) -> None:
    granted = permissions.parse(BOB_AND_JOHN, KNOWN, only_looks)
    assert is_permitted(granted, operations("file"), signers) is permitted


NAMES = st.sampled_from(["jane", "joe", "ann", "bob", "mallory"])
ENTRIES = st.fixed_dictionaries(
    {"minimumweight": st.integers(1, 6), "investigators": st.dictionaries(NAMES, st.integers(1, 4), min_size=1)}
)


@given(
    st.dictionaries(st.sampled_from(["file", "package", "port", "default"]), ENTRIES),
    st.lists(st.sampled_from(["file", "package", "port"]), min_size=1, max_size=4),
    st.lists(NAMES, max_size=5),
)
def test_weights_agree_with_the_rule_of_mig(acl: dict[str, Any], modules: list[str], signers: list[str]) -> None:
    sections = {
        f"permission:{name}": {
            "minimum": str(entry["minimumweight"]),
            "weights": ", ".join(f"{name} {weight}" for name, weight in entry["investigators"].items()),
        }
        for name, entry in acl.items()
    }
    granted = permissions.parse(sections, KNOWN, only_looks)
    expected = all(mig_permits(acl, module, signers) for module in modules)
    assert is_permitted(granted, operations(*modules), signers) is expected


def test_one_operation_that_is_not_permitted_refuses_the_whole_action() -> None:
    sections = {"permission:file": {"minimum": "1", "weights": "jane 1"}}
    granted = permissions.parse(sections, KNOWN, only_looks)
    with pytest.raises(ActionRefused, match=r"no section permits the module port: \[permission:port\]"):
        granted.check(operations("file", "port"), ["jane"])


def test_each_name_counts_once() -> None:
    granted = permissions.parse(BOB_AND_JOHN, KNOWN, only_looks)
    with pytest.raises(ActionRefused, match=r"John\.Smith signed twice"):
        granted.check(operations("file"), ["John.Smith", "John.Smith"])


def test_the_default_does_not_hold_for_commands() -> None:
    granted = permissions.parse({"permission:default": {"minimum": "1", "weights": "jane 1"}}, KNOWN, only_looks)
    granted.check(operations("file"), ["jane"])
    with pytest.raises(ActionRefused, match=r"no section permits the module command: \[permission:command\]$"):
        granted.check([Operation("command", {"name": "restart"})], ["jane"])


THIRD_PARTY = """
from zc.cimaa.actions.answers import Answer
from zc.cimaa.actions.modules import Inspector, Operator

class Looks(Inspector):
    name, summary, parameters = "looks", "looks", ()

class Acts(Operator):
    name, summary, parameters = "acts", "acts", ()

class Declared(Operator):
    name, summary, parameters, only_looks = "declared", "looks in another way", (), True

class Wrong(Operator):
    name, summary, parameters, only_looks = "wrong", "says it in a wrong way", (), "no"
"""
DEFAULT_ALONE = "[permission:default]\nminimum = 1\nweights = jane 1\n"


@pytest.fixture
def third_party(tmp_path: Path, install_modules: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of another project."""
    (tmp_path / "third_party_modules.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {"looks": "Looks", "acts": "Acts", "declared": "Declared", "wrong": "Wrong", "broken": "Missing"}
    install_modules("".join(f"{name} = third_party_modules:{value}\n" for name, value in names.items()))


def configured(tmp_path: Path, text: str) -> Permissions:
    (tmp_path / "cimaa.cfg").write_text(text)
    return permissions.of_configuration(Config.read(tmp_path / "cimaa.cfg"))


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("module", "permitted"),
    [
        *[(name, True) for name in ("looks", "declared", "file", "package", "port", "process", "check")],
        *[(name, False) for name in ("acts", "wrong", "broken", "missing", "command")],
    ],
)
def test_the_default_holds_only_for_modules_that_only_look(tmp_path: Path, module: str, permitted: bool) -> None:
    granted = configured(tmp_path, DEFAULT_ALONE)
    assert is_permitted(granted, operations(module), ["jane"]) is permitted
    if not permitted:
        with pytest.raises(ActionRefused, match=rf"no section permits the module {module}: \[permission:{module}\]$"):
            granted.check(operations(module), ["jane"])


@pytest.mark.usefixtures("third_party")
def test_a_module_that_acts_needs_a_section_of_its_own(tmp_path: Path) -> None:
    granted = configured(tmp_path, f"{DEFAULT_ALONE}[permission:acts]\nminimum = 1\nweights = joe 1\n")
    assert is_permitted(granted, operations("acts"), ["joe"])
    assert not is_permitted(granted, operations("acts"), ["jane"])


def test_a_section_for_one_command_comes_before_that_for_all() -> None:
    sections = {
        "permission:command": {"minimum": "2", "weights": "jane 1, joe 1"},
        "permission:command:restart": {"minimum": "1", "weights": "joe 1"},
    }
    granted = permissions.parse(sections, KNOWN, only_looks)
    restart, other = Operation("command", {"name": "restart"}), Operation("command", {"name": "other"})
    assert is_permitted(granted, [restart], ["joe"])
    assert not is_permitted(granted, [restart], ["jane"])
    assert not is_permitted(granted, [other], ["joe"])
    assert is_permitted(granted, [other, restart], ["joe", "jane"])


def test_what_signatures_weigh_is_shown_for_each_operation() -> None:
    granted = permissions.parse(BOB_AND_JOHN, KNOWN, only_looks)
    (weighed,) = granted.weigh(operations("file"), ["John.Smith"])
    expected = Permission("permission:file", 2, {"Bob.Kelso": 2, "John.Smith": 1})
    assert (weighed.permission, weighed.weight) == (expected, 1)
    assert weighed.reason == "the signatures weigh 1 for the module file; [permission:file] needs 2"


def test_within_confines_the_module_file() -> None:
    section = {"minimum": "1", "weights": "jane 1", "within": "/etc '/var/my log'"}
    granted = permissions.parse({"permission:file": section}, KNOWN, only_looks)
    (file,) = granted.weigh(operations("file"), [])
    assert file.permission is not None
    assert file.permission.within == ("/etc", "/var/my log")


@pytest.mark.parametrize(
    ("name", "section", "message"),
    [
        ("fil", {"minimum": "1", "weights": "jane 1"}, r"\[permission:fil\]: there is no module 'fil'; .* file\?"),
        ("command:x", {"minimum": "1", "weights": "jane 1"}, r"\[permission:command:x\]: there is no module"),
        ("file", {"weights": "jane 1"}, r"\[permission:file\] minimum is missing"),
        ("file", {"minimum": "1"}, r"\[permission:file\] weights is missing"),
        ("file", {"minimum": "0", "weights": "jane 1"}, r"\[permission:file\] minimum: '0' is less than 1"),
        ("file", {"minimum": "1", "weights": ""}, r"weights: '' is not NAME WEIGHT"),
        ("file", {"minimum": "1", "weights": "jane"}, r"weights: 'jane' is not NAME WEIGHT"),
        ("file", {"minimum": "1", "weights": "jane 1 joe 1"}, r"'jane 1 joe 1' is not NAME WEIGHT"),
        ("file", {"minimum": "1", "weights": "jane 1, jane 1"}, r"weights: 'jane' is there twice"),
        ("file", {"minimum": "1", "weights": "jane 0"}, r"the weight of jane: '0' is less than 1"),
        ("file", {"minimum": "1", "weights": "jane -1"}, r"the weight of jane"),
        ("file", {"minimum": "1", "weights": "jane x"}, r"the weight of jane: 'x'"),
        ("file", {"minimum": "1", "weight": "jane 1"}, r"has no option 'weight'; did you mean weights"),
        ("file", {"minimum": "1", "weights": "jane 1", "within": "etc"}, r"within: 'etc' is not an absolute path"),
        ("port", {"minimum": "1", "weights": "jane 1", "within": "/etc"}, r"has no option 'within'"),
    ],
)
def test_a_wrong_section_is_named(name: str, section: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        permissions.parse({f"permission:{name}": section}, KNOWN, only_looks)


def test_all_wrong_sections_are_named_and_others_passed_over() -> None:
    wrong = {"permission:file": {}, "permission:port": {"minimum": "x"}, "agent": {"x": "y"}}
    with pytest.raises(ConfigurationError) as raised:
        permissions.parse(wrong, KNOWN, only_looks)
    assert len(raised.value.others) == 1


def test_a_weight_for_a_name_without_a_key_is_a_warning() -> None:
    granted = permissions.parse(BOB_AND_JOHN, KNOWN, only_looks)
    (warning,) = permissions.unknown_names(granted, ["Bob.Kelso", "John.Smit"])
    assert warning == "no investigator is named 'John.Smith'; did you mean John.Smit?"
