"""Runs all benchmarks one after the other, or some: ``python -m benchmarks [embedded] [peers] [postgres] ...``."""

import subprocess
import sys

PARTS = (
    *("embedded", "history", "peers", "matching", "filtering", "startup", "agent", "memory", "cfengine"),
    *("dynamodb", "postgres", "history_postgres", "actions"),
)


def main(parts: list[str]) -> int:
    """Run each part as a command of its own; 1 if one failed."""
    failed = False
    for part in parts or PARTS:
        if part not in PARTS:
            sys.exit(f"there is no benchmark {part!r}: give some of {', '.join(PARTS)}, or none for all")
        print(f"\n== {part}", flush=True)
        failed |= bool(subprocess.run([sys.executable, "-m", f"benchmarks.{part}"], check=False).returncode)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
