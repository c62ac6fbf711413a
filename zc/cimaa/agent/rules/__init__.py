"""The rules of the agent: pure functions of checks, results and faults, without input or output."""
