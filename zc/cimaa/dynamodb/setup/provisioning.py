"""Compares the existing tables with those that the store needs, and creates what is missing.

The partition key of every item of an agent is or contains the agent's name, in every table: no
partition key gets more writes than those of one agent, and IAM can confine an agent
to its own items.  There are no indexes, so a write costs only its item.

Tables, and attributes of items, are only ever added: an older version of zc.cimaa
works with newer tables, and a newer version with older tables does everything that
does not need a new table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import StoreIncompatible, StoreUnavailable
from ..records import EXPIRING, full_name, schemas

# Seconds between two requests for the status of a table that is being created.
_POLL = 1.0


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Options for new tables, and features to be enabled for existing ones."""

    #: Read and write units per second of new tables; ``None``: on demand.
    units: tuple[int, int] | None = None
    recovery: bool = False
    protection: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a table: its description, and a function that makes it."""

    table: str
    text: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Table:
    """An existing table."""

    name: str
    arn: str
    #: The key's attributes, each with its type.
    key: tuple[tuple[str, str], ...]
    #: The status in DynamoDB: ``ACTIVE``, ``CREATING``, ``UPDATING``, ``DELETING``, or a rare one.
    status: str
    #: Read and write units a second; ``None``: on demand.
    units: tuple[int, int] | None
    protected: bool

    @property
    def usable(self) -> bool:
        """True if items can be read and written."""
        return self.status in ("ACTIVE", "UPDATING")

    @property
    def summary(self) -> str:
        """A short description of the table."""
        return f"{self.status.lower()}, {_capacity(self.units)}{_protection(self.protected)}"


def described(client: Any, name: str) -> Table | None:
    """The table of this name; ``None`` if there is none.

    :raises StoreUnavailable: if the response does not describe a table.
    """
    try:
        description = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    try:
        return _table(description)
    except (KeyError, TypeError) as error:
        raise StoreUnavailable(
            f"the response about the table {name} does not come from DynamoDB: check endpoint_url and the proxy"
        ) from error


def _table(description: Mapping[str, Any]) -> Table:
    types = {one["AttributeName"]: one["AttributeType"] for one in description["AttributeDefinitions"]}
    mode = description.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    units = description.get("ProvisionedThroughput", {})
    provisioned = units.get("ReadCapacityUnits", 0), units.get("WriteCapacityUnits", 0)
    return Table(
        name=description["TableName"],
        arn=description["TableArn"],
        key=tuple((one["AttributeName"], types[one["AttributeName"]]) for one in description["KeySchema"]),
        status=description["TableStatus"],
        units=provisioned if mode == "PROVISIONED" else None,
        protected=description.get("DeletionProtectionEnabled", False),
    )


def existing(client: Any, prefix: str) -> dict[str, Table | None]:
    """Each table that the store needs, by its full name; ``None`` for a missing one.

    :raises StoreIncompatible: if a table has another key.
    """
    found = {table: described(client, full_name(prefix, table)) for table in schemas}
    for table, one in found.items():
        if one is not None:
            check_key(one, table)
    return {full_name(prefix, table): one for table, one in found.items()}


def steps(client: Any, prefix: str, wanted: TableOptions) -> Iterator[Step]:
    """The steps after which all tables exist, with the features that are wanted.

    Existing tables keep their items, their capacity and the features that are enabled.

    :raises StoreIncompatible: if a table has another key, or another attribute for its time to live.
    """
    found = existing(client, prefix)
    for table in schemas:
        name = full_name(prefix, table)
        one = found[name]
        if one is None:
            yield Step(name, _making(wanted), _creation(client, name, table, wanted))
        else:
            yield from _changes(client, one, wanted)
        if table in EXPIRING and not (one and _expires(client, name, EXPIRING[table])):
            yield Step(name, "enable time to live", _expiration(client, name, EXPIRING[table]))
        if wanted.recovery and not (one and _recoverable(client, name)):
            yield Step(name, "enable point-in-time recovery", _recovery(client, name))


def check_key(found: Table, table: str) -> None:
    """Check that an existing table has the key that the store needs.

    :raises StoreIncompatible: if not, naming both keys.
    """
    needed = tuple((one["AttributeName"], "S") for one in schemas[table])
    if found.key != needed:
        raise StoreIncompatible(
            f"the table {found.name} exists, but its key is {_shown(found.key)}, not {_shown(needed)}:"
            " it belongs to another application; choose another prefix"
        )


def perform(client: Any, step: Step, seconds: float) -> None:
    """Do a step, and wait for the table, for at most ``seconds`` each; a new table may reject the step at first.

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

    :raises StoreUnavailable: if it is not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while (found := described(client, name)) is None or found.status != "ACTIVE":
        if time.monotonic() > end:
            status = found.status if found else "missing"
            raise StoreUnavailable(f"the table {name} is still {status} after {seconds:.0f} s: run the command again")
        time.sleep(_POLL)


def to_do(found: Mapping[str, Table | None], steps: Iterable[Step]) -> list[str]:
    """What is to be done, one line each: tables to wait for, and steps."""
    waits = [f"{name}: wait until it is active" for name, one in found.items() if one and not one.usable]
    return [*waits, *(f"{step.table}: {step.text}" for step in steps)]


def _making(wanted: TableOptions) -> str:
    return f"create the table, {_capacity(wanted.units)}{_protection(wanted.protection)}"


def _capacity(units: tuple[int, int] | None) -> str:
    return "on demand" if units is None else "with {} read and {} write units".format(*units)


def _protection(protected: bool) -> str:
    return ", deletion protection" if protected else ""


def _creation(client: Any, name: str, table: str, wanted: TableOptions) -> Callable[[], object]:
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
            # Another user created it, or this request did, and its first response was lost.
            found = described(client, name)
            if found is None:
                raise
            check_key(found, table)

    return create


def _changes(client: Any, found: Table, wanted: TableOptions) -> Iterator[Step]:
    if wanted.protection and not found.protected:
        yield Step(
            found.name,
            "enable deletion protection",
            lambda: client.update_table(TableName=found.name, DeletionProtectionEnabled=True),
        )
    if wanted.tags:
        response = client.list_tags_of_resource(ResourceArn=found.arn)
        has = {tag.get("Key"): tag.get("Value") for tag in response.get("Tags", ())}
        missing = {key: text for key, text in wanted.tags.items() if has.get(key) != text}
        if missing:
            yield Step(
                found.name,
                "tag with " + ", ".join(f"{key}={text}" for key, text in missing.items()),
                lambda: client.tag_resource(ResourceArn=found.arn, Tags=_tags(missing)),
            )


def _expires(client: Any, name: str, attribute: str) -> bool:
    """True if DynamoDB deletes items of the table at the time in this attribute, or will soon.

    :raises StoreIncompatible: if the time is in another attribute.
    """
    found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return False
    if (other := found.get("AttributeName")) != attribute:
        raise StoreIncompatible(
            f"the table {name} has its time to live in the attribute {other!r}, not {attribute!r}:"
            " disable it, and run the command again"
        )
    return True


def _expiration(client: Any, name: str, attribute: str) -> Callable[[], object]:
    switch = {"Enabled": True, "AttributeName": attribute}

    def enable() -> None:
        try:
            client.update_time_to_live(TableName=name, TimeToLiveSpecification=switch)
        except client.exceptions.ClientError:
            # Another user enabled it, or this request did, and its first response was lost.
            if not _expires(client, name, attribute):
                raise

    return enable


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
