"""The store for a team: a PostgreSQL database that a fleet's agents and its operators share."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .db import DB

__all__ = ["DB"]


def __getattr__(name: str) -> Any:
    # Late, so that setup-postgres can tell what to install where the driver is missing.
    if name == "DB":
        from .db import DB

        return DB
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
