"""The module ``file``: it agrees with find, sha256sum and grep, never leaves its place, and never shows content."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.forks import finished, in_fork
from tests.support.long_form import times
from zc.cimaa.actions import answers
from zc.cimaa.actions.answers import Answer
from zc.cimaa.actions.modules import Bounds, file_search, mounts
from zc.cimaa.actions.modules.file_search import FoundFile, Module, judge, matching
from zc.cimaa.actions.modules.file_tree import DEEPEST, PIECE, FileTree
from zc.cimaa.actions.modules.mounts import MountPoint
from zc.cimaa.actions.parameters import CONTENTS


def search(within: Sequence[str] = (), seconds: float = 60, **parameters: Any) -> Answer:
    values = Module.check({"matches": 1000, **parameters})
    return Module.inspect(values, Bounds(time.monotonic() + seconds, within))


def paths(answer: Answer) -> list[str]:
    return [element["path"] for element in answer.elements]


def find(*arguments: str) -> list[str]:
    """What find finds, sorted."""
    done = subprocess.run(["find", *arguments, "-print0"], capture_output=True, text=True, check=True)
    return sorted(filter(None, done.stdout.split("\0")))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all types, some odd names, and links that lead around in a circle and out."""
    root = tmp_path / "tree"
    for directory in ("a/b/c", ".hidden", "loop", "empty"):
        (root / directory).mkdir(parents=True)
    for number, name in enumerate(["x.conf", "a/x.conf", "a/b/y.CONF", "a/b/c/z.conf.d", ".hidden/x.conf", "a/[x]"]):
        (root / name).write_bytes(b"line\n" * (number * 300))
        os.utime(root / name, (0, time.time() - number * 86400 - 60))
    (root / "new\nline").write_text("")
    (root / "loop/up").symlink_to("..")
    (root / "loop/self").symlink_to("self")
    (root / "loop/out").symlink_to("/etc")
    (root / "link.conf").symlink_to("x.conf")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        ({}, ["-type", "f"]),
        ({"type": "any"}, []),
        ({"type": "directory"}, ["-type", "d"]),
        ({"type": "link"}, ["-type", "l"]),
        ({"name": "*.conf"}, ["-type", "f", "-name", "*.conf"]),
        ({"name": ["x*", "[[]x]"]}, ["-type", "f", "(", "-name", "x*", "-o", "-name", "[[]x]", ")"]),
        ({"name": "?.c*", "type": "any"}, ["-name", "?.c*"]),
        ({"name": "tree", "type": "any"}, ["-name", "tree"]),
        ({"depth": 0, "type": "any"}, ["-maxdepth", "0"]),
        ({"depth": 1, "type": "any"}, ["-maxdepth", "1"]),
        ({"depth": 2}, ["-maxdepth", "2", "-type", "f"]),
        ({"size": ">1500"}, ["-type", "f", "-size", "+1500c"]),
        ({"size": ["<=3000", ">0"]}, ["-type", "f", "-size", "-3001c", "-size", "+0c"]),
        ({"size": "=0"}, ["-type", "f", "-size", "0c"]),
        ({"mtime": "<2d"}, ["-type", "f", "-mtime", "-2"]),
        ({"mtime": ">2d"}, ["-type", "f", "-mmin", "+2880"]),
        ({"content": "^line$"}, ["-type", "f", "-size", "+0c"]),
    ],
)
def test_it_finds_what_find_finds(tree: Path, parameters: dict[str, Any], arguments: list[str]) -> None:
    answer = search(path=str(tree), **parameters)
    assert paths(answer) == find(str(tree), *arguments)
    assert answer.success
    assert answer.found == bool(answer.elements)
    assert answer.statistics["complete"]


def test_an_answer_says_what_stat_says(tree: Path) -> None:
    (element,) = search(path=str(tree / "a/x.conf")).elements
    stat = subprocess.run(
        ["stat", "-c", '{"size": %s, "mode": "0%a", "owner": %u}', tree / "a/x.conf"], capture_output=True, check=True
    )
    assert {key: element[key] for key in ("size", "mode", "owner")} == json.loads(stat.stdout)
    assert element["mtime"] == answers.utc((tree / "a/x.conf").stat().st_mtime)


def test_digests_are_those_of_sha256sum(tree: Path) -> None:
    files = find(str(tree), "-type", "f", "-not", "-name", "new*")
    sums = subprocess.run(["sha256sum", *files], capture_output=True, text=True, check=True).stdout
    wanted = {path: digest for digest, path in (line.split("  ", 1) for line in sums.splitlines())}
    found = search(path=str(tree), hash=True, name=["*.*", "[[]x]"])
    assert {element["path"]: element["sha256"] for element in found.elements} == wanted
    one = str(tree / "a/x.conf")
    assert paths(search(path=str(tree), sha256=wanted[one].upper())) == [one]


def test_a_missing_path_is_not_found_and_no_error(tmp_path: Path) -> None:
    assert search(path=str(tmp_path / "none/such"))[:2] == (False, True)


def test_matches_end_the_search_visibly(tree: Path) -> None:
    answer = search(path=str(tree), matches=2)
    assert len(answer.elements) == 2
    assert answer.statistics["complete"] is False


def test_a_name_that_is_not_utf_8_is_answered_with_escapes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    (element,) = search(path=str(tmp_path), name="caf*").elements
    assert element["path"] == f"{tmp_path}/caf\\udce9"
    assert answers.encode(search(path=str(tmp_path)))


# Content

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=8), max_size=5)
EXPRESSIONS = st.sampled_from(["a", "^a", "a$", "^$", "^a*$", "[^a]", "a.c", "^.b", r"\.", "(a|b)+c$", "b?", "x{2}"])


@settings(max_examples=times(60, 1000))
@given(lines=LINES, expression=EXPRESSIONS, ends=st.booleans())
@example(lines=["a", ""], expression="^$", ends=False)
def test_a_content_matches_if_grep_finds_a_line(
    lines: list[str], expression: str, ends: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "content"
    file.write_text("\n".join(lines) + ("\n" if ends and lines else ""), newline="")
    grep = ["grep", "-qE", expression.replace(r"\.", "[.]"), str(file)]
    status = subprocess.run(grep, env={**os.environ, "LC_ALL": "C.UTF-8"}).returncode
    assert search(path=str(file), content=expression).found == (status == 0)


def test_all_contents_must_match_and_need_not_be_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one\ntwo\n")
    assert search(path=str(tmp_path), content=["one", "two"]).found
    assert not search(path=str(tmp_path), content=["one", "three"]).found
    assert not search(path=str(tmp_path), content=r"one\stwo").found


@settings(max_examples=20)
@given(pieces=st.integers(1, 3), offset=st.integers(-20, 20), after=st.integers(0, 20))
@example(pieces=2, offset=-3, after=9)
def test_a_match_is_found_wherever_the_pieces_of_a_file_end(pieces: int, offset: int, after: int) -> None:
    (test,) = CONTENTS.read("needle")
    for filler in (b"x", b"\n"):
        data = filler * (pieces * PIECE + offset) + b"needle" + filler * after
        split = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        assert matching(split, [test])
        assert not matching(split, CONTENTS.read(["needle", "nothing"]))


@settings(max_examples=times(40, 1000))
@given(
    secret=st.text("0123456789abcdefGHIJ", min_size=12, max_size=40),
    parameters=st.fixed_dictionaries(
        {},
        optional={
            "content": st.sampled_from([".*", "^.{12}", "(.+)", "[", "^([0-9]+)", "(?P<all>.*)"]),
            "hash": st.booleans(),
            "sha256": st.just("0" * 64),
            "type": st.sampled_from(["file", "any", "directory"]),
            "name": st.sampled_from(["*", "s*"]),
            "size": st.sampled_from([">0", "<1KiB", ">x"]),
        },
    ),
)
def test_no_answer_and_no_error_has_content(
    secret: str, parameters: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("private")
    (directory / "shadow").write_text(f"root:{secret}\n{secret}")
    (directory / "binary").write_bytes(b"\xff\0" + secret.encode())
    try:
        shown = json.dumps(search(path=str(directory), **parameters)._asdict())
    except ValueError as error:
        shown = str(error)
    assert secret not in shown
    assert secret[:8] not in shown.replace(str(directory), "")


# The ways out


def test_links_lead_nowhere(tree: Path) -> None:
    assert search(path=str(tree), name="passwd", type="any").elements == []
    assert search(path=str(tree / "loop"), content="root").elements == []


def test_within_confines_it_also_through_links_and_dots(tree: Path) -> None:
    inside = [str(tree / "a")]
    assert search(inside, path=str(tree / "a"), name="x.conf").found
    assert search(inside, path=f"{tree}/loop/up/a").found
    for path in (str(tree), f"{tree}/a/..", f"{tree}/a/../.hidden", f"{tree}/loop/out", "/etc", f"{tree}/abc", "/"):
        answer = search(inside, path=path)
        assert (answer.found, answer.success) == (False, False)
        assert "is not within" in answer.errors[0]
    assert search(["/"], path=str(tree)).found


def test_within_may_be_a_link_itself(tree: Path) -> None:
    (tree / "alias").symlink_to("a")
    assert search([str(tree / "alias")], path=str(tree / "a")).found


def test_one_path_outside_refuses_all(tree: Path) -> None:
    answer = search([str(tree / "a")], path=[str(tree / "a"), "/etc"])
    assert not answer.elements


def test_a_directory_that_is_replaced_by_a_link_leads_nowhere(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is resolved, and only then a part of it becomes a link to elsewhere."""
    resolve = os.path.realpath

    def replaced(path: str) -> str:
        found = resolve(path)
        if path == f"{tree}/a/b":
            (tree / "a").rename(tree / "was")
            (tree / "a").symlink_to("/")
        return found

    monkeypatch.setattr(os.path, "realpath", replaced)
    answer = search([str(tree)], path=f"{tree}/a/b", type="any")
    assert not answer.elements
    assert answer.errors


def test_a_directory_that_is_replaced_by_a_link_after_it_was_listed_is_not_entered(tree: Path) -> None:
    failed: list[str] = []
    walked = FileTree(str(tree), 9, {}, lambda path, _error: failed.append(path))
    found = []
    for file, _ in walked.files():
        found.append(file.path)
        if file.name == "a":
            (tree / "a").rename(tree.parent / "was")
            (tree / "a").symlink_to(tree.parent / "was")
    assert f"{tree}/x.conf" in found
    assert not [path for path in found if path.startswith(f"{tree}/a/")]
    assert failed == [f"{tree}/a"]


def test_a_file_that_is_replaced_by_a_fifo_is_not_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = []

    def replaced(found: FoundFile, *_: object) -> bool:
        Path(found.path).unlink()
        os.mkfifo(found.path)
        writers.append(os.open(found.path, os.O_RDWR))
        os.write(writers[0], b"content")
        return True

    monkeypatch.setattr(file_search, "judge", replaced)
    assert not search(path=str(tree / "x.conf"), content="content").found
    assert os.read(writers[0], 100) == b"content"
    os.close(writers[0])


def test_fifos_sockets_and_devices_are_listed_and_not_opened(tree: Path) -> None:
    (element,) = search(path=str(tree / "fifo"), type="any", hash=True).elements
    assert element["type"] == "fifo"
    assert "sha256" not in element
    assert not search(path=str(tree / "fifo"), type="any", content=".").found
    assert not search(path="/dev/zero", type="any", content=".").found
    assert search(path="/dev/null", type="any").elements[0]["type"] == "device"


def test_what_the_kernel_makes_up_is_listed_and_not_read() -> None:
    assert search(path="/proc/self/status").found
    answer = search(path="/proc/self", content=".", depth=1)
    assert not answer.found
    assert "/proc" in answer.errors[0]
    assert "content is not read there" in answer.errors[0]


def test_a_search_from_above_does_not_enter_what_the_kernel_makes_up_or_others_serve() -> None:
    table = [MountPoint("/", "ext4"), MountPoint("/proc", "proc"), MountPoint("/home", "nfs4"), MountPoint("/b", "xfs")]
    table += [MountPoint("/mnt", "fuse.sshfs"), MountPoint("/run", "tmpfs"), MountPoint("/net", "autofs")]
    assert sorted(mounts.not_entered(table)) == ["/home", "/mnt", "/net", "/proc"]
    assert "/net" not in mounts.not_entered([*table, MountPoint("/net", "ext4")])
    assert mounts.is_virtual("/proc/1/status", table)
    assert not mounts.is_virtual("/processes", table)
    assert not mounts.is_virtual("/home/proc", table)
    assert not mounts.is_virtual("/etc", [*table, MountPoint("/", "overlay")])
    assert mounts.is_virtual("/b/x", [*table, MountPoint("/b", "sysfs")])
    assert search(path="/", name="version", depth=1, type="any").statistics["mounts_skipped"] >= 0
    assert "/proc/version" not in paths(search(path="/", name="version", depth=2))


def test_directories_deeper_than_the_limit_are_reported(tmp_path: Path) -> None:
    here, name = os.open(tmp_path, os.O_RDONLY), "d" * 100  # the whole path would be too long
    for _ in range(DEEPEST + 5):
        os.mkdir(name, dir_fd=here)  # Path has no dir_fd
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep", os.O_CREAT, dir_fd=here))
    os.close(here)
    answer = search(path=str(tmp_path), name="deep")
    assert not answer.found
    assert f"deeper than {DEEPEST} levels, not searched" in answer.errors[0]
    assert search(path=str(tmp_path), depth=3).errors == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_directory_that_cannot_be_read_is_reported(tree: Path) -> None:
    """A directory that can be entered, but not listed, does not prevent a search below it."""
    for directory in [one for one in tree.parents if "pytest-of-" in str(one)]:
        directory.chmod(0o711)
    (tree / "a").chmod(0)
    (tree / ".hidden/x.conf").chmod(0)
    search(path=str(tree))  # loads what a search needs: the other user may not read the environment

    def as_another_user() -> None:
        os.setuid(65534)
        answer = search(path=str(tree), name="x.conf")
        assert f"{tree}/a: Permission denied" in answer.errors
        assert f"{tree}/x.conf" in paths(answer)
        assert answer.success
        hashed = search(path=str(tree / ".hidden"), hash=True)
        assert (paths(hashed), hashed.errors) == (
            [f"{tree}/.hidden/x.conf"],
            [f"{tree}/.hidden/x.conf: Permission denied"],
        )
        assert "sha256" not in hashed.elements[0]

    assert finished(in_fork(as_another_user)) == 0


# Time and size


def test_a_search_ends_when_its_time_is_over_and_says_so(tree: Path) -> None:
    answer = search(path=str(tree), seconds=0)
    assert not answer.success
    assert answer.statistics["complete"] is False
    assert "its time was over" in answer.errors[0]


def test_reading_a_huge_file_ends_when_the_time_is_over(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**43)
    started = time.monotonic()
    answer = search(path=str(tmp_path), hash=True, seconds=0.3)
    assert time.monotonic() - started < 10
    assert not answer.success


def test_an_answer_is_cut_visibly(tmp_path: Path) -> None:
    found = Answer(True, True, [{"path": "x" * 1000}] * 1000, {"matches": 1000}, ["e" * 5000] * 50)
    encoded = answers.encode(found)
    assert len(encoded) <= answers.ANSWER
    kept = answers.decode(encoded)
    assert kept.statistics["left_out"] == 1000 - len(kept.elements)
    assert (
        kept.errors[-1] == f"the answer was cut at 256 KiB: {kept.statistics['left_out']} more elements were left out"
    )
    assert "and 30 more errors" in kept.errors
    assert answers.bounded(kept) == kept


@given(
    mode=st.sampled_from([0o100644, 0o040755, 0o120777]),
    size=st.integers(0, 5000),
    age=st.integers(-100, 5000),
)
def test_type_size_and_age_are_judged_without_a_file(mode: int, size: int, age: int) -> None:
    values = Module.check({"path": "/", "size": [">=1KiB", "<4KiB"], "mtime": "<=1000s"})
    found = FoundFile("/x", mode, size, 10_000 - age, 0)
    assert judge(found, values, 10_000) == (mode == 0o100644 and 1024 <= size < 4096 and age <= 1000)


def test_a_tree_with_very_many_files_is_searched_in_time(tmp_path: Path) -> None:
    """In the long form a million of them."""
    count = times(10_000, 1_000_000)
    for directory in range(count // 1000):
        (tmp_path / str(directory)).mkdir()
        descriptor = os.open(tmp_path / str(directory), os.O_RDONLY)
        for number in range(1000):
            os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
    (tmp_path / "7" / "needle").write_text("here")
    started = time.monotonic()
    answer = search(path=str(tmp_path), name="needle", seconds=300)
    seconds = time.monotonic() - started
    assert paths(answer) == [str(tmp_path / "7" / "needle")]
    assert answer.statistics["files"] == 1 + count // 1000 + count + 1
    assert seconds < 5 + count / 10_000
    assert not search(path=str(tmp_path), content="nowhere", seconds=0.05, matches=1).success
