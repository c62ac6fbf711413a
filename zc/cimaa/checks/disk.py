"""Is there room on the local file systems?"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from . import Problem
from .items import Item, findings, measured, percent
from .ranges import Thresholds, thresholds
from .states import State

#: Of how much (percent of what may be used) is used.
THRESHOLDS = ("90", "95")

# Full by their nature, as they cannot be written to.
_IMAGES = {"squashfs", "iso9660", "erofs", "cramfs", "udf"}

# Linux tells there of each mount also whether the file system itself can be written to.
_MOUNTS = Path("/proc/self/mountinfo")
# How it writes a blank, and the like, in a path.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system, and where it is mounted."""

    device: str
    mountpoint: str
    type: str
    options: str


class Usage(NamedTuple):
    """How full (percent of what may be used) the file system is that is mounted there."""

    mountpoint: str
    used: float


def check() -> list[Problem]:
    """What is wrong now."""
    return findings(judge(local(), thresholds(*THRESHOLDS)))


def read(limits: Thresholds, paths: Sequence[str] = ()) -> list[Item]:
    """How full the file systems of these paths are, by default the local ones that can be written to."""
    if not paths:
        return judge_all(local(), limits)
    items: list[Item] = []
    for path in paths:
        try:
            items += judge([Usage(path, psutil.disk_usage(path).percent)], limits)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            items.append(Item(path, State.CRITICAL, f"{path} cannot be read: {reason}"))
    return items


def judge(usages: Iterable[Usage], limits: Thresholds) -> list[Item]:
    """Judge file systems that are so full.

    The message has whole percents, so that a report changes seldom.
    """
    return [measured(path, f"{path} is {int(used)} % full", percent(path, used, limits)) for path, used in usages]


def judge_all(usages: Sequence[Usage], limits: Thresholds) -> list[Item]:
    """Judge the local file systems; if there is none, it is not known that all is well."""
    nothing = Item("", State.UNKNOWN, "no local file system that can be written to was found: name one with --path")
    return judge(usages, limits) or [nothing]


def local() -> list[Usage]:
    """How full the local file systems are that can be written to."""
    usages = []
    for mount in relevant(_mounts(every=False), _mounts(every=True)):
        try:
            usages.append(Usage(mount.mountpoint, psutil.disk_usage(mount.mountpoint).percent))
        except OSError:  # it went meanwhile, or this user may not look
            continue
    return usages


def relevant(devices: Iterable[Mount], everything: Iterable[Mount]) -> list[Mount]:
    """The mounts to look at: one per device, the shortest path to each.

    ``devices`` are those on a device, ``everything`` is all; of the latter only the
    root counts, which in a container is an overlay without a device.
    """
    root = [mount for mount in everything if mount.mountpoint == "/" and mount.type == "overlay"]
    chosen: dict[str, Mount] = {}
    for mount in sorted([*root, *devices], key=lambda mount: (len(mount.mountpoint), mount.mountpoint)):
        if _writable(mount):
            chosen.setdefault(mount.device, mount)
    return sorted(chosen.values(), key=lambda mount: mount.mountpoint)


def _writable(mount: Mount) -> bool:
    return not ("ro" in mount.options.split(",") or mount.type in _IMAGES or mount.device.startswith("/dev/loop"))


def _mounts(*, every: bool) -> list[Mount]:
    own = file_systems(_MOUNTS.read_bytes()) if _MOUNTS.exists() else {}
    return [
        Mount(part.device, part.mountpoint, part.fstype, own.get(part.mountpoint, part.opts))
        for part in psutil.disk_partitions(all=every)
    ]


def file_systems(mountinfo: bytes) -> Mapping[str, str]:
    """The options of the file systems themselves, by where they are mounted.

    Those of a mount say less: an agent that systemd keeps from writing
    (``ProtectSystem=strict``) sees all of them read-only, and they fill up all the same.
    """
    found = {}
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(b" - ")
        path = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), mount.split(b" ")[4])
        found[os.fsdecode(path)] = file_system.rpartition(b" ")[2].decode(errors="replace")
    return found
