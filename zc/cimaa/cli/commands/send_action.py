"""The command that sends an action."""

from pathlib import Path

import click

from ...actions import signed_files, signers
from .. import action_checks
from ..action_delivery import check_signed, rate_option, send, yes_option
from ..action_files import file_argument, read_action
from ..params import configuration, examples, open_store


@click.command(
    name="send",
    epilog=examples("cimaa action send question.json", "cimaa action send question.json --rate 50 --yes"),
)
@file_argument
@rate_option
@yes_option
@click.pass_context
def send_action(ctx: click.Context, /, file: Path, rate: int, yes: bool) -> None:
    """Send the signed action in FILE to the agents of its target.

    Each agent looks for it after its next report.  The command may be interrupted, and repeated:
    each agent gets the action once; those that reported for the first time since then get it, too, and signatures that
    were added to FILE.sig since then are added to the action.  If this host would refuse the action, there is a warning
    first; see: cimaa action check
    """
    data, document = read_action(file)
    given = signed_files.read_signatures(file)
    check_signed(data, given, str(file))
    action_checks.warn(configuration(ctx), document, data, given)
    with open_store(ctx) as db:
        action = send(db, document, data, given, rate, yes=yes)
    if not _keys(action.signatures) <= _keys(given):
        why = "with the signatures that were sent before, which cannot be taken back"
        action_checks.warn(configuration(ctx), document, data, action.signatures, why)


def _keys(given: bytes) -> set[bytes]:
    return {signature.key for signature in signers.signatures(given)}
