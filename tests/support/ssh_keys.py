"""SSH keys, made with ssh-keygen for tests."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest

from tests.support.needs import missing
from zc.cimaa.actions import signatures
from zc.cimaa.actions.signatures import Keygen
from zc.cimaa.errors import SigningError


class Keys:
    """A directory with keys, each a private one ``NAME`` and a public one ``NAME.pub``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        try:
            self.keygen: Keygen = signatures.find()
        except SigningError as error:
            missing(f"{error}")

    def make(self, name: str, kind: str = "ed25519") -> Path:
        path = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path], check=True)
        return path

    def public(self, name: str) -> str:
        """The type and the key, as a line of a file has them."""
        return " ".join((self.directory / f"{name}.pub").read_text().split()[:2])

    def sign(self, name: str, data: bytes, namespace: str = "cimaa-action") -> bytes:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", self.directory / name]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def signers(self, *lines: str) -> Path:
        """A file of allowed signers."""
        path = self.directory / "investigators"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def strings(*parts: bytes) -> bytes:
    """Byte strings one after the other, as SSH encodes them in keys and signatures."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


@contextmanager
def ssh_agent() -> Iterator[None]:
    """An ``ssh-agent`` without keys, which this process and its children use."""
    if which("ssh-agent") is None:
        missing("needs ssh-agent: install Debian's package openssh-client")
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    before = dict(os.environ)
    os.environ |= dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
    try:
        yield
    finally:
        subprocess.run(["ssh-agent", "-k"], capture_output=True, check=True)
        for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"):
            os.environ.pop(name)
        os.environ |= before
