"""A relay in front of a PostgreSQL server, which damages or loses what the server responds."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.support.postgres_servers import Server

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

    @property
    def dsn(self) -> str:
        """How to connect to the server by way of the relay."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres sslmode=disable gssencmode=disable"

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def relay(postgres_server: Server) -> Iterator[Relay]:
    relay = Relay(postgres_server)
    yield relay
    relay.close()
