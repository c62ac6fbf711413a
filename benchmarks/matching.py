"""Matching 20,000 names against 1,000 squelches, against a bare ``re2.Set``: ``python -m benchmarks.matching``."""

import re

import re2

from benchmarks.turns import by_turns
from zc.cimaa.squelches import Matcher

REGEXES = [rf"^//host{number}\.example/.*disk{number % 7}$" for number in range(1000)]
NAMES = [f"//host{number % 3000}.example/checks/disk{number % 11}" for number in range(20_000)]


def main() -> None:
    options = re2.Options()
    options.max_mem = 128 * 1024 * 1024
    bare = re2.Set.SearchSet(options)
    for regex in REGEXES:
        bare.Add(regex)
    bare.Compile()
    matcher = Matcher(REGEXES)
    compiled = [re.compile(regex) for regex in REGEXES]
    found = [matcher.matching(name) for name in NAMES]
    assert [[REGEXES[index] for index in sorted(bare.Match(name) or ())] for name in NAMES] == found
    assert [[one.pattern for one in compiled if one.search(name)] for name in NAMES[:100]] == found[:100]
    seconds = by_turns(
        {
            "Matcher": lambda _: [matcher.matching(name) for name in NAMES],
            "re2.Set": lambda _: [bare.Match(name) for name in NAMES],
        },
        rounds=30,
    )
    for name, median in seconds.items():
        print(f"{name}: {1000 * median:.0f} ms")
    print(f"ratio: {seconds['Matcher'] / seconds['re2.Set']:.2f}")


if __name__ == "__main__":
    main()
