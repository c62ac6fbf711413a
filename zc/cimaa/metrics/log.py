"""Writes metrics to a file, or to standard output, as lines of JSON."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..faults import encode
from ..options import PATH, Option
from . import Sample
from . import Sink as Base


class Sink(Base):
    """Appends one line of JSON per metric to a file, or writes it to standard output."""

    options = (Option("path", "the file to append to; without it, standard output", PATH),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        # Made once: each new Path interns the parts of its name, and the table of interned strings grows.
        self._path = None if settings["path"] is None else Path(settings["path"]).expanduser()

    def write(self, samples: Sequence[Sample]) -> None:
        """Write the metrics with a single call."""
        lines = b"".join(encode(sample._asdict()) + b"\n" for sample in samples)
        if self._path is None:
            sys.stdout.write(lines.decode())
            sys.stdout.flush()
        else:
            with self._path.open("ab") as file:
                file.write(lines)
