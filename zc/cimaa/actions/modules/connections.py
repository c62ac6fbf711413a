"""Which ports are listened on, and which connections are there to some address or network?"""

import ipaddress
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ...errors import InvalidParameters
from ..answers import Answer
from ..parameters import NETWORKS, PORTS, Parameter, ParameterValues, choice, integer
from . import Bounds, Inspector, matched

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LISTENING = "LISTEN"
# The state in which a connection is over, and its ports are not used again for a minute.
_OVER = "TIME_WAIT"


class Endpoint(NamedTuple):
    """One end of a connection."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Socket(NamedTuple):
    """A socket; ``pid`` is 0 if this user may not see whose it is."""

    protocol: str
    local: Endpoint
    #: ``None``: it is not connected.
    remote: Endpoint | None
    #: As the kernel names it: ``LISTEN``, ``ESTABLISHED``; ``NONE`` for UDP.
    state: str
    pid: int = 0

    @property
    def listens(self) -> bool:
        """True if it waits for others."""
        return self.state == _LISTENING or (self.protocol == "udp" and self.remote is None)


class Module(Inspector):
    """Searches for sockets."""

    name = "port"
    summary = "search for listening ports, and for connections to an address or a network"
    parameters = (
        Parameter("listening", PORTS, "ports that are listened on; one is enough"),
        Parameter("connected", NETWORKS, "addresses or networks to which there are connections; one is enough"),
        Parameter("protocol", choice("tcp", "udp", "any"), "the protocol", "tcp"),
        Parameter("matches", integer(1, 1000), "the most sockets in the answer", 100),
    )

    @classmethod
    def check(cls, parameters: object) -> ParameterValues:
        """The value of every parameter; see :meth:`Module.check`."""
        values = super().check(parameters)
        if values["listening"] is None and values["connected"] is None:
            raise InvalidParameters("module port: give 'listening', a port, or 'connected', an address or a network")
        return values

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:  # noqa: ARG003  # it takes no long time
        """Look at /proc/net."""
        return judge(read(), values)


def read() -> list[Socket]:
    """The TCP and UDP sockets that are open now."""
    import socket

    import psutil

    return [
        Socket(
            "tcp" if found.type == socket.SOCK_STREAM else "udp",
            Endpoint(*found.laddr),
            Endpoint(*found.raddr) if found.raddr else None,
            found.status,
            found.pid or 0,
        )
        for found in psutil.net_connections("inet")
    ]


def judge(sockets: Sequence[Socket], values: ParameterValues) -> Answer:
    """The sockets that were asked for."""
    found = sorted((each for each in sockets if _is_wanted(each, values)), key=_order)
    return matched(found, _shape, values["matches"], sockets=len(sockets))


def _order(socket: Socket) -> tuple[Any, ...]:
    return not socket.listens, socket.protocol, socket.local, socket.remote or (), socket.pid


def _is_wanted(socket: Socket, values: ParameterValues) -> bool:
    if values["protocol"] not in ("any", socket.protocol):
        return False
    if socket.listens:
        return socket.local.port in (values["listening"] or ())
    if socket.remote is None or socket.state == _OVER:
        return False
    address = _plain(socket.remote.address)
    return any(address in network for network in values["connected"] or ())


def _plain(address: str) -> _Address:
    """The address; that of IPv4 where a socket of IPv6 is connected to one."""
    parsed = ipaddress.ip_address(address)
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _shape(socket: Socket) -> dict[str, Any]:
    return {
        "protocol": socket.protocol,
        "state": _LISTENING if socket.listens else socket.state,
        "local": str(socket.local),
        "remote": str(socket.remote) if socket.remote else "",
        "pid": socket.pid,
        "process": _name(socket.pid),
    }


def _name(pid: int) -> str:
    """The name of the process, if there is one and this user may see it."""
    import psutil

    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        return ""
