"""Every exception that zc.cimaa raises on purpose, under one root.

A message names the culprit and says what to do.  Where a driver's exception
was the reason, it is the ``__cause__``.  No message holds a secret.
"""

from collections.abc import Sequence


class Error(Exception):
    """The root: whoever catches it catches all that zc.cimaa raises on purpose."""


class InvalidInput(Error, ValueError):
    """What a caller passed breaks a rule of the contract; nothing was written."""


class InvalidAgent(InvalidInput):
    """An agent's name, or the instance that reports for it, breaks a rule."""


class InvalidFault(InvalidInput):
    """A fault, or the report it stands in, breaks a rule."""


class InvalidSquelch(InvalidInput):
    """A squelch breaks a rule, or its regular expression does not compile."""


class InvalidFilter(InvalidInput):
    """A filter breaks a rule of its language: the message names the term and its position."""


class ConfigurationError(Error):
    """A setting is unknown, missing or wrong, or a library it needs is not installed."""

    #: Further errors that were found together with this one.
    others: Sequence["ConfigurationError"] = ()

    @classmethod
    def raise_all(cls, found: Sequence["ConfigurationError"]) -> None:
        """Raise the first of the errors that were found, if there are any; it has the others."""
        if found:
            first, *rest = (error for one in found for error in (one, *one.others))
            first.others = rest
            raise first


class AlertError(Error):
    """An alerter could not pass an alert on."""


class StoreError(Error):
    """The store did not do what it was asked; what was stored before is still there."""


class StoreUnavailable(StoreError):
    """The store is out of reach or overloaded for now: the same call may be tried again."""


class StoreNotSetUp(StoreError):
    """The store is there, its tables are not: the message names the command that makes them."""


class StoreDenied(StoreError):
    """The store refuses these credentials, or this user, that operation."""


class StoreFull(StoreError):
    """There is no room: the message says which limit was met and how to raise it."""


class StoreIncompatible(StoreError):
    """The store was written in a format that this version does not read."""


class StoreClosed(StoreError):
    """The ``DB`` was closed before this call."""


def unexpected(error: BaseException) -> BaseException | None:
    """The exception, if its traceback belongs in the log: if it was neither raised on purpose nor by the system."""
    return None if isinstance(error, Error | OSError) else error
