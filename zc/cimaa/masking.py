"""Masks credentials in text that is shown.  Pure."""

import re

#: Replaces a secret.
MASK = "********"

_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:/+")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?")
# In text a quote ends a URL, unless an @ further on in the same word shows that it is part of a password.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+(?:[^\s/?#@]*@)?[^\s'\"<>]*")
# A word that announces a credential: password=x, "token": "x", --api-key x, Authorization: Bearer x.
_SECRET = re.compile(
    r"""(?P<before> (?P<option> --? )? [\w-]*
            (?: (?<=[-_])pass | password | passwd | passphrase | pwd | secret | credentials? | token
              | (?: api | access | private | secret )[-_]?key | authorization )
            ["']? (?(option) (?: \s*[=:]\s* | \s+ ) | \s*[=:]\s* ) )
        (?: (?P<scheme> bearer | basic | digest | negotiate | token ) \s+ )?
        (?: "(?: \\. | [^"\\] )*" | '[^']*' | (?: \\. | [^\s"'\\] | ["'](?=\w) )+ )""",
    re.IGNORECASE | re.VERBOSE,
)


def mask_url(url: str) -> str:
    """The URL with its user and password, its query and its fragment masked.

    An ``@`` behind the authority may belong to a password with an unquoted ``/``, ``?`` or
    ``#``: then all behind the scheme is masked, unless it is in the query of a plain host.
    """
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    authority, rest = _split(url[start:], "/?#")
    path, query = _split(rest, "?#")
    if "@" in path or ("@" in query and not _HOST.fullmatch(authority)):
        return f"{url[:start]}{MASK}"
    user, at, host = authority.rpartition("@")
    shown = f"{url[:start]}{MASK}{at}{host}" if user or at else f"{url[:start]}{host}"
    return f"{shown}{path}{query[:1]}{MASK if query[1:] else ''}"


def mask_urls(text: str) -> str:
    """The text with the URLs in it masked."""
    return _URL.sub(lambda match: mask_url(match[0]), text)


def mask_text(text: str) -> str:
    """The text with recognizable credentials masked: in URLs, and after words like ``password=``.

    For arbitrary text that is shown, such as a command line.
    """
    return _SECRET.sub(rf"\g<before>{MASK}", mask_urls(text))


def _split(text: str, marks: str) -> tuple[str, str]:
    """The text before the first of the marks, and the rest."""
    found = re.search(f"[{re.escape(marks)}]", text)
    return (text, "") if found is None else (text[: found.start()], text[found.start() :])
