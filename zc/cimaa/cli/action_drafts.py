"""Drafts of actions: what ``cimaa action new`` writes, and ``cimaa action run`` signs and sends."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ..actions import modules, targets
from ..actions.config import WINDOW
from ..actions.documents import SYNTAX_VERSION, format_time
from ..actions.parameters import from_words
from .action_files import check_module
from .params import Parsed
from .users import login_name

_Command = TypeVar("_Command", bound=Callable[..., Any])
# No agent can be configured to run an action with a longer window.
_WINDOW = Parsed("duration", WINDOW.parse)


def window_option(default: str) -> Callable[[_Command], _Command]:
    """The option ``--for``, which is passed as ``duration``."""
    text = f"The window in which agents may run it begins now, and is this long.  [default: {default}]"
    return click.option("--for", "duration", type=_WINDOW, metavar="DURATION", default=default, help=text)


def draft(module: str, words: Sequence[str], target: str, name: str, duration: int, *, blank: bool) -> dict[str, Any]:
    """The document of an action that uses one module, from now on for this ``duration`` (seconds).

    If it may be ``blank``, parameters that the module requires are still to be filled in if there are no words.

    :raises click.UsageError: if there is no such module.
    :raises InvalidAction: if the target is wrong.
    :raises InvalidParameters: naming the parameter that is wrong or missing.
    """
    targets.of_terms(target)
    check_module(module, "cimaa action modules")
    parameters = {} if blank and not words else _parameters(module, words)
    now = int(time.time())
    return {
        "name": name or f"{module}, by {login_name()}",
        "target": target,
        "operations": [{"module": module, "parameters": parameters}],
        "validfrom": format_time(now),
        "expireafter": format_time(now + duration),
        "description": {"author": login_name(), "email": "", "url": "", "revision": 1},
        "threat": {"ref": "", "level": "", "family": "", "type": ""},
        "syntaxversion": SYNTAX_VERSION,
    }


def _parameters(module: str, words: Sequence[str]) -> dict[str, Any]:
    chosen = modules.load(module)
    parameters = from_words(module, chosen.parameters, words)
    chosen.check(parameters)
    return parameters
