"""No two have a lease at once, by their own judgment: in simulated time, and for a short real one on each store.

``python -m tests.support.lease_fight --minutes 10 STORE`` is the long form of the latter.
"""

import heapq
import itertools
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import lease_fight
from tests.support.lease_fight import Claim, overlaps
from zc.cimaa import memory

SECONDS = 8


def test_on_lmdb_no_two_processes_have_a_lease(tmp_path: Path) -> None:
    assert lease_fight.run(tmp_path, {"class": "zc.cimaa.lmdb", "path": f"{tmp_path}/store"}, SECONDS, 0)


def test_on_postgresql_no_two_processes_have_a_lease(tmp_path: Path, postgres_dsn: str) -> None:
    from tests.support.postgres_servers import new_schema

    with new_schema(postgres_dsn) as schema:
        settings = {"class": "zc.cimaa.postgres", "dsn": postgres_dsn, "schema": schema}
        assert lease_fight.run(tmp_path, settings, SECONDS, 0)


def test_on_dynamodb_no_two_processes_whose_clocks_differ_by_the_margin_have_a_lease(
    tmp_path: Path, dynamodb_settings: dict[str, str]
) -> None:
    settings = lease_fight.dynamodb_settings(dynamodb_settings)
    assert lease_fight.run(tmp_path, settings, SECONDS, lease_fight.MARGIN)


MARGIN = 10


class Store(memory.DB):
    """A store without a clock of its own."""

    @property
    def clock_margin(self) -> int:
        return MARGIN


class Simulation:
    """Eight processes in simulated time; calls take long, and processes are killed or stopped between any two steps."""

    def __init__(self, skew: float, seed: int) -> None:
        self.skew, self.chance, self.now = skew, random.Random(seed), 1_700_000_000.0
        self.claims: list[Claim] = []
        #: By the counter that refuses lower tokens: those that it accepted and refused.
        self.accepted: list[int] = [0]
        self.refused: list[int] = []
        self._store = f"simulation {uuid4()}"
        self._numbers = itertools.count()

    def run(self, seconds: float) -> None:
        """Let the processes run, each until it is killed; then another takes its place."""
        with memory.DB({"name": self._store}):
            end, queue = self.now + seconds, [(self.now, number, self._process()) for number in range(8)]
            while queue[0][0] < end:
                self.now, number, process = heapq.heappop(queue)
                if self.chance.random() < 0.005:
                    process = self._process()
                pause = next(process)
                if self.chance.random() < 0.02:
                    pause += self.chance.uniform(0, 400)  # it is stopped meanwhile
                heapq.heappush(queue, (self.now + pause, number, process))

    def _process(self) -> Iterator[float]:
        """One process; between its steps it waits for as long as it yields."""
        holder, offset = f"process {next(self._numbers)}", self.chance.uniform(-self.skew / 2, self.skew / 2)
        db = Store({"name": self._store}, clock=lambda: self.now + offset)
        while True:
            asked = self.now
            yield self.chance.uniform(0, 8)  # on the way to the store
            lease = db.lease("fight", holder, 60)
            yield self.chance.uniform(0, 8)  # and back
            if lease.holder != holder:
                yield lease.remaining + self.chance.uniform(0, 10)
            elif self.now < asked + 60:
                self.claims.append(Claim(self.now, asked + 60, lease.token, holder))
                yield self.chance.uniform(0, 0.1)  # it may be stopped before it acts
                (self.accepted if lease.token >= self.accepted[-1] else self.refused).append(lease.token)
                yield self.chance.uniform(5, 30)


@pytest.mark.parametrize("seed", range(5))
def test_eight_processes_in_half_an_hour(seed: int) -> None:
    simulation = Simulation(MARGIN, seed)
    simulation.run(30 * 60)
    found = sorted(simulation.claims)
    assert overlaps(found) == []
    assert len(found) > 20
    assert all(before.token <= after.token for before, after in pairwise(found))
    assert len({claim.token for claim in found}) > 3
    assert simulation.accepted == sorted(simulation.accepted)


def test_what_a_stopped_process_does_late_is_refused_by_its_token() -> None:
    refused = 0
    for seed in range(30):
        simulation = Simulation(MARGIN, seed)
        simulation.run(30 * 60)
        refused += len(simulation.refused)
    assert refused > 0


def test_with_clocks_that_differ_by_a_minute_two_may_have_it_for_less_than_that() -> None:
    wrong = []
    for seed in range(20):
        simulation = Simulation(60, seed)
        simulation.run(30 * 60)
        wrong += overlaps(sorted(simulation.claims))
        assert simulation.accepted == sorted(simulation.accepted)
    assert wrong
    assert max(min(first.until, second.until) - second.since for first, second in wrong) < 60 - MARGIN
    assert all(first.token != second.token for first, second in wrong)


def test_the_fight_notices_two_that_have_the_lease() -> None:
    first, second = Claim(10, 20, 1, "a"), Claim(19.9, 30, 2, "b")
    assert overlaps([first, second]) == [(first, second)]
    assert overlaps([first, second._replace(since=20)]) == []
    assert overlaps([first, Claim(11, 12, 1, "a"), second]) == [(first, second)]
