"""The commands about the command itself: its settings, and the backends it may use."""

import inspect
from typing import Any

import click

from .. import config as configuration
from ..config import Setting
from ..errors import Error
from ..options import Option
from ..text import one_line
from .output import message, write_json, write_table
from .parameters import complete_backends, config_file, examples, json_option


@click.command(epilog=examples("cimaa config", "cimaa --config /etc/cimaa/cimaa.cfg config --json"))
@json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show the effective settings.

    Each with where it came from; secrets are masked.  The configuration file is the first of: --config,
    $CIMAA_CONFIG, ./cimaa.cfg, ~/.config/cimaa/cimaa.cfg (or under $XDG_CONFIG_HOME), /etc/cimaa/cimaa.cfg.
    Without one the defaults count.  For a KEY of [database], $CIMAA_DATABASE_KEY comes first, and KEY_file may name
    a file that holds the value.
    """
    from ..agent import plugins
    from ..agent.settings import OPTIONS, SECTION

    file = configuration.find_file(config_file(ctx))
    found = [("database", setting) for setting in configuration.database_settings(file)]
    found += [(SECTION, setting) for setting in configuration.settings(SECTION, OPTIONS, file)]
    found += [
        (section, s) for kind in plugins.KINDS for section, ss in plugins.settings(kind, file).items() for s in ss
    ]
    message(f"Configuration file: {file}" if file else "There is no configuration file.")
    if as_json:
        settings = [_shape(section, setting) for section, setting in found]
        write_json({"file": None if file is None else one_line(str(file)), "settings": settings})
    else:
        write_table(
            ("section", "option", "value", "from"),
            ((f"[{section}]", s.option.name, s.shown or "", s.source) for section, s in found),
        )


@click.command(epilog=examples("cimaa backends", "cimaa backends zc.cimaa.lmdb", "cimaa backends --json"))
@click.argument("backend", required=False, shell_complete=complete_backends)
@json_option
def backends(backend: str | None, as_json: bool) -> None:
    """List the backends and their options.

    A backend is what a [database] section names as its class; with BACKEND, the options are listed that it has.
    """
    if backend is not None:
        _show_options(configuration.load_backend(backend).options, as_json)
        return
    found = [{"name": name, "description": _description(name)} for name in configuration.backend_names()]
    if as_json:
        write_json(found)
    else:
        write_table(("backend", "description"), ((each["name"], each["description"]) for each in found))


def _shape(section: str, setting: Setting) -> dict[str, Any]:
    # Names of files, and with them settings, may hold bytes that are no text.
    value = None if setting.shown is None else one_line(setting.shown)
    return {"section": section, "option": setting.option.name, "value": value, "from": one_line(setting.source)}


def _description(name: str) -> str:
    try:
        backend = configuration.load_backend(name)
    except Error as error:
        return f"not usable: {error}"
    return (inspect.getdoc(backend) or "").partition("\n\n")[0].replace("\n", " ")


def _show_options(options: Any, as_json: bool) -> None:
    if as_json:
        write_json([_option(option) for option in options])
    else:
        rows = ((option.name, option.type.name, option.default_text() or "", option.help) for option in options)
        write_table(("option", "type", "default", "meaning"), rows)


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type.name,
        "default": option.default_text(),
        "secret": option.secret,
        "help": option.help,
    }
