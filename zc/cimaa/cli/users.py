"""The user who runs a command, for what is stored about it."""

import os
import pwd
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def user_option(what: str) -> Callable[[_Command], _Command]:
    """The option for the user who does something, whose value is by default the one who runs the command."""
    text = f"The user who {what}.  [default: the user who runs the command, also with sudo]"
    return click.option("--user", help=text, callback=lambda _ctx, _param, user: login_name() if user is None else user)


def login_name() -> str:
    """The name of the user who runs the command; with sudo, of the user who became root."""
    uid = os.getuid()
    if uid == 0 and (user := os.environ.get("SUDO_USER")):
        return user
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
