"""Reads the ``[database]`` section of a file, for programs that open this backend directly."""

import os

from ..config import Config
from ..errors import ConfigurationError
from .db import DB


def config_parse(filename: str | os.PathLike[str]) -> dict[str, str]:
    """The ``[database]`` section of a file, as a mapping to open a :class:`DB` with.

    As everywhere, the environment and ``_file`` keys take precedence over the section.

    :raises ConfigurationError: if the file cannot be read or describes another backend.
    """
    database = Config.read(filename).database
    if not issubclass(database.backend, DB):
        chosen = database.settings[0]
        raise ConfigurationError(
            f"[database] class ({chosen.source}) is {chosen.text}; this needs class = zc.cimaa.dynamodb"
        )
    return {s.option.name: s.text for s in database.settings if s.text is not None and s.source != "default"}
