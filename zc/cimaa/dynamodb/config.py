"""The ``[database]`` section of a file, for programs that open this backend by themselves."""

import os

from ..config import database_settings, load_backend
from ..errors import ConfigurationError
from .db import DB


def config_parse(filename: str | os.PathLike[str]) -> dict[str, str]:
    """The ``[database]`` section of a file as a mapping, to be given to :class:`DB`.

    As everywhere, the environment and files of secrets come before what the file has.

    :raises ConfigurationError: if it cannot be read, or describes another backend.
    """
    backend, *settings = database_settings(filename)
    if not issubclass(load_backend(backend.text or ""), DB):
        raise ConfigurationError(
            f"[database] class ({backend.source}) is {backend.text}; this is for class = zc.cimaa.dynamodb"
        )
    return {
        one.option.name: one.text for one in [backend, *settings] if one.text is not None and one.source != "default"
    }
