"""Passwords for new roles, and the file that libpq reads them from."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ...errors import ConfigurationError


def new_password() -> str:
    """A password that cannot be guessed, of letters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


def passfile(database: str, passwords: Mapping[str, str]) -> str:
    """The passwords by role, as libpq reads them from a passfile, for every host and port."""
    return "".join(f"*:*:{_escaped(database)}:{_escaped(role)}:{password}\n" for role, password in passwords.items())


def write_passfile(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.

    :raises ConfigurationError: if there is such a file already: it stays as it is.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(f"there is a file {path} already, and it stays as it is: name another") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write the passwords to {path}: {error.strerror}") from error


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace(":", "\\:")
