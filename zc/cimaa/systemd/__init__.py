"""The agent as a systemd service.

``install``
    The files of the service: its unit, its user, and a configuration to start from.
``notify``
    What the running service reports to systemd.
"""
