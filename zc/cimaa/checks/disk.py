"""Is there free space on the local file systems?"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from . import Problem
from .items import Item, measured, percent, problems
from .ranges import Thresholds, thresholds
from .states import State

#: For the percentage that is used, of the space that users may use.
THRESHOLDS = ("90", "95")

# Always full, as they are read-only.
_IMAGES = {"squashfs", "iso9660", "erofs", "cramfs", "udf"}

# It also shows whether the file system of a mount is itself writable.
_MOUNTS = Path("/proc/self/mountinfo")
# A space, and other special characters, in a path.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system, and where it is mounted."""

    device: str
    mountpoint: str
    type: str
    options: str


class Usage(NamedTuple):
    """The percentage that is used of the file system at this mount point."""

    mountpoint: str
    used: float


def check() -> list[Problem]:
    """The current problems."""
    return problems(judge(local(), thresholds(*THRESHOLDS)))


def read(limits: Thresholds, paths: Sequence[str] = ()) -> list[Item]:
    """The use of the file systems of these paths (default: of the local, writable ones)."""
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
    """Judge the use of file systems.

    The message has whole percents, so that reports change seldom.
    """
    return [measured(path, f"{path} is {int(used)} % full", percent(path, used, limits)) for path, used in usages]


def judge_all(usages: Sequence[Usage], limits: Thresholds) -> list[Item]:
    """Judge the local file systems; if there are none, the state is unknown."""
    nothing = Item("", State.UNKNOWN, "no local, writable file system was found: name one with --path")
    return judge(usages, limits) or [nothing]


def local() -> list[Usage]:
    """The use of the local, writable file systems."""
    usages = []
    for mount in relevant(_mounts(every=False), _mounts(every=True)):
        try:
            usages.append(Usage(mount.mountpoint, psutil.disk_usage(mount.mountpoint).percent))
        except OSError:  # it was unmounted meanwhile, or this user has no permission
            continue
    return usages


def relevant(devices: Iterable[Mount], everything: Iterable[Mount]) -> list[Mount]:
    """The mounts to check: one per device, the shortest path of each.

    ``devices`` are the mounts of devices, ``everything`` all mounts; of those, only the
    root is used, which in a container is an overlay without a device.
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

    The options of a mount do not suffice: with ``ProtectSystem=strict`` of systemd, an agent
    sees all mounts as read-only, although the file systems can fill up.
    """
    found = {}
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(b" - ")
        path = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), mount.split(b" ")[4])
        found[os.fsdecode(path)] = file_system.rpartition(b" ")[2].decode(errors="replace")
    return found
