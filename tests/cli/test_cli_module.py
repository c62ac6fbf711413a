"""``cimaa module``: modules by hand."""

import json
from pathlib import Path

import pytest

from tests.support.command import Cimaa, completed
from zc.cimaa.actions import modules


@pytest.fixture
def tree(cimaa: Cimaa) -> Path:
    tree = cimaa.directory / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "shadow").write_text("root:secret\n")
    (tree / "sub" / "shadow").write_text("root:x\nb\n")
    return tree


def test_parameters_come_from_standard_input_or_as_words(cimaa: Cimaa, tree: Path) -> None:
    given = {"path": str(tree), "name": "shadow", "size": ">10"}
    piped = cimaa("module", "file", "--json", input=json.dumps(given))
    words = cimaa("module", "file", f"path={tree}", "name=shadow", "size=>10", "--json")
    answer = json.loads(piped.stdout)
    assert [element["path"] for element in answer["elements"]] == [f"{tree}/shadow"]
    assert list(answer) == ["status", "found", "success", "elements", "statistics", "errors"]
    assert (answer["status"], answer["found"], answer["success"], answer["errors"]) == ("success", True, True, [])
    assert json.loads(words.stdout)["elements"] == answer["elements"]
    assert piped.exit_code == words.exit_code == 0


def test_an_answer_is_readable(cimaa: Cimaa, tree: Path) -> None:
    result = cimaa("module", "file", f"path={tree}", "name=shadow", "content=secret")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tree}/shadow\tfile\t12\t")
    assert "files: 4, directories: 2" in result.stderr
    assert "matches: 1, complete: true" in result.stderr
    assert "secret" not in result.stdout


def test_within_confines_the_search(cimaa: Cimaa, tree: Path) -> None:
    result = cimaa("module", "file", f"path={tree}", "--within", f"{tree}/sub")
    assert result.exit_code == 1
    assert f"file: {tree} is not within {tree}/sub" in result.stderr
    assert cimaa("module", "file", f"path={tree}/sub", "--within", f"{tree}/sub").exit_code == 0
    assert cimaa("module", "file", f"path={tree}/sub", "--within", "tree").exit_code == 0


def test_a_command_of_the_configuration_is_run(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[command:say]\ncommand = sh -c 'echo $CIMAA_CONFIG $1; exit $2' sh\narguments = [a-z0-9]+\n")
    result = cimaa("module", "command", "name=say", "arguments=x", "arguments=0", "--json")
    assert json.loads(result.stdout)["elements"][0]["output"] == f"{cimaa.directory}/cimaa.cfg x\n"
    result = cimaa("module", "command", "name=say", "arguments=x", "arguments=7")
    assert result.exit_code == 1
    assert "command: it exited with status 7" in result.stderr
    assert "does not allow the argument 'X'" in cimaa("module", "command", "name=say", "arguments=X").stderr
    shown = cimaa("config").stdout
    assert "[command:say]\targuments\t[a-z0-9]+" in shown
    assert cimaa("config", "--check").exit_code == 0


def test_the_agent_s_checks_are_run(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\ndirectory = checks\n")
    Path("checks").mkdir()
    Path("checks/shop.cfg").write_text("[bad]\ncommand = sh -c 'echo down; exit 2'\n[fine]\ncommand = echo fine\n")
    answer = json.loads(cimaa("module", "check", "names=bad", "names=shop/fine", "--json").stdout)
    assert [(each["check"], len(each["faults"])) for each in answer["elements"]] == [("shop/bad", 1), ("shop/fine", 0)]
    assert answer["elements"][0]["faults"][0]["name"] == "//web1/shop/bad"
    result = cimaa("module", "check", "names=fin")
    assert result.exit_code == 1
    assert "check: fin: there is no check 'fin'; did you mean fine?" in result.stderr
    with cimaa.store() as db:
        assert db.get_agents() == []


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["file"], '{"path": "/", "nam": "x"}', "module file has no parameter 'nam'; did you mean name?"),
        (["file"], '{"path": "/"', "module file: standard input is not JSON"),
        (["file"], "[]", "module file: standard input must be a JSON object, not a list"),
        (["file"], '{"path": "/etc", "path": "/"}', "module file: the key 'path' is there twice in one object"),
        (["file"], '{"path": "\\ud800"}', "module file: path"),
        (["file", "path=etc"], "", "parameter 'path': 'etc' is not an absolute path"),
        (["file", "depth=x"], "", "parameter 'depth': 'x' is not an integer"),
        (["file", "etc"], "", "'etc' is not a parameter: write NAME=VALUE"),
        (["file"], "", "module file: parameter 'path' is missing"),
        (["file"], "\n", "module file: parameter 'path' is missing"),
    ],
)
def test_wrong_parameters_are_named(cimaa: Cimaa, arguments: list[str], given: str, message: str) -> None:
    result = cimaa("module", *arguments, input=given)
    assert result.exit_code == 1
    assert message in str(result.stderr)
    assert result.stdout == ""


def test_an_unknown_module_is_wrong_usage(cimaa: Cimaa) -> None:
    result = cimaa("module", "fil")
    assert (result.exit_code, "there is no module 'fil'; did you mean 'file'?" in result.stderr) == (2, True)


def test_nothing_on_standard_input_is_no_parameter(cimaa: Cimaa) -> None:
    assert cimaa("module", "process", "--json", input="").exit_code == 0


@pytest.mark.parametrize("columns", ["0", "1", "20", "80", "x", ""])
def test_a_terminal_of_any_width_shows_the_modules(cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = cimaa("action", "modules", "--table").stdout
    assert [name for name in modules.names() if name not in shown] == []


def test_the_modules_of_actions_are_listed_as_json_with_their_parameters(cimaa: Cimaa) -> None:
    listed = json.loads(cimaa("action", "modules", "--json").stdout)
    assert [each["name"] for each in listed] == modules.names()
    assert listed == json.loads(cimaa("module", "--json").stdout)


def test_without_a_name_the_modules_are_listed_with_their_parameters(cimaa: Cimaa) -> None:
    lines = cimaa("module").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines if line[0] != "\t"] == modules.names()
    assert "\tpath\tabsolute paths\trequired\twhere to search: a file, or a directory and all below it" in lines
    listed = json.loads(cimaa("module", "--json").stdout)
    for each in listed:
        module = modules.load(each["name"])
        assert each["summary"] == module.summary
        assert [parameter["name"] for parameter in each["parameters"]] == [p.name for p in module.parameters]


def test_modules_and_parameters_are_completed(cimaa: Cimaa) -> None:
    assert completed(["module"], "p") == ["package", "port", "process"]
    assert completed(["module", "file"], "m") == ["mtime=", "matches="]
    assert completed(["module", "nonsense"], "m") == []


def test_the_time_is_limited(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[command:wait]\ncommand = sleep 1000\n")
    result = cimaa("module", "command", "name=wait", "--limit", "1s", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "timeout"


def test_a_wrong_section_is_a_problem_of_the_configuration(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[command:a]\narguments = (?=x)\n[command:b]\n[command:c]\ncommand = no-such-program-here\n")
    result = cimaa("config", "--check")
    assert result.exit_code == 1
    assert "[command:a] arguments" in result.stdout
    assert "[command:b] command: the command is missing" in result.stdout
    assert "[command:c] command: no-such-program-here not found on the PATH" in result.stderr
