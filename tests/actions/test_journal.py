"""What an agent has run is on disk before it runs, and is not forgotten while it could run again."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import finished, in_fork
from tests.support.needs import missing
from zc.cimaa.actions.journal import TOLERANCE, Journal
from zc.cimaa.errors import ConfigurationError, JournalError

ACTION, OTHER = "a" * 64, "b" * 64
NOW = 1_800_000_000
UNTIL = NOW + 3600


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal")


def again(journal: Journal) -> Journal:
    """The journal of the same directory, after a restart."""
    return Journal(journal.path)


def test_an_action_is_claimed_once(journal: Journal) -> None:
    assert journal.claim(ACTION, UNTIL, NOW)
    assert not journal.claim(ACTION, UNTIL, NOW)
    assert not again(journal).claim(ACTION, UNTIL + 10**6, NOW + 60)
    assert again(journal).claim(OTHER, UNTIL, NOW)


def test_of_several_processes_one_claims_it(journal: Journal) -> None:
    def claim() -> None:
        assert again(journal).claim(ACTION, UNTIL, NOW)

    assert sorted(finished(pid) for pid in [in_fork(claim) for _ in range(8)]) == [0] + [1] * 7


def test_the_directory_is_made_for_its_owner_alone(journal: Journal) -> None:
    assert journal.path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_is_not_trusted(journal: Journal) -> None:
    journal.path.chmod(0o770)
    with pytest.raises(ConfigurationError, match=r"other users may write to .*journal: chmod go-w"):
        again(journal)


def test_a_claim_is_kept_until_the_window_is_over_for_a_clock_that_is_late(journal: Journal) -> None:
    journal.claim(ACTION, UNTIL, NOW)
    for now in (NOW, UNTIL, UNTIL + TOLERANCE):
        journal.prune(now)
        assert (journal.path / ACTION).exists()
    journal.prune(UNTIL + TOLERANCE + 1)
    assert not (journal.path / ACTION).exists()


def test_nothing_runs_while_the_clock_is_behind(journal: Journal) -> None:
    journal.see(NOW)
    again(journal).see(NOW - TOLERANCE)
    with pytest.raises(JournalError, match=r"the clock is 5m 1s behind the latest time .* no action runs"):
        again(journal).claim(ACTION, UNTIL, NOW - TOLERANCE - 1)
    assert not (journal.path / ACTION).exists()
    assert again(journal).claim(ACTION, UNTIL, NOW)


def test_a_clock_that_was_ahead_stops_everything_until_the_journal_is_told(journal: Journal) -> None:
    journal.see(NOW + 10**8)
    with pytest.raises(JournalError, match=r"remove .*/latest after the windows of all actions that ran are over"):
        journal.see(NOW)
    (journal.path / "latest").unlink()
    journal.see(NOW)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf"])
def test_a_damaged_time_stops_everything(journal: Journal, text: str) -> None:
    (journal.path / "latest").write_text(text)
    with pytest.raises(JournalError, match="latest is damaged; no action runs"):
        journal.claim(ACTION, UNTIL, NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"until": null}', '{"until": "x"}'])
def test_a_damaged_claim_still_counts(journal: Journal, text: str) -> None:
    """A process may have been killed after it made the file, and before it wrote to it."""
    (journal.path / ACTION).write_text(text)
    os.utime(journal.path / ACTION, (NOW, NOW))
    journal.prune(NOW + 30 * 86400)
    assert not journal.claim(ACTION, UNTIL, NOW + 30 * 86400)
    journal.prune(NOW + 31 * 86400)
    assert not (journal.path / ACTION).exists()


def test_other_files_are_left_alone(journal: Journal) -> None:
    (journal.path / "README").write_text("by hand")
    journal.prune(NOW)
    assert (journal.path / "README").exists()


@pytest.mark.parametrize("action", ["", "x", "../" + "a" * 61, "A" * 64, "a" * 65])
def test_a_name_that_is_no_id_is_never_a_file(journal: Journal, action: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an action"):
        journal.claim(action, UNTIL, NOW)


def test_a_journal_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"journal .*file/journal cannot be made"):
        Journal(tmp_path / "file" / "journal")


def test_on_a_full_disk_nothing_is_claimed(tmp_path: Path) -> None:
    """The disk is a small file system; when there is room again, the action can be claimed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        missing("needs the right to mount a file system")
    try:
        journal = Journal(disk / "journal")
        journal.see(NOW)
        (disk / "filler").write_bytes(b"x" * (64 * 1024 - 4 * 4096))
        ids = [f"{number:064x}" for number in range(64)]
        with pytest.raises(JournalError, match="cannot be written: No space left on device; no action runs"):
            assert all(journal.claim(action, UNTIL, NOW) for action in ids)
        full = next(action for action in ids if not (disk / "journal" / action).exists())
        (disk / "filler").unlink()
        assert journal.claim(full, UNTIL, NOW)
        assert not journal.claim(ids[0], UNTIL, NOW)
    finally:
        subprocess.run(["umount", disk], check=True)


CLOCKS = st.lists(st.integers(-4 * TOLERANCE, 4 * TOLERANCE), min_size=1, max_size=20)


@given(CLOCKS, st.integers(1, 4 * TOLERANCE))
def test_however_the_clock_jumps_an_action_is_claimed_once_in_its_window(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[int], window: int
) -> None:
    journal = Journal(tmp_path_factory.mktemp("j") / "journal")
    now, until, claimed = NOW, NOW + window, 0
    for jump in jumps:
        now += jump
        try:
            journal.prune(now)
            if NOW <= now < until:
                claimed += journal.claim(ACTION, until, now)
        except JournalError:
            pass
    assert claimed <= 1
