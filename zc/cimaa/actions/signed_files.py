"""An action in a file, and its signatures in ``FILE.sig`` beside it."""

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import InvalidAction, SigningError
from . import documents, signers
from .signatures import Keygen
from .signers import Signature, fingerprint

SUFFIX = ".sig"

# A key of a token comes first: who has one means to use it.
_KEYS = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed25519", "id_ecdsa", "id_rsa")


class Added(NamedTuple):
    """A signature that was added to a file."""

    #: The fingerprint of the key.
    key: str
    #: How many signatures the file has now.
    number: int


def signature_file(file: Path) -> Path:
    """Where the signatures of the file are."""
    return file.with_name(file.name + SUFFIX)


def read(file: Path) -> bytes:
    """The bytes of a document; one byte more than is allowed if it is larger."""
    with file.open("rb") as opened:
        return opened.read(documents.SIZE + 1)


def read_signatures(file: Path) -> bytes:
    """The signatures of the file; none if there is no ``FILE.sig``."""
    try:
        with signature_file(file).open("rb") as opened:
            return opened.read(signers.SIZE + 1)
    except FileNotFoundError:
        return b""


def default_key() -> Path:
    """The user's key: the first that there is in ``~/.ssh``, as a private key, or as a public one of ``ssh-agent``.

    :raises SigningError: if there is none.
    """
    directory = Path("~/.ssh").expanduser()
    for name in _KEYS:
        for path in (directory / name, directory / f"{name}.pub"):
            if path.is_file():
                return path
    hint = "for a key in ssh-agent, write the public one to a file: ssh-add -L > agent.pub; then --key agent.pub"
    raise SigningError(
        f"there is no SSH key in {directory}: make one with ssh-keygen -t ed25519, or name one with --key; {hint}"
    )


def add_signature(keygen: Keygen, file: Path, data: bytes, key: Path) -> Added:
    """Sign the data of the file, and add the signature to ``FILE.sig``, which is replaced as a whole.

    :raises InvalidAction: if the file was changed since it was signed, or is signed with this key already.
    :raises SigningError: if ``ssh-keygen`` cannot sign, or ``FILE.sig`` cannot be written.
    """
    before = _signatures_before(file)
    for number, signature in enumerate(before, 1):
        if reason := keygen.failure(signature, None, data):
            hint = f"if {file} was changed since it was signed, remove {signature_file(file)}, and have it signed again"
            raise InvalidAction(f"{signature_file(file)}: signature {number} is not of {file} ({reason}); {hint}")
    made = keygen.sign(data, key)
    (new,) = signers.signatures(made)
    if any(signature.key == new.key for signature in before):
        raise InvalidAction(f"{file} is signed with the key {fingerprint(new.key)} already")
    together = "".join(signature.armored() for signature in (*before, new)).encode()
    signers.signatures(together)
    _replace(signature_file(file), together)
    return Added(fingerprint(new.key), len(before) + 1)


def _signatures_before(file: Path) -> list[Signature]:
    given = read_signatures(file)
    try:
        return signers.signatures(given) if given.strip() else []
    except InvalidAction as error:
        raise InvalidAction(f"{signature_file(file)}: {error}") from error


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        raise SigningError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
