"""Long forms of tests: with ``CIMAA_LONG=1`` in the environment more examples, or larger ones; and commands."""

import argparse
import os

IS_LONG = os.environ.get("CIMAA_LONG", "0") not in ("", "0")


def times(short: int, long: int) -> int:
    """How many there are: ``long`` in the long form."""
    return long if IS_LONG else short


def numbers(description: str | None, **defaults: int) -> list[int]:
    """The numbers on the command line of a long form that is a command; ``--help`` shows the description."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(name, nargs="?", type=int, default=default, help=f"by default {default}")
    return list(vars(parser.parse_args()).values())
