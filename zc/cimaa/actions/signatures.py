"""Signs actions and verifies their signatures, with OpenSSH's ``ssh-keygen``.

Which keys are whose, and until when, is decided here, in the same way with every version of OpenSSH.  ``ssh-keygen``
decides whether a signature is true, whether its key may sign for the namespace, and whether the key is revoked.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import ConfigurationError, InvalidAction, SigningError
from ..text import quoted
from . import private_keys, signers, trusted_files
from .signers import NAMESPACE, Signature, Signer, fingerprint

#: Why a signature of the data, by this signer or anybody, is not accepted; empty: it is.
Failure: TypeAlias = Callable[[Signature, Signer | None, bytes], str]

#: The oldest version of OpenSSH that can verify signatures.
OLDEST: Final = "8.2"
#: The most bytes of a file of signers or of revoked keys.
MOST: Final = 1024 * 1024

# Seconds: it takes milliseconds.
_TIMEOUT: Final = 60
# How a list of revoked keys begins that ssh-keygen made (a KRL).
_KRL = b"SSHKRL\n\0"
# How ssh-keygen runs that must not ask: without a terminal, and for a limited time.
_ALONE: Mapping[str, Any] = {
    "env": {"LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"},
    "start_new_session": True,
    "stderr": subprocess.PIPE,
    "timeout": _TIMEOUT,
}
# Something signed, with a key that was thrown away: a ssh-keygen that is too old cannot verify it.
_SAMPLE = b"cimaa\n"
_SAMPLE_SIGNATURE = b"""\
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


class Keygen(NamedTuple):
    """A ``ssh-keygen`` that can verify signatures."""

    path: str
    #: What it signs for, and accepts signatures for.
    namespace: str = NAMESPACE

    def failure(self, signature: Signature, signer: Signer | None, data: bytes, revoked: bytes | None = None) -> str:
        """Why a signature of the data is not accepted; empty: it is.  Without ``signer``, any key may have made it.

        :raises SigningError: if ``ssh-keygen`` cannot be run.
        """
        files = {"signature": signature.armored().encode()}
        arguments = ["-s", "signature"]
        if signer is None:
            return self._run("check-novalidate", arguments, files, data)
        files["investigators"] = signer.line().encode()
        arguments += ["-f", "investigators", "-I", signer.name]
        if (reason := self._run("verify", arguments, files, data)) or revoked is None:
            return reason
        # A second run: ssh-keygen does not say which of both it was.
        files["revoked"] = revoked
        refused = self._run("verify", [*arguments, "-r", "revoked"], files, data)
        return f"the key is revoked, or the list of revoked keys is damaged ({refused})" if refused else ""

    def sign(self, data: bytes, key: Path, *, alone: bool = False) -> bytes:
        """The signature of the data, by a private key, or by a public one whose private key is in ``ssh-agent``.

        ``ssh-keygen`` may ask on the terminal for a passphrase, or for the touch of a token; unless it is ``alone``,
        when no user could answer.

        :raises SigningError: if it cannot sign, saying what to do.
        """
        private_keys.check(key, alone=alone)
        command = [self.path, "-q", "-Y", "sign", "-n", self.namespace, "-f", str(key)]
        how = _ALONE if alone else {"env": private_keys.environment()}
        try:
            done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=False, **how)
        except OSError as error:
            raise SigningError(f"cannot run {self.path}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise SigningError(f"{self.path} did not sign within {_TIMEOUT} s") from error
        if done.returncode or not done.stdout:
            why = _joined(done.stderr) if alone else "its own message is above"
            raise SigningError(f"ssh-keygen could not sign with {key}: {why}")
        return bytes(done.stdout)

    def _run(self, how: str, arguments: Sequence[str], files: Mapping[str, bytes], data: bytes) -> str:
        command = [self.path, "-Y", how, "-n", self.namespace, *arguments]
        try:
            with TemporaryDirectory(prefix="cimaa-") as directory:
                for name, content in files.items():
                    Path(directory, name).write_bytes(content)
                done = subprocess.run(
                    command,
                    input=data,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env={"LC_ALL": "C"},
                    timeout=_TIMEOUT,
                    check=False,
                )
        except OSError as error:
            raise SigningError(f"cannot run {self.path}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise SigningError(f"{self.path} did not answer within {_TIMEOUT} s") from error
        if not done.returncode:
            return ""
        if b"incorrect signature" in done.stdout:
            return "it was made for other content, or the content was changed since (incorrect signature)"
        return _joined(done.stdout) or f"ssh-keygen exited with status {done.returncode}"


class Verifier:
    """Verifies the signatures of actions against the investigators of a configuration, or of answers against agents."""

    def __init__(self, failure: Failure, investigators: Mapping[bytes, Signer], namespace: str = NAMESPACE) -> None:
        """``failure`` says why a signature is not accepted, as :meth:`Keygen.failure` does; see :func:`load`."""
        self._namespace = namespace
        self.investigators = investigators
        self._failure = failure

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
        if signature.namespace != self._namespace:
            raise InvalidAction(f"{whose}: it was made for {quoted(signature.namespace)}, not for {self._namespace!r}")
        if signer is not None and (reason := signer.invalid(now)):
            raise InvalidAction(f"{whose}: the key {reason}")
        if reason := self._failure(signature, signer, data):
            raise InvalidAction(f"{whose}: {reason}")
        return KnownSigner(signer and signer.name, mark)


def load(keygen: Keygen, investigators: Path, revoked: Path | None = None) -> Verifier:
    """The verifier of an agent's configuration.

    ``investigators`` is a file of allowed signers, and ``revoked`` a list of public keys or a KRL.  For the answers of
    agents, the file has their names and keys, and the namespace of ``keygen`` is :data:`signers.ANSWERS`.

    :raises ConfigurationError: naming the file and the line that is wrong, or why the file cannot be trusted.
    """
    known, listed = read_files(investigators, revoked)
    return Verifier(partial(keygen.failure, revoked=listed), known, keygen.namespace)


def read_files(investigators: Path, revoked: Path | None) -> tuple[dict[bytes, Signer], bytes | None]:
    """The signers of a configuration, and the content of its list of revoked keys; see :func:`load`."""
    known = signers.parse(_text(trusted_files.read(investigators, MOST), investigators), str(investigators))
    listed = None if revoked is None else trusted_files.read(revoked, MOST)
    if listed is not None and not listed.startswith(_KRL):
        signers.check_keys(_text(listed, revoked), str(revoked))
    return known, listed


def find() -> Keygen:
    """A ``ssh-keygen`` that can verify signatures.

    :raises SigningError: if there is none.
    """
    path = which("ssh-keygen")
    if path is None:
        raise SigningError(f"ssh-keygen is not on the PATH: install OpenSSH {OLDEST} or newer")
    keygen = Keygen(path)
    (sample,) = signers.signatures(_SAMPLE_SIGNATURE)
    if reason := keygen.failure(sample, None, _SAMPLE):
        raise SigningError(f"{path} cannot verify signatures: OpenSSH {OLDEST} or newer is needed ({reason})")
    return keygen


def _joined(output: bytes) -> str:
    return "; ".join(filter(None, map(str.strip, output.decode(errors="replace").splitlines())))


def _text(data: bytes, path: Path | None) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is neither text in UTF-8 nor a list of revoked keys (KRL)") from error
