"""Gives figures to Prometheus: in a file for the node_exporter's textfile collector, over HTTP, or both."""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import UntypedMetricFamily
from prometheus_client.registry import Collector

from ..errors import ConfigurationError
from ..options import INTEGER, PATH, Option, Type
from . import Sample
from . import Sink as Base

_UNFIT = re.compile("[^a-zA-Z0-9_]")


def _port(text: str) -> int:
    number = int(INTEGER.parse(text))
    if not 1 <= number <= 65535:
        raise ValueError(f"{text!r} is no port: ports are 1 to 65535")
    return number


class Sink(Base):
    """Writes a file for the node_exporter's textfile collector, or lets Prometheus come for the figures.

    A check's figure is ``cimaa_metric``, labelled with the agent, the check, its name
    and its unit; one of the agent's own is ``cimaa_agent_NAME``.
    """

    options = (
        Option("path", "the file to write, in the collector's directory; its name ends in .prom", PATH),
        Option("port", "the port on which Prometheus gets /metrics by HTTP", Type("port", _port)),
        Option("address", "this host's address that the port is on", default="127.0.0.1"),
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if not (settings["path"] or settings["port"]):
            raise ConfigurationError("has neither path nor port: give one, or both")
        # Made once: a Path interns the parts of its name, each time anew, and the table of interned strings grows.
        self._path = Path(settings["path"]).expanduser() if settings["path"] else None
        self._latest = _Latest()
        self._registry = CollectorRegistry()
        self._registry.register(self._latest)
        self._server: Any = None

    def start(self) -> None:
        """Listen on the port, if there is one."""
        port, address = self.settings["port"], self.settings["address"]
        if not port or self._server is not None:
            return
        try:
            self._server, _ = start_http_server(port, address, self._registry)
        except OSError as error:
            raise ConfigurationError(f"port: cannot listen on {address} port {port}: {error.strerror}") from error

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def write(self, samples: Sequence[Sample]) -> None:
        """Have them ready for whoever asks, and replace the file."""
        self._latest.samples = samples
        self.start()  # where the port was not free before
        if self._path is not None:
            _replace(self._path, generate_latest(self._registry))


class _Latest(Collector):
    """The figures of the last interval."""

    samples: Sequence[Sample] = ()

    def collect(self) -> Iterable[UntypedMetricFamily]:
        families: dict[str, UntypedMetricFamily] = {}
        for sample in self.samples:
            if sample.check:
                name, text = "cimaa_metric", "What a check measured."
                labels = {"agent": sample.agent, "check": sample.check, "name": sample.name, "unit": sample.unit}
            else:
                name, text = f"cimaa_agent_{_UNFIT.sub('_', sample.name)}", "A figure of the agent's own."
                labels = {"agent": sample.agent}
            family = families.setdefault(name, UntypedMetricFamily(name, text, labels=list(labels)))
            family.add_metric(list(labels.values()), sample.value)
        return families.values()


def _replace(path: Path, text: bytes) -> None:
    """Replace the file as a whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)  # the exporter runs as somebody else
        os.replace(name, path)  # noqa: PTH105  # no Path of a name that is new each time, see above
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
