"""A response that is damaged on its way is an error of the store, however the driver or the parsers fail on it."""

import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.support.postgres_calls import CALLS, fill
from tests.support.postgres_servers import Server, new_schema
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB

Damage = Callable[[bytes], bytes]


class Relay:
    """Passes on what is sent to a server and what it responds, the latter as ``damage`` leaves it."""

    def __init__(self, server: Server) -> None:
        self.damage: Damage = lambda data: data
        self._server = f"{server.directory}/.s.PGSQL.{server.port}"
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                threading.Thread(target=self._pass, args=(client, server, lambda data: data), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, self._damaged), daemon=True).start()

    def _damaged(self, data: bytes) -> bytes:
        return self.damage(data)

    def _pass(self, source: socket.socket, target: socket.socket, change: Damage) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(change(data))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # which wakes the other direction's thread
            end.close()

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def relay(postgres_server: Server) -> Iterator[Relay]:
    relay = Relay(postgres_server)
    yield relay
    relay.close()


@pytest.fixture
def schema(postgres_server: Server) -> Iterator[str]:
    with new_schema(postgres_server.socket_dsn) as schema:
        yield schema


@pytest.fixture
def db(relay: Relay, schema: str) -> Iterator[DB]:
    dsn = f"host=127.0.0.1 port={relay.port} user=postgres dbname=postgres sslmode=disable gssencmode=disable"
    settings = {"dsn": dsn, "schema": schema, "pool_size": "1"}
    settings |= {"connect_timeout": "1s", "statement_timeout": "0s", "response_timeout": "1s"}
    with DB(settings, instance=Instance("host", 7, "1", "os")) as db:
        yield db


@pytest.mark.parametrize("call", ["a changed report", "get_faults", "find_faults", "get_agents", "dump"])
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
