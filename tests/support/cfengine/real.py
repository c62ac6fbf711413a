"""The real CFEngine: a hub with its server, and agents, in directories of their own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import missing

PROGRAMS = ("cf-agent", "cf-check", "cf-key", "cf-promises", "cf-serverd", "mdb_dump", "mdb_stat", "strace")

_HUB = """
body common control { bundlesequence => { "main" }; }
bundle agent main { reports: "hub"; }
body server control
{
  port => "PORT"; bindtointerface => "127.0.0.1";
  allowconnects => { "127.0.0.0/8" }; allowallconnects => { "127.0.0.0/8" }; trustkeysfrom => { "127.0.0.0/8" };
}
bundle server access { access: "HUB/masterfiles" admit => { "127.0.0.0/8" }; }
"""
_AGENT = """
body common control { bundlesequence => { "main", "SLOW" }; }
body agent control { ifelapsed => "0"; }
bundle agent main
{
  classes: "kept" expression => "any", scope => "namespace", persistence => "60";
           "temporary" expression => "any", scope => "namespace", persistence => "5";
  files: "HERE/copied" copy_from => remote;
  commands: "/bin/true" handle => "truth", action => measured;
  reports: "hello";
}
bundle agent slow { commands: "/bin/sleep 300" handle => "sleeping"; }
bundle agent quick { reports: "done"; }
body copy_from remote
{
  source => "HUB/masterfiles/file"; servers => { "127.0.0.1" }; portnumber => "PORT";
  trustkey => "true"; compare => "digest";
}
body action measured { measurement_class => "truth"; }
"""


def require() -> None:
    """Skip the test where CFEngine or LMDB's tools are not installed; in the continuous integration fail it."""
    if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
        missing(f"needs programs of cfengine3, lmdb-utils and strace: {', '.join(absent)}")


class Host:
    """A directory of CFEngine, with keys and policies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state, self.copies = directory / "state", directory / "copies"
        for name in ("bin", "inputs", "state", "ppkeys", "outputs", "modules", "masterfiles", "plugins", "copies"):
            (directory / name).mkdir(mode=0o700, parents=True)
        directory.chmod(0o700)
        for program in ("cf-agent", "cf-key", "cf-promises", "cf-serverd"):
            found = shutil.which(program)
            assert found
            (directory / "bin" / program).symlink_to(found)
        self.run("cf-key")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CFENGINE_TEST_OVERRIDE_WORKDIR": str(self.directory), "TZ": "UTC", "LC_ALL": "C"}

    def policy(self, text: str) -> Path:
        path = self.directory / "inputs" / "promises.cf"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def files(self) -> list[Path]:
        return sorted(self.state.glob("*.lmdb"))


class Site:
    """A hub, and an agent that copies from it."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = str(unused.getsockname()[1])
        self.hub, self.agent = Host(directory / "hub"), Host(directory / "agent")
        (self.hub.directory / "masterfiles" / "file").write_text("hello\n")
        self.hub.policy(_HUB.replace("PORT", self.port).replace("HUB", str(self.hub.directory)))
        self.quick = self.agent_policy("quick")

    def agent_policy(self, bundle: str, host: Host | None = None) -> Path:
        host = host or self.agent
        text = _AGENT.replace("PORT", self.port).replace("HUB", str(self.hub.directory))
        return host.policy(text.replace("HERE", str(host.directory)).replace("SLOW", bundle))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The hub's server, which holds its lock all the time."""
        server = self.hub.start("cf-serverd", "--no-fork")
        try:
            self._wait(server)
            yield
        finally:
            server.terminate()
            server.wait(20)

    def _wait(self, server: "subprocess.Popen[bytes]") -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end and server.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", int(self.port))) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("cf-serverd does not listen")

    @contextmanager
    def agent_in_the_middle(self) -> Iterator["subprocess.Popen[bytes]"]:
        """An agent's run that holds the lock of a command which sleeps."""
        policy = self.agent_policy("slow")
        running = self.agent.start("cf-agent", "--file", str(policy))
        try:
            end = time.monotonic() + 30
            while not any(line for line in self._locks() if "sleep" in line):
                assert time.monotonic() < end, self._locks()
                time.sleep(0.05)
            yield running
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(20)
            self.agent_policy("quick")

    def _locks(self) -> list[str]:
        path = self.agent.state / "cf_lock.lmdb"
        if not path.exists():
            return []
        done = subprocess.run(["cf-check", "dump", "--keys", path], capture_output=True, text=True, check=False)
        return re.findall(r'"(lock\..*)"', done.stdout)
