"""Measures several variants alternately, so that other load of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def by_turns(ways: Mapping[str, Callable[[int], object]], rounds: int, each: int = 1) -> dict[str, float]:
    """The median seconds of one call of each way, which gets the number of the call.

    Each round makes ``each`` calls of one way after the other.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            for call in range(turn * each, (turn + 1) * each):
                start = time.perf_counter()
                way(call)
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
