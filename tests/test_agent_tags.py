"""The tags of agents: stored with their instances, shown where there are some, and no part of the identity."""

import pytest

from tests.support.command import Cimaa
from zc.cimaa import memory
from zc.cimaa.agents import Instance, Row, SeenInstance, reported
from zc.cimaa.dynamodb import records
from zc.cimaa.errors import InvalidAgent

ONE = Instance("web1", 7, "0.1.0", "Linux 6.1", ("db", "eu"))
PLAIN = ONE._replace(tags=())


def test_tags_are_no_part_of_the_id() -> None:
    assert ONE.id == PLAIN.id


def test_invalid_tags_are_refused() -> None:
    with pytest.raises(InvalidAgent, match="the instance's tags: invalid tag 'a,b'"):
        memory.DB(instance=ONE._replace(tags=("a,b",)))


def test_a_touched_row_of_dynamodb_stays_small_with_all_tags() -> None:
    tags = tuple(f"{number:08}" for number in range(16))
    row: Row | None = None
    for number in range(16):
        instance = Instance("h" * 60, 10**6 + number, "0.1.0", "Linux 6.1.0-28-cloud-amd64", tags)
        row = reported(row, "d" * 64, instance, 1_700_000_000_000_000 + number, 300)
    assert row is not None
    packed = records._packed(row.instances)
    assert records._unpacked(records.encode(packed).decode()) == row.instances
    assert all(isinstance(seen, SeenInstance) for seen in row.instances)
    size = len(records.encode(packed))
    assert size < 750


def test_agents_are_filtered_by_their_tags(cimaa: Cimaa) -> None:
    for name, tags in (("web1", ("db", "eu")), ("web2", ("eu",)), ("web3", ())):
        with cimaa.store(instance=ONE._replace(host=name, tags=tags)) as db:
            db.report(name, [])

    def found(*terms: str) -> list[str]:
        return [line.split("\t")[0] for line in cimaa("agents", *terms).stdout.splitlines()]

    assert found("tag=db") == ["web1"]
    assert found("tag=eu") == ["web1", "web2"]
    assert found("tag!=eu") == ["web3"]
    assert "Linux 6.1) db eu" in cimaa("agents", "web1").stdout
