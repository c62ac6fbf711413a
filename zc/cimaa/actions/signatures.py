"""Signs actions and verifies their signatures, with OpenSSH's ``ssh-keygen``.

Which keys are whose, and until when, is decided here, in the same way with every version of OpenSSH; whether a
signature is true, and for a namespace that its key may sign for, and whether its key is revoked, ``ssh-keygen`` decides.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from ..errors import ConfigurationError, InvalidAction, SigningError
from . import signers, trusted_files
from .signers import NAMESPACE, Signature, Signer, fingerprint

#: The oldest version of OpenSSH that can verify signatures.
OLDEST: Final = "8.2"
#: The most bytes of a file of signers or of revoked keys.
MOST: Final = 1024 * 1024

# Seconds: it takes milliseconds.
_TIMEOUT: Final = 60
# How a list of revoked keys begins that ssh-keygen made (a KRL).
_KRL = b"SSHKRL\n\0"
# Something signed, with a key that was thrown away: a ssh-keygen that is too old cannot verify it.
_SAMPLE = b"cimaa\n"
_SAMPLE_SIGNATURE = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EEqZR2zVUO7866CQ7pTAcXjTKjTh9O4vJ1FAvnHDZOm5juwD168acNvVepTFI/m1xV9QAI
yU89DF//hu6FpX/vogAAAAxjaW1hYS1hY3Rpb24AAAAAAAAABnNoYTUxMgAAAGUAAAATZW
Nkc2Etc2hhMi1uaXN0cDI1NgAAAEoAAAAhAKisGBNN/q8cewSyIx0nxuS/B7ixEjqbc2b7
RdYmX5e4AAAAIQDj9mMMcVEwywNlLJYoIJxoch28zzUQfGlbueCUXTcStQ==
-----END SSH SIGNATURE-----
"""


class KnownSigner(NamedTuple):
    """Who made a signature: an investigator, or ``None``; and the key's fingerprint."""

    name: str | None
    fingerprint: str


class Verifier:
    """Verifies the signatures of actions, against the investigators of a configuration."""

    def __init__(self, keygen: str, investigators: Mapping[bytes, Signer], revoked: bytes | None = None) -> None:
        """``revoked`` is the content of a list of revoked keys; see :func:`load`."""
        self.investigators = investigators
        self._keygen = keygen
        self._revoked = revoked

    def signed_by(self, data: bytes, given: bytes, now: float) -> list[KnownSigner]:
        """Who signed the data, by the signatures in ``given``, of which all must be true.

        :raises InvalidAction: naming the signature that is not true, or whose key may not be used.
        :raises SigningError: if ``ssh-keygen`` cannot be run.
        """
        return [self._signer(number, one, data, now) for number, one in enumerate(signers.signatures(given), 1)]

    def __call__(self, data: bytes, given: bytes, now: float) -> list[str]:
        """The names of the investigators who signed the data; see :meth:`signed_by`."""
        return [signer.name for signer in self.signed_by(data, given, now) if signer.name is not None]

    def _signer(self, number: int, signature: Signature, data: bytes, now: float) -> KnownSigner:
        signer = self.investigators.get(signature.key)
        mark = fingerprint(signature.key)
        whose = f"signature {number}, with the key {mark}" + (f" of {signer.name}" if signer else "")
        if signature.namespace != NAMESPACE:
            raise InvalidAction(f"{whose}: it was made for {signature.namespace!r}, not for {NAMESPACE!r}")
        if signer is not None and (reason := signer.invalid(now)):
            raise InvalidAction(f"{whose}: the key {reason}")
        if reason := self._failure(signature, signer, data):
            raise InvalidAction(f"{whose}: {reason}")
        return KnownSigner(signer and signer.name, mark)

    def _failure(self, signature: Signature, signer: Signer | None, data: bytes) -> str:
        """Why ``ssh-keygen`` does not accept a signature; empty: it does."""
        with TemporaryDirectory(prefix="cimaa-") as name:
            directory = Path(name)
            (directory / "signature").write_text(signature.armored())
            arguments = ["-s", "signature"]
            if signer is None:
                return _verify(self._keygen, directory, data, "check-novalidate", *arguments)
            (directory / "investigators").write_text(signer.line())
            arguments += ["-f", "investigators", "-I", signer.name]
            if self._revoked is not None:
                (directory / "revoked").write_bytes(self._revoked)
                arguments += ["-r", "revoked"]
            return _verify(self._keygen, directory, data, "verify", *arguments)


def load(keygen: str, investigators: Path, revoked: Path | None = None) -> Verifier:
    """The verifier of an agent's configuration.

    ``investigators`` is a file of allowed signers, and ``revoked`` a list of public keys or a KRL.

    :raises ConfigurationError: naming the file and the line that is wrong, or why the file cannot be trusted.
    """
    known = signers.parse(_text(trusted_files.read(investigators, MOST), investigators), str(investigators))
    listed = None if revoked is None else trusted_files.read(revoked, MOST)
    if listed is not None and not listed.startswith(_KRL):
        signers.check_keys(_text(listed, revoked), str(revoked))
    return Verifier(keygen, known, listed)


def find() -> str:
    """The path of a ``ssh-keygen`` that can verify signatures.

    :raises SigningError: if there is none.
    """
    keygen = which("ssh-keygen")
    if keygen is None:
        raise SigningError(f"ssh-keygen is not on the PATH: install OpenSSH {OLDEST} or newer")
    with TemporaryDirectory(prefix="cimaa-") as name:
        directory = Path(name)
        (directory / "signature").write_text(_SAMPLE_SIGNATURE)
        if reason := _verify(keygen, directory, _SAMPLE, "check-novalidate", "-s", "signature"):
            raise SigningError(f"{keygen} cannot verify signatures: OpenSSH {OLDEST} or newer is needed ({reason})")
    return keygen


def sign(keygen: str, data: bytes, key: Path) -> str:
    """The signature of the data, by a private key, or by a public one whose private key is in ``ssh-agent``.

    ``ssh-keygen`` may ask on the terminal for a passphrase, or for the touch of a token.

    :raises SigningError: if it cannot sign.
    """
    command = [keygen, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    try:
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise SigningError(f"cannot run {keygen}: {error.strerror}") from error
    if done.returncode or not done.stdout:
        raise SigningError(f"ssh-keygen could not sign with {key}")
    return done.stdout.decode()


def _verify(keygen: str, directory: Path, data: bytes, how: str, *arguments: str) -> str:
    """Run ``ssh-keygen -Y`` in a directory; what is wrong with the signature, or an empty text."""
    command = [keygen, "-Y", how, "-n", NAMESPACE, *arguments]
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, cwd=directory, env={"LC_ALL": "C"}, timeout=_TIMEOUT, check=False
        )
    except OSError as error:
        raise SigningError(f"cannot run {keygen}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SigningError(f"{keygen} did not answer within {_TIMEOUT} s") from error
    if not done.returncode:
        return ""
    said = (done.stdout + done.stderr).decode(errors="replace").split("\n")
    return "; ".join(filter(None, (line.strip() for line in said))) or f"exit status {done.returncode}"


def _text(data: bytes, path: Path | None) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is neither text in UTF-8 nor a list of revoked keys (KRL)") from error
