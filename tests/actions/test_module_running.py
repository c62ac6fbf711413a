"""Modules in their processes: time, output and children of each are limited."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import hostile_modules as hostile
from tests.support.processes import ended, until
from zc.cimaa.actions import running
from zc.cimaa.actions.answers import ANSWER
from zc.cimaa.actions.modules import CheckRun, Host, Module, agent_checks, host_commands
from zc.cimaa.actions.running import FAILED, SUCCESS, TIMEOUT, ModuleRun
from zc.cimaa.config import Config
from zc.cimaa.errors import ConfigurationError, InvalidParameters
from zc.cimaa.options import Option


def run(module: type[Module], seconds: float = 30, host: Host | None = None, **parameters: object) -> ModuleRun:
    return asyncio.run(running.run_module(module, parameters, host or Host(), seconds))


def pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()]


def test_a_module_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    started = time.monotonic()
    ran = run(hostile.Hanging, 2, file=str(file))
    assert ran.status == TIMEOUT
    assert ran.answer.errors == ["it was killed after 2s"]
    assert time.monotonic() - started < 15
    assert len(pids(file)) >= 5
    assert all(ended(pid) for pid in pids(file))


def test_a_module_that_is_cancelled_is_ended_with_all_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    file.touch()

    async def cancelled() -> None:
        task = asyncio.create_task(running.run_module(hostile.Hanging, {"file": str(file)}, Host(), 60))
        while len(pids(file)) < 9:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancelled(), 30))
    assert all(ended(pid) for pid in pids(file))


def test_what_a_module_leaves_behind_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    file.touch()
    assert run(hostile.Leaving, file=str(file)).status == SUCCESS
    assert all(ended(pid) for pid in pids(file))


@pytest.mark.parametrize(
    ("module", "error"),
    [
        (hostile.Flooding, "it was killed because it wrote more than 256KiB"),
        (hostile.Devouring, "it needed too much memory"),
        (hostile.Exiting, "its process ended with status 3"),
        (hostile.Crashing, "its process ended with signal 11"),
        (hostile.Chattering, "its process did not write an answer"),
    ],
)
def test_a_module_that_fails_says_how(module: type[Module], error: str) -> None:
    ran = run(module)
    assert ran.status == FAILED
    assert ran.answer[:3] == (False, False, [])
    assert ran.answer.errors == [error]


def test_an_exception_is_named_without_its_message() -> None:
    ran = run(hostile.Raising)
    assert ran.status == FAILED
    assert "RuntimeError in Raising.inspect" in ran.answer.errors[0]
    assert hostile.SECRET not in json.dumps(ran)


def test_an_answer_that_is_too_long_is_cut_visibly() -> None:
    ran = run(hostile.Answering)
    assert ran.status == SUCCESS
    assert len(json.dumps(ran.answer._asdict(), separators=(",", ":"))) <= ANSWER
    left_out = ran.answer.statistics["left_out"]
    assert len(ran.answer.elements) + left_out == 100_000
    assert ran.answer.errors == [f"the answer was cut at 256 KiB: {left_out} more elements were left out"]


def test_a_module_runs_apart_and_after_others() -> None:
    ran = run(hostile.Limited, host=Host(within=["/a"]))
    (own,) = ran.answer.elements
    assert own["session"] == own["pid"] != os.getpid()
    assert own["nice"] >= 10
    assert (own["directory"], own["input"], own["within"], own["over"]) == ("/", "", ["/a"], False)


def test_without_time_nothing_is_started(tmp_path: Path) -> None:
    ran = run(hostile.Hanging, 0, file=str(tmp_path / "pids"))
    assert ran.status == TIMEOUT
    assert ran.answer.errors == ["it was not run: no time was left"]
    assert not (tmp_path / "pids").exists()


def test_wrong_parameters_are_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidParameters, match="has no parameter 'x'"):
        run(hostile.Hanging, x=1)
    with pytest.raises(ConfigurationError, match="there is no module 'none'"):
        asyncio.run(running.run("none", {}, Host()))


def test_a_search_that_takes_long_answers_with_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("here\n")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**43)
    ran = asyncio.run(running.run("file", {"path": [f"{tmp_path}/a", str(tmp_path)], "content": "here"}, Host(), 2))
    assert ran.status == FAILED
    assert [element["path"] for element in ran.answer.elements] == [f"{tmp_path}/a"]
    assert "its time was over" in ran.answer.errors[0]


def test_proc_and_a_tree_full_of_traps_are_searched_in_time(tmp_path: Path) -> None:
    for number in range(200):
        os.mkfifo(tmp_path / f"fifo{number}")
        (tmp_path / f"loop{number}").symlink_to(tmp_path)
        (tmp_path / f"zero{number}").symlink_to("/dev/zero")
    started = time.monotonic()
    for path in (str(tmp_path), "/proc", "/dev"):
        parameters = {"path": path, "type": "any", "content": "no such content", "hash": True}
        ran = asyncio.run(running.run("file", parameters, Host(), 30))
        assert ran.status == SUCCESS
        assert not ran.answer.found
    assert time.monotonic() - started < 60


# Commands


def commands(tmp_path: Path, text: str) -> Host:
    (tmp_path / "cimaa.cfg").write_text(text)
    return Host(commands=host_commands.load(Config.read(tmp_path / "cimaa.cfg")), environment={"EXTRA": "1"})


def command(host: Host, name: str, *arguments: str, seconds: float = 30) -> ModuleRun:
    parameters = {"name": name, **({"arguments": list(arguments)} if arguments else {})}
    return asyncio.run(running.run("command", parameters, host, seconds))


def test_a_command_of_the_configuration_is_run_without_a_shell(tmp_path: Path) -> None:
    host = commands(tmp_path, "[command:say]\ncommand = printf '%s|' a 'b c' $HOME\narguments = [a-z; $()]+\n")
    ran = command(host, "say", "d; $(id)")
    assert ran.answer.elements == [{"command": "say", "status": 0, "output": "a|b c|$HOME|d; $(id)|", "errors": ""}]
    assert (ran.answer.found, ran.answer.success) == (True, True)


@pytest.mark.parametrize(
    ("expression", "argument", "allowed"),
    [
        ("arguments = nginx|mysql\n", "nginx", True),
        ("arguments = nginx|mysql\n", "nginx2", False),
        ("arguments = nginx|mysql\n", "mysql\n", False),
        ("arguments = nginx|mysql\n", "--nginx", False),
        ("arguments = ^nginx$\n", "nginx\nx", False),
        ("arguments = [^/]*\n", "a\nb", True),
        ("", "nginx", False),
        ("arguments = \n", "nginx", False),
    ],
)
def test_an_argument_is_added_only_if_the_expression_matches_all_of_it(
    tmp_path: Path, expression: str, argument: str, allowed: bool
) -> None:
    ran = command(commands(tmp_path, f"[command:say]\ncommand = echo\n{expression}"), "say", argument)
    assert (ran.status == SUCCESS) == allowed
    if not allowed:
        assert ran.answer.errors == [f"[command:say] arguments does not allow the argument {argument!r}"]
        assert ran.answer.elements == []


def test_each_of_several_arguments_must_be_allowed(tmp_path: Path) -> None:
    host = commands(tmp_path, "[command:say]\ncommand = echo\narguments = [a-z]+\n")
    assert command(host, "say", "a", "b").status == SUCCESS
    assert command(host, "say", "a", "B").status == FAILED


def test_a_command_that_is_not_in_the_configuration_is_refused_with_the_nearest(tmp_path: Path) -> None:
    host = commands(tmp_path, "[command:restart-nginx]\ncommand = true\n")
    ran = command(host, "restart")
    assert ran.status == FAILED
    assert ran.answer.errors == [
        "this agent's configuration has no section [command:restart]; did you mean restart-nginx?"
    ]


def test_a_command_that_fails_says_how_and_shows_what_it_wrote(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho out $EXTRA; echo err >&2; exit 4\n")
    script.chmod(0o755)
    host = commands(tmp_path, f"[command:bad]\ncommand = {script}\n[command:none]\ncommand = /none/such\n")
    ran = command(host, "bad")
    assert (ran.status, ran.answer.errors) == (FAILED, ["it exited with status 4"])
    assert ran.answer.elements == [{"command": "bad", "status": 4, "output": "out 1\n", "errors": "err\n"}]
    assert command(host, "none").answer.errors == ["[command:none] /none/such does not exist"]


@pytest.mark.parametrize("byte", ["x", "\\377", "\\001"])
def test_a_command_s_output_is_cut_visibly_and_the_command_is_not_killed(tmp_path: Path, byte: str) -> None:
    done = tmp_path / "done"
    script = f"head -c 3000000 /dev/zero | tr '\\\\000' '{byte}'; touch {done}"
    ran = command(commands(tmp_path, f'[command:long]\ncommand = sh -c "{script}"\n'), "long")
    assert ran.status == SUCCESS
    assert done.exists()
    assert len(json.dumps(ran.answer._asdict(), ensure_ascii=False).encode()) <= ANSWER
    assert "[cut: " in ran.answer.elements[0]["output"][-100:]


def test_a_command_ends_at_its_own_timeout_and_at_the_end_of_the_window(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"setsid -f sh -c 'echo $$ >> {file}; exec sleep 1000'; echo $$ >> {file}; exec sleep 1000"
    host = commands(tmp_path, f'[command:own]\ncommand = sh -c "{script}"\ntimeout = 1s\n')
    assert command(host, "own").answer.errors == ["it was killed because it took longer than 1s"]
    host = commands(tmp_path, f'[command:own]\ncommand = sh -c "{script}"\n')
    assert command(host, "own", seconds=1).status == TIMEOUT
    assert until(lambda: len(pids(file)) == 4)
    assert all(ended(pid) for pid in pids(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[command:x]\n", r"\[command:x\] command: the command is missing"),
        ("[command:x]\ncommand = true\narguments = (?=x)\n", r"\[command:x\] arguments .*not a valid RE2"),
        ("[command:x]\ncommand = true\nshell = yes\n", r"\[command:x\] .* has no option 'shell'"),
        ("[command:x]\ncommand = 'true\n", r"\[command:x\] command"),
        ("[command:]\ncommand = true\n", r"unknown section \[command:\]"),
    ],
)
def test_a_section_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        commands(tmp_path, text)


def test_the_options_of_a_command_are_documented() -> None:
    assert all(isinstance(option, Option) and option.help for option in host_commands.OPTIONS)


# Checks


def test_checks_are_run_by_the_agent_once_each() -> None:
    fault = {"name": "//web1/f/bad", "severity": 40, "message": "bad"}
    asked: list[str] = []

    async def run_checks(names: Sequence[str]) -> Sequence[CheckRun]:
        asked.extend(names)
        return [CheckRun("f/good"), CheckRun("f/bad", [fault])]  # type: ignore[list-item]  # a fault is a dict

    ran = run(agent_checks.Module, host=Host(run_checks=run_checks), names=["good", "bad", "good"])
    assert asked == ["good", "bad"]
    assert ran.status == SUCCESS
    assert ran.answer.found
    assert ran.answer.elements == [{"check": "f/good", "faults": []}, {"check": "f/bad", "faults": [fault]}]
    assert ran.answer.statistics["faults"] == 1


def test_a_check_that_cannot_be_run_is_an_error_and_loses_no_other() -> None:
    async def run_checks(names: Sequence[str]) -> Sequence[CheckRun]:
        return [CheckRun("good"), CheckRun("none", error="there is no check 'none'")]

    ran = run(agent_checks.Module, host=Host(run_checks=run_checks), names=["good", "none"])
    assert (ran.status, ran.answer.found) == (FAILED, False)
    assert ran.answer.errors == ["none: there is no check 'none'"]
    assert len(ran.answer.elements) == 1


def test_checks_end_with_the_window() -> None:
    async def run_checks(names: Sequence[str]) -> Sequence[CheckRun]:
        await asyncio.Event().wait()
        return []

    assert run(agent_checks.Module, 0.2, Host(run_checks=run_checks), names="x").status == TIMEOUT
    assert run(agent_checks.Module, names="x").answer.errors == ["this agent cannot run checks for an action"]
