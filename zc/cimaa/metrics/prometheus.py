"""Exposes metrics to Prometheus: in a file for node_exporter's textfile collector, over HTTP, or both."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.registry import Collector

from ..errors import ConfigurationError
from ..options import PATH, PORT, Option
from . import Sample, exposition
from . import Sink as Base


class Sink(Base):
    """Writes a file for node_exporter's textfile collector, or serves the metrics over HTTP.

    See :func:`zc.cimaa.metrics.exposition.of_samples` for the names of the metrics.
    """

    options = (
        Option("path", "the file to write, in the collector's directory; its name ends in .prom", PATH),
        Option("port", "the port on which Prometheus scrapes /metrics by HTTP", PORT),
        Option("address", "this host's address that the port is on", default="127.0.0.1"),
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if not (settings["path"] or settings["port"]):
            raise ConfigurationError("has neither path nor port: give one, or both")
        # Made once: each new Path interns the parts of its name, and the table of interned strings grows.
        self._path = Path(settings["path"]).expanduser() if settings["path"] else None
        self._latest = _Latest()
        self._registry = CollectorRegistry()
        self._registry.register(self._latest)
        self._server: Any = None

    def start(self) -> None:
        """Listen on the port, if one is set."""
        port, address = self.settings["port"], self.settings["address"]
        if not port or self._server is not None:
            return
        try:
            self._server, _ = start_http_server(port, address, self._registry)
        except OSError as error:
            raise ConfigurationError(f"port: cannot listen on {address} port {port}: {error.strerror}") from error

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def write(self, samples: Sequence[Sample]) -> None:
        """Keep the metrics for the next scrape, and replace the file."""
        self._latest.samples = samples
        self.start()  # if the port was in use before
        if self._path is not None:
            _replace(self._path, generate_latest(self._registry))


class _Latest(Collector):
    """The metrics of the last interval."""

    samples: Sequence[Sample] = ()

    def collect(self) -> Iterable[exposition.Family]:
        return exposition.of_samples(self.samples)


def _replace(path: Path, text: bytes) -> None:
    """Replace the file atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)  # the exporter runs as another user
        os.replace(name, path)  # noqa: PTH105  # a new Path for each name would be interned, see above
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
