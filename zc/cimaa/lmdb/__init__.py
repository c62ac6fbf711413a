"""The embedded store of one host: an LMDB file that its processes share, with nothing to install or to run."""

from .db import DB

__all__ = ["DB"]
