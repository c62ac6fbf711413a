"""What the commands about actions share: reading a document, and the modules that it may use."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from .. import entrypoints
from ..actions import documents, signed_files
from ..actions.documents import Document, ParameterCheck
from ..actions.permissions import MODULES
from ..errors import InvalidAction
from .params import unknown

file_argument = click.argument("file", type=click.Path(path_type=Path))


def module_checks() -> dict[str, ParameterCheck]:
    """The installed modules, and how each checks its parameters; each is loaded when it is used."""
    return {name: partial(_check, name) for name in entrypoints.names(MODULES)}


def check_module(name: str, see: str) -> None:
    """Refuse a module that is not installed; ``see`` is the command that lists those that are.

    :raises click.UsageError: naming the nearest.
    """
    if name not in (known := entrypoints.names(MODULES)):
        raise click.UsageError(unknown("module", name, known, see))


def read_action(file: Path) -> tuple[bytes, Document]:
    """The bytes of the file, and the action in it.

    :raises InvalidAction: naming the file, and the part that is wrong; also if its window is over.
    """
    data = signed_files.read(file)
    try:
        document = documents.parse(data, module_checks())
        documents.check_window(document, time.time())
    except InvalidAction as error:
        raise InvalidAction(f"{file}: {error}") from error
    return data, document


def _check(name: str, parameters: Mapping[str, Any]) -> None:
    module: Any = entrypoints.load(MODULES, name, object, "module", "module")
    module.check(parameters)
