"""The driver's errors: which may pass, and what they are in the contract's terms, with what to do about them."""

import re

import psycopg
from psycopg import errors as pg

from ..errors import StoreDenied, StoreError, StoreFull, StoreIncompatible, StoreNotSetUp, StoreUnavailable
from .conninfo import ConnInfo
from .session import NoResponse
from .setup.roles import role_name
from .setup.versions import VERSION

SETUP = "setup-postgres CONFIG"

#: Errors of the moment: a statement that met one did nothing, and may be tried again.
_MOMENTARY = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.TooManyConnections,
    pg.InvalidSqlStatementName,  # a prepared statement that the server forgot is prepared again
)
#: The connection is unusable: it is lost, or the server behind it stops, or is no longer the primary.
_LOST = (
    pg.AdminShutdown,
    pg.CrashShutdown,
    pg.CannotConnectNow,
    pg.IdleInTransactionSessionTimeout,
    pg.IdleSessionTimeout,
    pg.TransactionTimeout,
    pg.ReadOnlySqlTransaction,
    pg.ConnectionException,
    pg.ConnectionDoesNotExist,
    pg.ConnectionFailure,
    pg.ProtocolViolation,
)
#: Something of the store's is not there.
_MISSING = (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedColumn, pg.UndefinedFunction)

#: What reading a response raises, here or in the driver, that was damaged on its way.
UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)

#: Another transaction was in the way, and this one did nothing.
LOCKED = (pg.LockNotAvailable, pg.DeadlockDetected)

_PREPARED = (pg.InvalidSqlStatementName, pg.DuplicatePreparedStatement)

# The server's refusals of a connection have no code that libpq would pass on, only words.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects|role \".*\" does not exist"
    r"|not permitted to log in|permission denied for database|password file"
)
_NO_DATABASE = re.compile(r"database \".*\" does not exist")
_NO_TLS = re.compile(r"certificate|SSL|sslmode")

_REPEATED = re.compile(r"connection (failed|is bad): |Multiple connection attempts failed\. All failures were: ")


def is_lost(error: psycopg.Error) -> bool:
    """True if a connection that met this error is unusable."""
    # What libpq says by itself has no code; a result that it makes itself is a plain DatabaseError.
    from_libpq = isinstance(error, psycopg.OperationalError) or type(error) is psycopg.DatabaseError
    return isinstance(error, _LOST) or (from_libpq and error.sqlstate is None)


def may_pass(error: psycopg.Error) -> bool:
    """True if the same work may succeed in a moment, and doing it again does no harm."""
    if is_lost(error):
        return not any(words.search(str(error)) for words in (_REFUSED, _NO_DATABASE, _NO_TLS))
    return isinstance(error, _MOMENTARY)


def unreadable(error: Exception, conninfo: ConnInfo) -> StoreError:
    """The error for a response that cannot be read."""
    reason = conninfo.masked(f"{type(error).__name__}: {error}")
    return StoreError(f"{conninfo.where} sent a response that cannot be read: {reason}")


def translated(error: psycopg.Error, conninfo: ConnInfo, schema: str, role: str, tables: int = VERSION) -> StoreError:
    """The error for a driver's error, with what to do about it.

    ``role`` is the least of the store's roles that may do what failed, and ``tables`` the version of the tables.
    """
    where = conninfo.where
    if isinstance(error, _MISSING) and tables < VERSION:
        return StoreNotSetUp(outdated(conninfo, schema, tables))
    kind, message = _explained(error, where, _text(error, conninfo), schema, role)
    return kind(message)


def outdated(conninfo: ConnInfo, schema: str, tables: int) -> str:
    """What to do about tables of an older version."""
    have = f"the tables in the schema {schema} have version {tables}"
    return f"{conninfo.where}: {have}, and this needs {VERSION}: run {SETUP}"


def setup_failed(error: psycopg.Error, conninfo: ConnInfo, local: bool = False) -> StoreError:
    """The error for a driver's error during the setup, which a ``local`` superuser or the role of the dsn runs."""
    where, text = conninfo.where, _text(error, conninfo)
    if local and is_lost(error) and _REFUSED.search(text):
        hint = "run this as the server's superuser (sudo -u postgres), or name the one to connect as in PGUSER"
        return StoreDenied(f"{where} refuses the connection: {text}; {hint}")
    if isinstance(error, NoResponse):
        return StoreUnavailable(
            f"{where} stopped responding: {text}; look with --check, and run it again (see also --wait)"
        )
    if is_lost(error):
        kind, message = _unconnected(error, where, text)
        return kind(message)
    if isinstance(error, LOCKED):
        hint = "pg_stat_activity shows which sessions are in a transaction (see also --wait)"
        return StoreUnavailable(f"{where}: another transaction holds a lock on the tables: {text}; {hint}")
    if isinstance(error, pg.InsufficientPrivilege):
        return StoreDenied(f"no permission in {where}: {text}; run this as its owner, or as a superuser")
    return StoreError(f"{where} refused: {text}")


def _explained(error: psycopg.Error, where: str, text: str, schema: str, role: str) -> tuple[type[StoreError], str]:
    if isinstance(error, _MISSING):
        return StoreNotSetUp, f"{where} has no zc.cimaa tables in the schema {schema}: run {SETUP}"
    if isinstance(error, pg.InsufficientPrivilege):
        return StoreDenied, f"no permission in {where}: {text}; the role {role_name(schema, role)} may do this"
    if isinstance(error, pg.DiskFull):
        return StoreFull, f"the disk of {where} is full: {text}; free some space there"
    if isinstance(error, pg.UntranslatableCharacter | pg.CharacterNotInRepertoire):
        return StoreIncompatible, f"{where} is not encoded in UTF8: {text}"
    if isinstance(error, pg.QueryCanceled):
        return StoreUnavailable, f"{where} did not answer in time: {text} (see the option statement_timeout)"
    if isinstance(error, _PREPARED):
        return StoreUnavailable, f"a proxy before {where} lost a prepared statement: set prepare = off ({text})"
    if isinstance(error, _MOMENTARY):
        return StoreUnavailable, f"{where} is overloaded: {text}"
    if isinstance(error, NoResponse):
        return StoreUnavailable, f"{where} stopped responding: {text} (see the option response_timeout)"
    if is_lost(error):
        return _unconnected(error, where, text)
    return StoreError, f"{where} refused: {text}"


def _unconnected(error: psycopg.Error, where: str, text: str) -> tuple[type[StoreError], str]:
    if isinstance(error, pg.ReadOnlySqlTransaction):
        hint = "among several hosts, target_session_attrs=read-write in the dsn finds the one that can be written"
        return StoreUnavailable, f"{where} can only be read: {text}; {hint}"
    if _NO_DATABASE.search(text):
        return StoreNotSetUp, f"{where}: {text}; setup-postgres --local CONFIG makes it on the server of this machine"
    if _REFUSED.search(text):
        return StoreDenied, f"{where} refuses the connection: {text}; see user and password in the dsn or the passfile"
    if _NO_TLS.search(text):
        return StoreUnavailable, f"no TLS with {where}: {text}; see sslmode and sslrootcert in the dsn"
    return StoreUnavailable, f"{where} cannot be reached: {text}"


def _text(error: psycopg.Error, conninfo: ConnInfo) -> str:
    """The error in one line, without the words that only repeat where it happened, and without secrets."""
    text = error.diag.message_primary or str(error)
    return conninfo.masked(_REPEATED.sub("", " ".join(text.split())))
