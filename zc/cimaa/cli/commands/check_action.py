"""The command that shows who signed an action, and what this host would permit."""

from pathlib import Path
from typing import Any

import click

from ...actions import signed_files
from ...actions.documents import Document, format_time
from ...config import Config
from ...errors import InvalidAction, StoreError
from ...text import quoted
from .. import action_checks
from ..action_checks import Checked, OperationCheck
from ..action_delivery import Reached, reached, show_reached
from ..action_files import file_argument, read_action
from ..fault_list import counted
from ..output import View, message, write_json, write_table
from ..params import configuration, examples, listing_options, open_store
from ..program import FAILED

_TITLES = ("operation", "module", "section", "signed", "weight", "minimum", "permitted")


@click.command(epilog=examples("cimaa action check question.json", "cimaa action check question.json --json"))
@file_argument
@listing_options(_TITLES)
@click.pass_context
def check(ctx: click.Context, /, file: Path, view: View) -> None:
    """Show who signed the action in FILE, and what the signatures weigh.

    For each operation, the weights of those who signed must reach the minimum, by the permissions in the configuration
    of this host; other agents may have others.  If weight is missing, it says who has not signed yet.  The agents that
    it would reach are those of its target that the store knows; each judges by its own facts.  The exit status is 1 if
    the action is faulty, a signature is not true, or this host does not permit the action.
    """
    checked = _checked(file, configuration(ctx))
    found = _reached(ctx, checked.document)
    if view.as_json:
        write_json({**_shape(checked), "reaches": found and found.agents})
    else:
        write_table(_TITLES, map(_row, range(len(checked.operations)), checked.operations), view)
    for text in _messages(checked):
        message(text)
    if found is not None:
        show_reached(found)
    ctx.exit(FAILED if checked.reasons else 0)


def _checked(file: Path, ours: Config) -> Checked:
    data, document = read_action(file)
    try:
        return action_checks.checked(ours, document, data, signed_files.read_signatures(file))
    except InvalidAction as error:
        raise InvalidAction(f"{signed_files.signature_file(file)}: {error}") from error


def _reached(ctx: click.Context, document: Document) -> Reached | None:
    """The agents that it would reach; ``None`` if the store cannot be asked, which prevents nothing else."""
    try:
        with open_store(ctx) as db:
            return reached(db, document)
    except StoreError as error:
        message(f"Warning: the agents that it would reach are unknown: {error}")
        return None


def _row(number: int, operation: OperationCheck) -> tuple[str, ...]:
    weighed, permission = operation.weighed, operation.weighed.permission
    section, minimum = (f"[{permission.section}]", str(permission.minimum)) if permission else ("", "")
    signed = action_checks.shown(operation.signed)
    permitted = "no" if weighed.reason else "yes"
    return str(number + 1), weighed.operation.module, section, signed, str(weighed.weight), minimum, permitted


def _messages(checked: Checked) -> list[str]:
    document = checked.document
    target = document.target.text or counted(len(document.target.agents), "agent")
    window = f"from {format_time(document.valid_from)} to {format_time(document.expires)}"
    texts = [f"Action {document.id}, {quoted(document.name)}, for {target}, {window}."]
    for name, key in checked.signers:
        whose = f"Signed by {name}, with the key {key}."
        texts.append(whose if name else f"Signed with the unknown key {key}, which weighs nothing.")
    if not checked.signers:
        texts.append("It is not signed; see: cimaa action sign --help")
    return texts + [f"Not permitted here: {reason}." for reason in checked.reasons]


def _shape(checked: Checked) -> dict[str, Any]:
    document = checked.document
    target = {"target": document.target.text} if document.target.text else {"agents": document.target.agents}
    return {
        "id": document.id,
        "name": document.name,
        **target,
        "validfrom": format_time(document.valid_from),
        "expireafter": format_time(document.expires),
        "signatures": [{"name": signer.name, "key": signer.fingerprint} for signer in checked.signers],
        "operations": list(map(_operation, checked.operations)),
        "permitted": not checked.reasons,
        "reason": checked.refused,
    }


def _operation(operation: OperationCheck) -> dict[str, Any]:
    weighed = operation.weighed
    permission = weighed.permission
    return {
        "module": weighed.operation.module,
        "section": permission and permission.section,
        "signed": operation.signed,
        "weight": weighed.weight,
        "minimum": permission and permission.minimum,
        "missing": operation.missing,
        "not_signed": operation.others,
        "permitted": not weighed.reason,
        "reason": operation.reason,
    }
