"""A response that is damaged on its way is an error of the store, however the driver or the parsers fail on it."""

import random
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.postgres_calls import CALLS, fill
from tests.support.postgres_relay import Relay
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB


@pytest.fixture
def db(relay: Relay, own_schema: str) -> Iterator[DB]:
    settings = {"dsn": relay.dsn, "schema": own_schema, "pool_size": "1"}
    settings |= {"connect_timeout": "1s", "statement_timeout": "0s", "response_timeout": "1s"}
    with DB(settings, instance=Instance("host", 7, "1", "os", ("db", "eu"))) as db:
        yield db


@pytest.mark.parametrize("call", ["a changed report", "get_faults", "find_faults", "get_agents", "get_leases", "dump"])
def test_a_time_that_is_no_number_is_an_error_of_the_store(relay: Relay, db: DB, call: str) -> None:
    """The protocol itself is not damaged: only what the rows hold."""
    fill(db)
    relay.damage = lambda data: re.sub(rb"\b1(?=\d{9})", b"x", data)
    with pytest.raises(errors.StoreError, match="sent a response that cannot be read"):
        CALLS[call](db)
    relay.damage = lambda data: data
    CALLS[call](db)
    assert len(db.find_faults()) == 1


@pytest.mark.parametrize("call", CALLS)
def test_no_damage_lets_anything_out_but_errors_of_the_store(relay: Relay, db: DB, call: str) -> None:
    random_numbers = random.Random(call)

    def damage(data: bytes) -> bytes:
        """The same with a byte of it changed, once."""
        relay.damage = lambda data: data
        changed = bytearray(data)
        changed[random_numbers.randrange(len(data))] ^= random_numbers.randrange(1, 256)
        return bytes(changed)

    for _ in range(8):
        fill(db)
        relay.damage = damage
        with suppress(errors.StoreError):
            CALLS[call](db)
        relay.damage = lambda data: data
    fill(db)
    assert {one["name"] for one in db.get_faults("web1")} == {"disk"}
