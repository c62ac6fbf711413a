"""Keys that cannot sign, and what the user is advised to do."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ssh_keys import Keys
from zc.cimaa.actions import private_keys, signed_files
from zc.cimaa.errors import SigningError

DATA = b'{"name": "who has it"}\n'
SIGN = """
import sys
from pathlib import Path
from zc.cimaa.actions import signatures
from zc.cimaa.errors import SigningError
try:
    print(signatures.find().sign(b"data", Path(sys.argv[1])).decode())
except SigningError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ssh-agent, and no windows."""
    for variable in ("SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def ssh_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An ssh-agent without keys."""
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()  # it says where its socket is when it is there
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        yield
        agent.terminate()


def locked(keys: Keys, name: str = "jane", *options: str) -> Path:
    """A key with the passphrase ``secret``."""
    path = keys.directory / name
    kind = () if "-t" in options else ("-t", "ed25519")
    subprocess.run(["ssh-keygen", "-q", *kind, *options, "-N", "secret", "-f", path], check=True)
    return path


def refusal(keys: Keys, key: Path) -> str:
    """Why an agent cannot sign with the key."""
    with pytest.raises(SigningError) as raised:
        keys.keygen.sign(DATA, key, alone=True)
    return str(raised.value)


def signed_without_terminal(key: Path) -> str:
    """What a program prints that signs, and has no terminal: a signature, or why it cannot sign."""
    program = [sys.executable, "-c", SIGN, key]
    return subprocess.run(program, capture_output=True, text=True, start_new_session=True, check=True).stdout


def on_terminal(program: list[str], typed: bytes) -> tuple[bytes, bytes]:
    """What a program prints that has a terminal, and what it writes on this, where something is typed when it asks."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True, preexec_fn=take_terminal
    ) as process:
        os.close(theirs)
        asked = os.read(ours, 1024)
        os.write(ours, typed)
        printed, _ = process.communicate(timeout=60)
    os.close(ours)
    return printed, asked


def test_a_key_that_is_not_there_is_named(keys: Keys) -> None:
    path = keys.directory / "nobody"
    assert refusal(keys, path) == f"cannot read the key {path}: No such file or directory"
    assert refusal(keys, keys.directory) == f"cannot read the key {keys.directory}: Is a directory"
    os.mkfifo(keys.directory / "pipe")
    assert "pipe is not a file" in refusal(keys, keys.directory / "pipe")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not an SSH key"),
        ("root:x:0:0:root:/root:/bin/bash\n", "it is not an SSH key"),
        ('{"name": "who has it"}', "it is not an SSH key"),
        ("\xff\x00", "it is not an SSH key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "it is a key of PuTTY"),
        (
            "ssh-dss AAAAB3NzaC1kc3MAAACBAKB jane\n",
            "keys of the type 'ssh-dss' are not accepted; accepted: ecdsa-sha2-",
        ),
        ("ssh-ed25519-cert-v01@openssh.com AAAA jane", "keys of the type 'ssh-ed25519-cert-v01@"),
        ("ssh-ed25519 AAAA jane", "the key 'ssh-ed25519 AAAA' is damaged"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "the private key is damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it is not an SSH key"),
    ],
)
def test_what_is_not_a_key_cannot_sign(keys: Keys, text: str, why: str) -> None:
    path = keys.directory / "key"
    path.write_text(text)
    assert refusal(keys, path).startswith(f"cannot sign with {path}: {why}")


@given(st.binary(max_size=300), st.sampled_from(["", "OPENSSH ", "RSA "]), st.booleans())
def test_any_bytes_are_a_key_or_refused(data: bytes, kind: str, armored: bool) -> None:
    if armored:
        data = f"-----BEGIN {kind}PRIVATE KEY-----\n".encode() + data + f"\n-----END {kind}PRIVATE KEY-----".encode()
    with suppress(ValueError):
        private_keys.parse(data)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_a_private_key_has_its_public_key(keys: Keys, kind: str, passphrase: str) -> None:
    path = keys.make("jane", kind)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", path], check=True)
    private = private_keys.parse(path.read_bytes())
    assert private == (True, private_keys.parse(path.with_suffix(".pub").read_bytes()).public, bool(passphrase))


def test_a_key_with_a_passphrase_needs_a_terminal_or_ssh_agent(keys: Keys) -> None:
    path = locked(keys)
    wanted = (
        f"the key {path} has a passphrase, and there is no terminal on which to ask for it:"
        f" eval \"$(ssh-agent)\"; ssh-add '{path}'\n"
    )
    assert signed_without_terminal(path) == wanted
    assert signed_without_terminal(path.with_suffix(".pub")) == wanted
    assert signed_without_terminal(locked(keys, "joe", "-t", "rsa", "-m", "PEM")) == wanted.replace("jane", "joe")


def test_a_key_in_ssh_agent_needs_no_terminal(keys: Keys, ssh_agent: None) -> None:
    path = keys.make("jane")
    subprocess.run(["ssh-add", "-q", path], check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", path], check=True)
    assert "BEGIN SSH SIGNATURE" in signed_without_terminal(path)
    path.chmod(0o644)
    assert "BEGIN SSH SIGNATURE" in signed_without_terminal(path)
    joe = locked(keys, "joe")
    assert signed_without_terminal(joe).endswith(f"ask for it: ssh-add '{joe}'\n")


def test_the_key_of_an_agent_has_no_passphrase(keys: Keys, ssh_agent: None) -> None:
    path = keys.make("jane")
    subprocess.run(["ssh-add", "-q", path], check=True)
    assert keys.keygen.sign(DATA, path, alone=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", path], check=True)
    assert refusal(keys, path) == f"the key {path} has a passphrase: without a user to ask, a key must have none"
    path.unlink()
    assert refusal(keys, path.with_suffix(".pub")) == f"{path}.pub is a public key; name the private one"


def test_a_key_with_a_passphrase_is_asked_for_on_the_terminal(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there are windows, but no program that asks in one."""
    path = locked(keys)
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setenv("SSH_ASKPASS", "/none/such")
    signature, asked = on_terminal([sys.executable, "-c", SIGN, str(path)], b"secret\n")
    assert signature.startswith(b"-----BEGIN SSH SIGNATURE-----")
    assert b"Enter passphrase" in asked


def test_a_program_may_ask_for_the_passphrase(keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asking = tmp_path / "asking"
    asking.write_text("#!/bin/sh\necho secret\n")
    asking.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(asking))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert "BEGIN SSH SIGNATURE" in signed_without_terminal(locked(keys))


def test_a_public_key_needs_its_private_key(keys: Keys) -> None:
    private = keys.make("jane")
    public = private.with_suffix(".pub")
    assert "BEGIN SSH SIGNATURE" in signed_without_terminal(public)
    private.unlink()
    why = 'is a public key; its private key is not in ssh-agent: eval "$(ssh-agent)"; ssh-add PRIVATE_KEY\n'
    assert signed_without_terminal(public) == f"{public} {why}"
    public.rename(private)
    assert signed_without_terminal(private) == f"{private} {why}"


def test_a_private_key_that_does_not_have_the_public_one_needs_it_beside_it(keys: Keys) -> None:
    path = keys.directory / "jane"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", path], check=True)
    assert keys.keygen.sign(DATA, path)
    path.with_suffix(".pub").unlink()
    assert f"there is no {path}.pub, which ssh-keygen needs: ssh-keygen -y -f '{path}' > " in refusal(keys, path)


def test_a_private_key_that_others_may_read_is_refused(keys: Keys) -> None:
    path = keys.make("jane")
    path.chmod(0o640)
    assert refusal(keys, path) == f"other users may read the private key {path}: chmod 600 {path}"


def test_what_ssh_keygen_says_is_passed_on_if_nobody_reads_it(keys: Keys) -> None:
    keys.make("jane")
    private = keys.directory / "jane"
    damaged = private.read_text().splitlines()
    damaged[4] = damaged[4][::-1]
    private.write_text("\n".join(damaged))
    assert refusal(keys, private).startswith(f'ssh-keygen could not sign with {private}: No private key found for "')


def test_signatures_that_cannot_be_written_are_named(keys: Keys) -> None:
    with pytest.raises(SigningError, match=r"cannot write /proc/q\.json\.sig: "):
        signed_files.add_signature(keys.keygen, Path("/proc/q.json"), DATA, keys.make("jane"))
