"""What CFEngine keeps in its own databases on a host: hosts seen, locks held, and the rest.  Read-only.

The modules, each importing only those before it:

``pages``
    Pure: the page format of an LMDB file, and the walk that finds out whether every page is whole.
``snapshot``
    The child process: it copies one moment of each file into memory, and walks the copy.
``files``
    Finds the files, runs the child process, and reads the copies that are whole.
``records``
    Pure: the layouts of keys and values, by file name, size and version.
``hosts``, ``locks``
    Pure: what the records of ``cf_lastseen`` and ``cf_lock`` say together.
``processes``
    Which process has a number now, and when it was started.

Importing this package loads none of them, and no lmdb.
"""
