"""How the run of a program ended.  Pure."""

from typing import NamedTuple, TypeAlias


class Finished(NamedTuple):
    """The program exited by itself."""

    #: The exit status, or the negative number of the signal that killed it.
    status: int
    output: bytes
    #: The start of its standard error.
    errors: bytes
    #: The names of processes that the program left behind and that could not be killed.
    left: tuple[str, ...] = ()
    #: Bytes of output beyond the limit, which were dropped.
    dropped: int = 0


class TimedOut(NamedTuple):
    """The program was killed at its timeout."""

    #: Seconds.
    timeout: float
    #: The names of processes that the program left behind and that could not be killed.
    left: tuple[str, ...] = ()


class Flooded(NamedTuple):
    """The program was killed because its output exceeded the limit."""

    #: Bytes.
    limit: int
    #: The names of processes that the program left behind and that could not be killed.
    left: tuple[str, ...] = ()


class NotStarted(NamedTuple):
    """The program could not be started."""

    reason: str


Outcome: TypeAlias = Finished | TimedOut | Flooded | NotStarted
