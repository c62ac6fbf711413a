"""Directories that are there after a power failure."""

import errno
import os
from pathlib import Path

import pytest

from zc.cimaa import durable


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were synced, in this order."""
    found: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_each_directory_that_is_made_is_for_its_owner_and_synced(tmp_path: Path, synced: list[Path]) -> None:
    was = os.umask(0)
    try:
        durable.make_directory(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(was)
    assert synced == [tmp_path.parent, tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_the_mode_of_a_directory_that_is_there_is_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    durable.make_directory(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("failing", ["a", "a/b"])
def test_a_directory_that_could_not_be_synced_is_synced_the_next_time(
    tmp_path: Path, synced: list[Path], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == (tmp_path / failing).parent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            durable.make_directory(tmp_path / "a" / "b")
    durable.make_directory(tmp_path / "a" / "b")
    assert (tmp_path / failing).parent in synced


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/directory"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            durable.make_directory(tmp_path / path)
