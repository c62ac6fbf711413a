"""The names of AWS's regions: which are certainly wrong, which one was meant, which partition one is in.  Pure.

A region is named by its area, a direction and a number: ``us-east-1``, ``us-gov-west-1``.
"""

import difflib
from collections.abc import Collection

# The first part of the names of each partition's regions; of those that match, the longest counts.
_PARTITIONS = {
    "": "aws",
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}


def partition(region: str) -> str:
    """The partition that the region is in, as ARNs have it; ``aws`` for a name that tells nothing."""
    return _PARTITIONS[max((start for start in _PARTITIONS if region.startswith(start)), key=len)]


def may_exist(region: str, known: Collection[str]) -> bool:
    """True if the region is known, or is named like one: a known area, a known direction, and a number.

    AWS opens regions faster than hosts are upgraded, so a name such as ``eu-west-7`` is not refused.
    """
    parts = [_parts(name) for name in known]
    area, direction, number = _parts(region)
    return region in known or (
        area in {one[0] for one in parts} and direction in {one[1] for one in parts} and number.isdecimal()
    )


def suggestion(region: str, known: Collection[str]) -> str:
    """The known regions whose names are most like this one's, as a question; empty if there are none."""
    near = sorted(difflib.get_close_matches(region, known, n=2))
    return f"did you mean {' or '.join(near)}?" if near else ""


def _parts(region: str) -> tuple[str, str, str]:
    rest, _, number = region.rpartition("-")
    area, _, direction = rest.rpartition("-")
    return area, direction, number
