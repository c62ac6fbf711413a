"""How long ``cimaa faults`` takes on LMDB, compared with a process that only imports the same libraries.

Both run alternately, so that other load of the machine affects both; the result is the ratio of the medians.

    python -m benchmarks.startup [RUNS]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from zc.cimaa.config import open_database

LIBRARIES = "click, lmdb, orjson, re2, stevedore.driver"
BARE = [sys.executable, "-c", f"import {LIBRARIES}"]
FAULTS = [os.fspath(Path(sys.executable).with_name("cimaa")), "faults"]


def main(runs: int) -> None:
    """Print both medians, and their ratio."""
    with tempfile.TemporaryDirectory() as directory:
        with open_database({"path": directory}) as db:
            db.set_faults("web1", [{"name": f"//web1/{n}", "severity": 40, "message": "bad"} for n in range(10)])
        environment = {**os.environ, "CIMAA_DATABASE_PATH": directory}
        # As in an installation: compiled.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(FAULTS, environment)
        bare, faults = [], []
        for _ in range(runs):
            bare.append(seconds(BARE, environment))
            faults.append(seconds(FAULTS, environment))
    print(f"import {LIBRARIES}: {1000 * statistics.median(bare):.0f} ms")
    print(f"cimaa faults: {1000 * statistics.median(faults):.0f} ms")
    print(f"ratio: {statistics.median(faults) / statistics.median(bare):.2f}")


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long the command takes."""
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
