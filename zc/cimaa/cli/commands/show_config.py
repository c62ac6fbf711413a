"""The commands that show and check the configuration, and list the backends."""

import inspect
from typing import TYPE_CHECKING, Any

import click

from ... import config as configurations
from ...config import ACTIONS, DATABASE, Config, Database, Setting
from ...errors import ConfigurationError, Error
from ...options import Option
from ...text import one_line
from ..fault_list import counted
from ..output import message, write_json, write_lines, write_table
from ..params import complete_backends, configuration, examples, json_option

if TYPE_CHECKING:
    from ...agent.inspection import Inspection


@click.command(
    epilog=examples(
        "cimaa config",
        "cimaa config --check",
        "cimaa --config /etc/cimaa/cimaa.cfg config --json",
    )
)
@click.option("--check", is_flag=True, help="Check all that the agent would read; exit status 1 if there are problems.")
@json_option
@click.pass_context
def config(ctx: click.Context, check: bool, as_json: bool) -> None:
    """Show the effective settings.

    Each is shown with its source; secrets are masked.  The configuration file is the first of: --config,
    $CIMAA_CONFIG, ./cimaa.cfg, ~/.config/cimaa/cimaa.cfg (or under $XDG_CONFIG_HOME), /etc/cimaa/cimaa.cfg.
    Without a file the defaults apply.  For a KEY of [database], $CIMAA_DATABASE_KEY has precedence, and KEY_file may
    name a file with the value.

    With --check, the problems of the settings, the alerters, the metrics sinks and all files of checks are listed
    instead, one per line.  Nothing is started, and the store is not opened.
    """
    from ...agent import inspection

    if check:
        _check(ctx, as_json)
    ours = configuration(ctx)
    file, found = ours.file, _settings(ours)
    message(f"Configuration file: {file}" if file else "No configuration file.")
    if as_json:
        settings = [_shape(section, setting) for section, setting in found]
        write_json({"file": None if file is None else one_line(str(file)), "settings": settings})
    else:
        write_table(
            ("section", "option", "value", "from"),
            ((f"[{section}]", s.option.name, s.shown or "", s.source) for section, s in found),
        )
    if problems := inspection.inspect(ours).problems:
        for problem in problems:
            message(f"Warning: {problem}")
        message("An agent would report or refuse this; see also: cimaa config --check")


@click.command(epilog=examples("cimaa backends", "cimaa backends zc.cimaa.lmdb", "cimaa backends --json"))
@click.argument("backend", required=False, shell_complete=complete_backends)
@json_option
def backends(backend: str | None, as_json: bool) -> None:
    """List the backends and their options.

    A backend is the class of the [database] section.  With BACKEND, its options are listed.
    """
    if backend is not None:
        _show_options(configurations.load_backend(backend).options, as_json)
        return
    found = [{"name": name, "description": _description(name)} for name in configurations.backend_names()]
    if as_json:
        write_json(found)
    else:
        write_table(("backend", "description"), ((each["name"], each["description"]) for each in found))


def _settings(ours: Config) -> list[tuple[str, Setting]]:
    """The effective settings of all sections, each with its section's name."""
    from ...actions import config as action_settings
    from ...actions import permissions
    from ...actions.modules import host_commands
    from ...agent import plugins
    from ...agent.config import OPTIONS, SECTION

    sections = {DATABASE: _with_inherited(ours.database), SECTION: ours.section(SECTION, OPTIONS)}
    for kind in plugins.KINDS:
        sections |= {section: plugins.settings(kind, section, ours) for section in ours.named(kind.section)}
    if ACTIONS in ours.sections:
        sections[ACTIONS] = ours.section(ACTIONS, action_settings.OPTIONS)
    for section in ours.named(permissions.SECTION):
        sections[section] = ours.section(section, permissions.options_of(section))
    for section in ours.named(host_commands.SECTION):
        sections[section] = host_commands.settings(section, ours)
    return [(section, setting) for section, settings in sections.items() for setting in settings]


def _check(ctx: click.Context, as_json: bool) -> None:
    """List the problems, and exit."""
    from ...agent import inspection

    try:
        ours = configuration(ctx)
    except ConfigurationError as error:
        problems, warnings, looked_at = [str(each) for each in (error, *error.others)], [], ""
    else:
        found = inspection.inspect(ours)
        problems, warnings, looked_at = found.problems, found.warnings, _looked_at(ours, found)
    if as_json:
        write_json({"problems": list(map(one_line, problems)), "warnings": list(map(one_line, warnings))})
    else:
        write_lines(problems)
        for warning in warnings:
            message(f"Warning: {warning}")
    if not problems:
        message(f"No problems in {looked_at}.")
    ctx.exit(1 if problems else 0)


def _looked_at(ours: Config, found: "Inspection") -> str:
    checks = "the built-in checks" if found.checks is None else counted(len(found.checks), "check")
    plugins = counted(len(found.alerters), "alerter"), counted(len(found.sinks), "metrics sink")
    where = ours.file or "the defaults (no configuration file)"
    return f"{where}: {', '.join([checks, *plugins])}"


def _with_inherited(database: Database) -> list[Setting]:
    """The settings of the store; for those that are not set, the values that its driver takes from elsewhere."""
    found = database.backend.inherited(database.values)
    return [
        setting if setting.text is not None or name not in found else Setting(setting.option, *found[name])
        for setting in database.settings
        for name in [setting.option.name]
    ]


def _shape(section: str, setting: Setting) -> dict[str, Any]:
    # File names, and so settings, may contain bytes that are not valid UTF-8.
    value = None if setting.shown is None else one_line(setting.shown)
    return {"section": section, "option": setting.option.name, "value": value, "from": one_line(setting.source)}


def _description(name: str) -> str:
    try:
        backend = configurations.load_backend(name)
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
