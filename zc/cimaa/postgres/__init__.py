"""The store for a team: a PostgreSQL database that a fleet's agents and its operators share."""

from .db import DB

__all__ = ["DB"]
