"""The keys of those who sign in the histories of hostile stores: real ones, in an ``ssh-agent``."""

import subprocess
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

from tests.support.hostile_papers import FOR_GIT, REVOKED, VALID_BEFORE
from tests.support.ssh_keys import Keys, strings
from zc.cimaa.actions.signers import NAMESPACE, Signature, signatures

KINDS = {"jane": "ed25519", "joe": "ecdsa", "ann": "rsa", "old": "ecdsa", "gone": "ed25519", "gus": "rsa"}


class RealKeys:
    """The keys of all people, whose private halves only an ``ssh-agent`` has."""

    def __init__(self, directory: Path) -> None:
        self._keys = Keys(directory)
        for who, kind in {**KINDS, "mallory": "ecdsa"}.items():
            private = self._keys.make(who, kind)
            subprocess.run(["ssh-add", "-q", private], check=True)
            private.unlink()
        self.investigators = self._keys.signers(*map(self._line, VALID_BEFORE))
        self.revoked = directory / "revoked"
        self.revoked.write_text(f"{self._keys.public(REVOKED)}\n")

    def sign(self, who: str, data: bytes, namespace: str) -> bytes:
        keygen = self._keys.keygen._replace(namespace=namespace)
        return keygen.sign(data, self._keys.directory / f"{who}.pub")

    def forge(self, who: str, data: bytes, other: bytes) -> bytes:
        """With ``other``, a signature for another purpose that claims to be for actions; else mallory's, as if theirs.

        In both, what is not part of what is signed is replaced.
        """
        made = other or self.sign("mallory", data, NAMESPACE)
        (signature,) = signatures(made)
        key = b64decode(self._keys.public(who).split()[1])
        rest = signature.blob[10 + 4 + len(signature.key) + 4 + len(signature.namespace) :]
        blob = signature.blob[:10] + strings(key, NAMESPACE.encode()) + rest
        return Signature(blob, key, NAMESPACE).armored().encode()

    def _line(self, who: str) -> str:
        until = VALID_BEFORE[who]
        options = [f'valid-before="{datetime.fromtimestamp(until, UTC):%Y%m%d%H%M%SZ}"'] if until else []
        options += ['namespaces="git"'] if who == FOR_GIT else []
        return " ".join([who, *([",".join(options)] if options else []), self._keys.public(who)])
