"""Writes figures to a file, or to standard output, as lines of JSON."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..faults import encode
from ..options import PATH, Option
from . import Sample
from . import Sink as Base


class Sink(Base):
    """Appends a line of JSON for each figure to a file, or writes it to standard output."""

    options = (Option("path", "the file to append to; without it, standard output", PATH),)

    def write(self, samples: Sequence[Sample]) -> None:
        """Write them, in one piece."""
        lines = b"".join(encode(sample._asdict()) + b"\n" for sample in samples)
        if self.settings["path"] is None:
            sys.stdout.write(lines.decode())
            sys.stdout.flush()
        else:
            with Path(self.settings["path"]).expanduser().open("ab") as file:
                file.write(lines)
