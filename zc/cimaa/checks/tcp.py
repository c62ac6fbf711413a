"""Does a port accept connections and respond, in time?"""

import socket
import ssl
import time
from contextlib import ExitStack
from typing import NamedTuple

from .items import Item, Measurement, measured
from .ranges import Thresholds
from .states import State

#: For the response time in seconds.
THRESHOLDS = (None, None)

# The most bytes of the response that are searched for the expected text.
_MOST = 64 * 1024


class Service(NamedTuple):
    """The address to connect to, and the expected response."""

    host: str
    port: int
    tls: bool = False
    #: The bytes to send; may be empty.
    send: bytes = b""
    #: The bytes that the response must contain; empty: connecting is enough.
    expect: bytes = b""


def read(limits: Thresholds, service: Service, timeout: float) -> list[Item]:
    """Connect, send and receive; each step may take ``timeout`` seconds."""
    where = f"{service.host} port {service.port}"
    start = time.monotonic()
    try:
        answer = _exchange(service, timeout)
    except TimeoutError:
        return [Item("", State.CRITICAL, f"{where}: no response within {timeout:g} s")]
    except ssl.SSLCertVerificationError as error:
        return [Item("", State.CRITICAL, f"{where}: its certificate is not trusted: {error.verify_message}")]
    except (OSError, UnicodeError) as error:
        return [Item("", State.CRITICAL, f"{where}: {getattr(error, 'strerror', None) or error}")]
    if service.expect not in answer:
        first = answer.decode(errors="replace").partition("\n")[0].strip()[:80]
        return [Item("", State.CRITICAL, f"{where}: the response lacks the expected text; it starts with: {first}")]
    return [judge(where, time.monotonic() - start, limits)]


def judge(where: str, seconds: float, limits: Thresholds) -> Item:
    """Judge the response time."""
    metric = Measurement("time", round(seconds, 6), "s", limits, 0)
    return measured("", f"{where} answered in {seconds:.3f} s", metric)


def _exchange(service: Service, timeout: float) -> bytes:
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((service.host, service.port), timeout))
        if service.tls:
            context = ssl.create_default_context()
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=service.host))
        connection.sendall(service.send)
        answer = b""
        while service.expect not in answer and len(answer) < _MOST:
            if not (piece := connection.recv(4096)):
                break
            answer += piece
        return answer
