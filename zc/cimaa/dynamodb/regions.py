"""The names of AWS regions: which are certainly wrong, suggestions for these, and their partitions.  Pure.

The name of a region has an area, a direction and a number: ``us-east-1``, ``us-gov-west-1``.
"""

import difflib
from collections.abc import Collection

# How the names of the regions of each partition begin; of several that match, the longest applies.
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
    """The partition of the region, as in ARNs; ``aws`` for an unknown name."""
    return _PARTITIONS[max((start for start in _PARTITIONS if region.startswith(start)), key=len)]


def may_exist(region: str, known: Collection[str]) -> bool:
    """True if the region is known, or if its name has a known area, a known direction, and a number.

    AWS adds regions faster than hosts are upgraded, so a name such as ``eu-west-7`` is accepted.
    """
    parts = [_parts(name) for name in known]
    area, direction, number = _parts(region)
    return region in known or (
        area in {one[0] for one in parts} and direction in {one[1] for one in parts} and number.isdecimal()
    )


def suggestion(region: str, known: Collection[str]) -> str:
    """The known regions with the most similar names, as a question; empty if there are none."""
    near = sorted(difflib.get_close_matches(region, known, n=2))
    return f"did you mean {' or '.join(near)}?" if near else ""


def _parts(region: str) -> tuple[str, str, str]:
    rest, _, number = region.rpartition("-")
    area, _, direction = rest.rpartition("-")
    return area, direction, number
