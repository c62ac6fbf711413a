"""All exceptions of zc.cimaa, under one root.

A message names the cause and says what to do.  If a driver raised an exception,
that is the ``__cause__``.  No message contains a secret.
"""

from collections.abc import Mapping, Sequence


class Error(Exception):
    """The root of all exceptions that zc.cimaa raises, apart from bugs."""


class InvalidInput(Error, ValueError):
    """An argument breaks a rule of the contract; nothing was written."""


class InvalidAgent(InvalidInput):
    """An agent's name, or the instance that reports for it, breaks a rule."""


class InvalidFault(InvalidInput):
    """A fault, or the report that contains it, breaks a rule."""


class InvalidSquelch(InvalidInput):
    """A squelch breaks a rule, or its regular expression does not compile."""


class InvalidLease(InvalidInput):
    """A lease's name, holder, length or state breaks a rule."""


class InvalidFilter(InvalidInput):
    """A filter breaks a rule of its language: the message names the term and its position."""


class InvalidParameters(InvalidInput):
    """The parameters of an action's module break a rule: the message names the module and the parameter."""


class HistoryIncomplete(Error):
    """The history does not reach back to the time that was asked for."""

    def __init__(
        self, message: str, earliest: int | None = None, agents: Mapping[str, int | None] | None = None
    ) -> None:
        super().__init__(message)
        #: The earliest time (whole seconds) that can be asked for; ``None`` if there is none yet.
        self.earliest = earliest
        #: The agents whose history is incomplete, each with the earliest time that can be asked for.
        self.agents: Mapping[str, int | None] = agents or {}


class InvalidAction(InvalidInput):
    """An action's document, or one of its signatures, breaks a rule: the message names the part that is wrong."""


class ActionRefused(Error):
    """An agent does not run an action: the message says why."""


class SigningError(Error):
    """``ssh-keygen`` is missing or too old, or could not sign or verify."""


class JournalError(Error):
    """The journal of actions cannot be read or written, so no action may run."""


class ConfigurationError(Error):
    """A setting is unknown, missing or invalid, or a required library is not installed."""

    #: Further errors that were found together with this one.
    others: Sequence["ConfigurationError"] = ()

    @classmethod
    def raise_all(cls, found: Sequence["ConfigurationError"]) -> None:
        """Raise the first of the errors, if there are any, with the rest as its ``others``."""
        if found:
            first, *rest = (error for one in found for error in (one, *one.others))
            first.others = rest
            raise first


class AlertError(Error):
    """An alerter could not send an alert."""


class StoreError(Error):
    """The store could not complete the call; what was stored before is unchanged."""


class StoreUnavailable(StoreError):
    """The store is unreachable or overloaded at the moment: the same call may be retried."""


class StoreNotSetUp(StoreError):
    """The store has no tables: the message names the command that creates them."""


class StoreDenied(StoreError):
    """The store rejects the credentials, or does not permit the operation."""


class StoreFull(StoreError):
    """The store is full: the message says which limit was reached and how to raise it."""


class StoreIncompatible(StoreError):
    """The store has a format that this version cannot read."""


class StoreClosed(StoreError):
    """The ``DB`` has been closed."""


def unexpected(error: BaseException) -> BaseException | None:
    """The exception, if it is a bug whose traceback belongs in the log: not an error of ours or of the system."""
    return None if isinstance(error, Error | OSError) else error
