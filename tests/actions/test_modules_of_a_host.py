"""The modules ``package``, ``process`` and ``port``: they agree with dpkg-query, rpm, ps and ss on this host."""

import ipaddress
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.needs import missing
from zc.cimaa.actions.answers import Answer, utc
from zc.cimaa.actions.modules import Bounds, Inspector, connections, packages, process_search
from zc.cimaa.actions.modules.connections import Endpoint, Socket
from zc.cimaa.actions.modules.packages import Package
from zc.cimaa.actions.modules.process_search import RunningProcess


def ask(module: type[Inspector], **parameters: Any) -> Answer:
    return module.inspect(module.check({"matches": 1000, **parameters}), Bounds(time.monotonic() + 60))


def lines(*command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        missing(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


# Packages


def test_packages_are_those_of_dpkg() -> None:
    wanted = set()
    for line in lines("dpkg-query", "-l"):
        if match := re.match(r".i\s+(\S+)\s+(\S+)\s+(\S+)", line):
            wanted.add((match[1].partition(":")[0], match[2], match[3]))
    found = ask(packages.Module)
    assert found.statistics["packages"] == len(found.elements) == len(wanted)
    assert {(each["name"], each["version"], each["architecture"]) for each in found.elements} == wanted


def test_packages_are_found_by_name_and_version() -> None:
    (version,) = lines("dpkg-query", "-W", "-f", "${Version}\n", "bash")
    (bash,) = ask(packages.Module, name="bash", version=f"^{re.escape(version)}$").elements
    assert bash["manager"] == "dpkg"
    assert not ask(packages.Module, name="bash", version="^0nothing").found
    assert not ask(packages.Module, name="no-such-package").found
    assert len(ask(packages.Module, name="lib*", matches=3).elements) == 3


@pytest.fixture
def rpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An rpm database with two packages, which the user's own settings name."""
    if shutil.which("rpmbuild") is None:
        missing("rpmbuild is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".rpmmacros").write_text(f"%_dbpath {tmp_path}/db\n%_topdir {tmp_path}/build\n")
    for name, version, epoch in (("tool", "1.2", ""), ("tool-extra", "3.0~rc1", "Epoch: 2\n")):
        (tmp_path / f"{name}.spec").write_text(
            f"Name: {name}\nVersion: {version}\nRelease: 5\n{epoch}Summary: s\nLicense: MIT\nBuildArch: noarch\n"
            "%description\nd\n%files\n"
        )
        subprocess.run(["rpmbuild", "-bb", "--quiet", f"{tmp_path}/{name}.spec"], check=True, capture_output=True)
    built = [str(path) for path in (tmp_path / "build/RPMS").rglob("*.rpm")]
    subprocess.run(["rpm", "-i", "--justdb", "--nodeps", "--force-debian", *built], check=True, capture_output=True)


def test_packages_are_those_of_rpm(rpm: None) -> None:
    found = ask(packages.Module, name="tool*")
    of_rpm = [(each["name"], each["version"], each["architecture"]) for each in found.elements]
    assert of_rpm == [("tool", "1.2-5", "noarch"), ("tool-extra", "2:3.0~rc1-5", "noarch")]
    assert {each["manager"] for each in found.elements} == {"rpm"}
    listed = set(lines("rpm", "-qa", "--qf", "%{NAME}-%{EVR}.%{ARCH}\n"))
    assert listed == {f"{name}-{version}.{architecture}" for name, version, architecture in of_rpm}


def test_a_host_without_a_package_manager_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = ask(packages.Module)
    assert (found.success, list(found.errors)) == (False, ["neither dpkg-query nor rpm is on the PATH"])


def test_a_package_manager_that_fails_is_an_error_and_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rpm").write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "rpm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = ask(packages.Module, name="bash")
    assert (found.found, found.success, found.errors) == (True, False, ["rpm exited with status 5"])


@given(st.text())
def test_any_listing_is_parsed(listing: str) -> None:
    assert all(isinstance(package, Package) for package in packages.parse("dpkg", listing))


def test_packages_that_are_removed_are_left_out() -> None:
    listing = "installed\ta\t1\tamd64\nconfig-files\tb\t2\tamd64\nhalf-installed\tc\t3\tall\n"
    assert list(packages.parse("dpkg", listing)) == [Package("a", "1", "amd64", "dpkg")]


# Processes


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = tmp_path / "a-program-with-a-long-name"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "1234567"]) as process:
        yield process
        process.kill()


def test_processes_are_those_of_ps(sleeper: subprocess.Popen[bytes]) -> None:
    def listed() -> dict[int, list[str]]:
        rows = [line.split(None, 3) for line in lines("ps", "-eo", "pid=,ppid=,user:40=,args=", "-ww")]
        return {int(row[0]): row[1:] for row in rows}

    began = utc(time.time() - 2)  # the start times of processes are exact to a second or so
    before, found, after = listed(), ask(process_search.Module), listed()
    both = {pid: row for pid, row in before.items() if after.get(pid) == row and pid != os.getpid()}
    by_pid = {each["pid"]: each for each in found.elements}
    assert sleeper.pid in by_pid
    assert set(both) - set(by_pid) == set()
    assert all(by_pid[pid]["started"] >= began for pid in set(by_pid) - set(before))
    for pid, (parent, user, command) in both.items():
        assert str(by_pid[pid]["parent"]) == parent
        assert by_pid[pid]["user"] == user
        if "1234567" in command:
            assert by_pid[pid]["command"] == command


def test_a_process_is_found_under_the_id_of_one_that_was_found_before() -> None:
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("only root can choose the next process id")

    def sleeping_is_found(process: subprocess.Popen[bytes]) -> bool:
        with process, ExitStack() as stack:
            stack.callback(process.kill)
            return process.pid in {each["pid"] for each in ask(process_search.Module, name="sleep").elements}

    old = subprocess.Popen(["sleep", "7654321"])
    assert sleeping_is_found(old)
    time.sleep(0.02)  # The start time of a process has a resolution of 10 ms.
    last.write_text(str(old.pid - 1))
    assert sleeping_is_found(subprocess.Popen(["sleep", "7654321"]))


def test_a_process_is_found_by_each_of_its_properties(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (user,) = lines("ps", "-o", "user:40=", "-p", str(sleeper.pid))
    command = {"command": "1234567$"}
    for wanted in (
        {"name": "a-program-with-*"},
        {"executable": f"{tmp_path}/*"},
        {"user": user.strip()},
        {"command": [r"program.*\s12", "7$"]},
    ):
        assert [each["pid"] for each in ask(process_search.Module, **{**command, **wanted}).elements] == [sleeper.pid]
    for wanted in ({"name": "a-program"}, {"executable": "a-*"}, {"user": "no-such-user"}, {"command": "^1234567"}):
        assert not ask(process_search.Module, **{**command, **wanted}).found
    (found,) = ask(process_search.Module, **command).elements
    began = lines("ps", "-o", "lstart=", "-p", str(sleeper.pid))[0]
    local = time.mktime(time.strptime(began))
    assert abs(local - time.mktime(time.strptime(found["started"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone) <= 86400


def test_credentials_on_a_command_line_are_masked_and_a_long_one_is_cut() -> None:
    values = process_search.Module.check({})
    process = RunningProcess(7, 1, "x", "root", "/x", "x --password hunter2 " + "y" * 10_000, 0)
    (shown,) = process_search.judge([process], values).elements
    assert "hunter2" not in shown["command"]
    assert len(shown["command"]) < 4200
    assert shown["command"].endswith("more characters]")


# Ports

#: An address of the loopback interface that nothing else here uses.
CLIENT = "127.77.7.7"


@pytest.fixture
def sockets() -> Iterator[dict[str, Any]]:
    """Listening sockets, and a connection over IPv4, IPv6, and both together."""
    with ExitStack() as stack:

        def listening(family: int, address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
            made = stack.enter_context(socket.socket(family, kind))
            made.bind((address, 0))
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        v4, v6 = listening(socket.AF_INET, "127.0.0.1"), listening(socket.AF_INET6, "::1")
        both, udp = listening(socket.AF_INET6, "::"), listening(socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM)
        found = {"v4": v4, "v6": v6, "both": both, "udp": udp}
        for name, address, own in (("v4", "127.0.0.1", CLIENT), ("v6", "::1", "::1"), ("both", "127.0.0.1", CLIENT)):
            port = found[name].getsockname()[1]
            stack.enter_context(socket.create_connection((address, port), source_address=(own, 0)))
            stack.enter_context(found[name].accept()[0])
        yield {name: made.getsockname()[1] for name, made in found.items()}


def of_ss(*arguments: str) -> set[tuple[str, str]]:
    """The local and the remote ends that ss shows."""
    found = set()
    for line in lines("ss", "-Hnt", *arguments):
        local, remote = (re.sub(r"%\w+|^\[?(::ffff:)", "", end) for end in line.split()[3:5])
        found.add((plain(local), plain(remote)))
    return found


def plain(end: str) -> str:
    address, _, port = end.rpartition(":")
    return f"{'::' if address == '*' else address.strip('[]').removeprefix('::ffff:')}:{port}"


def test_listening_ports_are_those_of_ss(sockets: dict[str, int]) -> None:
    before, found = of_ss("-l"), set()
    for port in sorted({int(local.rpartition(":")[2]) for local, _ in before}):
        found |= {plain(each["local"]) for each in ask(connections.Module, listening=port).elements}
    after = of_ss("-l")
    assert {local for local, _ in before & after} <= found <= {local for local, _ in before | after}
    (own,) = ask(connections.Module, listening=sockets["v4"]).elements
    assert (own["pid"], own["state"], own["local"]) == (os.getpid(), "LISTEN", f"127.0.0.1:{sockets['v4']}")
    assert (
        own["process"]
        == process_search.judge(
            [each for each in process_search.read() if each.pid == os.getpid()], process_search.Module.check({})
        ).elements[0]["name"]
    )


def test_connections_are_those_of_ss(sockets: dict[str, int]) -> None:
    before, found, after = of_ss(), connections.read(), of_ss()
    ours = {(plain(str(each.local)), plain(str(each.remote))) for each in found if each.remote}
    assert before & after <= ours
    assert {pair for pair in ours if str(sockets["v4"]) in pair[0]} <= before


def test_a_connection_is_found_by_the_address_or_the_network_of_its_other_end(sockets: dict[str, int]) -> None:
    def ports(*networks: str) -> set[int]:
        found = ask(connections.Module, connected=list(networks)).elements
        assert len(found) < 1000
        return {int(each["local"].rpartition(":")[2]) for each in found}

    both = {sockets["v4"], sockets["both"]}
    assert ports(CLIENT) == ports("127.77.0.0/16") == ports("192.0.2.0/24", f"{CLIENT}/32") == both
    assert sockets["v6"] in ports("::1")
    assert ports("192.0.2.0/24", "2001:db8::/32") == set()


def test_a_connection_that_is_over_is_left_out() -> None:
    values = connections.Module.check({"connected": "192.0.2.1"})
    for state in ("TIME_WAIT", "ESTABLISHED"):
        ended = Socket("tcp", Endpoint("192.0.2.2", 1), Endpoint("192.0.2.1", 2), state)
        assert connections.judge([ended], values).found == (state == "ESTABLISHED")


def test_udp_is_shown_only_when_it_is_asked_for(sockets: dict[str, int]) -> None:
    port = sockets["udp"]
    assert not [e for e in ask(connections.Module, listening=port).elements if e["protocol"] == "udp"]
    (found,) = ask(connections.Module, listening=port, protocol="udp").elements
    assert found["state"] == "LISTEN"
    assert lines("ss", "-Hnul", f"sport = :{port}")


@given(
    address=st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None),
    network=st.ip_addresses().flatmap(
        lambda start: st.integers(0, start.max_prefixlen).map(
            lambda bits: ipaddress.ip_network((start, bits), strict=False)
        )
    ),
    mapped=st.booleans(),
)
def test_an_address_is_in_a_network_also_where_ipv6_carries_ipv4(address: Any, network: Any, mapped: bool) -> None:
    shown = f"::ffff:{address}" if mapped and address.version == 4 else str(address)
    connected = Socket("tcp", Endpoint("::1", 1), Endpoint(shown, 2), "ESTABLISHED")
    values = connections.Module.check({"connected": str(network)})
    assert connections.judge([connected], values).found == (address in network)
