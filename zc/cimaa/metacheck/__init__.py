"""Checks the monitoring itself: silent and double agents, and forgotten squelches.

``rules``
    Pure: the thresholds, and what they mean for a squelch and for silent agents.
``fleet_state``
    What is read from a store.
``findings``
    Pure: what the rules find in the state of a fleet, as faults with their messages.
"""
