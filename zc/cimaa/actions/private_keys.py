"""Checks whether a key can sign before ``ssh-keygen`` runs, whose messages do not say what to do."""

import os
import re
import stat
import subprocess
from base64 import b64decode, b64encode
from binascii import Error as InvalidBase64
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Final, NamedTuple

from ..errors import SigningError
from ..text import quoted, shell_quoted
from . import signers

_PUBLIC: Final = ".pub"
# Bytes: an RSA key of 16384 bits, the largest that ssh-keygen makes, has 13 KiB.
_MOST: Final = 64 * 1024
# Seconds: it takes milliseconds.
_TIMEOUT: Final = 10
_PRIVATE = re.compile(r"-----BEGIN (?P<format>[A-Z ]*)PRIVATE KEY-----\n(?P<body>.*)-----END [A-Z ]*-----", re.DOTALL)
_MAGIC = b"openssh-key-v1\0"
_ASKPASS = "SSH_ASKPASS_REQUIRE"


class SshKey(NamedTuple):
    """What is known of a key from its file."""

    #: True if the file has the private key.
    private: bool
    #: The public key; ``None`` if it is not in the file: a private key in another format than OpenSSH's own.
    public: bytes | None
    #: True if it takes a passphrase to use the key.
    encrypted: bool = False


def parse(data: bytes) -> SshKey:
    """The key in a file.

    :raises ValueError: saying why it cannot sign actions.
    """
    text = data.decode(errors="replace").replace("\r\n", "\n").strip()
    if found := _PRIVATE.match(text):
        own = found["format"] == "OPENSSH "
        return _openssh(found["body"]) if own else SshKey(True, None, "ENCRYPTED" in text)
    if text.startswith("PuTTY-User-Key-File"):
        raise ValueError("it is a key of PuTTY: export it in OpenSSH's format")
    kind, *rest = next((line.split() for line in text.split("\n") if not line.startswith("#") and line.strip()), [""])
    if not rest or not re.fullmatch(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+", kind):
        raise ValueError("it is not an SSH key")
    _check_type(kind)
    return SshKey(False, signers.public_key([kind, *rest])[1])


def check(key: Path, *, alone: bool) -> None:
    """Refuse a key that cannot sign.

    With ``alone`` there is no user who could be asked for a passphrase, and ``ssh-agent`` is not used.

    :raises SigningError: saying what is wrong, and what to do.
    """
    found = _read(key)
    public = found.public or _public_half(key)
    if not alone and _in_agent(public):
        return
    private = key
    if not found.private:
        private = _private_half(key, alone=alone)
        found = _read(private)
    _check_mode(private)
    if found.encrypted and alone:
        raise SigningError(f"the key {private} has a passphrase: without a user to ask, a key must have none")
    if found.encrypted and not _can_ask():
        what = f"the key {private} has a passphrase, and there is no terminal on which to ask for it"
        raise SigningError(f"{what}: {_how_to_add(private)}")


def environment() -> Mapping[str, str]:
    """The environment in which ``ssh-keygen`` asks on the terminal, if there is one, as ``ssh`` does.

    Its standard input is what it signs, so that by itself it would ask in a window, even if no program is installed
    that can do this.
    """
    return ({_ASKPASS: "never"} if _has_terminal() else {}) | os.environ


def _openssh(body: str) -> SshKey:
    try:
        data = b64decode(body)
        if not data.startswith(_MAGIC):
            raise ValueError
        cipher, rest = signers.first_string(data[len(_MAGIC) :])
        _, rest = signers.first_string(rest)  # how the passphrase becomes a key
        _, rest = signers.first_string(rest)
        public, _ = signers.first_string(rest[4:])  # after the number of keys
        kind, _ = signers.first_string(public)
    except (InvalidBase64, ValueError):
        raise ValueError("the private key is damaged") from None
    _check_type(kind.decode(errors="replace"))
    return SshKey(True, public, cipher != b"none")


def _check_type(kind: str) -> None:
    if kind not in signers.KEY_TYPES:
        accepted = ", ".join(sorted(signers.KEY_TYPES))
        raise ValueError(f"keys of the type {quoted(kind)} are not accepted; accepted: {accepted}")


def _read(key: Path) -> SshKey:
    try:
        with open(os.open(key, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123  # opening a pipe could block
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SigningError(f"{key} is not a file: name a key with --key")
            return parse(file.read(_MOST))
    except OSError as error:
        raise SigningError(f"cannot read the key {key}: {error.strerror}") from error
    except ValueError as error:
        raise SigningError(f"cannot sign with {key}: {error}") from error


def _public_half(key: Path) -> bytes | None:
    """The public key beside a private one that does not have it."""
    public = key.with_name(key.name + _PUBLIC)
    if not public.exists():
        named = shell_quoted(str(key))
        raise SigningError(f"there is no {public}, which ssh-keygen needs: ssh-keygen -y -f {named} > {named}{_PUBLIC}")
    return _read(public).public


def _private_half(public: Path, *, alone: bool) -> Path:
    """The private key beside a public one."""
    private = public.with_name(public.name.removesuffix(_PUBLIC))
    if private == public or not private.is_file():
        hint = "name the private one" if alone else f"its private key is not in ssh-agent: {_how_to_add()}"
        raise SigningError(f"{public} is a public key; {hint}")
    return private


def _check_mode(private: Path) -> None:
    status = private.stat()
    if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SigningError(f"other users may read the private key {private}: chmod 600 {private}")


def _can_ask() -> bool:
    """True if ``ssh-keygen`` can ask the user for a passphrase: on a terminal, or by a program for that."""
    windows = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", _ASKPASS)))
    asking = which(os.environ.get("SSH_ASKPASS", "ssh-askpass"))
    return _has_terminal() or bool(windows and asking and os.environ.get(_ASKPASS) != "never")


def _in_agent(public: bytes | None) -> bool:
    """True if ``ssh-agent`` has the private key, or might have it, because it cannot be asked."""
    if public is None or not os.environ.get("SSH_AUTH_SOCK"):
        return False
    try:
        listed = subprocess.run(["ssh-add", "-L"], capture_output=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return b64encode(public) in listed.stdout.split()


def _how_to_add(private: Path | None = None) -> str:
    name = "PRIVATE_KEY" if private is None else shell_quoted(str(private))
    start = "" if os.environ.get("SSH_AUTH_SOCK") else 'eval "$(ssh-agent)"; '
    return f"{start}ssh-add {name}"


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
