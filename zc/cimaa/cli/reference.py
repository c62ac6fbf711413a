"""The reference of the command line, as reStructuredText: what ``--help`` says, command by command.

``python -m zc.cimaa.cli.reference > doctests/cli.rst`` writes the page.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping

import click

from ..actions.modules import host_commands
from ..agent import check_files
from ..agent import config as settings
from ..options import Option
from . import cimaa

WIDTH = 80

#: What each exit status means.
EXIT_STATUSES = {
    "0": "success",
    "1": "an error; its message is one line that starts with ``cimaa: error:``",
    "2": "wrong usage; the last line of the message starts with ``cimaa: error:``",
    "3": "with ``faults --exit-code`` or ``agent --once --exit-code``: a fault is listed that is not squelched",
    "130": "interrupted",
    "141": "the program that reads the output has ended",
}

#: What each variable of the environment changes.
ENVIRONMENT = {
    "CIMAA_CONFIG": "the configuration file, unless ``--config`` names one",
    "CIMAA_DATABASE_KEY": "the value of a key of the ``[database]`` section, in capitals: ``CIMAA_DATABASE_PATH``",
    "CIMAA_DATABASE_KEY_FILE": "a file that holds that value, for secrets",
    "CIMAA_DEBUG": "``1`` shows the traceback of a bug",
    "COLUMNS": "the width of tables, instead of the terminal's",
    "FORCE_COLOR": "switches colours on for ``--table`` in a pipe",
    "NO_COLOR": "switches colours off",
    "STATE_DIRECTORY": "the directory of the default store; systemd sets it for a service",
    "XDG_CONFIG_HOME": "where a user's ``cimaa/cimaa.cfg`` is, instead of ``~/.config``",
    "XDG_STATE_HOME": "where a user's default store ``cimaa`` is, instead of ``~/.local/state``",
}

#: What each file is for.
FILES = {
    "./cimaa.cfg": "the configuration, unless ``--config`` or ``CIMAA_CONFIG`` names another file",
    "~/.config/cimaa/cimaa.cfg": "the user's configuration, if the current directory has none",
    "/etc/cimaa/cimaa.cfg": "the host's configuration, if the user has none",
    "/etc/cimaa/checks": "the check files of the service",
    "/var/lib/cimaa": "the store of the service, and the default store of root",
    "~/.local/state/cimaa": "the default store of any other user",
}

_HEAD = """\
.. Written by: python -m zc.cimaa.cli.reference > doctests/cli.rst

The command line
================

``cimaa`` shows what the agents of a fleet report, and runs one.  Data goes to standard output: on a terminal as a
table, elsewhere as lines with tabs between the columns, or with ``--json`` as JSON.  Messages go to standard error.

Names in a table are never broken, so that they can be copied; where a row is wider than the terminal, it is written on
several lines.  ``--columns`` chooses columns, ``--sort`` orders the rows, and ``--table`` writes a table into a pipe,
too: ``watch cimaa faults --table``.  ``NO_COLOR`` switches colours off, ``FORCE_COLOR`` switches them on for
``--table`` in a pipe.
"""

_CHECKS = """\
Checks
------

An agent's checks are defined in files, a section for each check.

.. code-block:: console

    $ mkdir checks

``checks/host.cfg``:

.. code-block:: ini

    [raid]
    command = sh -c 'echo "RAID CRITICAL - sdb is gone | disks=1"; exit 2'
    timeout = 10s

    [queue]
    command = echo '{"faults": [{"name": "mail", "severity": "warning", "message": "412 mails wait"}]}'

    [backup]
    command = check_backup --newest 1d

``cimaa.cfg``:

.. code-block:: ini

    [database]
    path = store

    [agent]
    name = web1
    directory = checks

.. code-block:: console

    $ cimaa agent --once
    severity  for  agent  fault                               message
    error     ...  web1   //web1/host/backup#monitor-command  command 'check_backup' not found on the PATH
    error     ...  web1   //web1/host/raid                    RAID CRITICAL - sdb is gone
    warning   ...  web1   //web1/host/queue#mail              412 mails wait
    web1 ran 3 checks: 3 faults, stored in zc.cimaa.lmdb (path store).

A check reports what it found like a Nagios plugin: exit status 0 is good, 1 a warning, 2 and 3 an error, and the
message is the first line of its output, up to a ``|``.  Or it writes JSON: an object with a list of ``faults``, each
with a ``message`` and, optionally, a ``name``, a ``severity`` (a name or a number; 40, an error, by default), and any
other keys.

A fault is named after the agent, the file and the section.  A check that fails to run properly is reported as a fault,
too, and does not affect other checks:

====================  ================================================================================
``#monitor-timeout``  it exceeded its timeout, and was killed with its child processes
``#monitor-command``  its command could not be run
``#monitor-status``   it was killed, its exit status is not 0 to 3, or contradicts its JSON
``#monitor-output``   it wrote nothing, or more than 1 MiB
``#monitor-stderr``   it wrote to standard error: a warning; its result is used
``#monitor-left``     it left processes behind that could not be killed: a warning; its result is used
``#monitor-metric``   it did not report a metric that has a threshold
``#monitor-slow``     it was still running when it was due again
``#monitor-json``     its JSON cannot be parsed, or is invalid
``#monitor-size``     its faults would leave no room for those of other checks in the report
``#monitor-options``  its section is invalid
``#monitor-file``     its file cannot be read
====================  ================================================================================
"""


#: The sections of the configuration that this page explains.
SECTIONS = (
    ("A check's section", check_files.OPTIONS),
    ("The [agent] section", settings.OPTIONS),
    ("A [command:NAME] section", host_commands.OPTIONS),
)


def page() -> str:
    """The whole page."""
    root = click.Context(cimaa, info_name="cimaa", terminal_width=WIDTH, **cimaa.context_settings)
    tables = [_table("Exit status", EXIT_STATUSES), _table("Environment", ENVIRONMENT), _table("Files", FILES)]
    options = [line for title, options in SECTIONS for line in section(title, options)]
    helps = [line for context in (root, *commands(root)) for line in _help(context)]
    return "\n".join([_HEAD, *tables, _CHECKS, *options, *helps])


def commands(parent: click.Context) -> Iterator[click.Context]:
    """A context for each command of a group, those of its groups included."""
    assert isinstance(parent.command, click.Group)
    for name in parent.command.list_commands(parent):
        command = parent.command.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent=parent, info_name=name, terminal_width=WIDTH)
        yield context
        if isinstance(command, click.Group):
            yield from commands(context)


def section(title: str, options: Iterable[Option]) -> Iterator[str]:
    """The options of a configuration's section, as a section of the page."""
    yield _heading(title)
    for option in options:
        # What is found out differs from host to host.
        default = f"  (Default: {option.default}.)" if isinstance(option.default, str) and option.default else ""
        text = textwrap.fill(f"{option.help}.{default}", 110, initial_indent="    ", subsequent_indent="    ")
        yield f"``{option.name}``\n{text}\n"


def _heading(title: str) -> str:
    return f"{title}\n{'-' * len(title)}\n"


def _table(title: str, rows: Mapping[str, str]) -> str:
    names = {name if name.isdigit() else f"``{name}``": text for name, text in rows.items()}
    width, longest = max(map(len, names)), max(map(len, names.values()))
    line = f"{'=' * width}  {'=' * longest}"
    return "\n".join([_heading(title), line, *(f"{name:{width}}  {text}" for name, text in names.items()), line, ""])


def _help(context: click.Context) -> Iterator[str]:
    yield f"{_heading(context.command_path)}\n.. code-block:: text\n"
    for line in context.get_help().splitlines():
        yield f"    {line}".rstrip()
    yield ""


if __name__ == "__main__":
    print(page(), end="")
