"""Data as in the field: names as long as real ones, three severities, a thousand times at which faults began."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from zc.cimaa.agents import Instance, Row, SeenInstance
from zc.cimaa.faults import encode_unvalidated
from zc.cimaa.lmdb import DB, records

Fault = dict[str, Any]
GIB = 1024**3
START = 1_764_000_000
SEVERITIES = (50, 40, 30, 30)
CHECKS = (
    (
        "check-disk-usage#/var/lib/postgresql",
        "DISK CRITICAL - free space: /var/lib/postgresql 5121 MiB (3.2% inode=87%)",
    ),
    ("check-load-average", "LOAD WARNING - total load average: 14.12, 11.03, 9.87"),
    (
        "check-http#https://shop.example.com/health",
        "HTTP CRITICAL: HTTP/1.1 503 Service Unavailable - 612 bytes in 0.052 s",
    ),
    ("check-certificate#mail.example.com:993", "SSL WARNING - certificate 'mail.example.com' expires in 13 day(s)"),
    ("check-systemd-units#backup.service", "CRITICAL - backup.service: failed (Result: exit-code)"),
)


def name(agent: int) -> str:
    """An agent's name: a host's full one."""
    return f"web-frontend-{agent:07}.rack{agent % 97:02}.fra1.example.com"


def report(agent: int, faults: int, change: int = 0) -> list[Fault]:
    """A report; the first fault's message says how often it changed."""
    made = []
    for number in range(faults):
        check, message = CHECKS[number % len(CHECKS)]
        text = f"{message}, seen {change} times" if number == 0 else message
        severity = SEVERITIES[(agent + number) % len(SEVERITIES)]
        made.append({"name": f"//{name(agent)}/{check}/{number}", "severity": severity, "message": text})
    return made


def fill(path: Path, agents: int, faults: int, doubles: int = 100) -> None:
    """Make an LMDB store quickly, as after reports of ``agents``, of which one in ``doubles`` has two instances."""
    with DB({"path": str(path)}) as db:
        db.get_agents()
    with lmdb.open(str(path), map_size=16 * GIB, sync=False, max_readers=1024) as environment:
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(_rows(agents, faults, doubles), append=False)
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(_faults(agents, faults))
            transaction.put(b"slots", b"%d" % agents)
            rows = [transaction.get(b"a:" + name(agent).encode()) for agent in range(agents)]
        environment.sync(True)
    with (path / "heartbeats").open("wb") as slots:
        for agent, row in enumerate(rows):
            slots.write(_slot(row, START * 10**6 + 10**6 * (agent % 600)))


def _rows(agents: int, faults: int, doubles: int) -> Iterator[tuple[bytes, bytes]]:
    for agent in range(agents):
        instances = [
            SeenInstance(
                Instance(name(agent), pid, "1.0", "Linux 6.12.43+deb13-amd64"), (START - age) * 10**6, START * 10**6
            )
            for pid, age in ((1200 + agent % 30_000, 86_000), (900, 7200))[: 2 if agent % doubles == 0 else 1]
        ]
        encoded = encode_unvalidated(report(agent, faults))
        assert encoded is not None
        row = Row(START * 10**6, encoded.digest, instances[-1].instance.id, tuple(instances))
        yield b"a:" + name(agent).encode(), records.encode_row(row, agent, reworded=0)


def _faults(agents: int, faults: int) -> Iterator[tuple[bytes, bytes]]:
    if not faults:
        return
    for agent in range(agents):
        stored = [{**fault, "since": START - 997 * (agent * 31 % 1000)} for fault in report(agent, faults)]
        stored.sort(key=lambda fault: fault["name"])
        yield b"f:" + name(agent).encode(), records.encode_faults(stored)


def _slot(row: bytes, updated: int) -> bytes:
    body = struct.pack("<8sq", row[8:16], updated)
    return body + struct.pack("<I12x", zlib.crc32(body))
