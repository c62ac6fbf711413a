"""What runs checks and makes faults of their results.

The rooms, each importing only those before it:

``settings``
    The ``[agent]`` section.
``naming``, ``documents``
    Pure: what a fault is called, and the JSON in which a check tells its faults.
``files``
    The files that describe checks.
``results``, ``reports``
    Pure: the faults that follow from what a check did, and one report of many results.
``processes``
    Runs one check's command, and sees to its end.
``rounds``
    Runs all checks once.

Importing this package loads none of them.
"""
