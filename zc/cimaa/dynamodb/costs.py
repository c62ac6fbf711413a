"""What a fleet costs on DynamoDB: units a second and dollars a month, from a few numbers.

    python -m zc.cimaa.dynamodb.costs --agents 10000 --interval 1m

How a unit is counted is Amazon's: a write unit (WCU) is one write of up to 1 KB,
two where it is part of a transaction; a read unit (RCU) is 4 KB read consistently.
A condition that does not hold costs as much as the write.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

DAY = 24 * 60 * 60
MONTH = 365 * DAY / 12

#: What one partition takes, whatever the table's capacity: write units a second.
PARTITION_WCU = 1000
#: Bytes, as they usually are: an agent's row, and a fault.
ROW, FAULT = 350, 250
# An item that an index holds is written three times: in the table, the index's old entry out, the new one in.
_INDEXED = 3


@dataclass(frozen=True, slots=True)
class Fleet:
    """What reports, how often, and what is read."""

    agents: int = 10_000
    #: Seconds between an agent's reports.
    interval: float = 60
    #: Current faults of an agent, on average.
    faults: float = 2
    #: How often an agent's faults change a day, one fault each time.
    changes: float = 10
    #: How often all faults and all agents are listed a day, by people and by checks.
    listings: float = 288


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars for a million units, on demand.  They differ from region to region, and change."""

    writes: float = 0.625
    reads: float = 0.125


class Cost(NamedTuple):
    """What a layout takes."""

    #: Write units for a report that changes nothing.
    wcu_a_report: float
    #: Write and read units a second, of the fleet.
    wcu: float
    rcu: float
    dollars_a_month: float
    #: With more agents, their reports exceed the capacity of one partition; ``None``: no such limit.
    most_agents: int | None


def cost(fleet: Fleet, prices: Prices) -> Cost:
    """What this backend takes: a touch for each report, and more only for what changes."""
    a_report = _wcu(ROW)
    # A change: the touch that fails is the report that is counted above; then a read, and a transaction of two items.
    a_change = 2 * (_wcu(ROW) + _wcu(FAULT))
    changes = fleet.agents * fleet.changes / DAY
    wcu = fleet.agents / fleet.interval * a_report + changes * a_change
    rcu = changes * _rcu(fleet.faults * FAULT) + _listing(fleet)
    dollars = _dollars(wcu, rcu, prices)
    return Cost(wcu_a_report=a_report, wcu=wcu, rcu=rcu, dollars_a_month=dollars, most_agents=None)


def cost_with_index(fleet: Fleet, prices: Prices) -> Cost:
    """What the obvious layout takes: all heartbeats under one key, and an index by time on the table.

    Each report writes its heartbeat and its faults with the time of the report, by
    which the index sorts them.  A heartbeat's three writes go to one partition.
    """
    a_report = _INDEXED * (1 + fleet.faults)
    reports = fleet.agents / fleet.interval
    wcu = reports * a_report
    rcu = reports * _rcu(fleet.faults * FAULT) + _listing(fleet)
    most = int(PARTITION_WCU / _INDEXED * fleet.interval)
    dollars = _dollars(wcu, rcu, prices)
    return Cost(wcu_a_report=a_report, wcu=wcu, rcu=rcu, dollars_a_month=dollars, most_agents=most)


def _listing(fleet: Fleet) -> float:
    size = fleet.agents * (ROW + fleet.faults * FAULT)
    return fleet.listings / DAY * _rcu(size)


def _wcu(size: float) -> int:
    return math.ceil(size / 1024)


def _rcu(size: float) -> int:
    return max(1, math.ceil(size / 4096))


def _dollars(wcu: float, rcu: float, prices: Prices) -> float:
    return MONTH * (wcu * prices.writes + rcu * prices.reads) / 1_000_000


def shown(fleet: Fleet, prices: Prices) -> str:
    """Both layouts side by side, as text."""
    rows = [("", "this store", "one heartbeat key, with an index")]
    ours, other = cost(fleet, prices), cost_with_index(fleet, prices)
    rows += [
        ("WCU for an unchanged report", f"{ours.wcu_a_report:g}", f"{other.wcu_a_report:g}"),
        ("WCU a second", f"{ours.wcu:,.1f}", f"{other.wcu:,.1f}"),
        ("RCU a second", f"{ours.rcu:,.1f}", f"{other.rcu:,.1f}"),
        ("dollars a month", f"{ours.dollars_a_month:,.2f}", f"{other.dollars_a_month:,.2f}"),
        ("most agents", "no limit", f"{other.most_agents:,}"),
    ]
    return "\n".join(f"{what:<28}{one:>12}{two:>35}".rstrip() for what, one, two in rows)


def main() -> None:
    """Print the costs for the numbers on the command line."""
    import click

    from ..units import parse_duration

    usual, price = Fleet(), Prices()

    @click.command(help="Print what a fleet costs on DynamoDB, on demand.", context_settings={"show_default": True})
    @click.option("--agents", type=click.IntRange(min=1), default=usual.agents)
    @click.option("--interval", default="1m", help="Time between an agent's reports.")
    @click.option("--faults", type=click.FloatRange(min=0), default=usual.faults, help="Current faults of an agent.")
    @click.option("--changes", type=click.FloatRange(min=0), default=usual.changes, help="Changes of an agent a day.")
    @click.option("--listings", type=click.FloatRange(min=0), default=usual.listings, help="Listings of all a day.")
    @click.option("--write-price", type=float, default=price.writes, help="Dollars for a million write units.")
    @click.option("--read-price", type=float, default=price.reads, help="Dollars for a million read units.")
    def command(
        agents: int,
        interval: str,
        faults: float,
        changes: float,
        listings: float,
        write_price: float,
        read_price: float,
    ) -> None:
        try:
            seconds = parse_duration(interval)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--interval") from None
        if not seconds:
            raise click.BadParameter("it must not be 0", param_hint="--interval")
        click.echo(shown(Fleet(agents, seconds, faults, changes, listings), Prices(write_price, read_price)))

    command()


if __name__ == "__main__":
    main()
