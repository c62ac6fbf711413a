"""The checks that come with zc.cimaa, as Nagios plugins."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..checks import disk as disks
from ..checks import file_age as ages
from ..checks import load as loads
from ..checks import memory as memories
from ..checks import processes as process_table
from ..checks import swap as swaps
from ..checks import tcp as ports
from ..checks.ranges import Range, Thresholds
from .parameters import Parsed, examples
from .plugins import Plugins, finish, plugin_options


def _statuses(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise ValueError(f"{text!r} is neither a status nor a range of them, like 200-399") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name and colon):
        raise ValueError(f"{text!r} is no header: write it like 'Accept: text/html'")
    return name.strip(), value.strip()


_STATUSES = Parsed("statuses", _statuses)
_HEADER = Parsed("header", _header)


def _web_address(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    if not separator or not scheme.isalnum():
        return f"http://{text}"
    if scheme.lower() not in ("http", "https"):
        raise ValueError(f"{scheme} is no scheme of the web: write http or https")
    return text


_URL = Parsed("URL", _web_address)


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

    The exit status is 0 if all is well, 1 for a warning, 2 if it is critical, 3 if it cannot be told (wrong usage
    included).  A RANGE tells which values are good: 10 (0 to 10), 10: (10 or more), 10:20, ~:10 (10 or less), or
    with @10:20 which are bad.
    """


@check.command(epilog=examples("cimaa check disk", "cimaa check disk -p / -p /var -w 80 -c 90"))
@click.option("-p", "--path", "paths", multiple=True, help="Only the file system of this path; may be repeated.")
@plugin_options(*disks.THRESHOLDS, "the percentage that is used")
def disk(paths: Sequence[str], **common: Any) -> None:
    """Check whether there is room on the local file systems."""
    _finish("disk", lambda limits, _: disks.read(limits, paths), "no file system is too full", **common)


@check.command(epilog=examples("cimaa check memory -w 20: -c 10:"))
@plugin_options(*memories.THRESHOLDS, "the percentage that is available")
def memory(**common: Any) -> None:
    """Check whether there is memory that programs can get without swapping."""
    _finish("memory", lambda limits, _: memories.read(limits), "", **common)


@check.command(epilog=examples("cimaa check load -w 1.5 -c 3"))
@plugin_options(*loads.THRESHOLDS, "the load of 5 minutes per core")
def load(**common: Any) -> None:
    """Check whether more programs want to run than the processors can."""
    _finish("load", lambda limits, _: loads.read(limits), "", **common)


@check.command(epilog=examples("cimaa check swap -w 20 -c 50"))
@plugin_options(*swaps.THRESHOLDS, "the percentage that is used")
def swap(**common: Any) -> None:
    """Check whether there is swap space left."""
    _finish("swap", lambda limits, _: swaps.read(limits), "", **common)


@check.command(epilog=examples("cimaa check processes --name sshd -c 1:", "cimaa check processes --state zombie -w 5"))
@click.option("--name", help="Only processes of this name.")
@click.option("--user", help="Only those of this user.")
@click.option("--state", help="Only those in this state: running, sleeping, zombie, ...")
@click.option("--command", help="Only those with this text in their command line.")
@plugin_options(None, None, "their number")
def processes(name: str | None, user: str | None, state: str | None, command: str | None, **common: Any) -> None:
    """Check how many processes run."""
    wanted = process_table.Wanted(name, user, state, command)
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
    help="The statuses that are good.",
)
@click.option("--contains", default="", metavar="TEXT", help="What the answer must contain, in its first MiB.")
@click.option("--method", default="GET", show_default=True, help="The method.")
@click.option(
    "-H", "--header", "headers", type=_HEADER, multiple=True, metavar="NAME:VALUE", help="A header; may be repeated."
)
@click.option("--no-follow", is_flag=True, help="Follow no redirects.")
@click.option("--ca-file", metavar="FILE", help="The certificates to trust, in place of the system's.")
@plugin_options(None, None, "the time of the answer (seconds)")
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
    """Check whether a web server answers at URL as it should.

    A name and a password in it (https://USER:PASSWORD@HOST/) are sent, and not shown.
    """
    from ..checks import http as web

    url, signed = web.without_password(url)
    request = web.Request(url, method, signed | dict(headers), status, contains, not no_follow, ca_file)
    _finish("http", lambda limits, timeout: web.read(limits, request, timeout), "", **common)


@check.command(
    epilog=examples("cimaa check tcp localhost 22 --expect SSH", "cimaa check tcp www.example.com 443 --tls")
)
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--tls", is_flag=True, help="Speak TLS, and check the certificate.")
@click.option("--send", default="", metavar="TEXT", help="What to send; a line break follows.")
@click.option("--expect", default="", metavar="TEXT", help="What must be in the answer.")
@plugin_options(*ports.THRESHOLDS, "the time of the answer (seconds)")
def tcp(host: str, port: int, tls: bool, send: str, expect: str, **common: Any) -> None:
    """Check whether PORT of HOST answers."""
    sent = f"{send}\r\n".encode() if send else b""
    service = ports.Service(host, port, tls, sent, expect.encode())
    _finish("tcp", lambda limits, timeout: ports.read(limits, service, timeout), "", **common)


@check.command("file-age", epilog=examples("cimaa check file-age -w 26h -c 50h /var/backups/db.dump"))
@click.argument("files", nargs=-1, required=True)
@plugin_options(*ages.THRESHOLDS, "a file's age (seconds, or 15m, 2h, 7d)", ages.parse_range)
def file_age(files: Sequence[str], **common: Any) -> None:
    """Check whether FILES were written to lately enough; one that is missing is critical."""
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
