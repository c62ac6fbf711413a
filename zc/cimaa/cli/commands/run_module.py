"""The command that runs a module of actions on this host."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import orjson

from ...actions import documents, modules
from ...actions.modules import Host, Module
from ...actions.parameters import from_words
from ...config import Config
from ...errors import InvalidAction, InvalidParameters
from ..action_files import check_module
from ..cells import Cell
from ..output import View, message, write_json, write_table
from ..params import INTERVAL, configuration, examples, json_option, listing_options, starting
from ..program import FAILED

#: The columns of the list of modules.
TITLES = ("module", "parameter", "type", "default", "meaning")


def complete_modules(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The names of the installed modules that start like this."""
    return starting(incomplete, modules.names())


def complete_parameters(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The parameters of the module that was named; the value is still to be typed."""
    from click.shell_completion import CompletionItem

    if (name := ctx.params.get("module") or ctx.params.get("name")) not in modules.names():
        return []
    named = [parameter for parameter in modules.load(name).parameters if parameter.name.startswith(incomplete)]
    return [CompletionItem(f"{parameter.name}=", type="part", help=parameter.help) for parameter in named]


@click.command(
    epilog=examples(
        "cimaa module",
        "cimaa module file path=/etc name=shadow",
        """echo '{"path": "/etc", "name": "*.conf", "mtime": "<1d"}' | cimaa module file --json""",
        "cimaa module port listening=443",
    )
)
@click.argument("name", required=False, shell_complete=complete_modules)
@click.argument("words", metavar="[PARAMETER=VALUE]...", nargs=-1, shell_complete=complete_parameters)
@click.option("--limit", type=INTERVAL, metavar="DURATION", default="5m", help="How long it may take.  [default: 5m]")
@click.option(
    "--within", multiple=True, metavar="DIR", type=click.Path(resolve_path=True), help="Confine file to this directory."
)
@json_option
@click.pass_context
def module(
    ctx: click.Context, name: str | None, words: Sequence[str], limit: int, within: Sequence[str], as_json: bool
) -> None:
    """Run a module of actions on this host, and show its answer.

    The parameters are arguments, or a JSON object on standard input.  Nothing is stored, and no signature is needed.
    The exit status is 1 if the module did not do all that was asked.  Without NAME, the modules are listed with their
    parameters.
    """
    if name is None:
        show_modules(as_json=as_json)
        return
    from signal import SIGTERM

    from ...actions import running
    from ...agent.tasks import run_until_signal

    check_module(name, "cimaa module")
    chosen = modules.load(name)
    parameters = from_words(name, chosen.parameters, words) if words else _parameters(name)
    chosen.check(parameters)
    ran = run_until_signal(running.run(name, parameters, _host(configuration(ctx), within), limit), SIGTERM)
    if as_json:
        write_json({"status": ran.status, **ran.answer._asdict()})
    else:
        _show(ran.answer.elements, ran.answer.statistics)
    for error in () if as_json else ran.answer.errors:
        message(f"{name}: {error}")
    if ran.status != running.SUCCESS:
        raise click.exceptions.Exit(FAILED)


def show_modules(view: View | None = None, *, as_json: bool = False) -> None:
    """List the modules: one line for each, and one for each of its parameters."""
    found = [modules.load(name) for name in modules.names()]
    if as_json:
        write_json([_shape(each) for each in found])
    else:
        write_table(TITLES, (row for each in found for row in _rows(each)), view)


@click.command(name="modules", epilog=examples("cimaa action modules", "cimaa action modules --json"))
@listing_options(TITLES)
def action_modules(view: View) -> None:
    """List the modules that an action can use, with their parameters.

    To try one on this host, without a signature, see: cimaa module
    """
    show_modules(view, as_json=view.as_json)


def _shape(module: type[Module]) -> dict[str, Any]:
    parameters = [
        {"name": each.name, "type": each.kind.name, "required": each.required, "help": each.help}
        for each in module.parameters
    ]
    return {"name": module.name, "summary": module.summary, "parameters": parameters}


def _rows(module: type[Module]) -> Iterable[tuple[Cell, ...]]:
    yield module.name, "", "", "", module.summary
    for each in module.parameters:
        default = "required" if each.required else "" if each.default in (None, (), False) else str(each.default)
        yield "", each.name, each.kind.name, default, each.help


def _parameters(name: str) -> dict[str, Any]:
    """The parameters on standard input; none if it is empty, or a terminal."""
    if sys.stdin.isatty() or not (given := sys.stdin.buffer.read()).strip():
        return {}
    try:
        return documents.json_object(given, "standard input")
    except InvalidAction as error:
        raise InvalidParameters(
            f"module {name}: {error}: give a JSON object, or PARAMETER=VALUE as arguments"
        ) from error


def _host(ours: Config, within: Sequence[str]) -> Host:
    """What the agent's configuration gives to modules."""
    from ...actions.modules import host_commands
    from ...agent.config import Settings, check_environment

    environment = check_environment(ours)

    async def run_checks(names: Sequence[str]) -> Sequence[modules.CheckRun]:
        from ...agent import trial

        return await trial.run_for_module(Settings.load(ours), names, environment)

    return Host(within, host_commands.load(ours), run_checks, environment)


def _show(elements: Sequence[Mapping[str, Any]], statistics: Mapping[str, Any]) -> None:
    titles = list(dict.fromkeys(key for element in elements for key in element))
    write_table(titles, ([_text(element.get(title, "")) for title in titles] for element in elements))
    message(", ".join(f"{name}: {_text(value)}" for name, value in statistics.items()))
    if not elements:
        message("Nothing was found.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
