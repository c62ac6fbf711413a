"""Damaged files: an answer in time, of the right kind, and never a reading that is not whole."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cfengine import damage, samples
from tests.support.command import Cimaa
from tests.support.pages import ROOT
from zc.cimaa.cfengine import state_files


def test_damaged_files_get_an_answer_of_the_right_kind() -> None:
    """A short form of the command for 2,000 or more of them; as it, in a process of its own, whose memory counts."""
    command = [sys.executable, "-m", "tests.support.cfengine.damage", "200", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong: 0" in done.stdout


@pytest.mark.parametrize("name", ["cf_lastseen.lmdb", "packages_installed.lmdb"])
def test_a_file_that_is_cut_at_any_page_is_never_read_as_whole(tmp_path: Path, name: str) -> None:
    (original,) = (path for path in damage.wholes(tmp_path) if path.name == name)
    whole, entries = original.read_bytes(), samples.entries_of(original)
    paths = []
    for length in range(0, len(whole), damage.PAGE)[:120]:
        paths.append(tmp_path / f"{length}" / name)
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(whole[:length])
    for path, found in zip(paths, state_files.read_all(map(str, paths)), strict=True):
        if isinstance(found, state_files.Unreadable):
            assert found.kind == ("cut" if path.parent.name != "0" else "empty"), found
        else:
            with found:
                assert dict(found.entries()) == entries


def test_damage_names_the_page_and_the_way_out(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "cf_lastseen.lmdb", samples.hosts(100, 1))
    data = bytearray(path.read_bytes())
    data[5 * 4096 : 6 * 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(state_files.Unreadable) as raised:
        state_files.read(str(path))
    assert str(raised.value) == (
        f"{path}: it is damaged: page 5: it is numbered 0; repair it with 'cf-check repair', or put back its .backup"
    )


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample is of the other byte order there")
@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (damage.of_a_32_bit_program, "foreign", "it is the LMDB file of a 32-bit program, and can be read only there"),
        (damage.of_the_other_byte_order, "foreign", "of a computer with the other byte order"),
        (damage.of_a_newer_format, "newer", "it is an LMDB file of a newer format (its format is "),
        (damage.empty, "empty", "it is empty"),
        (damage.a_directory, "other", "it is not an LMDB file (it is a directory)"),
        (damage.a_fifo, "other", "it is not an LMDB file (it is a FIFO)"),
        (damage.a_link_in_a_circle, "system", "it cannot be read: Too many levels of symbolic links"),
        (damage.text, "other", "it is not an LMDB file"),
    ],
)
def test_what_is_no_such_file_is_told_by_what_it_is(tmp_path: Path, make: damage.How, kind: str, text: str) -> None:
    whole = samples.write(tmp_path / "whole.lmdb", samples.hosts(3, 1)).read_bytes()
    path = tmp_path / "cf_lastseen.lmdb"
    make(path, whole, random.Random(3))
    with pytest.raises(state_files.Unreadable, match=re.escape(text)) as raised:
        state_files.read(str(path))
    assert raised.value.kind == kind


def test_the_others_are_read_all_the_same(cimaa: Cimaa, tmp_path: Path) -> None:
    whole = samples.write(tmp_path / "cf_lock.lmdb", {samples.lock_key("last", "main"): samples.lock(1, 2, 3)})
    (tmp_path / "cf_state.lmdb").write_bytes(whole.read_bytes()[:5000])
    names = ("cf_state.lmdb", "cf_lock.lmdb", "nothing.lmdb")
    result = cimaa("cfengine", "dump", "--json", "--state", str(tmp_path), *names)
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("cimaa: error: cf_state.lmdb: it was cut short: it has 5000 bytes")
    assert second == f"cimaa: error: {tmp_path}/nothing.lmdb: there is no such file"
    listing = cimaa("cfengine", "list", "--state", str(tmp_path))
    assert listing.exit_code == 1
    assert [line.split("\t")[0] for line in listing.stdout.splitlines()] == ["cf_lock.lmdb", "cf_state.lmdb"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_file_that_only_root_may_read_says_whose_it_is_and_what_to_do(tmp_path: Path) -> None:
    for directory in [one for one in (tmp_path, *tmp_path.parents) if "pytest-of-" in str(one)]:
        directory.chmod(0o755)
    path = samples.write(tmp_path / "cf_lock.lmdb", samples.hashed_locks(3, 1))
    path.chmod(0o600)
    state_files.read(str(path))  # loads what reading needs: the other user may not read the environment
    hidden = 77
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            os.setuid(65534)
            if not os.access(sys.executable, os.X_OK):
                os._exit(hidden)
            state_files.read(str(path))
        except state_files.Unreadable as error:
            wanted = f"{path}: no permission to read it (it belongs to root): let its user read it, through a group or"
            status = 0 if error.kind == "denied" and str(error).startswith(wanted) else 2
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == hidden:
        pytest.skip("another user may not run this Python, which reads the file in a process of its own")
    assert status == 0


def test_a_copy_can_be_read_from_anywhere(cimaa: Cimaa, tmp_path: Path) -> None:
    path = samples.write(tmp_path / "cf_lastseen.lmdb", samples.hosts(3, 1))
    copy = tmp_path / "elsewhere" / "cf_lastseen.lmdb.backup"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    path.unlink()
    assert cimaa("cfengine", "dump", str(copy)).stdout.count("\n") == 10
