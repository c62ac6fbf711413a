"""Which tables there are, what they are called and keyed by, and how they are made.

Every item of an agent has the agent's name as its partition key, in whichever
table: no key takes more writes than one agent's, and IAM can confine an agent
to its own items.  There are no indexes, so a write costs no more than its item.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import StoreIncompatible, StoreUnavailable
from ..records import full_name, schemas

# Seconds between two looks at a table that is being made.
_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the tables are to be made, or, where they stand, what is to be switched on."""

    #: Read and write units a second, for provisioned tables; ``None``: on demand.
    units: tuple[int, int] | None = None
    recovery: bool = False
    protection: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done to a table: what it is called, and what does it."""

    table: str
    text: str
    do: Callable[[], object]


def described(client: Any, name: str) -> dict[str, Any] | None:
    """What DynamoDB tells of the table; ``None`` if there is none."""
    try:
        answer: dict[str, Any] = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    return answer


def steps(client: Any, prefix: str, wanted: Wanted) -> Iterator[Step]:
    """What has to be done so that all tables stand as wanted; nothing if they do.

    A table that stands keeps its items, its capacity and whatever is switched on.

    :raises StoreIncompatible: if a table stands that has another key.
    """
    for table in schemas:
        name = full_name(prefix, table)
        found = described(client, name)
        if found is None:
            yield Step(name, _making(wanted), _creation(client, name, table, wanted))
        else:
            check_key(found, table)
            yield from _changes(client, name, found, wanted)
        if wanted.recovery and not (found and _recoverable(client, name)):
            yield Step(name, "switch on point-in-time recovery", _recovery(client, name))


def check_key(found: Mapping[str, Any], table: str) -> None:
    """See to it that a table that stands has the key that ours has.

    :raises StoreIncompatible: if not, naming both keys.
    """
    types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
    key = [(one["AttributeName"], types[one["AttributeName"]]) for one in found["KeySchema"]]
    ours = [(one["AttributeName"], "S") for one in schemas[table]]
    if key != ours:
        raise StoreIncompatible(
            f"the table {found['TableName']} stands, but its key is {_shown(key)}, not {_shown(ours)}:"
            " it is somebody else's; choose another prefix"
        )


def perform(client: Any, step: Step, seconds: float) -> None:
    """Do a step, and wait for the table, for at most so many seconds each; what was just made may not take it yet.

    :raises StoreUnavailable: if it takes longer.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            step.do()
        except (
            client.exceptions.ContinuousBackupsUnavailableException,
            client.exceptions.ResourceInUseException,
        ) as error:
            if described(client, step.table) is None or time.monotonic() > end:
                raise StoreUnavailable(f"{step.table}: cannot {step.text}: {error}; run the command again") from error
            time.sleep(_POLL)
        else:
            return wait_active(client, step.table, seconds)


def wait_active(client: Any, name: str, seconds: float) -> None:
    """Return once the table is active.

    :raises StoreUnavailable: if it is not within so many seconds.
    """
    end = time.monotonic() + seconds
    while (found := described(client, name)) is None or found["TableStatus"] != "ACTIVE":
        if time.monotonic() > end:
            status = found["TableStatus"] if found else "not there"
            raise StoreUnavailable(f"the table {name} is still {status} after {seconds:.0f} s: run the command again")
        time.sleep(_POLL)


def _making(wanted: Wanted) -> str:
    units = "on demand" if wanted.units is None else "with {} read and {} write units".format(*wanted.units)
    return f"make the table, {units}" + (", protected from deletion" if wanted.protection else "")


def _creation(client: Any, name: str, table: str, wanted: Wanted) -> Callable[[], object]:
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": schemas[table],
        "AttributeDefinitions": [
            {"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in schemas[table]
        ],
    }
    if wanted.units is None:
        request["BillingMode"] = "PAY_PER_REQUEST"
    else:
        read, write = wanted.units
        request["BillingMode"] = "PROVISIONED"
        request["ProvisionedThroughput"] = {"ReadCapacityUnits": read, "WriteCapacityUnits": write}
    if wanted.protection:
        request["DeletionProtectionEnabled"] = True
    if wanted.tags:
        request["Tags"] = _tags(wanted.tags)

    def create() -> None:
        try:
            client.create_table(**request)
        except client.exceptions.ResourceInUseException:
            # Somebody was faster, or it was this very request, whose first answer was lost.
            found = described(client, name)
            if found is None:
                raise
            check_key(found, table)

    return create


def _changes(client: Any, name: str, found: Mapping[str, Any], wanted: Wanted) -> Iterator[Step]:
    if wanted.protection and not found.get("DeletionProtectionEnabled"):
        yield Step(
            name,
            "switch on protection from deletion",
            lambda: client.update_table(TableName=name, DeletionProtectionEnabled=True),
        )
    if wanted.tags:
        arn = found["TableArn"]
        has = {tag["Key"]: tag["Value"] for tag in client.list_tags_of_resource(ResourceArn=arn).get("Tags", ())}
        missing = {key: text for key, text in wanted.tags.items() if has.get(key) != text}
        if missing:
            yield Step(
                name,
                "tag with " + ", ".join(f"{key}={text}" for key, text in missing.items()),
                lambda: client.tag_resource(ResourceArn=arn, Tags=_tags(missing)),
            )


def _recoverable(client: Any, name: str) -> bool:
    answer = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery: dict[str, str] = answer.get("PointInTimeRecoveryDescription", {})
    return recovery.get("PointInTimeRecoveryStatus") == "ENABLED"


def _recovery(client: Any, name: str) -> Callable[[], object]:
    switch = {"PointInTimeRecoveryEnabled": True}
    return lambda: client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=switch)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": text} for key, text in tags.items()]


def _shown(key: Sequence[tuple[str, str]]) -> str:
    return "(" + ", ".join(f"{name} {kind}" for name, kind in key) + ")"
