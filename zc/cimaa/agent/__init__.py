"""Runs checks, reports their faults, and sends alerts.

Each module imports only modules of its own level and the levels before it:

``config``, ``plugins``, ``clock``, ``tasks``
    The ``[agent]`` section; the configured alerters and sinks; the time; helpers for asyncio.
``rules``
    Pure functions, in the order in which a result passes them: what a check is (``check``), metrics and JSON in its
    output (``perfdata``, ``check_json``), ``thresholds``, its faults (``results``), their ``escalation``, due alerts
    (``alerting``), the combined ``report``; when checks run (``schedule``), and who runs them (``tenure``); which
    commands are to be judged (``pending_commands``).
``check_files``, ``check_process``, ``runner``
    Reads the checks; runs a command; runs any check.
``once``, ``trial``, ``inspection``
    Runs all checks once; runs one check to show its result; checks a configuration.
``check_state``, ``store``, ``alert_outbox``, ``alert_channel``, ``notifier``, ``alert_hold``
    The daemon's parts: the state of each check; access to the store; what an alerter has to send, its calls, and all
    alerters; whether alerts are held back.
``check_record``, ``exclusive``
    What the next agent that runs a check has to know; checks that one agent of several runs.
``report_contents``, ``reporter``, ``shutdown``, ``daemon``
    What a report contains; reports and sends alerts; ends that; the loop of ticks.
``publisher``, ``reload``, ``service``
    Metrics; reading the configuration again; the daemon as a process.

``action_rules``, ``action_run``, ``action_outcomes``, ``action_judge``, ``action_work``
    What decides about actions; running one; storing how it ended; judging by the current configuration; looking at the
    agent's commands.
``requested_checks``, ``action_duty``, ``once_actions``
    Checks that an action asks for; the actions of a daemon, and of an agent that runs once.

A check's result passes ``runner``, ``rules``, ``check_state`` and ``reporter``, in this order.  Importing this package
imports none of its modules.
"""
