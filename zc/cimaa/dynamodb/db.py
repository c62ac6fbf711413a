"""The contract, kept in DynamoDB."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..agents import Instance, Row
from ..db import DB as Contract
from ..db import Snapshot
from ..errors import ConfigurationError
from ..faults import Fault, Report
from ..options import DURATION, Option
from ..squelches import Squelch
from . import records
from .agent_rows import AgentRows, is_consistent
from .records import check_prefix, full_name, schemas

if TYPE_CHECKING:
    from .connection import Connection


class DB(Contract):
    """A store in three tables of DynamoDB's, for a fleet of any size; setup-dynamodb makes them.

    Its attributes ``agents``, ``faults`` and ``squelches`` are the tables, as
    boto3's resources.
    """

    options = (
        Option("region", "the AWS region; without, the one that boto3 finds: AWS_DEFAULT_REGION, the profile's"),
        Option("prefix", "what the tables' names begin with, before a dot", default="cimaa"),
        Option("profile", "the profile of ~/.aws to take credentials and region from"),
        Option("aws_access_key_id", "without, boto3 looks in the environment, ~/.aws, and the host's role"),
        Option("aws_secret_access_key", "goes with aws_access_key_id", secret=True),
        Option("endpoint_url", "another address than AWS's own, such as DynamoDB Local's"),
        Option("connect_timeout", "how long to wait for a connection", DURATION, "5s"),
        Option("read_timeout", "how long to wait for an answer", DURATION, "10s"),
        Option("retry_for", "how long to try again what was throttled or failed in passing", DURATION, "30s"),
    )

    def _open(self) -> None:
        prefix = check_prefix(self.settings["prefix"])
        self._names = {table: full_name(prefix, table) for table in schemas}
        self._connection = connected(self.settings)
        from .requests import Requests

        self._requests = Requests(self._connection, self.settings["retry_for"])
        self._agent_rows = AgentRows(self._requests, self._names, self._now)

    def _close(self) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        """The table of this name (see :data:`~zc.cimaa.dynamodb.schemas`) as boto3's resource."""
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

    def _agent_faults(self, agent: str) -> Iterable[Fault]:
        return self._agent_rows.read(agent, f"reading the faults of agent {agent!r}")[1]

    def _all_faults(self) -> Iterable[tuple[str, list[Fault]]]:
        found = self._requests.scan("listing the faults", TableName=self._names["faults"])
        # No agent is named "_": older tools kept their heartbeats there.
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
            ExpressionAttributeNames={"#name": "name"},  # a word that DynamoDB keeps for itself
        )
        beats = map(records.heartbeat, found)
        return ((agent, updated) for agent, updated in beats if updated is not None)

    def _put_squelch(self, squelch: Squelch) -> None:
        item = records.encode_squelch(squelch)
        self._requests.send("put_item", "setting a squelch", TableName=self._names["squelches"], Item=item)

    def _remove_squelch(self, regex: str) -> None:
        key = {"regex": records.text(regex)}
        self._requests.send("delete_item", "removing a squelch", TableName=self._names["squelches"], Key=key)

    def _squelches(self) -> Iterable[Squelch]:
        found = self._requests.scan("listing the squelches", TableName=self._names["squelches"])
        return map(records.decode_squelch, found)

    def _snapshot(self) -> Iterable[Snapshot]:
        """Each agent is whole, with the faults of one report; one agent may be seen some requests after another."""
        rows = dict(self._rows())
        found: dict[str, list[Fault]] = {}
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
    """A connection with these settings, which by itself sends again what is refused in passing, if so asked.

    Only here boto3 is needed.

    :raises ConfigurationError: if it is not installed, or a setting is wrong.
    """
    if (settings["aws_access_key_id"] is None) != (settings["aws_secret_access_key"] is None):
        raise ConfigurationError("[database] aws_access_key_id and aws_secret_access_key belong together: give both")
    try:
        from .connection import TRIES, Connection
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the backend zc.cimaa.dynamodb needs the Python package {error.name!r}, which is not installed:"
            " pip install 'zc.cimaa[dynamodb]'"
        ) from error
    return Connection(settings, TRIES if persistent else 1)
