"""Asks the user before something is done that cannot be undone."""

import click

from .output import message


def ask(question: str, unless: str) -> None:
    """Return if the user agrees; ``unless`` is the option that leaves out the question.

    :raises click.Abort: after a message, if the user does not agree, or cannot be asked.
    """
    try:
        if click.confirm(question, err=True):
            return
        message("Nothing was done.")
    except click.Abort:  # also at the end of standard input
        message("")  # the question's line is not ended
        message(f"Nothing was done: the question was not answered; {unless} does it without one.")
    raise click.Abort
