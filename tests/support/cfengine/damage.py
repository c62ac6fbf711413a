"""Damaged files, made from whole ones, and what reading each must come to.

python -m tests.support.cfengine.damage [NUMBER] [SEED]
"""

import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.cfengine import samples
from tests.support.long_form import numbers
from zc.cimaa.cfengine import state_files
from zc.cimaa.cfengine.state_files import FileSnapshot, Unreadable

PAGE = 4096
SECONDS, MEGABYTES = 5, 200


class Case(NamedTuple):
    """A damaged file."""

    how: str
    path: Path
    #: What the file held before, and its bytes.
    entries: dict[bytes, bytes]
    whole: bytes
    #: The bytes that may differ from those.
    changed: list[tuple[int, int]]
    #: The kinds of reasons that are right; ``None`` among them: it may be read.
    kinds: set[str | None]


def wholes(directory: Path) -> list[Path]:
    """Whole files of all shapes: small and large, with branch pages, overflow pages, and free pages."""
    now = 1_800_000_000
    large = {b"%04d\0" % number: bytes([number % 256]) * (number * 97 % 9000) for number in range(200)}
    return [
        samples.write(directory / "cf_lastseen.lmdb", samples.hosts(700, now), commits=9),
        samples.write(directory / "cf_lock.lmdb", samples.hashed_locks(900, now), commits=30),
        samples.write(directory / "packages_installed.lmdb", large, commits=5),
        samples.write(directory / "cf_state.lmdb", {b"kept\0": samples.persistent(now, 1, "source=promise")}),
    ]


def cases(directory: Path, originals: list[Path], number: int, seed: int) -> Iterator[Case]:
    """``number`` damaged files, one at a time, with the kinds of damage in turn."""
    chance = random.Random(seed)
    read = [(path, path.read_bytes(), samples.entries_of(path)) for path in originals]
    for count in range(number):
        path, whole, entries = read[count // len(_WAYS) % len(read)]
        how = _WAYS[count % len(_WAYS)]
        target = directory / path.name
        _remove(target)
        changed, kinds = how(target, whole, chance)
        yield Case(f"{count}: {how.__name__} of {path.name}", target, entries, whole, changed, kinds)


def verdict(case: Case) -> tuple[str, str]:
    """What reading it came to, and what is wrong with that, if anything."""
    start = time.monotonic()
    (found,) = state_files.read_all([str(case.path)])
    try:
        if isinstance(found, Unreadable):
            outcome, wrong = found.kind, _wrong_reason(case, found)
        else:
            outcome, wrong = "read", _wrong_reading(case, found)
    finally:
        if isinstance(found, FileSnapshot):
            found.close()
    if time.monotonic() - start > SECONDS:
        wrong = f"it took {time.monotonic() - start:.1f} s"
    return outcome, wrong


def _wrong_reason(case: Case, found: Unreadable) -> str:
    if found.kind not in case.kinds:
        return f"{found} is not one of {case.kinds}"
    return "" if str(found).count("\n") == 0 and "Error" not in str(found) else f"not one line: {found}"


def _wrong_reading(case: Case, found: FileSnapshot) -> str:
    """A reading is whole if it has every entry, and differs only where the bytes of the file do."""
    if None not in case.kinds:
        return f"it was read, and should be one of {case.kinds}"
    try:
        entries = list(found.entries())
    except Unreadable as error:
        return f"it was found whole, and LMDB does not read it: {error}"
    if len(entries) != len(case.entries):
        return f"{len(entries)} of {len(case.entries)} entries"
    for (key, value), (was_key, was) in zip(entries, case.entries.items(), strict=True):
        if (key, value) != (was_key, was) and not (_touched(case, was_key, _header(was)) or _touched(case, was)):
            return f"{key!r} was not changed in the file, and reads otherwise"
    return ""


def _header(value: bytes) -> int:
    """The bytes in front of a key that may be changed, too: the size of a value that has pages of its own."""
    return 8 if len(value) > PAGE // 3 else 0


def _touched(case: Case, old: bytes, before: int = 0) -> bool:
    """True if one of the places where these bytes are in the file was changed, or within this distance before it."""
    at = case.whole.find(old)
    while at >= 0:
        if any(start < at + len(old) and at - before < end for start, end in case.changed):
            return True
        at = case.whole.find(old, at + 1)
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


Way = tuple[list[tuple[int, int]], set[str | None]]
How = Callable[[Path, bytes, random.Random], Way]
_ANY: set[str | None] = {"damaged", "cut", "large", "other", "newer", "foreign", None}
_BROKEN: set[str | None] = {"damaged", "cut", None}


def _pages(whole: bytes) -> int:
    return len(whole) // PAGE


def _bytes_of(page: int) -> tuple[int, int]:
    return page * PAGE, (page + 1) * PAGE


def cut_at_a_page(path: Path, whole: bytes, chance: random.Random) -> Way:
    length = chance.randrange(_pages(whole)) * PAGE
    path.write_bytes(whole[:length])
    return [], {"cut", "damaged", None} if length else {"empty"}


def cut_anywhere(path: Path, whole: bytes, chance: random.Random) -> Way:
    length = chance.randrange(1, len(whole))
    path.write_bytes(whole[:length])
    return [], {"cut", "damaged", None} if length > 2 * PAGE else {"cut", "other", "damaged"}


def pages_swapped(path: Path, whole: bytes, chance: random.Random) -> Way:
    one, other = chance.sample(range(_pages(whole)), 2)
    data = bytearray(whole)
    data[one * PAGE : (one + 1) * PAGE], data[other * PAGE : (other + 1) * PAGE] = (
        whole[other * PAGE : (other + 1) * PAGE],
        whole[one * PAGE : (one + 1) * PAGE],
    )
    path.write_bytes(data)
    return [_bytes_of(one), _bytes_of(other)], {*_BROKEN, "other"}


def a_page_copied_over_another(path: Path, whole: bytes, chance: random.Random) -> Way:
    one, other = chance.sample(range(_pages(whole)), 2)
    data = bytearray(whole)
    data[one * PAGE : (one + 1) * PAGE] = whole[other * PAGE : (other + 1) * PAGE]
    path.write_bytes(data)
    return [_bytes_of(one), _bytes_of(other)], {*_BROKEN, "other"}


def a_page_zeroed(path: Path, whole: bytes, chance: random.Random) -> Way:
    start = chance.randrange(_pages(whole)) * PAGE
    return _overwritten(path, whole, start, bytes(PAGE))


def random_bytes(path: Path, whole: bytes, chance: random.Random) -> Way:
    start = chance.randrange(len(whole))
    return _overwritten(path, whole, start, chance.randbytes(min(chance.choice((1, 2, 8, 300)), len(whole) - start)))


def a_random_page(path: Path, whole: bytes, chance: random.Random) -> Way:
    return _overwritten(path, whole, chance.randrange(_pages(whole)) * PAGE, chance.randbytes(PAGE))


def a_wild_number_in_a_header(path: Path, whole: bytes, chance: random.Random) -> Way:
    """In a page's header: its number, its kind, its bounds, the count of an overflow page."""
    start = chance.randrange(_pages(whole)) * PAGE + chance.choice((0, 2, 4, 8, 10, 12, 14))
    return _overwritten(path, whole, start, _wild(chance, 2))


def a_wild_number_in_a_meta_page(path: Path, whole: bytes, chance: random.Random) -> Way:
    start = chance.randrange(2) * PAGE + chance.randrange(16, 152, 4)
    return _overwritten(path, whole, start, _wild(chance, chance.choice((4, 8))))


def a_wild_offset_of_an_entry(path: Path, whole: bytes, chance: random.Random) -> Way:
    start = chance.randrange(2, _pages(whole)) * PAGE + 16 + 2 * chance.randrange(20)
    return _overwritten(path, whole, start, _wild(chance, 2))


def a_wild_length_or_page_in_an_entry(path: Path, whole: bytes, chance: random.Random) -> Way:
    page = chance.randrange(2, _pages(whole)) * PAGE
    offset = struct.unpack_from("=H", whole, page + 16)[0] % PAGE
    return _overwritten(path, whole, page + min(offset + chance.choice((0, 2, 4, 6)), PAGE - 8), _wild(chance, 2))


def of_a_32_bit_program(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.write_bytes(whole[:12] + whole[16:])
    return [], {"foreign"}


def of_the_other_byte_order(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.write_bytes(whole[:16] + whole[19:15:-1] + whole[20:])
    return [], {"foreign"}


def of_a_newer_format(path: Path, whole: bytes, chance: random.Random) -> Way:
    data = bytearray(whole)
    data[20:24] = struct.pack("=I", chance.choice((2, 3, 999)))
    path.write_bytes(data)
    return [], {"newer"}


def empty(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.touch()
    return [], {"empty"}


def a_directory(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.mkdir()
    return [], {"other"}


def a_fifo(path: Path, whole: bytes, chance: random.Random) -> Way:
    os.mkfifo(path)
    return [], {"other"}


def a_link_in_a_circle(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.symlink_to(path.name)
    return [], {"system"}


def ten_gigabytes_without_content(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.touch()
    os.truncate(path, 10 * 1024**3)
    return [], {"other"}


def ten_gigabytes_behind_the_end(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.write_bytes(whole)
    os.truncate(path, 10 * 1024**3)
    return [], {None}


def ten_gigabytes_that_are_said_to_be_used(path: Path, whole: bytes, chance: random.Random) -> Way:
    data = bytearray(whole)
    for page in (0, PAGE):
        struct.pack_into("=Q", data, page + 32, 20 * 1024**3)
        struct.pack_into("=Q", data, page + 136, 10 * 1024**3 // PAGE - 1)
    path.write_bytes(data)
    os.truncate(path, 10 * 1024**3)
    return [], {"large"}


def text(path: Path, whole: bytes, chance: random.Random) -> Way:
    path.write_text("not a database\n" * chance.randrange(1, 1000))
    return [], {"other"}


def nothing(path: Path, whole: bytes, chance: random.Random) -> Way:
    """It is whole, and must be read."""
    path.write_bytes(whole)
    return [], {None}


def _overwritten(path: Path, whole: bytes, start: int, new: bytes) -> Way:
    path.write_bytes(whole[:start] + new + whole[start + len(new) :])
    return [(start, start + len(new))], _ANY if start < 2 * PAGE else _BROKEN


def _wild(chance: random.Random, size: int) -> bytes:
    values = (0, 1, 2, 3, 0x7F, 0xFF, 0x100, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, chance.getrandbits(8 * size))
    return chance.choice(values).to_bytes(size, sys.byteorder)


_WAYS: list[How] = [
    cut_at_a_page,
    cut_anywhere,
    pages_swapped,
    a_page_copied_over_another,
    a_page_zeroed,
    random_bytes,
    a_random_page,
    a_wild_number_in_a_header,
    a_wild_number_in_a_meta_page,
    a_wild_offset_of_an_entry,
    a_wild_length_or_page_in_an_entry,
    cut_at_a_page,
    pages_swapped,
    random_bytes,
    a_wild_number_in_a_header,
    a_wild_number_in_a_meta_page,
    a_wild_length_or_page_in_an_entry,
    of_a_32_bit_program,
    of_the_other_byte_order,
    of_a_newer_format,
    empty,
    a_directory,
    a_fifo,
    a_link_in_a_circle,
    ten_gigabytes_without_content,
    ten_gigabytes_behind_the_end,
    ten_gigabytes_that_are_said_to_be_used,
    text,
    nothing,
]


def own_memory() -> int:
    """The peak of resident memory (KiB) of this process; that of ``getrusage`` includes the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def main(number: int, seed: int) -> int:
    """Read ``number`` damaged files; the number of wrong outcomes, of which too much memory is one."""
    outcomes: Counter[str] = Counter()
    wrong, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as directory:
        originals, target = Path(directory, "whole"), Path(directory, "damaged")
        originals.mkdir()
        target.mkdir()
        for case in cases(target, wholes(originals), number, seed):
            start = time.monotonic()
            outcome, problem = verdict(case)
            slowest = max(slowest, time.monotonic() - start)
            outcomes[outcome] += 1
            if problem:
                wrong += 1
                print(f"{case.how}: {problem}", file=sys.stderr)
    largest = max(own_memory(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(f"{number} files: {dict(outcomes.most_common())}")
    print(f"slowest {slowest:.2f} s; largest process {largest / 1024:.0f} MB; wrong: {wrong}")
    return wrong + (largest / 1024 > MEGABYTES)


if __name__ == "__main__":
    sys.exit(bool(main(*numbers(__doc__, number=2000, seed=1))))
