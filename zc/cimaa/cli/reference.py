"""The reference of the command line, as reStructuredText: what ``--help`` says, command by command.

``python -m zc.cimaa.cli.reference > doctests/cli.rst`` writes the page anew.
"""

import textwrap
from collections.abc import Iterable, Iterator

import click

from ..agent import files, settings
from ..options import Option
from . import COMMANDS, cimaa

WIDTH = 80

_HEAD = """\
.. Written by: python -m zc.cimaa.cli.reference > doctests/cli.rst

The command line
================

``cimaa`` shows what the agents of a fleet report, and runs one.  Data goes to standard output, as a table on a
terminal, elsewhere as lines with tabs between the columns, or with ``--json`` as JSON; messages go to standard
error.  Colours are for terminals, and not for those who set ``NO_COLOR``.

Exit statuses:

=====  ==========================================================================================
0      all went well
1      an error, told in one line that starts with ``cimaa: error:``
2      wrong usage
3      with ``faults --exit-code``: a fault is listed that is not squelched
130    interrupted
141    whoever read the output went away
=====  ==========================================================================================

Checks
------

An agent's checks are in files: a file for each subject, a section for each check.

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
    error     ...  web1   //web1/host/backup#monitor-command  there is no command 'check_backup' on the PATH
    error     ...  web1   //web1/host/raid                    RAID CRITICAL - sdb is gone
    warning   ...  web1   //web1/host/queue#mail              412 mails wait
    web1 ran 3 checks: 3 faults, stored in zc.cimaa.lmdb (path store).

A check tells what it found as Nagios' plugins do: status 0 is good, 1 a warning, 2 and 3 an error, and the first
line of its output is the message, up to a ``|``.  Or its output is JSON, with a list of ``faults``, which have a
``message``, and may have a ``name``, a ``severity`` (a name or a number, 40 if there is none), and any other keys.

A fault is named after the agent, the file and the section.  A check that misbehaves is a fault too, and never loses
what the others found:

====================  ======================================================================
``#monitor-timeout``  it took too long, and was killed with its children
``#monitor-command``  it could not be run
``#monitor-status``   it was killed, or its exit status is none of 0 to 3 or belies its JSON
``#monitor-output``   it wrote nothing, or more than 1 MiB
``#monitor-stderr``   it wrote on standard error: a warning, as what it found counts
``#monitor-metric``   it has a threshold for something that it did not measure
``#monitor-slow``     the daemon should have run it again, and it was still running
``#monitor-json``     its JSON cannot be read, or breaks a rule
``#monitor-size``     its faults would leave no room for the others' in one report
``#monitor-options``  its section cannot be understood
``#monitor-file``     its file cannot be read
====================  ======================================================================
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cimaa, info_name="cimaa", terminal_width=WIDTH, **cimaa.context_settings)
    options = [*_options("A check's section", files.OPTIONS), *_options("The [agent] section", settings.OPTIONS)]
    return "\n".join([_HEAD, *options, *_section("cimaa", root), *_commands(root)])


def _commands(root: click.Context) -> Iterator[str]:
    for name in COMMANDS:
        command = cimaa.get_command(root, name)
        assert command is not None
        context = click.Context(command, parent=root, info_name=name, terminal_width=WIDTH)
        yield from _section(f"cimaa {name}", context)
        if isinstance(command, click.Group):
            for part, plugin in command.commands.items():
                context = click.Context(plugin, parent=context.parent, info_name=f"{name} {part}", terminal_width=WIDTH)
                yield from _section(f"cimaa {name} {part}", context)


def _options(title: str, options: Iterable[Option]) -> Iterator[str]:
    yield f"{title}\n{'-' * len(title)}\n"
    for option in options:
        # What is found out differs from host to host.
        default = f"  (Default: {option.default}.)" if isinstance(option.default, str) else ""
        text = textwrap.fill(f"{option.help}.{default}", 110, initial_indent="    ", subsequent_indent="    ")
        yield f"``{option.name}``\n{text}\n"


def _section(title: str, context: click.Context) -> Iterator[str]:
    yield f"{title}\n{'-' * len(title)}\n\n.. code-block:: text\n"
    for line in context.get_help().splitlines():
        yield f"    {line}".rstrip()
    yield ""


if __name__ == "__main__":
    print(page(), end="")
