"""The reference of the command line, as reStructuredText: what ``--help`` says, command by command.

``python -m zc.cimaa.cli.reference > doctests/cli.rst`` writes the page anew.
"""

from collections.abc import Iterator

import click

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
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cimaa, info_name="cimaa", terminal_width=WIDTH, **cimaa.context_settings)
    return "\n".join([_HEAD, *_section("cimaa", root), *_commands(root)])


def _commands(root: click.Context) -> Iterator[str]:
    for name in COMMANDS:
        command = cimaa.get_command(root, name)
        assert command is not None
        context = click.Context(command, parent=root, info_name=name, terminal_width=WIDTH)
        yield from _section(f"cimaa {name}", context)


def _section(title: str, context: click.Context) -> Iterator[str]:
    yield f"{title}\n{'-' * len(title)}\n\n.. code-block:: text\n"
    for line in context.get_help().splitlines():
        yield f"    {line}".rstrip()
    yield ""


if __name__ == "__main__":
    print(page(), end="")
