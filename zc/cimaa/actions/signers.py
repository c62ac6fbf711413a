"""Who may sign: OpenSSH's file of allowed signers, read strictly; and what a signature says of its key.  Pure."""

import re
from base64 import b64decode, b64encode
from binascii import Error as InvalidBase64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from ..errors import ConfigurationError, InvalidAction
from ..text import quoted

#: What signatures are made for: OpenSSH accepts none that was made for another purpose, such as git commits.
NAMESPACE: Final = "cimaa-action"
#: What agents sign their answers for: an answer can never be taken for an action.
ANSWERS: Final = "cimaa-answer"
#: The most signatures of an action, and the most bytes of all of them.
MOST, SIZE = 16, 64 * 1024

#: The types of keys with which investigators may sign.
KEY_TYPES: Final = frozenset(
    {
        *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
        *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
    }
)
_OPTIONS = ("namespaces", "valid-after", "valid-before")
# A field of a line: blanks are allowed within double quotes.
_FIELD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OPTION = re.compile(r'([A-Za-z-]+)(?:="([^"]*)")?(?:,|\Z)')
_NAME = re.compile(r"[^\s,*?!\"'#]+")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_LINE = 70


class Signer(NamedTuple):
    """An investigator: a name, and the one key that signs for it."""

    name: str
    key_type: str
    key: bytes
    #: A pattern-list of namespaces, as OpenSSH reads it; ``None``: any.
    namespaces: str | None = None
    #: When the key may be used (seconds since the epoch), as the file has it; ``None``: always.
    valid_after: float | None = None
    valid_before: float | None = None

    def line(self) -> str:
        """The line of an allowed signers file that every version of OpenSSH reads: without the times."""
        namespaces = "" if self.namespaces is None else f' namespaces="{self.namespaces}"'
        return f"{self.name}{namespaces} {self.key_type} {b64encode(self.key).decode()}\n"

    def invalid(self, now: float) -> str:
        """Why the key may not be used now; empty: it may."""
        if self.valid_after is not None and now < self.valid_after:
            return "is not valid yet"
        if self.valid_before is not None and now > self.valid_before:
            return "is not valid any more"
        return ""


class Signature(NamedTuple):
    """What a signature says of itself; whether it is true only ``ssh-keygen`` can tell."""

    blob: bytes
    key: bytes
    namespace: str

    def armored(self) -> str:
        """The signature as a file has it."""
        text = b64encode(self.blob).decode()
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return "\n".join([_BEGIN, *lines, _END, ""])


def fingerprint(key: bytes) -> str:
    """The key as ``ssh-keygen -l`` names it."""
    return "SHA256:" + b64encode(sha256(key).digest()).decode().rstrip("=")


def parse(text: str, file: str) -> dict[bytes, Signer]:
    """The signers of a file, by their keys.

    It must be clear who signed, so that each line has one name and one key, and none is there twice.

    :raises ConfigurationError: naming the file, the line, and what is wrong with it.
    """
    found: dict[bytes, Signer] = {}
    names: set[str] = set()
    for number, line in _lines(text):
        try:
            signer = _signer(line)
            if signer.name in names:
                raise ValueError(f"the name {quoted(signer.name)} is there twice")
            if signer.key in found:
                raise ValueError(f"{signer.name} has the same key as {found[signer.key].name}")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {number}: {error}") from None
        names.add(signer.name)
        found[signer.key] = signer
    if not found:
        raise ConfigurationError(f"{file} has no keys: write a name and its public key on each line")
    return found


def check_keys(text: str, file: str) -> None:
    """Refuse a list of public keys with a line that OpenSSH would skip.

    :raises ConfigurationError: naming the file and the line.
    """
    for number, line in _lines(text):
        try:
            public_key(line.split())
        except ValueError as error:
            raise ConfigurationError(f"{file} line {number}: {error}") from None


def signatures(data: bytes) -> list[Signature]:
    """The signatures in a file that holds one after the other.

    :raises InvalidAction: naming the one that is wrong.
    """
    if len(data) > SIZE:
        raise InvalidAction(f"the signatures are too large: at most {SIZE} bytes are allowed")
    found = [_signature(number, body) for number, body in enumerate(_bodies(data), 1)]
    if not found:
        raise InvalidAction("there is no signature")
    if len(found) > MOST:
        raise InvalidAction(f"there are {len(found)} signatures; at most {MOST} are allowed")
    first: dict[bytes, int] = {}
    for number, signature in enumerate(found, 1):
        if signature.key in first:
            raise InvalidAction(f"signature {number} has the same key as signature {first[signature.key]}")
        first[signature.key] = number
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield number, stripped


def _signer(line: str) -> Signer:
    if line.count('"') % 2:
        raise ValueError("a quote is not closed")
    name, *rest = _FIELD.findall(line)
    if name in KEY_TYPES:
        raise ValueError(f"there is no name before the key: write NAME {name} ...")
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise ValueError(f"{quoted(name)} is not one name: patterns and lists of names are not allowed")
    given: Mapping[str, str] = {}
    if rest and rest[0] not in KEY_TYPES and ("=" in rest[0] or (rest[1:2] and rest[1] in KEY_TYPES)):
        given = _options(rest.pop(0))
    key_type, key = public_key(rest)
    times = [_time(given[option]) if option in given else None for option in _OPTIONS[1:]]
    return Signer(name, key_type, key, given.get("namespaces"), *times)


def _options(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _OPTION.match(text, position)
        name = match[1].lower() if match else ""
        if match is None or name not in _OPTIONS or match[2] is None:
            raise ValueError(f"unknown option {quoted(text[position:])}: the options are {', '.join(_OPTIONS)}")
        if name in found:
            raise ValueError(f"the option {name} is there twice")
        found[name] = match[2]
        position = match.end()
    return found


def public_key(fields: list[str]) -> tuple[str, bytes]:
    """The type and the key with which the fields of a line in OpenSSH's format begin.

    :raises ValueError: saying what is wrong with it.
    """
    if not fields:
        raise ValueError("there is no public key after the name")
    if fields[0] not in KEY_TYPES:
        raise ValueError(f"unknown type of key {quoted(fields[0])}; known: {', '.join(sorted(KEY_TYPES))}")
    try:
        key = b64decode(fields[1], validate=True) if len(fields) > 1 else b""
        named, _ = first_string(key)
    except (InvalidBase64, ValueError):
        raise ValueError(f"the key {quoted(' '.join(fields[:2]))} is damaged") from None
    if named != fields[0].encode():
        raise ValueError(f"the key {quoted(' '.join(fields[:2]))} is not of the type {fields[0]}")
    return fields[0], key


def _time(text: str) -> float:
    """When, as OpenSSH writes it: local time, or UTC with a Z."""
    match = re.fullmatch(r"([0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?)(Z?)", text)
    try:
        if match is None:
            raise ValueError
        layout = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}[len(match[1])]
        moment = datetime.strptime(match[1], layout)
        return (moment.replace(tzinfo=UTC) if match[2] else moment).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"invalid time {quoted(text)}: write YYYYMMDD or YYYYMMDDHHMM[SS], with a Z for UTC") from None


def _bodies(data: bytes) -> Iterator[str]:
    """The text between the lines that begin and end each signature."""
    lines: list[str] | None = None
    for number, line in enumerate(data.decode("ascii", "replace").replace("\r\n", "\n").split("\n"), 1):
        if line == _BEGIN and lines is None:
            lines = []
        elif line == _END and lines is not None:
            yield "".join(lines)
            lines = None
        elif lines is not None and line != _BEGIN:
            lines.append(line)
        elif line.strip():
            raise InvalidAction(f"the signatures, line {number}: {quoted(line)} is not part of a signature")
    if lines is not None:
        raise InvalidAction(f"the signatures end without {_END}")


def _signature(number: int, body: str) -> Signature:
    try:
        blob = b64decode(body, validate=True)
        if not blob.startswith(_MAGIC):
            raise ValueError
        key, rest = first_string(blob[len(_MAGIC) + 4 :])  # after the version
        namespace, _ = first_string(rest)
        return Signature(blob, key, namespace.decode())
    except (InvalidBase64, ValueError):
        raise InvalidAction(f"signature {number} is damaged") from None


def first_string(data: bytes) -> tuple[bytes, bytes]:
    """The first string of a key or signature, and what follows it.

    :raises ValueError: if it is cut.
    """
    size = int.from_bytes(data[:4])
    if len(data) < 4 + size or len(data) < 4:
        raise ValueError
    return data[4 : 4 + size], data[4 + size :]
