"""The command that writes a draft of an action."""

from collections.abc import Sequence

import click
import orjson

from ...actions import documents
from ...actions.config import ActionSettings
from ...actions.documents import Document
from ...agent.config import Settings
from ...errors import ConfigurationError
from ...filters import quote
from .. import action_checks
from ..action_drafts import draft, window_option
from ..output import message, write_json
from ..params import configuration, examples
from .run_module import complete_modules, complete_parameters


@click.command(
    epilog=examples(
        "cimaa action new file path=/etc name=shadow --target 'tag=db' > question.json",
        "cimaa action new package --target 'tag=db os=~Linux' --for 2h --name 'who has openssl 3.0' > question.json",
    )
)
@click.argument("module", shell_complete=complete_modules)
@click.argument("words", metavar="[PARAMETER=VALUE]...", nargs=-1, shell_complete=complete_parameters)
@click.option("--name", default="", help="The name of the action, as lists show it.")
@click.option("--target", help="Which agents it is for.  [default: the agent of this host]")
@window_option("1h")
@click.pass_context
def new(ctx: click.Context, /, module: str, words: Sequence[str], name: str, target: str | None, duration: int) -> None:
    """Write a draft of an action that uses MODULE.

    Put it into a file.  Without PARAMETER=VALUE, the parameters of the module are still to be filled in; see: cimaa
    action modules.  In --target, terms are joined by blanks, and all must hold, as in 'agent=~^web tag=db
    version>=0.2'.  The keys are agent, host, os, version and tag.  Every agent is agent=~.
    """
    wanted = f"agent={quote(Settings.load(configuration(ctx)).name)}" if target is None else target
    written = draft(module, words, wanted, name, duration, blank=True)
    document = documents.parse(orjson.dumps(written), None)  # the parameters may still have to be filled in
    write_json(written)
    _warn(document, ctx)


def _warn(document: Document, ctx: click.Context) -> None:
    """Warn of a window that is longer than the agent of this host accepts."""
    try:
        reason = action_checks.too_long(document, ActionSettings.load(configuration(ctx)))
    except ConfigurationError as error:
        reason = f"it is not known how long its window may be: {error}"
    if reason:
        message(f"Warning: {reason}.")
