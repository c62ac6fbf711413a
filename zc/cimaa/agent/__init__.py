"""What runs checks and makes faults of their results.

The rooms, each importing only those before it:

``settings``
    The ``[agent]`` section.
``naming``, ``performance``, ``documents``, ``thresholds``, ``schedule``
    Pure: what a fault is called; a plugin's performance data, and the JSON in which a check tells its faults; when a
    metric is a fault; when checks run.
``files``
    The files that describe checks.
``results``, ``reports``, ``states``, ``alerting``
    Pure: the faults that follow from what a check did, and one report of many results; what becomes of faults from one
    run to the next; which alerts are due.
``errands``, ``clock``
    Work that is asked for again and again, the time.
``processes``, ``runs``
    Runs one check's command, and sees to its end; runs one check, whatever it is.
``rounds``
    Runs all checks once.
``link``, ``alerts``, ``standing``, ``daemon``
    The daemon: its store, its alerters, what it knows of each check, its loop.
``measuring``, ``plugins``, ``reloading``, ``service``
    Its figures; the alerters and sinks that the configuration names; reading it again while the daemon runs; the daemon
    as a process.
``inspection``, ``trial``
    What is wrong with a configuration and its checks; one check, run once to see what the agent makes of it.

Importing this package loads none of them.
"""
