"""Compares the tables that exist with those that the store needs, and makes what is missing.

Every item of an agent has the agent's name as its partition key, in every table:
no key takes more writes than one agent's, and IAM can confine an agent to its
own items.  There are no indexes, so a write costs no more than its item.

Tables are only ever added, and so are attributes of items: an older version of
zc.cimaa works with newer tables, and a newer one with older tables does what
needs no new table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import StoreIncompatible, StoreUnavailable
from ..records import full_name, schemas

# Seconds between two requests for the status of a table that is being made.
_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How missing tables are to be made, and what is to be switched on for those that exist."""

    #: Read and write units a second, for provisioned tables; ``None``: on demand.
    units: tuple[int, int] | None = None
    recovery: bool = False
    protection: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done to a table: its description, and a function that does it."""

    table: str
    text: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that exists."""

    name: str
    arn: str
    #: The key's attributes, each with its type.
    key: tuple[tuple[str, str], ...]
    #: DynamoDB's word for it: ``ACTIVE``, ``CREATING``, ``UPDATING``, ``DELETING``, and some that are rare.
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
        """The table in a few words."""
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
            f"the response about the table {name} is not one of DynamoDB's: see endpoint_url, and the proxy"
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
    """Each table that the store needs, by its full name; ``None`` for one that is missing.

    :raises StoreIncompatible: if one has another key than the store's.
    """
    found = {table: described(client, full_name(prefix, table)) for table in schemas}
    for table, one in found.items():
        if one is not None:
            check_key(one, table)
    return {full_name(prefix, table): one for table, one in found.items()}


def steps(client: Any, prefix: str, wanted: Wanted) -> Iterator[Step]:
    """What has to be done so that all tables are as wanted; nothing if they are.

    A table that exists keeps its items, its capacity and everything that is switched on.

    :raises StoreIncompatible: if a table exists that has another key.
    """
    found = existing(client, prefix)
    for table in schemas:
        name = full_name(prefix, table)
        one = found[name]
        if one is None:
            yield Step(name, _making(wanted), _creation(client, name, table, wanted))
        else:
            yield from _changes(client, one, wanted)
        if wanted.recovery and not (one and _recoverable(client, name)):
            yield Step(name, "switch on point-in-time recovery", _recovery(client, name))


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
    """Do a step, and wait for the table, for at most ``seconds`` each; a new table may refuse it at first.

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
    """What has to be done, a line each: the steps, and the tables to wait for."""
    waits = [f"{name}: wait until it is active" for name, one in found.items() if one and not one.usable]
    return [*waits, *(f"{step.table}: {step.text}" for step in steps)]


def _making(wanted: Wanted) -> str:
    return f"make the table, {_capacity(wanted.units)}{_protection(wanted.protection)}"


def _capacity(units: tuple[int, int] | None) -> str:
    return "on demand" if units is None else "with {} read and {} write units".format(*units)


def _protection(protected: bool) -> str:
    return ", protected from deletion" if protected else ""


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
            # Another user was faster, or it was this very request, whose first response was lost.
            found = described(client, name)
            if found is None:
                raise
            check_key(found, table)

    return create


def _changes(client: Any, found: Table, wanted: Wanted) -> Iterator[Step]:
    if wanted.protection and not found.protected:
        yield Step(
            found.name,
            "switch on protection from deletion",
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
