"""The store in which a fleet of independent monitoring agents keeps what it knows, and what is around it.

The rooms, each importing only those before it:

``errors``, ``types``, ``limits``, ``units``, ``masking``, ``ini``, ``backoff``, ``threads``, ``text``, ``process_tree``
    Every exception, under one root; the types of what a store takes and returns; the sizes that every store keeps;
    durations, sizes and times as text; text with its credentials masked; INI files; how long to wait before a retry;
    programs that are run to be ended, with all processes that descend from them;
    quoting, cleaning and cutting text;
    blocking calls whose caller waits for a limited time.
``faults``, ``agents``, ``squelches``, ``options``
    The pure rules: what a fault, an agent's row, a squelch and a setting is, and what follows from one.
``db``, ``entrypoints``
    The contract: the abstract class :class:`~zc.cimaa.db.DB`; plugins, found through entry points.
``config``
    A configuration, read once and asked for its parts; from its ``[database]`` section to an open
    :class:`~zc.cimaa.db.DB`.
``memory``, ``lmdb``, ``postgres``, ``dynamodb``
    The backends.  None imports another.
``cfengine``
    What CFEngine keeps in its own databases on a host.
``testing``
    The conformance suite that every backend passes, other people's included.
``checks``, ``alerters``, ``metrics``
    The checks that come with zc.cimaa; what passes alerts on to people, and figures on to other systems.
``agent``
    What runs checks and makes faults of their results: once, or as a daemon that alerts people.
``systemd``
    The files that make the agent a service of the host.
``meta``
    The check that watches the watchers: silent and double agents, forgotten squelches.
``cli``
    The ``cimaa`` command.

Importing this package loads no driver and nothing else.
"""

#: The version of zc.cimaa; setup.cfg reads it from here.
__version__ = "0.1.0"
