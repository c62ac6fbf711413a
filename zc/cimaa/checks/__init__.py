"""The checks that come with zc.cimaa: each reads something of this host with psutil, and judges it apart from that."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Something wrong that a check found."""

    #: Which of the things that the check looks at: a mount point, say.  Empty if there is only one.
    name: str
    severity: int
    message: str
