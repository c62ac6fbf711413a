"""Files of the shape that CFEngine's have, written with its settings."""

import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import lmdb

# As CFEngine's: 100 MiB, one file without a directory, and for cf_lock no sync.
MAP_SIZE = 104857600
Entries = Mapping[bytes, bytes]


def write(path: Path, entries: Entries, commits: int = 1) -> Path:
    """Write the entries in several transactions, as real files have been through many."""
    items = list(entries.items())
    with lmdb.open(os.fspath(path), subdir=False, map_size=MAP_SIZE, sync=False) as environment:
        for start in range(commits):
            with environment.begin(write=True) as transaction:
                for key, value in items[start::commits]:
                    transaction.put(key, value)
    Path(f"{path}-lock").unlink(missing_ok=True)
    return path


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def host_key(number: int, kind: str = "SHA") -> str:
    digest = hashlib.sha256 if kind == "SHA" else hashlib.md5
    return f"{kind}={digest(str(number).encode()).hexdigest()}"


def quality(seen: int, last: float = 0.0, expected: float = 0.0, variance: float = 0.0, change: float = 0.0) -> bytes:
    return struct.pack("=q4d", seen, last, expected, variance, change)


def acknowledged(flag: bool, *fields: float) -> bytes:
    return bytes([flag]) + b"\x07" * 7 + quality(int(fields[0]), *fields[1:])


def lock(pid: int, time: int, start: int, padding: bytes = bytes(4)) -> bytes:
    return struct.pack("=i4sqq", pid, padding, time, start)


def persistent(expires: int, policy: int, tags: str) -> bytes:
    return struct.pack("=II", expires, policy) + text(tags)


def hosts(count: int, now: int, version: int | None = 1) -> dict[bytes, bytes]:
    """``cf_lastseen`` of a hub with this number of hosts, each with an address."""
    entries = {} if version is None else {b"version\0": text(str(version))}
    for number in range(count):
        key, address = host_key(number, "MD5" if number % 3 else "SHA"), f"10.0.{number // 250}.{number % 250}"
        fields = (now - number * 60, 301.5, 300.25, 1 / 3, -1e-9)
        entries[text(f"k{key}")] = text(address)
        entries[text(f"a{address}")] = text(key)
        entries[text(f"qi{key}")] = acknowledged(bool(number % 2), *fields) if version == 2 else quality(*fields)
    return entries


def lock_key(kind: str, bundle: str, promise: str = "commands", what: str = "x") -> bytes:
    digest = hashlib.md5(f"{bundle}{what}".encode()).hexdigest()
    return text(f"{kind}.{bundle}.{promise}.handle.-host.{what}_17_MD5={digest}")


def long_lock_key(kind: str, bundle: str) -> bytes:
    """A key of 511 bytes, whose end CFEngine replaces by a digest."""
    start = f"{kind}.{bundle}.files.{'attribute.' * 60}"[: 510 - 37]
    return text(f"{start}#MD5={hashlib.md5(start.encode()).hexdigest()}")[:511]


def hashed_locks(count: int, now: int) -> dict[bytes, bytes]:
    """``cf_lock`` of CFEngine 3.12."""
    keys = (hashlib.md5(str(number).encode()).hexdigest() for number in range(count))
    return {text(key): lock(100 + number, now - number, 5000) for number, key in enumerate(keys)}


def entries_of(path: Path) -> dict[bytes, bytes]:
    """What LMDB itself reads."""
    with lmdb.open(os.fspath(path), subdir=False, readonly=True, lock=False) as opened, opened.begin() as transaction:
        return dict(transaction.cursor())
