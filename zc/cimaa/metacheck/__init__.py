"""Checks the monitoring itself: silent and double agents, and forgotten squelches.

``rules``
    Pure: the thresholds, and what they mean for a squelch and for silent agents.
``snapshot``
    What is read from a store.
``findings``
    Pure: what the rules find in a snapshot, as faults with their messages.
"""
