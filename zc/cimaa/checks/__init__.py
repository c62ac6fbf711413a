"""The built-in checks.  Each reads something, and judges what it read in a separate, pure function.

The modules; each imports only those before it:

``states``, ``ranges``
    Pure: the states of Nagios plugins, and the ranges by which values are judged.
``items``, ``plugin_output``
    Pure: the result for each item that a check examined, and the output of a Nagios plugin.
``disk``, ``load``, ``available_memory``, ``swap``, ``processes``, ``http``, ``tcp``, ``file_age``
    The checks.  Each has a function that reads, and a pure ``judge``.
``cfengine``
    The check of the CFEngine agent, which reads its databases through the room ``cfengine``.
``host``
    The checks that an agent runs if none are configured.

Importing this package loads none of them.
"""

from typing import NamedTuple


class Problem(NamedTuple):
    """A problem that a check found."""

    #: The item concerned, such as a mount point; empty if the check has only one.
    name: str
    severity: int
    message: str
