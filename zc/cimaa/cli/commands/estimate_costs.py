"""The command that estimates what a fleet costs on DynamoDB."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import click

from ... import options
from ...dynamodb.costs import Cost, Fleet, Prices, stored, total
from ...dynamodb.costs import costs as estimate
from ...units import format_duration
from ..cells import Cell, Styled
from ..output import View, write_json, write_table
from ..params import COUNT, DURATION, INTERVAL, NUMBER, WHOLE_NUMBER, Parsed, examples, listing_options

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TITLES = ("what", "requests", "write units", "read units", "dollars")
_FLEET, _PRICES = Fleet(), Prices()


def _share(text: str) -> float:
    if (number := float(options.NUMBER.parse(text))) > 1:
        raise ValueError(f"{text!r} is not a share of the reports: write a number from 0 to 1")
    return number


def _option(name: str, kind: Parsed, metavar: str, default: object, text: str) -> Callable[[_Command], _Command]:
    shown = default if default is None else str(default)
    return click.option(name, type=kind, metavar=metavar, default=shown, show_default=shown is not None, help=text)


@click.command(
    epilog=examples(
        "cimaa costs --agents 10000 --faults 5 --changes 0.01",
        "cimaa costs --agents 200 --interval 5m --listings 24 --json",
        "cimaa costs --write-price 0.715 --read-price 0.143 --storage-price 0.306",
    )
)
@_option("--agents", COUNT, "N", _FLEET.agents, "The number of agents.")
@_option("--interval", INTERVAL, "DURATION", format_duration(_FLEET.interval), "The time between an agent's reports.")
@_option("--faults", NUMBER, "N", _FLEET.faults, "Current faults of an agent, on average.")
@_option("--changes", Parsed("share", _share), "SHARE", _FLEET.changes, "The share of reports that change a fault.")
@_option("--squelches", COUNT, "N", None, "Squelches, if the agents have alerters: they read them every ten minutes.")
@_option("--leases", WHOLE_NUMBER, "N", _FLEET.leases, "Leases, such as checks that one agent of several runs.")
@_option("--lease-agents", COUNT, "N", _FLEET.lease_agents, "Agents that want each lease.")
@_option("--history", DURATION, "DURATION", format_duration(_FLEET.history), "How long the store keeps what happened.")
@_option("--actions", NUMBER, "N", _FLEET.actions, "How many actions a month are sent to all agents.")
@_option("--listings", NUMBER, "N", _FLEET.listings, "How often a day everything is listed (faults, meta-check).")
@_option("--write-price", NUMBER, "DOLLARS", _PRICES.writes, "The price of a million write units.")
@_option("--read-price", NUMBER, "DOLLARS", _PRICES.reads, "The price of a million read units.")
@_option("--storage-price", NUMBER, "DOLLARS", _PRICES.storage, "The price of a GB of storage for a month.")
@listing_options(_TITLES)
def costs(view: View, write_price: float, read_price: float, storage_price: float, **fleet: Any) -> None:
    """Estimate what a fleet costs on DynamoDB in a month.

    Shows the requests, the units and the dollars of the reports, the listings and the storage.  The estimate is for
    on-demand capacity, and for agents and faults of ordinary size; it does not include backups and data transfer.  No
    store is opened.

    The default prices are those of the region us-east-1 in November 2024.  Prices differ by region, and change: see
    https://aws.amazon.com/dynamodb/pricing/
    """
    described, prices = Fleet(**fleet), Prices(write_price, read_price, storage_price)
    found = estimate(described, prices)
    if view.as_json:
        shape = {"fleet": asdict(described), "prices": asdict(prices), "stored_bytes": round(stored(described))}
        write_json({**shape, "month": [_shape(cost) for cost in [*found, total(found)]]})
    else:
        write_table(_TITLES, [_row(cost) for cost in [*found, total(found)]], view)


def _shape(cost: Cost) -> dict[str, Any]:
    return {name: value if name == "what" else round(value, 6) for name, value in cost._asdict().items()}


def _row(cost: Cost) -> tuple[Cell, ...]:
    units = [Styled(f"{number:,.0f}", order=number) for number in cost[1:4]]
    return (cost.what, *units, Styled(f"{cost.dollars:,.2f}", order=cost.dollars))
