"""The mounted file systems, and which of them a search enters."""

from collections.abc import Iterable
from typing import NamedTuple

# File systems whose files are made up by the kernel: reading one may block, never end, or do something.
_VIRTUAL = frozenset(
    {
        *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl"),
        *("hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs"),
    }
)
# File systems of other hosts: these answer themselves, and a server that is down blocks for ever.
_REMOTE = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "fuse", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)


class MountPoint(NamedTuple):
    """A mounted file system."""

    path: str
    type: str


def mounted() -> list[MountPoint]:
    """The file systems that are mounted now."""
    import psutil

    return [MountPoint(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]


def not_entered(mounts: Iterable[MountPoint]) -> dict[str, str]:
    """Mount points that a search from above does not enter, and their types."""
    visible = {mount.path: mount.type for mount in mounts}  # a later mount hides an earlier one
    return {path: kind for path, kind in visible.items() if kind in _VIRTUAL or _is_remote(kind)}


def is_virtual(path: str, mounts: Iterable[MountPoint]) -> bool:
    """True if the file of this (resolved) path is made up by the kernel."""
    above = [mount for mount in mounts if path == mount.path or path.startswith(mount.path.rstrip("/") + "/")]
    return bool(above) and sorted(above, key=lambda mount: len(mount.path))[-1].type in _VIRTUAL


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse.")
