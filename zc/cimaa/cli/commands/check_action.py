"""The command that shows who signed an action, and what this host would permit."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from ...actions import judging, permissions, signatures, signed_files
from ...actions.config import ActionSettings
from ...actions.documents import Document, format_time
from ...actions.permissions import Permissions, Weighed
from ...actions.signatures import KnownSigner, Verifier
from ...config import Config
from ...errors import ActionRefused, InvalidAction, StoreError
from ...text import quoted
from ..action_delivery import Reached, reached, show_reached
from ..action_files import file_argument, read_action
from ..output import View, message, write_json, write_table
from ..params import configuration, examples, listing_options, open_store
from ..program import FAILED

_TITLES = ("operation", "module", "section", "weight", "minimum", "permitted")


class _Checked(NamedTuple):
    """An action, who signed it, and what this host makes of it."""

    document: Document
    signers: list[KnownSigner]
    weighed: list[Weighed]
    #: Why this host would refuse it, whoever signed it; empty: it would not.
    refused: str

    @property
    def permitted(self) -> bool:
        return not (self.refused or any(each.reason for each in self.weighed))


@click.command(epilog=examples("cimaa action check question.json", "cimaa action check question.json --json"))
@file_argument
@listing_options(_TITLES)
@click.pass_context
def check(ctx: click.Context, /, file: Path, view: View) -> None:
    """Show who signed the action in FILE, and what the signatures weigh.

    For each operation, the weights of those who signed must reach the minimum, by the permissions in the configuration
    of this host; other agents may have others.  The agents that it would reach are those of its target that the store
    knows; each judges by its own facts.  The exit status is 1 if the action is faulty, a signature is not true,
    or this host does not permit the action.
    """
    checked = _checked(file, configuration(ctx))
    found = _reached(ctx, checked.document)
    if view.as_json:
        write_json({**_shape(checked), "reaches": found and found.agents})
    else:
        write_table(_TITLES, map(_row, range(len(checked.weighed)), checked.weighed), view)
    for text in _messages(checked):
        message(text)
    if found is not None:
        show_reached(found)
    ctx.exit(0 if checked.permitted else FAILED)


def _checked(file: Path, ours: Config) -> _Checked:
    data, document = read_action(file)
    settings = ActionSettings.load(ours)
    given = signed_files.read_signatures(file)
    verifier = _verifier(settings)
    try:
        signers = verifier.signed_by(data, given, time.time()) if given.strip() else []
    except InvalidAction as error:
        raise InvalidAction(f"{signed_files.signature_file(file)}: {error}") from error
    granted = permissions.of_configuration(ours)
    for warning in permissions.unknown_names(granted, [signer.name for signer in verifier.investigators.values()]):
        message(f"Warning: {warning}")
    return _Checked(document, signers, _weighed(granted, document, signers), _refused(document, settings))


def _reached(ctx: click.Context, document: Document) -> Reached | None:
    """The agents that it would reach; ``None`` if the store cannot be asked, which prevents nothing else."""
    try:
        with open_store(ctx) as db:
            return reached(db, document)
    except StoreError as error:
        message(f"Warning: the agents that it would reach are unknown: {error}")
        return None


def _verifier(settings: ActionSettings) -> Verifier:
    keygen = signatures.find()
    if settings.investigators is None:
        message("Warning: the configuration names no [actions] investigators, so that all keys are unknown.")
        return Verifier(keygen.failure, {})
    return signatures.load(keygen, settings.investigators, settings.revoked)


def _weighed(granted: Permissions, document: Document, signers: list[KnownSigner]) -> list[Weighed]:
    return granted.weigh(document.operations, [signer.name for signer in signers if signer.name is not None])


def _refused(document: Document, settings: ActionSettings) -> str:
    try:
        judging.check_length(document, settings.longest)
    except ActionRefused as error:
        return str(error)
    return ""


def _row(number: int, weighed: Weighed) -> tuple[str, ...]:
    permission = weighed.permission
    section, minimum = (f"[{permission.section}]", str(permission.minimum)) if permission else ("", "")
    permitted = "no" if weighed.reason else "yes"
    return str(number + 1), weighed.operation.module, section, str(weighed.weight), minimum, permitted


def _messages(checked: _Checked) -> list[str]:
    document = checked.document
    target = document.target.text or f"{len(document.target.agents)} agents"
    window = f"from {format_time(document.valid_from)} to {format_time(document.expires)}"
    texts = [f"Action {document.id}, {quoted(document.name)}, for {target}, {window}."]
    for name, key in checked.signers:
        texts.append(f"Signed by {name}, with the key {key}." if name else f"Signed with the unknown key {key}.")
    if not checked.signers:
        texts.append("It is not signed; see: cimaa action sign --help")
    reasons = [checked.refused, *(each.reason for each in checked.weighed)]
    texts += [f"Not permitted here: {reason}." for reason in dict.fromkeys(filter(None, reasons))]
    return texts


def _shape(checked: _Checked) -> dict[str, Any]:
    document = checked.document
    target = {"target": document.target.text} if document.target.text else {"agents": document.target.agents}
    return {
        "id": document.id,
        "name": document.name,
        **target,
        "validfrom": format_time(document.valid_from),
        "expireafter": format_time(document.expires),
        "signatures": [{"name": signer.name, "key": signer.fingerprint} for signer in checked.signers],
        "operations": list(map(_operation, checked.weighed)),
        "permitted": checked.permitted,
        "reason": checked.refused,
    }


def _operation(weighed: Weighed) -> dict[str, Any]:
    permission = weighed.permission
    return {
        "module": weighed.operation.module,
        "section": permission and permission.section,
        "weight": weighed.weight,
        "minimum": permission and permission.minimum,
        "permitted": not weighed.reason,
        "reason": weighed.reason,
    }
