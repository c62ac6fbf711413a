"""The manual pages of the programs, from the same source as the reference of the command line.

``python -m zc.cimaa.cli.manual DIRECTORY`` writes ``cimaa.1``, ``setup-dynamodb.1`` and ``setup-postgres.1`` there.
It needs docutils, which the extra ``docs`` installs.
"""

import inspect
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from .. import __version__
from . import cimaa, reference
from .commands.setup_dynamodb import setup_dynamodb
from .commands.setup_postgres import setup_postgres


class Manual(NamedTuple):
    """The manual page of a program."""

    command: click.Command
    #: What the program does, without a period.
    purpose: str
    statuses: Mapping[str, str]
    environment: Mapping[str, str]
    files: Mapping[str, str]
    see_also: tuple[str, ...]


_SETUP_STATUSES = {status: text for status, text in reference.EXIT_STATUSES.items() if status != "3"}
_SETUP_FILES = {name: text for name, text in reference.FILES.items() if name.endswith("cimaa.cfg")}
_CONFIGURING = {name: text for name, text in reference.ENVIRONMENT.items() if name.startswith(("CIMAA", "XDG_CONFIG"))}
_LIBPQ = "what ``dsn`` leaves out, as for every program that uses libpq"
_BOTO3 = "credentials, region and address where the configuration has none, as for every program that uses boto3"

MANUALS = {
    "cimaa": Manual(
        cimaa,
        "run a monitoring agent, and show the faults of a fleet",
        reference.EXIT_STATUSES,
        reference.ENVIRONMENT,
        reference.FILES,
        ("setup-dynamodb(1)", "setup-postgres(1)", "systemd(1)"),
    ),
    "setup-dynamodb": Manual(
        setup_dynamodb,
        "make the tables of a cimaa store in DynamoDB",
        _SETUP_STATUSES,
        {**_CONFIGURING, "AWS_...": _BOTO3},
        _SETUP_FILES,
        ("cimaa(1)", "aws(1)"),
    ),
    "setup-postgres": Manual(
        setup_postgres,
        "make or upgrade the tables and roles of a cimaa store in PostgreSQL",
        _SETUP_STATUSES,
        {**_CONFIGURING, "PG...": _LIBPQ},
        _SETUP_FILES,
        ("cimaa(1)", "psql(1)"),
    ),
}


def write(directory: Path) -> None:
    """Write the manual pages into the directory, which is made if it does not exist.

    They are dated ``SOURCE_DATE_EPOCH`` (an environment variable, seconds since the epoch), or today.
    """
    from docutils.core import publish_string
    from docutils.writers import manpage

    directory.mkdir(parents=True, exist_ok=True)
    for name in MANUALS:
        page = publish_string(source(name), writer=manpage.Writer(), settings_overrides={"report_level": 1})
        (directory / f"{name}.1").write_bytes(page)


def source(name: str) -> str:
    """The manual page of this program, as reStructuredText."""
    manual = MANUALS[name]
    context = click.Context(manual.command, info_name=name, **manual.command.context_settings)
    return "\n".join(
        [
            *_head(name, manual.purpose),
            *_section("SYNOPSIS", [_usage(context)]),
            *_section("DESCRIPTION", _paragraphs(context)),
            *_section("OPTIONS", _options(context)),
            *_commands(context),
            *_configuration(manual.command),
            *_section("EXIT STATUS", _definitions(manual.statuses)),
            *_section("ENVIRONMENT", _definitions(manual.environment)),
            *_section("FILES", _definitions(manual.files)),
            *_section("EXAMPLES", _first_examples(context)),
            *_section("SEE ALSO", [", ".join(manual.see_also) + "\n"]),
        ]
    )


def _head(name: str, purpose: str) -> Iterator[str]:
    dated = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    for title, line in ((name, "="), (purpose, "-")):
        yield f"{line * len(title)}\n{title}\n{line * len(title)}\n"
    yield f":Manual section: 1\n:Date: {time.strftime('%Y-%m-%d', dated)}\n:Version: zc.cimaa {__version__}\n"


def _section(title: str, content: Iterable[str], underline: str = "=") -> Iterator[str]:
    if lines := list(content):
        yield f"{title}\n{underline * len(title)}\n"
        yield from lines


def _commands(context: click.Context) -> Iterator[str]:
    if isinstance(context.command, click.Group):
        yield "COMMANDS\n========\n"
        for command in reference.commands(context):
            title, program = _escaped(command.command_path), command.command.name
            content = [_usage(command), *_paragraphs(command), *_options(command), *_examples([command])]
            yield from _section(title, [f"See {program}(1).\n"] if program in MANUALS else content, "-")


def _configuration(command: click.Command) -> Iterator[str]:
    if command is cimaa:
        content = [line for title, options in reference.SECTIONS for line in reference.section(title, options)]
        yield from _section("CONFIGURATION", content)


def _usage(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"**{_escaped(context.command_path)}** {_escaped(pieces)}\n"


def _paragraphs(context: click.Context) -> Iterator[str]:
    for paragraph in inspect.cleandoc(context.command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):  # click keeps the lines of such a paragraph
            yield from _literal(paragraph.splitlines()[1:])
        else:
            yield f"{_escaped(paragraph)}\n"


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        repeated = context.parent is not None and "--help" in parameter.opts
        if record and record[1] and not repeated:
            yield f"**{_escaped(record[0])}**\n    {_escaped(record[1])}\n"


def _first_examples(context: click.Context) -> Iterator[str]:
    """The first example of each command of a group, or all of another command's."""
    if isinstance(context.command, click.Group):
        return _examples((command for command in reference.commands(context) if command.parent is context), 1)
    return _examples([context])


def _definitions(texts: Mapping[str, str]) -> Iterator[str]:
    for term, text in texts.items():
        yield f"**{_escaped(term)}**\n    {text}\n"


def _examples(contexts: Iterable[click.Context], most: int | None = None) -> Iterator[str]:
    """The examples in the helps of these commands, at most ``most`` of each."""
    lines: list[str] = []
    for context in contexts:
        lines += [line for line in (context.command.epilog or "").splitlines() if line.startswith("  ")][:most]
    if lines:
        yield from _literal(line.strip() for line in lines)


def _literal(lines: Iterable[str]) -> Iterator[str]:
    yield "\n".join(["::", "", *(f"    {line}" for line in lines), ""])


def _escaped(text: str) -> str:
    return re.sub(r"([^\w\s]|_)", r"\\\1", text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m zc.cimaa.cli.manual DIRECTORY")
    write(Path(sys.argv[1]))
