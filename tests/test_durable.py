"""Directories that are there after a power failure."""

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
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_there_is_left_alone(tmp_path: Path, synced: list[Path]) -> None:
    tmp_path.chmod(0o755)
    durable.make_directory(tmp_path)
    assert (synced, tmp_path.stat().st_mode & 0o777) == ([], 0o755)


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/directory"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            durable.make_directory(tmp_path / path)
