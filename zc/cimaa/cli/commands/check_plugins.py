"""The checks that come with zc.cimaa, as Nagios plugins."""

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from ... import options
from ...checks import available_memory as memories
from ...checks import disk as disks
from ...checks import file_age as ages
from ...checks import load as loads
from ...checks import processes as process_table
from ...checks import swap as swaps
from ...checks import tcp as ports
from ...checks.ranges import Range, Thresholds, parse_percent
from ..nagios import Plugins, finish, plugin_options
from ..params import PORT, Parsed, examples
from .check_cfengine import cfengine

# A method or the name of a header, and a header's value, as HTTP has them.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")


def _statuses(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise ValueError(f"{text!r} is neither a status nor a range of statuses, like 200-399") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and _TOKEN.fullmatch(name.strip()) and _HEADER_VALUE.fullmatch(value.strip())):
        hint = "it is not shown, because it may contain a password"
        raise ValueError(f"this is not a header ({hint}): write it like 'Accept: text/html', in Latin-1")
    return name.strip(), value.strip()


def _method(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not an HTTP method: write it like GET")
    return text


_STATUSES = Parsed("statuses", _statuses)
_HEADER = Parsed("header", _header)


def _web_address(text: str) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text.strip())
    url: str = options.URL.parse(text.strip() if scheme else f"http://{text.strip()}")
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise ValueError(f"the scheme {scheme[1]} is not supported: write http or https")
    return url


def _host(text: str) -> str:
    try:
        text.encode("idna")
    except UnicodeError:
        raise ValueError(f"{text!r} is not the name or address of a host") from None
    return text


def _bytes(text: str) -> bytes:
    """The bytes that were typed, which need not be valid UTF-8."""
    return os.fsencode(text)


_URL = Parsed("URL", _web_address)
_METHOD = Parsed("method", _method)
_HOST = Parsed("host", _host)
_BYTES = Parsed("text", _bytes)


@click.group(
    cls=Plugins,
    epilog=examples(
        "cimaa check disk -w 90 -c 95",
        "cimaa check load",
        "cimaa check processes --name cron -c 1:",
        "cimaa check file-age -w 1d -c 2d /var/backups/db.dump",
    ),
)
def check() -> None:
    """Check something, as a Nagios plugin does.

    The exit status is 0 for OK, 1 for a warning, 2 for critical, 3 if the check failed (wrong usage included).

    A RANGE is the range of the good values: 10 (0 to 10), 10: (10 or more), 10:20, ~:10 (10 or less); or, as @10:20,
    of the bad ones.
    """


check.add_command(cfengine)


@check.command(epilog=examples("cimaa check disk", "cimaa check disk -p / -p /var -w 80 -c 90"))
@click.option("-p", "--path", "paths", multiple=True, help="Only the file system of this path; may be repeated.")
@plugin_options(*disks.THRESHOLDS, "the percentage that is used", parse_percent)
def disk(paths: Sequence[str], **common: Any) -> None:
    """Check the free space of the local file systems."""
    _finish("disk", lambda limits, _: disks.read(limits, paths), "no file system is too full", **common)


@check.command(epilog=examples("cimaa check memory -w 20: -c 10:"))
@plugin_options(*memories.THRESHOLDS, "the percentage that is available", parse_percent)
def memory(**common: Any) -> None:
    """Check the memory that is available to programs without swapping."""
    _finish("memory", lambda limits, _: memories.read(limits), "", **common)


@check.command(epilog=examples("cimaa check load -w 1.5 -c 3"))
@plugin_options(*loads.THRESHOLDS, "the load of 5 minutes per core")
def load(**common: Any) -> None:
    """Check the load per processor core."""
    _finish("load", lambda limits, _: loads.read(limits), "", **common)


@check.command(epilog=examples("cimaa check swap -w 20 -c 50"))
@plugin_options(*swaps.THRESHOLDS, "the percentage that is used", parse_percent)
def swap(**common: Any) -> None:
    """Check how much swap space is used."""
    _finish("swap", lambda limits, _: swaps.read(limits), "", **common)


@check.command(epilog=examples("cimaa check processes --name sshd -c 1:", "cimaa check processes --state zombie -w 5"))
@click.option("--name", help="Only processes of this name.")
@click.option("--user", help="Only processes of this user.")
@click.option("--state", help="Only processes in this state: running, sleeping, zombie, ...")
@click.option("--command", help="Only processes with this text in their command line.")
@plugin_options(None, None, "the number of processes")
def processes(name: str | None, user: str | None, state: str | None, command: str | None, **common: Any) -> None:
    """Check the number of running processes."""
    wanted = process_table.ProcessFilter(name, user, state, command)
    _finish("processes", lambda limits, _: process_table.read(limits, wanted), "", **common)


@check.command(
    epilog=examples(
        "cimaa check http https://www.example.com/ -w 1 -c 5",
        "cimaa check http http://localhost:8080/status --status 200 --contains ready",
    )
)
@click.argument("url", type=_URL)
@click.option(
    "--status",
    type=_STATUSES,
    default="200-399",
    metavar="STATUS",
    show_default=True,
    help="The HTTP statuses that are good.",
)
@click.option("--contains", default="", metavar="TEXT", help="Text that the response must contain, in its first MiB.")
@click.option("--method", type=_METHOD, default="GET", metavar="METHOD", show_default=True, help="The HTTP method.")
@click.option(
    "-H", "--header", "headers", type=_HEADER, multiple=True, metavar="NAME:VALUE", help="A header; may be repeated."
)
@click.option("--no-follow", is_flag=True, help="Do not follow redirects.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The certificates to trust, in place of the system's.",
)
@plugin_options(None, None, "the response time (seconds)")
def http(
    url: str,
    status: tuple[int, int],
    contains: str,
    method: str,
    headers: Sequence[tuple[str, str]],
    no_follow: bool,
    ca_file: str | None,
    **common: Any,
) -> None:
    """Check the response of a web server to a request for URL.

    A user name and a password in the URL (https://USER:PASSWORD@HOST/) are sent, but not shown, and neither is the
    query of the URL.  Special characters in them must be percent-encoded: a slash as %2F.
    """
    from ...checks import http as web

    url, signed = web.without_password(url)
    request = web.Request(url, method, signed | dict(headers), status, contains, not no_follow, ca_file)
    _finish("http", lambda limits, timeout: web.read(limits, request, timeout), "", **common)


@check.command(
    epilog=examples("cimaa check tcp localhost 22 --expect SSH", "cimaa check tcp www.example.com 443 --tls")
)
@click.argument("host", type=_HOST)
@click.argument("port", type=PORT)
@click.option("--tls", is_flag=True, help="Use TLS, and verify the certificate.")
@click.option("--send", type=_BYTES, default="", metavar="TEXT", help="Text to send; a line break is added.")
@click.option("--expect", type=_BYTES, default="", metavar="TEXT", help="Text that the response must contain.")
@plugin_options(*ports.THRESHOLDS, "the response time (seconds)")
def tcp(host: str, port: int, tls: bool, send: bytes, expect: bytes, **common: Any) -> None:
    """Check whether HOST accepts connections on PORT."""
    service = ports.Service(host, port, tls, send + b"\r\n" if send else b"", expect)
    _finish("tcp", lambda limits, timeout: ports.read(limits, service, timeout), "", **common)


@check.command("file-age", epilog=examples("cimaa check file-age -w 26h -c 50h /var/backups/db.dump"))
@click.argument("files", nargs=-1, required=True)
@plugin_options(*ages.THRESHOLDS, "a file's age (seconds, or 15m, 2h, 7d)", ages.parse_range)
def file_age(files: Sequence[str], **common: Any) -> None:
    """Check the age of FILES; a missing one is critical."""
    _finish("file-age", lambda limits, _: ages.read(limits, files, time.time()), "no file is too old", **common)


def _finish(
    name: str,
    look: Callable[[Thresholds, float], Any],
    good: str,
    *,
    warning: Range | None,
    critical: Range | None,
    timeout: float,
    verbose: int,
) -> None:
    limits = Thresholds(warning, critical)
    # The check itself notices first if a network does not answer, and can say what did not.
    finish(name, lambda: look(limits, timeout * 0.9), timeout, good, verbose)
