"""Classifies botocore's and DynamoDB's errors (transient or final), and translates them into ours.

Nothing else in this package interprets them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as BotoCoreConnectionError
from botocore.parsers import ResponseParserError

from ..errors import StoreDenied, StoreError, StoreFull, StoreIncompatible, StoreNotSetUp, StoreUnavailable
from .connection import Connection


class ErrorKind(Enum):
    """What can be done about an error; the value begins a sentence that continues with the store's place."""

    #: Transient: retry, more slowly.
    THROTTLED = "throttled by"
    #: Transient: retry.
    FAILED = "an error of"
    #: Transient: retry, unless the address cannot exist.
    UNREACHABLE = "no answer from"
    #: Transient: another writer was faster; read again, and retry.
    BUSY = "other writers in the way in"
    #: A condition does not hold: the caller that set it handles it.
    CONDITION = "a condition refused by"
    #: A retry does not help.
    FINAL = "an end to requests to"


_ADVICE: Mapping[ErrorKind, str] = {
    ErrorKind.THROTTLED: "give the table more capacity, or make it on-demand",
    ErrorKind.FAILED: "try again, and see https://health.aws.amazon.com",
    ErrorKind.UNREACHABLE: "see that this host can reach it: region, endpoint_url, network, proxy, firewall",
    ErrorKind.BUSY: "see which instances report for one agent: double_agents tells",
}

_THROTTLES = {
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
}
_BUSY = {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
_FAILURES = {
    "InternalFailure",
    "InternalServerError",
    "ReplicatedWriteConflictException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
_CONDITIONS = {"ConditionalCheckFailed", "ConditionalCheckFailedException"}
#: What botocore raises, and what it lets through.
DRIVER_ERRORS = (ClientError, BotoCoreError, ResponseParserError, OSError)
_BROKEN = (BotoCoreConnectionError, HTTPClientError, ConnectionError, TimeoutError)
_CREDENTIALS = (
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
_REFUSED_CREDENTIALS = {
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_CLOCK = re.compile(r"signature (expired|not yet current)|RequestTimeTooSkewed|RequestExpired", re.IGNORECASE)


def classify(error: Exception) -> ErrorKind:
    """What can be done about the error."""
    if isinstance(error, ClientError):
        return _classify_response(error)
    return ErrorKind.UNREACHABLE if isinstance(error, _BROKEN) and not isinstance(error, SSLError) else ErrorKind.FINAL


def item_found(error: Exception) -> Any:
    """The item that a failed condition found, if the request asked for it."""
    assert isinstance(error, ClientError)
    return error.response.get("Item")


def reason(error: Exception) -> str:
    """The error in its own words, on one line."""
    if isinstance(error, ClientError):
        return f"{', '.join(sorted(_codes(error)))}: {_first_line(error)}"
    return " ".join(str(error).split())


def translate(error: Exception, doing: str, connection: Connection, tables: Sequence[str] = ()) -> StoreError:
    """The exception to raise for an error that a retry does not help; ``tables`` are those that the request names."""
    if isinstance(error, ClientError):
        return _translate_response(error, doing, connection, tables)
    if isinstance(error, _CREDENTIALS):
        return StoreDenied(
            f"no AWS credentials for {doing} ({reason(error)}): give aws_access_key_id and aws_secret_access_key,"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or this host a role"
        )
    if isinstance(error, SSLError):
        return StoreUnavailable(
            f"{connection.place} cannot be trusted while {doing} ({reason(error)}): see AWS_CA_BUNDLE, and the proxy"
        )
    return _invalid_response(error, doing, connection)


def _invalid_response(error: Exception, doing: str, connection: Connection) -> StoreError:
    return StoreUnavailable(
        f"{connection.place} gave an invalid response while {doing} ({reason(error)}): see endpoint_url, and the proxy"
    )


@contextmanager
def translating(doing: str, connection: Connection) -> Iterator[None]:
    """Translate the errors of the block; for requests that are not retried here."""
    try:
        yield
    except DRIVER_ERRORS as error:
        what = classify(error)
        if what is ErrorKind.FINAL:
            raise translate(error, doing, connection) from error
        raise StoreUnavailable(
            f"{what.value} {connection.place} while {doing} ({reason(error)}); {advice(what, connection)}"
        ) from error


def advice(kind: ErrorKind, connection: Connection) -> str:
    """What an operator can do when retries did not help."""
    region = connection.unknown_region if kind is ErrorKind.UNREACHABLE else None
    if region is None:
        return _ADVICE[kind]
    return f"this version of botocore knows no region {region!r}{connection.region_hint}"


def _classify_response(error: ClientError) -> ErrorKind:
    codes = _codes(error)
    if codes & _CONDITIONS:
        return ErrorKind.CONDITION
    if codes & _THROTTLES:
        return ErrorKind.THROTTLED
    if codes & _BUSY:
        return ErrorKind.BUSY
    if codes & _FAILURES or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return ErrorKind.FAILED
    return ErrorKind.FINAL


def _codes(error: ClientError) -> set[str]:
    """The response's error code; for a transaction, the codes of its cancellation reasons."""
    reasons = error.response.get("CancellationReasons")
    codes = {one.get("Code", "None") for one in reasons} - {"None"} if isinstance(reasons, list) else set()
    return codes or {error.response["Error"].get("Code", "")}


def _first_line(error: ClientError) -> str:
    # AWS quotes the request in some messages, headers included; not in the first line.
    lines = error.response["Error"].get("Message", "").splitlines()
    return lines[0] if lines else ""


def _translate_response(error: ClientError, doing: str, connection: Connection, tables: Sequence[str]) -> StoreError:
    codes, place, said = _codes(error), connection.place, _first_line(error)
    if "ResourceNotFoundException" in codes:
        return StoreNotSetUp(
            f"{place} {_lacks(tables)}, which {doing} needs: run setup-dynamodb CONFIG, which makes what is missing,"
            " or check region and prefix"
        )
    if _CLOCK.search(f"{said} {codes}"):
        return StoreDenied(f"{place} refused {doing}, as this host's clock is wrong: set it ({said})")
    if codes & _REFUSED_CREDENTIALS:
        return StoreDenied(f"{place} refuses these AWS credentials, while {doing} ({reason(error)})")
    if codes & {"AccessDeniedException", "AccessDenied"}:
        return StoreDenied(
            f"these AWS credentials do not permit {_action(said, error.operation_name)}, which {doing} needs:"
            f" setup-dynamodb CONFIG --policy ROLE prints a policy that does ({said})"
        )
    if "item size" in said.lower():
        return StoreFull(f"{place} takes no item larger than 400 KB, while {doing} ({said})")
    if re.search(r"\bkey\b.*schema|mismatch for key", said, re.IGNORECASE):
        return StoreIncompatible(
            f"{place} has a table of that name with another key, while {doing}: choose another prefix ({said})"
        )
    if all(code.isdigit() for code in codes):
        return _invalid_response(error, doing, connection)
    return StoreError(f"{place} refused {doing} ({reason(error)})")


def _action(said: str, operation: str) -> str:
    found = re.search(r"\bdynamodb:\w+", said)
    return found[0] if found else f"dynamodb:{operation}"


def _lacks(tables: Sequence[str]) -> str:
    # DynamoDB does not say which one is missing.
    return f"has no table {tables[0]}" if len(tables) == 1 else f"lacks one of the tables {', '.join(tables)}"
