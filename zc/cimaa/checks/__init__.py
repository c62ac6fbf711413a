"""The checks that come with zc.cimaa: each reads something, and judges apart from that what it read.

The rooms, each importing only those before it:

``states``, ``ranges``
    Pure: the states of Nagios' plugins, and the ranges by which values are judged.
``items``, ``nagios``
    Pure: what a check tells of each thing it looked at, and that as a Nagios plugin's output.
``disk``, ``load``, ``memory``, ``swap``, ``processes``, ``http``, ``tcp``, ``file_age``
    The checks.  Each has a function that reads, and a pure ``judge``.
``cfengine``
    The check of CFEngine's agent, which reads its databases through the room of that name.
``host``
    Those that an agent runs if nobody gave it any.
``bounded``
    Ends a check that takes too long.

Importing this package loads none of them.
"""

from typing import NamedTuple


class Finding(NamedTuple):
    """Something wrong that a check found."""

    #: Which of the things that the check looks at: a mount point, say.  Empty if there is only one.
    name: str
    severity: int
    message: str
