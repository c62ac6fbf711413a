"""Ports for servers of the tests."""

import socket


def free_port() -> int:
    """A port of the loopback interface that nothing uses now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
