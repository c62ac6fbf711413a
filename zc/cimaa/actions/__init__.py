"""Actions: questions to a fleet that people sign, and that each agent verifies, judges and answers by itself.

``documents``, ``targets``, ``permissions`` and ``signers`` are the rules: what an action is, whom it is for, what its
signers may ask, and who they are.  ``signatures`` signs and verifies with OpenSSH, ``journal`` remembers what was run,
and ``judging`` decides, in a fixed order, whether an agent runs an action.
"""
