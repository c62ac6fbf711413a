"""Is there room on the local file systems?"""

from collections.abc import Iterable
from typing import NamedTuple

import psutil

from ..faults import SEVERITIES
from . import Finding

#: From how many percent used a file system is reported.
WARNING_USED = 90
ERROR_USED = 95

# Full by their nature, as they cannot be written to.
_IMAGES = {"squashfs", "iso9660", "erofs", "cramfs", "udf"}


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


def check() -> list[Finding]:
    """What is wrong now."""
    return judge(read())


def judge(usages: Iterable[Usage]) -> list[Finding]:
    """What is wrong with file systems that are so full.

    The message has whole percents, so that a report changes seldom.
    """
    return [
        Finding(usage.mountpoint, severity, f"{usage.mountpoint} is {int(usage.used)} % full")
        for usage in usages
        if (severity := _severity(usage.used)) is not None
    ]


def read() -> list[Usage]:
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


def _severity(used: float) -> int | None:
    if used >= ERROR_USED:
        return SEVERITIES["error"]
    return SEVERITIES["warning"] if used >= WARNING_USED else None


def _mounts(*, every: bool) -> list[Mount]:
    return [Mount(part.device, part.mountpoint, part.fstype, part.opts) for part in psutil.disk_partitions(all=every)]
