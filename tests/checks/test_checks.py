"""The checks that come with zc.cimaa: the judging by its edges, the reading by what this very host has."""

import shlex
import subprocess
import sys

import pytest

from zc.cimaa.checks import available_memory, disk, host, load
from zc.cimaa.checks.disk import Mount, Usage
from zc.cimaa.checks.items import Item, problems
from zc.cimaa.checks.ranges import thresholds

ERROR, WARNING = 40, 30

DISK, LOAD, MEMORY = (thresholds(*check.THRESHOLDS) for check in (disk, load, available_memory))


def severities(items: list[Item]) -> list[int]:
    return [finding.severity for finding in problems(items)]


@pytest.mark.parametrize(
    ("used", "severity"), [(0, None), (90, None), (90.1, WARNING), (95, WARNING), (95.1, ERROR), (100, ERROR)]
)
def test_a_disk_is_judged_by_how_full_it_is(used: float, severity: int | None) -> None:
    assert severities(disk.judge([Usage("/var", used)], DISK)) == ([] if severity is None else [severity])


def test_each_full_disk_is_a_finding_of_its_own() -> None:
    found = problems(disk.judge([Usage("/", 91), Usage("/home", 10), Usage("/var", 99.5)], DISK))
    assert [(f.name, f.message) for f in found] == [("/", "/ is 91 % full"), ("/var", "/var is 99 % full")]


def test_only_disks_that_can_fill_up_are_looked_at() -> None:
    devices = [
        Mount("/dev/sda1", "/", "ext4", "rw,relatime"),
        Mount("/dev/sda1", "/etc/hosts", "ext4", "rw,relatime"),  # the same device, bound to a second place
        Mount("/dev/sda2", "/var", "xfs", "rw"),
        Mount("/dev/sr0", "/media/cd", "iso9660", "ro"),
        Mount("/dev/sr1", "/media/dvd", "udf", "rw"),  # an image, although it says that it can be written to
        Mount("/dev/sdb1", "/mnt/backup", "ext4", "ro,noatime"),
        Mount("/dev/loop3", "/snap/core/1", "squashfs", "rw"),
        Mount("/dev/loop4", "/srv/image", "ext4", "rw"),
    ]
    assert [mount.mountpoint for mount in disk.relevant(devices, devices)] == ["/", "/var"]


def test_a_container_s_root_is_looked_at_although_it_has_no_device() -> None:
    everything = [Mount("overlay", "/", "overlay", "rw"), Mount("overlay", "/x", "overlay", "rw"), *PSEUDO]
    assert [mount.mountpoint for mount in disk.relevant([], everything)] == ["/"]


def test_on_a_host_of_containers_the_containers_overlays_are_not_looked_at() -> None:
    root = Mount("/dev/sda1", "/", "ext4", "rw")
    overlays = [Mount("overlay", f"/var/lib/docker/overlay2/{n}/merged", "overlay", "rw") for n in "ab"]
    assert disk.relevant([root], [root, *overlays, *PSEUDO]) == [root]


def test_a_root_in_memory_is_not_looked_at() -> None:
    assert disk.relevant([], [Mount("none", "/", "tmpfs", "rw"), *PSEUDO]) == []


def test_a_root_that_is_read_only_is_not_looked_at() -> None:
    assert disk.relevant([], [Mount("overlay", "/", "overlay", "ro,relatime")]) == []


def test_of_several_mounts_of_a_device_the_shortest_path_is_looked_at() -> None:
    """Neither the first that is listed nor the first in the alphabet; and the paths come sorted."""
    devices = [
        Mount("/dev/sdb", "/srv/long", "ext4", "rw"),
        Mount("/dev/sda", "/data/of/others", "ext4", "rw"),
        Mount("/dev/sda", "/mnt", "ext4", "rw"),
        Mount("/dev/sda", "/opt", "ext4", "rw"),
        Mount("/dev/sdc", "/z", "xfs", "rw"),
    ]
    assert [mount.mountpoint for mount in disk.relevant(devices, devices)] == ["/mnt", "/srv/long", "/z"]


def test_what_only_this_process_must_not_write_to_fills_up_all_the_same() -> None:
    """In a service with ProtectSystem=strict every mount is read-only."""
    found = disk.file_systems(
        b"43 42 254:0 / / ro,relatime shared:1 - ext4 /dev/vda rw,discard\n"
        b"44 43 0:25 / /mnt/two\\040words\\134 ro,nosuid - ext4 /dev/vdb ro,size=4k\n"
    )
    assert found == {"/": "rw,discard", "/mnt/two words\\": "ro,size=4k"}


def test_a_service_that_may_write_nowhere_sees_the_same_disks() -> None:
    code = "from zc.cimaa.checks import disk; print([usage.mountpoint for usage in disk.local()])"
    see = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    command = ["unshare", "-m", "sh", "-c", f"mount -o remount,ro,bind / && {see}"]
    closed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if closed.returncode:
        pytest.skip(f"this user may make no mounts: {closed.stderr}")
    assert closed.stdout == f"{[usage.mountpoint for usage in disk.local()]}\n"


PSEUDO = [Mount("proc", "/proc", "proc", "rw"), Mount("tmpfs", "/run", "tmpfs", "rw")]


@pytest.mark.parametrize(
    ("available", "severity"), [(100, None), (10, None), (9.9, WARNING), (5, WARNING), (4.9, ERROR), (0, ERROR)]
)
def test_memory_is_judged_by_what_is_available(available: float, severity: int | None) -> None:
    assert severities(available_memory.judge(int(available * 2**30), 100 * 2**30, MEMORY)) == (
        [] if severity is None else [severity]
    )


def test_memory_says_how_much_there_is() -> None:
    assert available_memory.judge(2**30, 64 * 2**30, MEMORY)[0].message == "1 % of 64.0 GiB memory is available"


@pytest.mark.parametrize(
    ("load5", "cores", "severity"),
    [(2, 1, None), (2.1, 1, WARNING), (4, 1, WARNING), (4.1, 1, ERROR), (8, 4, None), (9, 4, WARNING), (17, 4, ERROR)],
)
def test_load_is_judged_per_core(load5: float, cores: int, severity: int | None) -> None:
    assert severities(load.judge((0, load5, 0), cores, LOAD)) == ([] if severity is None else [severity])


def test_load_says_of_how_many_cores() -> None:
    assert load.judge((0, 9.2, 0), 4, LOAD)[0].message == "the load of the last 5 minutes is 9 on 4 cores"
    assert load.judge((0, 9.2, 0), 1, LOAD)[0].message == "the load of the last 5 minutes is 9 on 1 core"


@pytest.mark.parametrize("name", host.CHECKS)
def test_every_check_reads_this_host(name: str) -> None:
    for finding in host.CHECKS[name]():
        assert finding.severity in (WARNING, ERROR)


def test_the_root_of_this_host_is_read() -> None:
    assert all(0 <= usage.used <= 100 for usage in disk.local())
    assert "/" in [usage.mountpoint for usage in disk.local()]
