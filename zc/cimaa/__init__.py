"""The store that a fleet of independent monitoring agents reports to, the agents, and the command line.

The rooms (modules and packages), each of which imports only those before it:

``errors``, ``types``, ``limits``, ``units``, ``masking``, ``ini``, ``backoff``, ``threads``, ``text``
    Every exception, under one root; the types that a store accepts and returns; the limits that every store has;
    durations, sizes and times as text; masking of credentials; INI files; delays between retries; blocking calls
    with a time limit; quoting, cleaning, cutting and digesting text.
``outcomes``, ``proc``, ``process_tree``, ``process_guard``, ``child_process``, ``durable``
    How the run of a program ended; what Linux shows about processes; running a program so that it and its descendants
    can be terminated; killing programs when the process that ran them was killed; running one within limits of time
    and output; directories whose names are still there after a power failure.
``faults``, ``agents``, ``squelches``, ``options``, ``naming``, ``tags``, ``times``
    The pure rules: what a fault, an agent's row, a squelch, an option and a tag are; how an agent names its faults; how
    users write times.
``entries``, ``leases``, ``recent_reports``
    The pure rules of small records that are changed on condition, and of leases, which are such records; the last
    reports of a process's agents.
``filters``, ``history``, ``uptime``
    The language in which faults and agents are filtered; what happened, and what was at an earlier moment; how often
    faults were there, and for how long.
``db``, ``entrypoints``
    The contract: the abstract class :class:`~zc.cimaa.db.DB`; loading plugins through entry points.
``config``
    A configuration file, read once: its sections and settings, and the store that it describes.
``memory``, ``lmdb``, ``postgres``, ``dynamodb``
    The backends.  No backend imports another.
``cfengine``
    Reads CFEngine's own databases on a host.
``testing``
    The conformance suite for backends, including those of other projects.
``checks``, ``alerters``, ``metrics``
    The built-in checks; the plugins that send alerts; the plugins that export metrics.
``actions``
    Signed questions to a fleet: the documents, who signed them, and whether an agent runs them.
``agent``
    The agent: runs checks and reports their faults, once or as a daemon that sends alerts.
``systemd``
    Installs the agent as a systemd service.
``metacheck``
    The check of the monitoring itself: silent and double agents, forgotten squelches.
``cli``
    The commands ``cimaa``, ``setup-dynamodb`` and ``setup-postgres``.

Importing this package loads none of these, and no driver.
"""

#: The version of zc.cimaa; setup.cfg reads it from here.
__version__ = "0.1.0"
