"""The command that signs an action."""

from pathlib import Path

import click

from ...actions import signatures, signed_files
from ..action_files import file_argument, read_action
from ..fault_list import counted
from ..output import message
from ..params import examples


@click.command(
    epilog=examples("cimaa action sign question.json", "cimaa action sign question.json --key ~/.ssh/id_work")
)
@file_argument
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="A private SSH key; or a public one, whose private key is in ssh-agent.  [default: the first in ~/.ssh]",
)
def sign(file: Path, key: Path | None) -> None:
    """Sign the action in FILE.

    The signature is added to those in FILE.sig.  It holds for the bytes of FILE: if FILE is changed, it must be signed
    again.  A faulty action is not signed.
    """
    data, document = read_action(file)
    added = signed_files.add_signature(signatures.find(), file, data, key or signed_files.default_key())
    number = counted(added.number, "signature")
    message(f"Signed {file} with the key {added.key}; {signed_files.signature_file(file)} has {number}.")
    message(f"The action is {document.id}.")
