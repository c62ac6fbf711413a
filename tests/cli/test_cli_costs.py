"""``cimaa costs``: what a fleet costs on DynamoDB."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.support.command import Cimaa
from zc.cimaa.dynamodb.costs import GB, MONTH, Cost, Fleet, Prices, costs, stored, total

#: One report of one agent in a month, and nothing else.
ONE = {"agents": 1, "interval": MONTH, "listings": 0}


def reports(**fleet: object) -> Cost:
    return total(costs(Fleet(**{**ONE, **fleet}), Prices(storage=0)))  # type: ignore[arg-type]


@pytest.mark.parametrize("faults", [0, 2, 100])
def test_an_unchanged_report_is_one_write_unit_for_any_number_of_faults(faults: int) -> None:
    assert reports(faults=faults, changes=0)[1:4] == (1, 1, 0)


@pytest.mark.parametrize(("faults", "read_units"), [(1, 1), (16, 1), (17, 2), (100, 7)])
def test_a_changed_report_is_a_failed_touch_a_query_and_a_transaction_of_two_items(
    faults: int, read_units: int
) -> None:
    assert reports(faults=faults, changes=1, history=0)[1:4] == (3, 1 + 4, read_units)


def test_the_history_is_one_more_item_in_the_transaction() -> None:
    assert reports(faults=1, changes=1)[1:4] == (3, 1 + 6, 1)
    years = Fleet(agents=10, interval=60, changes=0.5, history=365 * 86400)
    assert stored(years) - stored(dataclasses.replace(years, history=0)) == 10 * 365 * 1440 * 0.5 * 350


def test_changes_are_a_share_of_the_reports() -> None:
    assert reports(agents=1000, changes=0.01)[1:4] == (990 + 3 * 10, 990 + 7 * 10, 10)


def test_agents_with_alerters_read_the_squelches_every_ten_minutes_or_at_each_tick_if_that_is_rarer() -> None:
    assert reports(changes=0, squelches=0)[1:4] == (2, 1, 1)
    assert reports(changes=0, squelches=100)[1:4] == (2, 1, 5)
    assert reports(changes=0, squelches=100, interval=MONTH / 10_000)[1:4] == (10_000 + 4380, 10_000, 5 * 4380)


def test_a_listing_reads_all_tables() -> None:
    fleet = Fleet(agents=100_000, interval=10**12, faults=2, changes=0, listings=1)
    (listings,) = [cost for cost in costs(fleet, Prices()) if cost.what == "listings"]
    days = MONTH / 86400
    assert listings.read_units == pytest.approx(days * (8545 + 12208 + 2 * 256 + 1))
    assert listings.requests == pytest.approx(days * (35 + 49 + 1))


def test_commands_and_answers_are_stored_for_thirty_days_and_an_agent_reads_all_its_commands() -> None:
    one, many = ({"agents": 10, "changes": 0, "actions": number} for number in (1, 100))
    assert stored(Fleet(**many)) - stored(Fleet(**many | {"actions": 0})) == pytest.approx(  # type: ignore[arg-type]
        10 * 100 * 30 * 86400 / MONTH * (250 + 900 + 200)
    )
    assert reports(**one)[1:4] == (10 + 10 * 9, 10 + 10 * 6, 10 * 3)
    assert reports(**many)[1:4] == (10 + 1000 * 9, 10 + 1000 * 6, 1000 * 9)


def test_dollars_follow_from_the_prices() -> None:
    fleet = Fleet(agents=1000, interval=60, changes=0, listings=0)
    assert total(costs(fleet, Prices(writes=1, reads=0, storage=0))).dollars == pytest.approx(1000 * MONTH / 60 / 1e6)
    assert total(costs(fleet, Prices(writes=0, reads=0, storage=2))).dollars == pytest.approx(2 * stored(fleet) / GB)


def test_items_are_stored_with_their_overhead() -> None:
    assert stored(Fleet(agents=10, faults=2, squelches=1, history=0)) == 10 * (450 + 2 * 350) + 300


def test_the_command_shows_what_the_functions_compute(cimaa: Cimaa) -> None:
    fleet = Fleet(agents=10_000, interval=300, faults=5, changes=0.02, listings=24, squelches=100, history=30 * 86400)
    options = [
        "--history",
        "30d",
        "--agents",
        "10000",
        "--interval",
        "5m",
        "--faults",
        "5",
        "--changes",
        "0.02",
        "--listings",
        "24",
        "--squelches",
        "100",
    ]
    prices = ["--write-price", "1.5", "--read-price", "0.5", "--storage-price", "0.3"]
    shown = json.loads(cimaa("costs", *options, *prices, "--json").stdout)
    expected = costs(fleet, Prices(1.5, 0.5, 0.3))
    assert shown["fleet"]["interval"] == 300
    assert shown["prices"] == {"writes": 1.5, "reads": 0.5, "storage": 0.3}
    assert [line["what"] for line in shown["month"]] == [cost.what for cost in [*expected, total(expected)]]
    for line, cost in zip(shown["month"], [*expected, total(expected)], strict=True):
        assert list(line.values())[1:] == pytest.approx(cost[1:], abs=1e-5)
    lines = cimaa("costs", *options, *prices).stdout.splitlines()
    assert lines[-1].split("\t")[-1] == f"{total(expected).dollars:,.2f}"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--agents", "0"], "'0' is less than 1"),
        (["--interval", "0s"], "is too short"),
        (["--interval", "5"], "invalid duration '5'"),
        (["--changes", "1.01"], "'1.01' is not a share of the reports"),
        (["--faults", "-1"], "'-1' is not a number of at least 0"),
        (["--write-price", "nan"], "'nan' is not a number"),
    ],
)
def test_wrong_usage_names_the_value(cimaa: Cimaa, arguments: list[str], wrong: str) -> None:
    result = cimaa("costs", *arguments)
    assert result.exit_code == 2
    assert wrong in result.stderr


def test_it_needs_neither_a_store_nor_a_driver() -> None:
    code = (
        "import sys; from zc.cimaa.cli import main; sys.argv = ['cimaa', '--config', '/none', 'costs', '--json'];"
        "assert main() == 0; loaded = set(sys.modules) & {'boto3', 'botocore', 'psycopg', 'lmdb', 'rich', 'asyncio'};"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
