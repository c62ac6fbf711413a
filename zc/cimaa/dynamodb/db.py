"""The contract, implemented with DynamoDB."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..agents import Instance, Row
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError
from ..faults import FaultDict, Report
from ..options import DURATION, URL, Option
from ..squelches import StoredSquelch
from . import records
from .agent_rows import AgentRows, is_consistent
from .entry_table import EntryTable
from .records import check_prefix, full_name, schemas

if TYPE_CHECKING:
    from .connection import Connection


class DB(Contract):
    """A store in four DynamoDB tables, which setup-dynamodb creates, for a fleet of any size.

    Its attributes ``agents``, ``faults``, ``squelches`` and ``entries`` are the tables, as
    resources of boto3.
    """

    options = (
        Option("region", "the AWS region; default: the one that boto3 finds in AWS_DEFAULT_REGION or the profile"),
        Option("prefix", "the first part of the names of the tables, before a dot", default="cimaa"),
        Option("profile", "the profile in ~/.aws with credentials and region"),
        Option(
            "aws_access_key_id",
            "default: the credentials that boto3 finds in the environment, ~/.aws, or the role of the host",
        ),
        Option("aws_secret_access_key", "the secret of aws_access_key_id", secret=True),
        Option("endpoint_url", "another endpoint than that of AWS, such as DynamoDB Local", URL),
        Option("connect_timeout", "how long to wait for a connection", DURATION, "5s"),
        Option("read_timeout", "how long to wait for a response", DURATION, "10s"),
        Option("retry_for", "how long to retry requests that were throttled or failed temporarily", DURATION, "30s"),
        Option("clock_margin", "by how much the clocks of hosts that take leases may differ", DURATION, "10s"),
    )

    @classmethod
    def inherited(cls, settings: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
        """The region and the endpoint that boto3 finds in the environment or the profile."""
        try:
            from .connection import inherited
        except ModuleNotFoundError:  # opening the store reports it
            return {}
        return inherited(settings)

    def _open(self) -> None:
        prefix = check_prefix(self.settings["prefix"])
        self._names = {table: full_name(prefix, table) for table in schemas}
        self._connection = connected(self.settings)
        from .requests import Requests

        self._requests = Requests(self._connection, self.settings["retry_for"])
        self._agent_rows = AgentRows(self._requests, self._names, self._now)
        self._entry_table = EntryTable(self._requests, self._names["entries"], self._now)

    def _close(self) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        """The table of this name (see :data:`~zc.cimaa.dynamodb.schemas`) as a resource of boto3."""
        if name not in schemas:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        table = self.__dict__[name] = self._connection.table(self._names[name])
        return table

    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        return self._agent_rows.touch(agent, digest, instance)

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        self._agent_rows.replace(agent, report, instance)

    def _remove_agent(self, agent: str) -> None:
        self._agent_rows.remove(agent)

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return self._agent_rows.read(agent, f"reading the faults of agent {agent!r}")[1]

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        found = self._requests.scan("listing the faults", TableName=self._names["faults"])
        # No agent has the name "_": older tools stored heartbeats under it.
        return ((agent, [fault]) for agent, fault in map(records.decode_fault, found) if agent != "_")

    def _rows(self) -> Iterable[tuple[str, Row]]:
        for item in self._requests.scan("listing the agents", TableName=self._names["agents"]):
            row = records.decode_row(item).row
            if row is not None:
                yield records.agent_name(item), row

    def _heartbeats(self) -> Iterable[tuple[str, int]]:
        found = self._requests.scan(
            "listing the agents",
            TableName=self._names["agents"],
            ProjectionExpression="#name, updated",
            ExpressionAttributeNames={"#name": "name"},  # a reserved word of DynamoDB
        )
        beats = map(records.heartbeat, found)
        return ((agent, updated) for agent, updated in beats if updated is not None)

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        item = records.encode_squelch(squelch)
        self._requests.send("put_item", "setting a squelch", TableName=self._names["squelches"], Item=item)

    def _remove_squelch(self, regex: str) -> None:
        key = {"regex": records.text(regex)}
        self._requests.send("delete_item", "removing a squelch", TableName=self._names["squelches"], Key=key)

    def _squelches(self) -> Iterable[StoredSquelch]:
        found = self._requests.scan("listing the squelches", TableName=self._names["squelches"])
        return map(records.decode_squelch, found)

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return self._entry_table.read(kind, owner, key)

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        if becomes is None:
            return self._entry_table.remove(kind, owner, key, was)
        return self._entry_table.write(becomes, was)

    @property
    def clock_margin(self) -> int:
        """The option ``clock_margin``: DynamoDB has no clock, so the clocks of the hosts count."""
        return int(self.settings["clock_margin"])

    def _snapshot(self) -> Iterable[Snapshot]:
        """Each agent has its row and the faults of one report, but agents may be read at different times."""
        rows = dict(self._rows())
        found: dict[str, list[FaultDict]] = {}
        for agent, faults in self._all_faults():
            found.setdefault(agent, []).extend(faults)
        for agent in rows.keys() | found.keys():
            if agent not in rows or not is_consistent(rows[agent], found.get(agent, [])):
                stored, found[agent] = self._agent_rows.read(agent, f"reading agent {agent!r}")
                if stored.row is None:
                    rows.pop(agent, None)
                else:
                    rows[agent] = stored.row
        yield Snapshot(((name, row.updated) for name, row in rows.items()), found.items(), self._squelches())


def connected(settings: Mapping[str, Any], *, persistent: bool = False) -> "Connection":
    """A connection with these settings; if ``persistent``, boto3 itself retries transient errors.

    Only this loads boto3.

    :raises ConfigurationError: if boto3 is not installed, or a setting is invalid.
    """
    if (settings["aws_access_key_id"] is None) != (settings["aws_secret_access_key"] is None):
        raise ConfigurationError("[database] set both aws_access_key_id and aws_secret_access_key, or none of them")
    try:
        from .connection import TRIES, Connection
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the backend zc.cimaa.dynamodb needs the Python package {error.name!r}, which is not installed:"
            " pip install 'zc.cimaa[dynamodb]'"
        ) from error
    return Connection(settings, TRIES if persistent else 1)
