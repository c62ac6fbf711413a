"""Writes figures where Prometheus finds them: a file for the node_exporter's textfile collector."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..options import PATH, Option
from . import Sample
from . import Sink as Base

_UNFIT = re.compile("[^a-zA-Z0-9_]")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Sink(Base):
    """Writes a file for the node_exporter's textfile collector, which never sees half of it.

    A check's figure is ``cimaa_metric``, labelled with the agent, the check, its name
    and its unit; one of the agent's own is ``cimaa_agent_NAME``.
    """

    options = (Option("path", "the file to write, in the collector's directory; its name ends in .prom", PATH),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if not settings["path"]:
            raise ConfigurationError("path: there is none")

    def write(self, samples: Sequence[Sample]) -> None:
        """Replace the file."""
        path = Path(self.settings["path"]).expanduser()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(exposition(samples))
                os.fchmod(file.fileno(), 0o644)  # the exporter runs as somebody else
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def exposition(samples: Sequence[Sample]) -> str:
    """The figures in Prometheus' text format."""
    families: dict[str, list[str]] = {}
    for sample in samples:
        family = "cimaa_metric" if sample.check else f"cimaa_agent_{_UNFIT.sub('_', sample.name)}"
        labels = {"agent": sample.agent}
        if sample.check:
            labels |= {"check": sample.check, "name": sample.name, "unit": sample.unit}
        shown = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        families.setdefault(family, [f"# TYPE {family} untyped"]).append(f"{family}{{{shown}}} {sample.value!r}")
    return "".join(f"{line}\n" for lines in families.values() for line in lines)
