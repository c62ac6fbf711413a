"""Actions: questions and commands for a fleet, signed by investigators, which each agent verifies, judges and answers.

``parameters``, ``answers``
    Pure: the parameters of modules, and their answers.
``modules``
    What an action can ask for: ``file``, ``package``, ``process``, ``port``, ``check`` and ``command``.
``module_process``, ``running``
    Running a module within limits of time and output, in a child process.
"""
