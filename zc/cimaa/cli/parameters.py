"""What the commands' parameters have in common: their types, what completes them, and how the store is opened."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from .. import config
from ..agents import Instance
from ..config import Config
from ..db import DB
from ..faults import SEVERITIES, parse_severity
from ..units import parse_duration, parse_time

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


class Parsed(click.ParamType):  # type: ignore[type-arg]  # not generic in every version that is supported
    """A parameter whose text a function reads, which raises :exc:`ValueError` for what it cannot read."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of the text."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class Severity(Parsed):
    """A severity, by its name or its number."""

    def __init__(self) -> None:
        super().__init__("severity", parse_severity)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """The severities that start like this."""
        return _starting(incomplete, SEVERITIES)


def _time_to_come(text: str) -> int:
    now = time.time()
    if (seconds := parse_time(text, now)) <= now:
        raise ValueError(f"{text} is over")
    return seconds


_CONFIG = f"{__name__}.configuration"

SEVERITY = Severity()
DURATION = Parsed("duration", parse_duration)
TIME_TO_COME = Parsed("time", _time_to_come)


def examples(*commands: str) -> str:
    """The end of a command's help: what one may type."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def configuration(ctx: click.Context) -> Config:
    """The configuration that ``--config`` names, or that is found; read once for each command."""
    if _CONFIG not in ctx.meta:
        ctx.meta[_CONFIG] = Config.read(ctx.find_root().params.get("config"))
    found: Config = ctx.meta[_CONFIG]
    return found


def open_store(ctx: click.Context, instance: Instance | None = None) -> DB:
    """The store that the configuration describes."""
    return configuration(ctx).open_database(instance)


def complete_agents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The agents that the store knows."""
    return _from_store(ctx, incomplete, lambda db: [agent["name"] for agent in db.get_agents()])


def complete_squelches(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The squelches that the store has."""
    return _from_store(ctx, incomplete, lambda db: [squelch["regex"] for squelch in db.get_squelch_details()])


def complete_backends(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The backends that are installed."""
    return _starting(incomplete, config.backend_names())


def unknown(what: str, name: str, known: Iterable[str], see: str) -> str:
    """What to tell of a name that the store does not have: the nearest that it has, or the command to see them all."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"there is no {what} {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"see: {see}")


def _from_store(ctx: click.Context, incomplete: str, names: Callable[[DB], Iterable[str]]) -> list[Any]:
    try:
        with open_store(ctx) as db:
            return _starting(incomplete, names(db))
    except Exception:  # whatever it is, a line that somebody is typing is no place to tell it
        return []


def _starting(incomplete: str, names: Iterable[str]) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]
