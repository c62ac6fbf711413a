"""The contract, implemented with DynamoDB."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..agents import Instance, Row, Touch
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError
from ..faults import FaultDict, Report
from ..history import Event, Kept
from ..options import DURATION, URL, Option
from ..squelches import StoredSquelch
from . import costs, records
from .agent_reads import AgentReads
from .agent_rows import AgentRows
from .entry_tables import EntryTables
from .event_log import AgentSpan, EventLog
from .fleet_reads import FleetReads
from .records import check_prefix, full_name, schemas
from .squelch_rows import SquelchRows
from .waking import wake

if TYPE_CHECKING:
    from .connection import Connection


class DB(Contract):
    """A store in DynamoDB tables, which setup-dynamodb creates, for a fleet of any size.

    Its attributes ``agents``, ``faults``, ``squelches``, ``entries``, ``answers`` and ``history`` are the tables,
    as resources of boto3.
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
        *Contract.options,
    )

    deletes_history = True

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
        self._log = EventLog(self._requests, self._names["history"], self._now, self._retention)
        self._reads = AgentReads(self._requests, self._names, self._log)
        self._fleet = FleetReads(self._requests, self._names, self._reads, self._log)
        self._agent_rows = AgentRows(self._requests, self._names, self._reads, self._log, self._now)
        self._squelch_rows = SquelchRows(self._requests, self._names, self._log, self._now)
        self._entry_tables = EntryTables(self._requests, self._names, self._now)

    def _close(self) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        """The table of this name (see :data:`~zc.cimaa.dynamodb.schemas`) as a resource of boto3."""
        if name not in schemas:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        table = self.__dict__[name] = self._connection.table(self._names[name])
        return table

    def _touch(self, agent: str, touch: Touch) -> bool:
        return self._agent_rows.touch(agent, touch)

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        return self._agent_rows.replace(agent, report, instance, within, unmark=unmark)

    def _wake(self, agents: Sequence[str]) -> int:
        return wake(self._requests, self._names["agents"], agents)

    def _remove_agent(self, agent: str, user: str | None) -> None:
        self._agent_rows.remove(agent, user)

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return self._reads.read(agent, f"reading the faults of agent {agent!r}")[1]

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        return ((agent, [fault]) for agent, fault in self._fleet.faults())

    def _rows(self) -> Iterable[tuple[str, Row]]:
        return ((agent, stored.row) for agent, stored in self._fleet.items() if stored.row is not None)

    def _row(self, agent: str) -> Row | None:
        return self._reads.row(agent, f"reading agent {agent!r}").row

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
        self._squelch_rows.put(squelch)

    def _remove_squelch(self, regex: str, user: str | None) -> None:
        self._squelch_rows.remove(regex, user)

    def _squelches(self) -> Iterable[StoredSquelch]:
        found = self._requests.scan("listing the squelches", TableName=self._names["squelches"])
        return map(records.decode_squelch, found)

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return self._entry_tables.read(kind, owner, key)

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        if becomes is None:
            return self._entry_tables.remove(kind, owner, key, was)
        return self._entry_tables.write(becomes, was)

    def _add(self, entries: Iterable[Entry]) -> int:
        return self._entry_tables.add(entries)

    def _read_units(self, size: int) -> int:
        return costs.read_units(size)

    def _scan_units(self, kind: str) -> int:
        return self._entry_tables.scan_units(kind)

    @property
    def clock_margin(self) -> int:
        """The option ``clock_margin``: DynamoDB has no clock, so the clocks of the hosts count."""
        return int(self.settings["clock_margin"])

    def _snapshot(self) -> Iterable[Snapshot]:
        """Each agent has its row and the faults of one report, but agents may be read at different times."""
        rows, found = self._fleet.consistent()
        heartbeats = [(agent, stored.row.updated) for agent, stored in rows.items() if stored.row is not None]
        yield Snapshot(heartbeats, found.items(), self._squelches())

    def _events(self, agent: str | None, since: int, until: int) -> Iterable[Event]:
        since = max(since, self._history_start())  # DynamoDB may not have deleted all that is older
        if since >= until:
            return ()
        return self._fleet.events(since, until) if agent is None else self._log.events(AgentSpan(agent, since, until))

    def _events_of(self, spans: Mapping[str, int], until: int) -> Iterable[tuple[str, Iterable[Event]]]:
        start = self._history_start()
        wanted = (AgentSpan(agent, max(since, start), until) for agent, since in spans.items())
        return ((span.agent, events) for span, events in self._log.opened(wanted))

    def _kept(self, agent: str | None, moment: int) -> Iterable[tuple[str, Kept]]:
        return self._fleet.kept(moment) if agent is None else [(agent, self._reads.kept(agent, moment))]

    def _forget(self, until: int, limit: int) -> int:  # noqa: ARG002
        return 0  # DynamoDB deletes what expired


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
