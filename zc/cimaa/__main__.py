"""Starts the ``cimaa`` command; also as ``python -m zc.cimaa``."""

import signal


def main() -> int:
    """Run the command; the exit status.

    An interrupt while it is still being loaded ends it without a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
