"""Tests that have a long form: more examples, or larger ones, with ``CIMAA_LONG=1`` in the environment."""

import os

IS_LONG = os.environ.get("CIMAA_LONG", "0") not in ("", "0")


def times(short: int, long: int) -> int:
    """How many there are: ``long`` in the long form."""
    return long if IS_LONG else short
