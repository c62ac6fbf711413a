"""``cimaa faults --prometheus``: the store's faults, as node_exporter's textfile collector reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.command import Cimaa
from zc.cimaa.faults import FaultDict
from zc.cimaa.metrics import exposition


def faults(*severities: int) -> list[FaultDict]:
    """A fault of each severity; one that is a warning is squelched."""
    return [
        {"name": f"{severity}{'/load' if severity == 30 else ''}", "severity": severity, "message": ""}
        for severity in severities
    ]


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    with cimaa.store() as db:
        for agent, found in {"web1": faults(30, 40), "db1": faults(50, 45), 'fine "1"': faults()}.items():
            db.set_faults(agent, found)
        db.squelch("/load$", "known", "ann")
    return cimaa


def exposed(cimaa: Cimaa, *arguments: str) -> dict[str, dict[tuple[str, ...], float]]:
    result = cimaa("faults", "--prometheus", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    families = list(text_string_to_metric_families(result.stdout))
    assert {family.type for family in families} == {"gauge"}
    return {family.name: {tuple(s.labels.values()): s.value for s in family.samples} for family in families}


def test_faults_are_counted_by_agent_severity_and_squelch(fleet: Cimaa) -> None:
    found = exposed(fleet)
    assert found["cimaa_faults"] == {
        ("web1", "error", "no"): 1,
        ("web1", "warning", "yes"): 1,
        ("db1", "critical", "no"): 1,
        ("db1", "error", "no"): 1,
    }
    assert found["cimaa_squelches"] == {(): 1}


def test_every_agent_has_its_heartbeat(fleet: Cimaa) -> None:
    with fleet.store() as db:
        updated = {(agent["name"],): agent["updated"] for agent in db.get_agents()}
    assert exposed(fleet)["cimaa_heartbeat_timestamp_seconds"] == updated
    assert set(updated) == {("web1",), ("db1",), ('fine "1"',)}


def test_filters_apply(fleet: Cimaa) -> None:
    found = exposed(fleet, "--agent", "web1", "--severity", "error", "--unsquelched")
    assert found["cimaa_faults"] == {("web1", "error", "no"): 1}
    assert list(found["cimaa_heartbeat_timestamp_seconds"]) == [("web1",)]


def test_an_empty_store_has_no_faults_and_no_heartbeats(cimaa: Cimaa) -> None:
    assert exposed(cimaa) == {"cimaa_faults": {}, "cimaa_heartbeat_timestamp_seconds": {}, "cimaa_squelches": {(): 0}}


@pytest.mark.parametrize("option", [["--json"], ["--limit", "1"]])
def test_options_that_make_no_sense_with_it_are_wrong_usage(fleet: Cimaa, option: list[str]) -> None:
    result = fleet("faults", "--prometheus", *option)
    assert (result.exit_code, result.stdout) == (2, "")


def test_it_goes_with_an_exit_code(fleet: Cimaa) -> None:
    assert fleet("faults", "--prometheus", "--exit-code").exit_code == 3


def test_the_number_of_series_does_not_follow_the_number_of_faults() -> None:
    faults = [("web1", severity, bool(severity % 2)) for severity in range(-1000, 10_000)]
    written = exposition.text(exposition.of_store(faults, {"web1": 1}, 0)).decode()
    series = [line for line in written.splitlines() if line.startswith("cimaa_faults{")]
    assert len(series) == 10
