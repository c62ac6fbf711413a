"""What went wrong with a request, what can be done about it, and how that is told.

The one place where botocore's and DynamoDB's errors become ours.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
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


class Kind(Enum):
    """What an error calls for; the value begins a sentence that goes on with the store's place."""

    #: Slow down, and try again.
    THROTTLED = "throttled by"
    #: Try again.
    FAILED = "an error of"
    #: Try again, but not for long.
    UNREACHABLE = "no answer from"
    #: Somebody else wrote in between: look again what is there.
    BUSY = "other writers in the way in"
    #: A condition does not hold: whoever set it knows what to do.
    CONDITION = "a condition refused by"
    #: Trying again is no use.
    FINAL = "an end to requests to"


_ADVICE: Mapping[Kind, str] = {
    Kind.THROTTLED: "give the table more capacity, or make it on-demand",
    Kind.FAILED: "try again, and see https://health.aws.amazon.com",
    Kind.UNREACHABLE: "see that this host can reach it: region, endpoint_url, network, proxy, firewall",
    Kind.BUSY: "see which instances report for one agent: double_agents tells",
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


def kind(error: Exception) -> Kind:
    """What the error calls for."""
    if isinstance(error, ClientError):
        return _kind_of_answer(error)
    return Kind.UNREACHABLE if isinstance(error, _BROKEN) and not isinstance(error, SSLError) else Kind.FINAL


def item(error: Exception) -> Any:
    """The item that a failed condition met, if the request asked for it."""
    assert isinstance(error, ClientError)
    return error.response.get("Item")


def reason(error: Exception) -> str:
    """The error in its own words, on one line."""
    if isinstance(error, ClientError):
        return f"{', '.join(sorted(_codes(error)))}: {_first_line(error)}"
    return " ".join(str(error).split())


def translated(error: Exception, doing: str, connection: Connection) -> StoreError:
    """What to raise for an error that trying again does not help."""
    if isinstance(error, ClientError):
        return _translated_answer(error, doing, connection)
    if isinstance(error, _CREDENTIALS):
        return StoreDenied(
            f"no AWS credentials for {doing} ({reason(error)}): give aws_access_key_id and aws_secret_access_key,"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or this host a role"
        )
    if isinstance(error, SSLError):
        return StoreUnavailable(
            f"{connection.place} cannot be trusted while {doing} ({reason(error)}): see AWS_CA_BUNDLE, and the proxy"
        )
    return _no_proper_answer(error, doing, connection)


def _no_proper_answer(error: Exception, doing: str, connection: Connection) -> StoreError:
    return StoreUnavailable(
        f"{connection.place} gave no proper answer while {doing} ({reason(error)}): see endpoint_url, and the proxy"
    )


@contextmanager
def told(doing: str, connection: Connection) -> Iterator[None]:
    """Translate what goes wrong within, where nothing is tried again."""
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        what = kind(error)
        if what is Kind.FINAL:
            raise translated(error, doing, connection) from error
        raise StoreUnavailable(
            f"{what.value} {connection.place} while {doing} ({reason(error)}); {advice(what, connection)}"
        ) from error


def advice(kind: Kind, connection: Connection) -> str:
    """What an operator can do when trying again was of no use."""
    region = connection.unknown_region if kind is Kind.UNREACHABLE else None
    if region is None:
        return _ADVICE[kind]
    near = sorted(difflib.get_close_matches(region, connection.regions, n=2))
    return f"AWS has no region {region!r}" + (f": did you mean {' or '.join(near)}?" if near else "")


def _kind_of_answer(error: ClientError) -> Kind:
    codes = _codes(error)
    if codes & _CONDITIONS:
        return Kind.CONDITION
    if codes & _THROTTLES:
        return Kind.THROTTLED
    if codes & _BUSY:
        return Kind.BUSY
    if codes & _FAILURES or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return Kind.FAILED
    return Kind.FINAL


def _codes(error: ClientError) -> set[str]:
    """The answer's code; of a transaction, the codes of the reasons that it was cancelled for."""
    reasons = error.response.get("CancellationReasons")
    codes = {one.get("Code", "None") for one in reasons} - {"None"} if isinstance(reasons, list) else set()
    return codes or {error.response["Error"].get("Code", "")}


def _first_line(error: ClientError) -> str:
    # AWS quotes the request in some messages, headers included; not in the first line.
    lines = error.response["Error"].get("Message", "").splitlines()
    return lines[0] if lines else ""


def _translated_answer(error: ClientError, doing: str, connection: Connection) -> StoreError:
    codes, place, said = _codes(error), connection.place, _first_line(error)
    if "ResourceNotFoundException" in codes:
        return StoreNotSetUp(
            f"{place} has not all of this store's tables (while {doing}): make them with setup-dynamodb CONFIG,"
            " or see region and prefix"
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
        return _no_proper_answer(error, doing, connection)
    return StoreError(f"{place} refused {doing} ({reason(error)})")


def _action(said: str, operation: str) -> str:
    found = re.search(r"\bdynamodb:\w+", said)
    return found[0] if found else f"dynamodb:{operation}"
