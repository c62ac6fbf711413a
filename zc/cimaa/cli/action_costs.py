"""What it costs to follow actions, on a store that bills what is read."""

from ..actions.fleet_actions import FleetActions
from ..errors import StoreDenied, StoreUnavailable
from .output import message


def show(fleet: FleetActions, kind: str, each: str = "") -> bool:
    """Show on standard error about what it costs to read all entries of a kind, unless the store does not bill it.

    ``each`` says how often they are read.  Return whether the store bills it.
    """
    try:
        units = fleet.scan_units(kind)
    except (StoreDenied, StoreUnavailable) as error:
        message(f"This reads all {kind}s in the store{each}; what it costs is not known: {error}")
        return True
    if units is None:
        return False
    message(
        f"This reads all {kind}s in the store{each}: about {units:,} read unit{'' if units == 1 else 's'}"
        f"{' each time' if each else ''}, as counted up to six hours ago."
    )
    return True
