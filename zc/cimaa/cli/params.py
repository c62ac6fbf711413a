"""What the commands share: the types of their parameters, their completion, and how the store is opened."""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import click

from .. import config, options
from ..agents import Instance
from ..config import Config
from ..db import DB
from ..faults import SEVERITIES, parse_severity
from ..text import closest
from ..times import parse_future, parse_past
from ..units import parse_seconds
from .output import View, report_traceback

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


def listing_options(titles: Sequence[str], others: Sequence[str] = ()) -> Callable[[_Command], _Command]:
    """The options of a command that writes a listing with these columns; it gets them as its ``view``.

    A command that also writes another listing names the columns of that as ``others``, and calls :func:`check_view`.
    """
    names = {_column_name(title): title for title in titles}
    accepted = names | {_column_name(title): title for title in others}

    def columns(text: str) -> tuple[str, ...]:
        return tuple(map(column, text.split(",")))

    def column(text: str) -> str:
        if text not in accepted:
            raise ValueError(_no_column(text, titles))
        return accepted[text]

    added = (
        click.option("--reverse", is_flag=True, help="Reverse the order."),
        click.option("--sort", type=Parsed("column", column), metavar="COLUMN", help="Sort by this column."),
        click.option(
            "--columns", type=Parsed("columns", columns), metavar="COLUMNS", help=f"Only these: {','.join(names)}."
        ),
        click.option("--table", is_flag=True, help="Write a table even if the output is not a terminal, as for watch."),
        json_option,
    )

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def with_view(*args: Any, **given: Any) -> Any:
            view = View(**{field: given.pop(field) for field in View._fields})
            if view.as_json and view != View(as_json=True):
                raise click.UsageError("--json excludes --table, --columns, --sort and --reverse.")
            return command(*args, view=view, **given)

        for option in added:
            option(with_view)
        return cast(_Command, with_view)

    return decorate


def check_view(view: View, titles: Sequence[str]) -> None:
    """Refuse a view of columns that this listing does not have.

    :raises click.UsageError: naming the column.
    """
    for title in (*(view.columns or ()), *((view.sort,) if view.sort else ())):
        if title not in titles:
            raise click.UsageError(_no_column(_column_name(title), titles))


def _no_column(name: str, titles: Sequence[str]) -> str:
    return f"there is no column {name!r}; the columns are {','.join(map(_column_name, titles))}"


def _column_name(title: str) -> str:
    return title.replace(" ", "-")


class Parsed(click.ParamType):  # type: ignore[type-arg]  # not generic in every version that is supported
    """A parameter whose text a function parses; it raises :exc:`ValueError` for invalid text."""

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
        """The names of severities that start like this."""
        return starting(incomplete, SEVERITIES)


def _wait(text: str) -> float:
    if not (seconds := parse_seconds(text)):
        raise ValueError(f"{text!r} is too short")
    if seconds > _DAY:
        raise ValueError(f"{text!r} is more than a day")
    return seconds


def _typed(setting: options.Type) -> Parsed:
    return Parsed(setting.name, setting.parse)


_CONFIG = f"{__name__}.configuration"
_DAY = 24 * 60 * 60
# The most events that are searched for agents to complete.
_COMPLETED = 10_000

# The types of the settings in the configuration, as parameters.
COUNT = _typed(options.COUNT)
WHOLE_NUMBER = _typed(options.RETRIES)
NUMBER = _typed(options.NUMBER)
PORT = _typed(options.PORT)
DURATION = _typed(options.DURATION)
#: A duration of at least one second.
INTERVAL = _typed(options.TIMEOUT)
SEVERITY = Severity()
FUTURE_TIME = Parsed("time", lambda text: parse_future(text, time.time()))
#: A time that is not in the future.
PAST_TIME = Parsed("time", lambda text: parse_past(text, time.time()))
#: How long to wait: a duration, or a number of seconds as Nagios plugins take it; at most a day.
WAIT = Parsed("duration", _wait)


def examples(*commands: str) -> str:
    """The end of a command's help: examples."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def configuration(ctx: click.Context) -> Config:
    """The configuration that ``--config`` names, else the first on the search path; read once for each command."""
    if _CONFIG not in ctx.meta:
        ctx.meta[_CONFIG] = Config.read(ctx.find_root().params.get("config"))
    found: Config = ctx.meta[_CONFIG]
    return found


def setup_parameters(command: _Command) -> _Command:
    """The parameters that name the configuration file of a setup command; see :func:`setup_configuration`."""
    text = "The configuration file, as --config of cimaa."
    command = click.option("--config", metavar="FILE", type=click.Path(), help=text)(command)
    return click.argument("file", metavar="[CONFIG]", required=False, type=click.Path())(command)


def setup_configuration(ctx: click.Context) -> Config:
    """The configuration of a setup command: of its argument, its option or that of ``cimaa``, else on the search path.

    :raises ConfigurationError: if a file was named and cannot be read.
    """
    of_cimaa = None if ctx.parent is None else ctx.find_root().params.get("config")
    named = [ctx.params["file"], ctx.params["config"], of_cimaa]
    given = [file for file in named if file is not None]
    if len(given) > 1:
        raise click.UsageError("The configuration file is given twice.", ctx)
    return Config.read(*given)


def open_store(ctx: click.Context, instance: Instance | None = None) -> DB:
    """The store that the configuration describes."""
    return configuration(ctx).open_database(instance)


def complete_agents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The agents that the store knows."""
    return _from_store(ctx, param, incomplete, lambda db: [agent["name"] for agent in db.get_agents()])


def complete_past_agents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The agents that the store knows, and those of the last day's events, which may have been removed."""

    def names(db: DB) -> list[str]:
        latest = db.get_history(since=int(time.time()) - _DAY, limit=_COMPLETED)
        return sorted({agent["name"] for agent in db.get_agents()} | {event["agent"] for event in latest})

    return _from_store(ctx, param, incomplete, names)


def complete_squelched(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The squelches that the store has; after ``--exact`` the names of the current faults."""
    if ctx.params.get("exact"):
        return _from_store(ctx, param, incomplete, lambda db: sorted({fault["name"] for fault in db.find_faults()}))
    return _from_store(ctx, param, incomplete, lambda db: [squelch["regex"] for squelch in db.get_squelch_details()])


def complete_leases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The leases that the store has."""
    return _from_store(ctx, param, incomplete, lambda db: [lease.name for lease in db.get_leases()])


def complete_backends(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The backends that are installed."""
    return starting(incomplete, config.backend_names())


def unknown(what: str, name: str, known: Iterable[str], see: str) -> str:
    """The message for an unknown name: with the most similar known one, or the command that lists them."""
    near = closest(name, known)
    return f"there is no {what} {name!r}; " + (f"did you mean {near!r}?" if near else f"see: {see}")


def _from_store(
    ctx: click.Context, param: click.Parameter, incomplete: str, names: Callable[[DB], Iterable[str]]
) -> list[Any]:
    try:
        with open_store(ctx) as db:
            return starting(incomplete, names(db), argument=isinstance(param, click.Argument))
    except Exception as error:  # a message would be written into the line that is being typed
        report_traceback(error)
        return []


def starting(incomplete: str, names: Iterable[str], *, argument: bool = False) -> list[Any]:
    """The names that start like this; those with control characters, which a terminal interprets, are left out."""
    from click.shell_completion import CompletionItem

    starting = (name for name in names if name.startswith(incomplete) and name.isprintable())
    return [CompletionItem(name, argument=argument) for name in starting]
