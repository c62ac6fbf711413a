"""Actions: signed questions and commands for a fleet, which each agent verifies, judges and answers by itself.

``documents``, ``targets``, ``permissions``, ``signers``
    The rules: what an action is, whom it is for, what its signers may ask, and who they are.
``signatures``, ``journal``, ``journal_files``, ``judging``
    Signing and verifying with OpenSSH; what was run; deciding, in a fixed order, whether an agent runs an action.
``entries_of_actions``, ``fleet_actions``
    Actions, commands and answers in a store: how they are stored; sending, claiming, answering, counting.
``parameters``, ``answers``
    Pure: the parameters of modules, and their answers.
``modules``
    What an action can ask for: ``file``, ``package``, ``process``, ``port``, ``check`` and ``command``.
``module_process``, ``running``
    Running a module within limits of time and output, in a child process.
"""
