"""What filters cost: ``python -m benchmarks.filtering [ROUNDS]``.

Listing 20,000 faults of 200 agents from LMDB through three terms that all of them pass, against listing them without a
filter, alternating.  "Reading" is without the output, which a filter makes smaller; "the whole" is with it, as lines.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.turns import by_turns
from zc.cimaa.cli import fault_list, filtering
from zc.cimaa.cli.fault_list import Listed
from zc.cimaa.lmdb import DB

AGENTS, FAULTS = 200, 100
FILTERS = {
    "comparisons": "severity>=error age>=0s team!=shop",
    "a regular expression": "severity>=error message=~[0-9]+ team!=shop",
    "a regular expression for the store": "severity>=error name=~/check[0-9]+$ team!=shop",
    "a word": "severity>=error used team!=shop",
}


def report(agent: int) -> list[dict[str, object]]:
    return [
        {
            "name": f"//agent{agent:07}/checks/check{number}",
            "severity": 40,
            "message": f"it is bad: {number} % used",
            "team": "web",
        }
        for number in range(FAULTS)
    ]


def find(db: DB, text: str) -> list[Listed]:
    return filtering.find(db, filtering.fault_filter(text.split(), exit_code=False), None, None, None, None)


def show(faults: Sequence[Listed]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        fault_list.show(faults)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory, DB({"path": directory}) as db:
        for agent in range(AGENTS):
            db.set_faults(f"agent{agent:07}", report(agent))
        db.squelch("^//agent0000001/", "a reason", "a user")
        for what, text in FILTERS.items():
            assert len(find(db, text)) == len(find(db, "")) == AGENTS * FAULTS
            seconds = by_turns(
                {
                    "without": lambda _: find(db, ""),
                    "with": lambda _, text=text: find(db, text),
                    "without, written": lambda _: show(find(db, "")),
                    "with, written": lambda _, text=text: show(find(db, text)),
                },
                rounds,
            )
            print(f"{what} ({text})")
            for kind in ("", ", written"):
                bare, filtered = seconds[f"without{kind}"], seconds[f"with{kind}"]
                print(f"  read{kind}: {1000 * filtered:.0f} ms, {1000 * bare:.0f} ms: {filtered / bare:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
