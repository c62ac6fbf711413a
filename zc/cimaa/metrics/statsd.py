"""Sends metrics to a StatsD server, as gauges."""

import re
import socket
from collections.abc import Iterator, Sequence

from ..options import PORT, Option
from . import Sample
from . import Sink as Base

# Bytes that fit in a datagram on any network.
_DATAGRAM = 1400
_UNFIT = re.compile("[^a-zA-Z0-9_-]+")


class Sink(Base):
    """Sends each metric as a gauge over UDP: ``PREFIX.AGENT.FILE.SECTION.NAME``, or ``PREFIX.AGENT.NAME``."""

    options = (
        Option("host", "the server's name or address", default="localhost"),
        Option("port", "its port", PORT, "8125"),
        Option("prefix", "the start of all names", default="cimaa"),
    )

    def write(self, samples: Sequence[Sample]) -> None:
        """Send the metrics, with as many per datagram as fit."""
        host, port = self.settings["host"], self.settings["port"]
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sender:
            for datagram in datagrams(self.settings["prefix"], samples):
                sender.sendto(datagram, address)


def datagrams(prefix: str, samples: Sequence[Sample]) -> Iterator[bytes]:
    """The datagrams to send."""
    together = b""
    for line in (line for sample in samples for line in _lines(prefix, sample)):
        if together and len(together) + 1 + len(line) > _DATAGRAM:
            yield together
            together = b""
        together = together + b"\n" + line if together else line
    if together:
        yield together


def _lines(prefix: str, sample: Sample) -> Iterator[bytes]:
    parts = [
        prefix,
        _fit(sample.agent),
        *map(_fit, sample.check.split("/", 1) if sample.check else ()),
        _fit(sample.name),
    ]
    name = ".".join(parts)
    if sample.value < 0:  # a sign means a change of the last value, so that must be 0
        yield f"{name}:0|g".encode()
    yield f"{name}:{sample.value:.15g}|g".encode()


def _fit(text: str) -> str:
    return _UNFIT.sub("_", text)
