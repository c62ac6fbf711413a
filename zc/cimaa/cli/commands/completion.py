"""The command that writes a completion script."""

import click

from ..output import write
from ..params import examples
from ..program import completion_variable
from ..shells import SHELLS, script

PROGRAMS = ("cimaa", "setup-dynamodb", "setup-postgres")


@click.command(
    epilog=examples(
        "cimaa completion bash > ~/.local/share/bash-completion/completions/cimaa",
        "cimaa completion zsh > ~/.zfunc/_cimaa",
        "cimaa completion fish > ~/.config/fish/completions/cimaa.fish",
        "cimaa completion fish --program setup-postgres > ~/.config/fish/completions/setup-postgres.fish",
    )
)
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.option(
    "--program",
    type=click.Choice(PROGRAMS),
    default=PROGRAMS[0],
    show_default=True,
    help="The program whose arguments are completed.",
)
@click.pass_context
def completion(ctx: click.Context, shell: str, program: str) -> None:
    """Write a shell's completion script.

    It completes commands, options, agents and squelches, but not names with control characters.  With CIMAA_DEBUG=1, a
    completion that fails shows why.
    """
    write(script(shell, ctx.find_root().command, program, completion_variable(program)))
