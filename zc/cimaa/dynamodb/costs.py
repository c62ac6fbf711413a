"""What a fleet costs on DynamoDB with on-demand capacity.  Pure.

A write unit (WCU) is one write of up to 1 KB, two in a transaction; a read unit
(RCU) is 4 KB read consistently.  A write whose condition fails costs the same.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

DAY = 24 * 60 * 60
MONTH = 365 * DAY / 12
GB = 2**30

#: The usual size of an agent's row, of a fault, of a squelch, and of an event of the history, in bytes.
ROW, FAULT, SQUELCH, EVENT = 350, 250, 200, 250
#: The usual size of a command, the smallest entry, and of a small answer to an action.
COMMAND, ANSWER = 250, 900

#: How many ticks a lease lasts, in which each agent that waits for it reads it once.
LEASE_TICKS = 3

#: Seconds after which an agent with alerters reads the squelches again, at a tick.
SQUELCHES_READ = 10 * 60

#: Write units of an action, for each agent: its command is added, its row is marked and written again, the command is
#: claimed and ended, and a small answer is added.
ACTION_WRITES = 6
#: Its read units and requests: the report that the mark makes go the long way reads the faults, and the agent reads its
#: commands, of which 16 are one unit, and the action, of at most 4 KB.
ACTION_READS, ACTION_REQUESTS = 3, 9
#: How long (seconds) commands and answers are kept.
ACTIONS_KEPT = 30 * DAY

# Bytes that are billed with each item, and the size of a scan's page.
_OVERHEAD = 100
_PAGE = 2**20


@dataclass(frozen=True, slots=True)
class Fleet:
    """The agents, and how often the store is read."""

    agents: int = 10_000
    #: Seconds between two reports of an agent.
    interval: float = 60
    #: Current faults of an agent, on average.
    faults: float = 2
    #: The share of reports in which one fault has changed: 0 to 1.
    changes: float = 0.01
    #: How often a day all faults, agents and squelches are listed, by users and by ``cimaa meta-check``.
    listings: float = 288
    #: The number of squelches, which agents with alerters read; ``None``: the agents have no alerters.
    squelches: int | None = None
    #: The number of leases, and of agents that want each: one renews it with each report, and the others wait.
    leases: int = 0
    lease_agents: int = 5
    #: How many actions a month are sent to all agents.
    actions: float = 0
    #: Seconds for which events are kept; 0: no history.
    history: float = 90 * DAY


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars for a million units, and for a GB of storage a month: us-east-1, November 2024."""

    writes: float = 0.625
    reads: float = 0.125
    storage: float = 0.25


class Cost(NamedTuple):
    """What one kind of request costs in a month."""

    what: str
    requests: float
    write_units: float
    read_units: float
    dollars: float


def costs(fleet: Fleet, prices: Prices) -> list[Cost]:
    """The costs of a month by what causes them; the storage is the last."""
    reports = fleet.agents * MONTH / fleet.interval
    changed = reports * fleet.changes
    found = [
        # A touch of the agent's row.
        _cost("unchanged reports", reports - changed, 1, _wcu(ROW), 0, prices),
        # A touch that fails, a query of the faults, and a transaction of two items.
        _cost(
            "changed reports",
            changed,
            3,
            _wcu(ROW) + 2 * (_wcu(ROW) + _wcu(FAULT)),
            read_units(fleet.faults * FAULT),
            prices,
        ),
    ]
    if fleet.history:  # one more item in the transaction
        found.append(_cost("history", changed, 0, 2 * _wcu(EVENT), 0, prices))
    if fleet.squelches is not None:
        size = fleet.squelches * SQUELCH
        reads = fleet.agents * MONTH / max(fleet.interval, SQUELCHES_READ)
        found.append(_cost("squelches, read by agents", reads, _pages(size), 0, scan_units(size), prices))
    if fleet.leases:
        found.append(_leases(fleet, prices))
    if fleet.actions:
        commands = fleet.actions * fleet.agents
        reads = ACTION_READS - 1 + read_units(_kept_actions(fleet) * COMMAND)
        found.append(_cost("actions", commands, ACTION_REQUESTS, ACTION_WRITES, reads, prices))
    tables = fleet.agents * ROW, fleet.agents * fleet.faults * FAULT, (fleet.squelches or 0) * SQUELCH
    requests, units = sum(map(_pages, tables)), sum(map(scan_units, tables))
    found.append(_cost("listings", fleet.listings * MONTH / DAY, requests, 0, units, prices))
    return [*found, Cost("storage", 0, 0, 0, stored(fleet) / GB * prices.storage)]


def _leases(fleet: Fleet, prices: Prices) -> Cost:
    waiting = (fleet.lease_agents - 1) / LEASE_TICKS
    return _cost("leases", fleet.leases * MONTH / fleet.interval, 1 + waiting, 1, waiting, prices)


def total(parts: list[Cost]) -> Cost:
    """The sum of costs."""
    sums = [sum(numbers) for numbers in zip(*(part[1:] for part in parts), strict=True)]
    return Cost("total", *sums)


def stored(fleet: Fleet) -> float:
    """The bytes that are billed as storage."""
    items = (1, ROW), (fleet.faults, FAULT)
    agents = fleet.agents * sum(count * (size + _OVERHEAD) for count, size in items)
    events = fleet.agents * fleet.history / fleet.interval * fleet.changes
    actions = fleet.agents * _kept_actions(fleet) * (COMMAND + ANSWER + 2 * _OVERHEAD)
    return agents + (fleet.squelches or 0) * (SQUELCH + _OVERHEAD) + events * (EVENT + _OVERHEAD) + actions


def _kept_actions(fleet: Fleet) -> float:
    return fleet.actions * ACTIONS_KEPT / MONTH


def _cost(what: str, times: float, requests: float, writes: float, reads: float, prices: Prices) -> Cost:
    dollars = times * (writes * prices.writes + reads * prices.reads) / 1_000_000
    return Cost(what, times * requests, times * writes, times * reads, dollars)


def _wcu(size: float) -> int:
    return max(1, math.ceil(size / 1024))


def read_units(size: float) -> int:
    """The units of a consistent read of ``size`` bytes."""
    return max(1, math.ceil(size / 4096))


def scan_units(size: float) -> int:
    """The units of a consistent scan of a table of ``size`` bytes.

    If the table is larger than a page, its first page is read again, with the other parts that are read in parallel.
    """
    return read_units(size) + (read_units(_PAGE) if size > _PAGE else 0)


def _pages(size: float) -> int:
    """The requests of a scan; see :func:`scan_units`."""
    return 1 if size <= _PAGE else 1 + math.ceil(size / _PAGE)
