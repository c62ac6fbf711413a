"""The check of the agents and the squelches themselves."""
