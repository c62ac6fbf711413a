"""Reads INI files: UTF-8, no interpolation, case-sensitive keys."""

import configparser
import os
from pathlib import Path

from .errors import ConfigurationError


def read(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """The sections of an INI file, each a mapping of its keys to their values.

    :raises ConfigurationError: if it cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # option names keep their case
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read {os.fspath(path)}: it is not UTF-8 ({error.reason})") from error
    except configparser.Error as error:
        # Its own message shows the line, which may hold a secret.
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {_without_text(error)}") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _without_text(error: configparser.Error) -> str:
    if isinstance(error, configparser.MissingSectionHeaderError):
        if error.line.lstrip().startswith("["):
            return _unfinished(error.lineno, error.line)
        return f"line {error.lineno} is before any [section]"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: the section [{error.section}] has {error.option!r} twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: the section [{error.section}] appears twice"
    if isinstance(error, configparser.ParsingError):
        number, line = error.errors[0]  # the line is quoted
        if line[1:].lstrip().startswith("["):
            return _unfinished(number, line)
        return f"line {number} is neither a [section] nor key = value"
    return type(error).__name__


def _unfinished(line: int, text: str) -> str:
    if "[]" in text:
        return f"line {line} is a [section] without a name"
    return f"line {line} starts a [section], but the closing ] is missing"
