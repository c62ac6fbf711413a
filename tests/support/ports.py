"""Ports for servers in tests."""

import socket


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
