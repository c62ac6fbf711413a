"""What an agent has run is on disk before it runs, and is not forgotten while it could run again."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import finished, in_fork
from tests.support.needs import missing
from zc.cimaa.actions.journal import TOLERANCE, Journal
from zc.cimaa.errors import ConfigurationError, JournalError

ACTION, OTHER = "a" * 64, "b" * 64
AGENT = "web1"
NOW = 1_800_000_000
UNTIL = NOW + 3600


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal", AGENT)


def again(journal: Journal) -> Journal:
    """The journal of the same directory, after a restart."""
    return Journal(journal.path.parent, AGENT)


def test_an_action_is_claimed_once(journal: Journal) -> None:
    assert journal.claim(ACTION, UNTIL, NOW)
    assert not journal.claim(ACTION, UNTIL, NOW)
    assert not again(journal).claim(ACTION, UNTIL + 10**6, NOW + 60)
    assert again(journal).claim(OTHER, UNTIL, NOW)


def test_of_several_processes_one_claims_it(journal: Journal) -> None:
    def claim() -> None:
        assert again(journal).claim(ACTION, UNTIL, NOW)

    assert sorted(finished(pid) for pid in [in_fork(claim) for _ in range(8)]) == [0] + [1] * 7


def test_each_agent_of_a_host_claims_an_action_in_the_same_directory(journal: Journal) -> None:
    """Names that differ in characters that no file name has, in case, and at their ends."""
    names = ["web2", "web/1", "web%2F1", "WEB1", "..", "latest", ACTION, "x" * 255, "x" * 254 + "y"]
    for name in names:
        other = Journal(journal.path.parent, name)
        assert other.claim(ACTION, UNTIL, NOW)
        assert not Journal(journal.path.parent, name).claim(ACTION, UNTIL, NOW)
    assert journal.claim(ACTION, UNTIL, NOW)
    other.prune(UNTIL + TOLERANCE + 1)
    assert not journal.claim(ACTION, UNTIL, NOW)


def test_the_directories_are_made_for_their_owner_alone(journal: Journal) -> None:
    for path in (journal.path, journal.path.parent, journal.path.parent.parent):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_is_not_trusted(journal: Journal) -> None:
    journal.path.chmod(0o770)
    with pytest.raises(ConfigurationError, match=r"other users may write to .*journal/web1: chmod go-w"):
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


def test_a_clock_that_was_ahead_stops_everything_until_a_restart_without_the_time(journal: Journal) -> None:
    journal.see(NOW + 10**8)
    remedy = r"remove .*/web1/latest and restart the agent when the windows of all actions that ran are over"
    with pytest.raises(JournalError, match=remedy):
        journal.see(NOW)
    (journal.path / "latest").unlink()
    with pytest.raises(JournalError, match="is not there any more"):
        journal.see(NOW)
    again(journal).see(NOW)


GONE = (
    r"what this agent wrote to the journal .*/web1 is not there any more.*; no action runs: restore it, or restart "
    "the agent when the windows of all actions that ran are over"
)


def reloaded(journal: Journal) -> Journal:
    """The journal of the same directory, after the same process read its configuration again."""
    other = again(journal)
    other.take_over(journal)
    return other


@pytest.mark.parametrize("reload", [lambda journal: journal, reloaded, lambda journal: reloaded(reloaded(journal))])
@pytest.mark.parametrize("lost", [".", "..", "latest", "restored"])
def test_a_process_whose_journal_was_lost_runs_nothing_until_it_is_restored(
    journal: Journal, lost: str, reload: Callable[[Journal], Journal]
) -> None:
    """It was removed, or an earlier one is in its place: as below the mount point of a disk."""
    journal.claim(ACTION, UNTIL, NOW)
    saved = journal.path.parent.parent / "saved"
    shutil.copytree(journal.path, saved)
    if lost == "restored":
        (journal.path / ACTION).unlink()
        (journal.path / "latest").write_text(repr(NOW - TOLERANCE - 1))
    elif lost == "latest":
        (journal.path / lost).unlink()
    else:
        shutil.rmtree((journal.path / lost).resolve())
    journal = reload(journal)
    for _ in range(2):
        for use in (journal.see, journal.prune, lambda now: journal.claim(ACTION, UNTIL, now)):
            with pytest.raises(JournalError, match=GONE):
                use(NOW + 1)
    shutil.copytree(saved, journal.path, dirs_exist_ok=True)
    assert not journal.claim(ACTION, UNTIL, NOW + 1)
    assert journal.claim(OTHER, UNTIL, NOW + 1)


def test_a_journal_that_was_lost_before_this_process_wrote_to_it_is_missed(journal: Journal) -> None:
    journal.claim(ACTION, UNTIL, NOW)
    process = again(journal)
    shutil.rmtree(journal.path)
    with pytest.raises(JournalError, match=GONE):
        reloaded(process).claim(ACTION, UNTIL, NOW)


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
    with pytest.raises(JournalError, match=r"journal .*file/journal/web1 cannot be made"):
        Journal(tmp_path / "file" / "journal", AGENT)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        missing("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


FULL = "cannot be written: No space left on device; no action runs"


def test_on_a_full_disk_nothing_is_claimed(disk: Path) -> None:
    """When there is room again, the action can be claimed."""
    journal = Journal(disk / "journal", AGENT)
    journal.see(NOW)
    (disk / "filler").write_bytes(b"x" * (64 * 1024 - 4 * 4096))
    ids = [f"{number:064x}" for number in range(64)]
    with pytest.raises(JournalError, match=FULL):
        assert all(journal.claim(action, UNTIL, NOW) for action in ids)
    full = next(action for action in ids if not (journal.path / action).exists())
    (disk / "filler").unlink()
    assert journal.claim(full, UNTIL, NOW)
    assert not journal.claim(ids[0], UNTIL, NOW)


def test_on_a_full_disk_no_unfinished_file_is_left(disk: Path) -> None:
    journal = Journal(disk / "journal", AGENT)
    (disk / "filler").write_bytes(b"x" * 64 * 1024)
    with pytest.raises(JournalError, match=FULL):
        journal.see(NOW)
    assert not list(journal.path.iterdir())


def elsewhere(journal: Journal) -> Journal:
    """Another journal of the same agent, which takes over what this one has."""
    other = Journal(journal.path.parent.parent / "elsewhere", AGENT)
    other.take_over(journal)
    return other


def test_another_journal_takes_over_what_ran_and_the_time(journal: Journal) -> None:
    journal.claim(ACTION, UNTIL, NOW)
    for _ in range(2):
        other = elsewhere(journal)
        assert not other.claim(ACTION, UNTIL, NOW)
        with pytest.raises(JournalError, match="the clock is"):
            other.see(NOW - TOLERANCE - 1)
    assert other.claim(OTHER, UNTIL, NOW)
    other.prune(UNTIL + TOLERANCE + 1)
    assert [path.name for path in other.path.iterdir()] == ["latest"]


@pytest.mark.parametrize("what", ["web1", "."])
def test_a_journal_that_was_moved_has_what_it_had(journal: Journal, what: str) -> None:
    journal.claim(ACTION, UNTIL, NOW)
    target = journal.path.parent.parent / "elsewhere" / what
    target.parent.mkdir(exist_ok=True)
    (journal.path.parent / what).resolve().rename(target.resolve())
    assert not elsewhere(journal).claim(ACTION, UNTIL, NOW)


@pytest.mark.parametrize("emptied", [False, True])
@pytest.mark.parametrize("before", [None, NOW - 1])
def test_a_journal_that_is_gone_and_was_not_moved_is_not_replaced(
    journal: Journal, emptied: bool, before: int | None
) -> None:
    """Nor by one that this agent has used before."""
    if before is not None:
        Journal(journal.path.parent.parent / "elsewhere", AGENT).see(before)
    journal.claim(ACTION, UNTIL, NOW)
    shutil.rmtree(journal.path)
    if emptied:
        journal.path.mkdir()
    with pytest.raises(JournalError, match=GONE.replace("more", r"more, and was not moved to .*elsewhere/web1")):
        elsewhere(journal)


def test_a_journal_that_was_never_used_has_nothing_to_take_over(journal: Journal) -> None:
    assert elsewhere(journal).claim(ACTION, UNTIL, NOW)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The directory of a journal that an earlier version wrote, which made no directory for the agent."""
    directory = tmp_path / "state" / "journal"
    directory.mkdir(mode=0o700, parents=True)
    (directory / ACTION).write_text(f'{{"until": {UNTIL}}}')
    (directory / "latest").write_text(repr(NOW))
    return directory


def test_what_an_earlier_version_claimed_counts_for_each_agent_until_its_window_is_over(earlier: Path) -> None:
    for agent in (AGENT, "web2"):
        journal = Journal(earlier, agent)
        assert not journal.claim(ACTION, UNTIL, NOW)
        assert journal.claim(OTHER, UNTIL, NOW)
    journal.prune(UNTIL + TOLERANCE)
    assert not journal.claim(ACTION, UNTIL, UNTIL)
    journal.prune(UNTIL + TOLERANCE + 1)
    assert not (earlier / ACTION).exists()


def test_the_time_that_an_earlier_version_saw_counts(earlier: Path) -> None:
    journal = Journal(earlier, AGENT)
    with pytest.raises(JournalError, match=r"the clock is 5m 1s behind .* remove .*/journal/latest and restart"):
        journal.claim(OTHER, UNTIL, NOW - TOLERANCE - 1)
    journal.see(NOW + 60)
    with pytest.raises(JournalError, match=r"the clock is .* remove .*/web1/latest and restart"):
        again(journal).see(NOW - TOLERANCE)


def test_another_journal_takes_over_what_an_earlier_version_claimed(earlier: Path) -> None:
    other = elsewhere(Journal(earlier, AGENT))
    assert not other.claim(ACTION, UNTIL, NOW)
    with pytest.raises(JournalError, match="the clock is"):
        other.see(NOW - TOLERANCE - 1)


def test_what_killed_processes_began_to_write_is_removed(journal: Journal) -> None:
    for name, when in (("latest.1", NOW), ("latest.22", NOW + 1), ("latest.old", NOW)):
        (journal.path / name).write_text("")
        os.utime(journal.path / name, (when, when))
    journal.prune(NOW + TOLERANCE + 1)
    assert sorted(path.name for path in journal.path.iterdir()) == ["latest", "latest.22", "latest.old"]


def test_a_journal_is_not_used_if_it_cannot_take_over_what_ran(journal: Journal) -> None:
    """A claim whose file cannot be read, as a directory here, is not left out."""
    (journal.path / ACTION).mkdir()
    with pytest.raises(JournalError, match=r"state/journal/web1 cannot be read: Is a directory; no action runs"):
        elsewhere(journal)
    (journal.path / ACTION).rmdir()
    (journal.path / "latest").write_text("damaged")
    with pytest.raises(JournalError, match="latest is damaged"):
        elsewhere(journal)


CLOCKS = st.lists(st.integers(-4 * TOLERANCE, 4 * TOLERANCE), min_size=1, max_size=20)


@given(CLOCKS, st.integers(1, 4 * TOLERANCE))
def test_however_the_clock_jumps_an_action_is_claimed_once_in_its_window(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[int], window: int
) -> None:
    journal = Journal(tmp_path_factory.mktemp("j") / "journal", AGENT)
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
