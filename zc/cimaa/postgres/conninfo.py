"""The connection string that an operator gave, made whole, and what of it may be shown.  Pure but for PG* variables."""

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..errors import ConfigurationError
from ..options import MASK, nearest
from ..text import quoted

#: What a connection has unless the dsn says otherwise.  A server that vanished is noticed within a minute.
_DEFAULTS = {
    "fallback_application_name": "zc.cimaa",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The keywords whose values libpq checks only when it connects, and then takes for a server that is not there.
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_NO_TEXT = "(it is not shown, because it may contain a password)"


class ConnInfo:
    """A checked connection string."""

    def __init__(self, dsn: str | None, patience: int | None = None) -> None:
        """Read a ``dsn``, a libpq string or URI.

        ``patience`` is for how long to try to connect (seconds), all its hosts
        included: if the first one is silent, time must be left for the next.

        :raises ConfigurationError: if it cannot be read; the message does not show it.
        """
        self._given = _parsed(dsn or "")
        timeout = {} if patience is None else {"connect_timeout": max(patience // self._hosts, 1)}
        self._whole: dict[str, Any] = {**_DEFAULTS, **timeout, **self._given, "client_encoding": "UTF8"}

    def __str__(self) -> str:
        """The string for libpq.  It may hold a password: never show it."""
        return make_conninfo("", **self._whole)

    def get(self, keyword: str) -> str | None:
        """What the dsn says for a keyword, or else the environment variable that libpq takes for it."""
        given = self._given.get(keyword)
        return str(given) if given is not None else os.environ.get(_VARIABLES.get(keyword, ""))

    @property
    def _hosts(self) -> int:
        """How many are tried, one after the other."""
        return len((self.get("host") or self.get("hostaddr") or "").split(","))

    def but(self, changes: Mapping[str, object]) -> "ConnInfo":
        """The same with some keywords changed, or taken out: those that are ``None``."""
        changed = ConnInfo(None)
        changed._given = {key: value for key, value in {**self._given, **changes}.items() if value is not None}
        whole = {**self._whole, **changes}
        changed._whole = {key: value for key, value in whole.items() if value is not None}
        return changed

    @property
    def where(self) -> str:
        """The server and the database, for messages."""
        if service := self.get("service"):
            return f"the PostgreSQL service {service}"
        host = self.get("host") or self.get("hostaddr")
        port = self.get("port")
        server = "PostgreSQL" + (f" at {host}" if host else " on this machine") + (f", port {port}" if port else "")
        database = self.get("dbname")
        return server + (f", database {database}" if database else "")

    def masked(self, text: str) -> str:
        """The text without the passwords that it may hold."""
        for keyword in ("password", "sslpassword"):
            if secret := self.get(keyword):
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
        return text


_VARIABLES = {
    "service": "PGSERVICE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
}


def _parsed(dsn: str) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeEncodeError):
        # The driver's own message may quote a part of a password.
        raise ConfigurationError(
            "[database] dsn is not a connection string as libpq reads them: write it like"
            " 'host=db.example.com dbname=cimaa user=cimaa_agent' or 'postgresql://cimaa_agent@db.example.com/cimaa'"
            f" {_NO_TEXT}{_hint(dsn)}"
        ) from None
    if "@" in str(given.get("host", "")):
        raise ConfigurationError(
            f"[database] dsn: the host has an '@' {_NO_TEXT}; in a URI, an '@' in a user's name or a password is %40"
        )
    for keyword, known in _CHOICES.items():
        value = str(given.get(keyword) or "")
        if value and value not in known:
            raise ConfigurationError(f"[database] dsn: invalid {keyword} {quoted(value)}; {nearest(value, known)}")
    return dict(given)


def _hint(dsn: str) -> str:
    """The keyword that was meant by the first one that libpq does not know, if one is near."""
    known = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
    for keyword in re.findall(r"(\w+)\s*=", dsn):
        if keyword not in known and (near := difflib.get_close_matches(keyword, known, n=1)):
            return f"; did you mean {near[0]}?"
    return ""
