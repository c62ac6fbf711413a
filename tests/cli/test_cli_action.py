"""``cimaa action new``, ``sign`` and ``check``."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import faulty_documents
from tests.support.command import Cimaa, completed
from tests.support.faulty_documents import GOOD
from tests.support.ssh_keys import Keys

CONFIGURATION = """\
[agent]
name = web1

[actions]
investigators = keys/investigators
longest = 1h

[permission:look]
minimum = 2
weights = jane 1, joe 1

[permission:command]
minimum = 1
weights = joe 1
"""


@pytest.fixture
def asking(cimaa: Cimaa, keys: Keys, modules_of_tests: None) -> Cimaa:
    """A host that jane and joe may ask, and a question in ``q.json``."""
    keys.make("jane")
    keys.make("joe", "ecdsa")
    keys.make("mallory")
    keys.signers(f"jane {keys.public('jane')}", f"joe {keys.public('joe')}")
    Path("cimaa.cfg").write_text(CONFIGURATION)
    write("q.json")
    return cimaa


def write(file: str, **changed: Any) -> None:
    Path(file).write_text(json.dumps(GOOD | changed, indent=2))


def rows(stdout: str) -> list[list[str]]:
    return [line.split("\t") for line in stdout.splitlines()]


def test_a_draft_is_an_action_for_this_agent(asking: Cimaa) -> None:
    result = asking("action", "new", "look", "--for", "30m", "--name", "who has it")
    draft = json.loads(result.stdout)
    assert (draft["target"], draft["operations"]) == ("agent=web1", [{"module": "look", "parameters": {}}])
    draft["operations"][0]["parameters"] = {"path": "/etc"}
    Path("draft.json").write_text(json.dumps(draft))
    assert asking("action", "sign", "draft.json", "--key", "keys/jane").exit_code == 0


def test_a_draft_has_a_valid_target_and_a_known_module(asking: Cimaa) -> None:
    assert "did you mean agent?" in asking("action", "new", "look", "--target", "agnt=web1").stderr
    result = asking("action", "new", "lok")
    assert (result.exit_code, "there is no module 'lok'; did you mean 'look'?" in result.stderr) == (2, True)


def test_an_action_is_permitted_when_enough_have_signed_it(asking: Cimaa) -> None:
    result = asking("action", "check", "q.json")
    assert (result.exit_code, rows(result.stdout)) == (1, [["1", "look", "[permission:look]", "", "0", "2", "no"]])
    assert "It is not signed" in result.stderr
    assert "; still missing: 2; not signed yet: jane 1, joe 1.\n" in result.stderr
    assert "q.json.sig has 1 signature." in asking("action", "sign", "q.json", "--key", "keys/jane").stderr
    result = asking("action", "check", "q.json")
    assert (result.exit_code, rows(result.stdout)) == (
        1,
        [["1", "look", "[permission:look]", "jane 1", "1", "2", "no"]],
    )
    assert (
        "Not permitted here: the signatures weigh 1 for the module look; [permission:look] needs 2;"
        " still missing: 1; not signed yet: joe 1.\n"
    ) in result.stderr
    assert "q.json.sig has 2 signatures." in asking("action", "sign", "q.json", "--key", "keys/joe").stderr
    result = asking("action", "check", "q.json")
    assert result.exit_code == 0
    assert rows(result.stdout) == [["1", "look", "[permission:look]", "jane 1, joe 1", "2", "2", "yes"]]
    assert "Signed by jane, with the key SHA256:" in result.stderr


def test_each_operation_has_the_weights_of_those_who_signed(asking: Cimaa) -> None:
    """Jane has no weight for commands; and nobody is left who could make up for it."""
    with Path("cimaa.cfg").open("a") as file:
        file.write(
            "[command:reboot]\ncommand = reboot\n[permission:command:reboot]\nminimum = 2\nweights = jane 1, joe 1\n"
        )
    commands = [{"module": "command", "parameters": {"name": name}} for name in ("wall", "reboot")]
    write("q.json", operations=[{"module": "look", "parameters": {"path": "/etc"}}, *commands])
    asking("action", "sign", "q.json", "--key", "keys/jane")
    asking("action", "sign", "q.json", "--key", "keys/mallory")
    result = asking("action", "check", "q.json")
    assert [row[2:] for row in rows(result.stdout)] == [
        ["[permission:look]", "jane 1", "1", "2", "no"],
        ["[permission:command]", "jane 0", "0", "1", "no"],
        ["[permission:command:reboot]", "jane 1", "1", "2", "no"],
    ]
    assert "Signed with the unknown key SHA256:" in result.stderr
    assert "which weighs nothing" in result.stderr
    assert result.stderr.count("not signed yet: joe 1.") == 3


def test_json_has_all_of_it(asking: Cimaa) -> None:
    asking("action", "sign", "q.json", "--key", "keys/mallory")
    asking("action", "sign", "q.json", "--key", "keys/joe")
    result = asking("action", "check", "q.json", "--json")
    found = json.loads(result.stdout)
    assert [signature["name"] for signature in found["signatures"]] == [None, "joe"]
    assert (found["target"], found["permitted"]) == (GOOD["target"], False)
    (operation,) = found["operations"]
    assert (operation["weight"], operation["minimum"], operation["permitted"]) == (1, 2, False)
    assert (operation["signed"], operation["missing"], operation["not_signed"]) == ({"joe": 1}, 1, {"jane": 1})


def test_a_narrow_terminal_shows_what_the_numbers_are(asking: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    asking("action", "sign", "q.json", "--key", "keys/jane")
    shown = " ".join(asking("action", "check", "q.json", "--table").stdout.split())
    assert shown == "operation 1 look [permission:look] signed jane 1 weight 1 minimum 2 permitted no"


def test_it_says_if_those_who_are_left_do_not_suffice(asking: Cimaa) -> None:
    Path("cimaa.cfg").write_text(CONFIGURATION.replace("minimum = 2", "minimum = 3"))
    asking("action", "sign", "q.json", "--key", "keys/jane")
    result = asking("action", "check", "q.json")
    assert "still missing: 2; not signed yet: joe 1, which is not enough." in result.stderr


@pytest.mark.parametrize("module", ["look", "file"])
def test_a_draft_with_a_longer_window_than_this_host_accepts_is_a_warning(asking: Cimaa, module: str) -> None:
    result = asking("action", "new", module, "--target", "agent=~.", "--for", "2h")
    assert (result.exit_code, result.stderr) == (0, "Warning: its window is 2h long; [actions] longest is 1h.\n")
    assert json.loads(result.stdout)["target"] == "agent=~."
    assert asking("action", "new", module, "--target", "agent=~.", "--for", "1h").stderr == ""
    result = asking("action", "new", module, "--for", "31d")
    assert (result.exit_code, "'31d' is too long: at most 30d are allowed" in result.stderr) == (2, True)


def test_a_draft_has_a_valid_name(asking: Cimaa) -> None:
    result = asking("action", "new", "look", "--name", "x" * 1025)
    assert (result.exit_code, result.stdout, "name" in result.stderr) == (1, "", True)


def test_a_draft_can_be_written_where_the_configuration_is_invalid(asking: Cimaa) -> None:
    Path("cimaa.cfg").write_text("[actions]\nlongest = x\n")
    result = asking("action", "new", "look", "--target", "agent=~.")
    assert (result.exit_code, json.loads(result.stdout)["target"]) == (0, "agent=~.")
    assert "Warning: it is not known how long its window may be: " in result.stderr


def test_a_key_signs_once(asking: Cimaa) -> None:
    asking("action", "sign", "q.json", "--key", "keys/jane")
    before = Path("q.json.sig").read_bytes()
    result = asking("action", "sign", "q.json", "--key", "keys/jane")
    assert (result.exit_code, "q.json is signed with the key SHA256:" in result.stderr) == (1, True)
    assert Path("q.json.sig").read_bytes() == before


def test_a_changed_action_must_be_signed_again(asking: Cimaa) -> None:
    asking("action", "sign", "q.json", "--key", "keys/jane")
    write("q.json", name="another")
    result = asking("action", "sign", "q.json", "--key", "keys/joe")
    assert result.exit_code == 1
    assert "signature 1 is not of q.json" in result.stderr
    assert "remove q.json.sig" in result.stderr
    result = asking("action", "check", "q.json")
    assert result.exit_code == 1
    assert "q.json.sig: signature 1, with the key SHA256:" in result.stderr
    assert "of jane: it was made for other content, or the content was changed since" in result.stderr


def test_a_file_of_signatures_that_is_damaged_is_named(asking: Cimaa) -> None:
    Path("q.json.sig").write_text("junk\n")
    for command in (("sign", "--key", "keys/jane"), ("check",)):
        result = asking("action", *command, "q.json")
        assert result.exit_code == 1
        assert result.stderr.startswith("cimaa: error: q.json.sig: the signatures, line 1: 'junk' is not part of")


def test_a_window_that_is_too_wide_is_not_permitted(asking: Cimaa) -> None:
    write("q.json", expireafter="2100-01-01T02:00:00Z")
    for name in ("jane", "joe"):
        asking("action", "sign", "q.json", "--key", f"keys/{name}")
    result = asking("action", "check", "q.json")
    assert result.exit_code == 1
    assert "Not permitted here: its window is 2h long; [actions] longest is 1h." in result.stderr


def test_without_investigators_all_keys_are_unknown(asking: Cimaa) -> None:
    Path("cimaa.cfg").write_text("[agent]\nname = web1\n")
    asking("action", "sign", "q.json", "--key", "keys/jane")
    result = asking("action", "check", "q.json")
    assert result.exit_code == 1
    assert "names no [actions] investigators" in result.stderr
    assert "Signed with the unknown key SHA256:" in result.stderr
    assert "no section permits the module look" in result.stderr


def test_a_weight_without_a_key_is_a_warning(asking: Cimaa, keys: Keys) -> None:
    keys.signers(f"jane {keys.public('jane')}")
    assert "Warning: no investigator is named 'joe'" in asking("action", "check", "q.json").stderr


def test_the_first_key_of_the_user_signs(asking: Cimaa, keys: Keys, tmp_path: Path) -> None:
    result = asking("action", "sign", "q.json")
    assert (result.exit_code, "there is no SSH key in" in result.stderr) == (1, True)
    (tmp_path / ".ssh").mkdir()
    (keys.directory / "jane").rename(tmp_path / ".ssh" / "id_ed25519")
    assert asking("action", "sign", "q.json").exit_code == 0
    assert "Signed by jane" in asking("action", "check", "q.json").stderr


def test_a_file_that_is_missing_is_named(asking: Cimaa) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):  # which the program shows on one line
        asking("action", "check", "none.json")


@pytest.mark.parametrize("command", ["sign", "check"])
def test_the_culprit_is_named_for_each_faulty_document(asking: Cimaa, command: str) -> None:
    for faulty in faulty_documents.faulty():
        Path("f.json").write_bytes(faulty.data)
        options = ("--key", "keys/jane") if command == "sign" else ()
        result = asking("action", command, "f.json", *options)
        assert (result.exit_code, result.stdout) == (1, ""), faulty.how
        assert result.stderr.startswith("cimaa: error: f.json: "), faulty.how
        assert result.stderr.count("\n") == 1, faulty.how
        assert not Path("f.json.sig").exists(), faulty.how
        if faulty.culprit.isprintable():
            assert faulty.culprit in result.stderr, faulty.how


def test_modules_are_completed(asking: Cimaa) -> None:
    assert "look" in completed(["action", "new"], "")
    assert completed(["action", "new"], "loo") == ["look"]
