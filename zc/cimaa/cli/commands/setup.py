"""The commands that set up a store; they are also separate programs, ``setup-postgres`` and ``setup-dynamodb``."""

from typing import Any

import click

from ...config import Config
from ...errors import ConfigurationError
from .. import Commands
from ..params import examples
from ..program import HELP_OPTIONS

COMMANDS = {
    "postgres": "commands.setup_postgres:setup_postgres",
    "dynamodb": "commands.setup_dynamodb:setup_dynamodb",
}


@click.group(
    cls=Commands,
    places=COMMANDS,
    context_settings=HELP_OPTIONS,
    epilog=examples("cimaa setup postgres --help", "cimaa setup dynamodb --help"),
)
def setup() -> None:
    """Set up the tables of a store.

    Each command is also a separate program: setup-postgres, setup-dynamodb.
    """


def settings(backend: str, config: Config) -> dict[str, Any]:
    """The values of the backend's options in the [database] section, and in the environment.

    :raises ConfigurationError: if the section cannot be used, or is for another backend.
    """
    chosen = config.database.settings[0]
    if chosen.text != backend:
        raise ConfigurationError(f"[database] class ({chosen.source}) is {chosen.text}: this command is for {backend}")
    return dict(config.database.values)
