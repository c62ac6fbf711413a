"""The hosts that ``cf_lastseen`` knows.  Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from .records import StateEntry

INCOMING, OUTGOING = "in", "out"
_DIRECTIONS = {"qi": INCOMING, "qo": OUTGOING}


class Contact(NamedTuple):
    """The last contact with a host in one direction."""

    #: Seconds since the epoch.
    seen: int
    #: Empty if the file has none for the key.
    address: str
    key: str
    #: ``in`` if the host came to this one, ``out`` if this one went there.
    direction: str
    #: The usual number of seconds between contacts; ``None`` until there is one.
    interval: float | None


class SharedKey(NamedTuple):
    """A key that several addresses have, or an address that has several keys: one pair of them."""

    #: What several pairs share: ``key`` or ``address``.
    shared: str
    key: str
    address: str
    #: True for the pair that the file names for what is shared: the latest.
    latest: bool
    #: When the key was last seen in each direction (seconds since the epoch).
    incoming: int | None
    outgoing: int | None


class Lastseen:
    """What ``cf_lastseen`` says."""

    def __init__(self, entries: Iterable[StateEntry]) -> None:
        """From the decoded entries; those that fit no layout are left out, and counted."""
        self._addresses: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._seen: list[tuple[str, str, int, float | None]] = []
        #: How many entries fit no layout.
        self.unknown = 0
        for key, value, known in entries:
            if not known or not isinstance(key, str):
                self.unknown += 1
            elif isinstance(value, dict):
                interval = value["expected"]
                usual = interval if isinstance(interval, float) and interval > 0 else None
                self._seen.append((key[2:], _DIRECTIONS[key[:2]], value["time"], usual))
            elif isinstance(value, str) and key.startswith("k"):
                self._addresses[key[1:]] = value
            elif isinstance(value, str) and key.startswith("a"):
                self._keys[key[1:]] = value

    def contacts(self) -> list[Contact]:
        """The last contacts, the longest silent first."""
        addresses = self._addresses
        return sorted(Contact(seen, addresses.get(key, ""), key, way, usual) for key, way, seen, usual in self._seen)

    def shared(self) -> list[SharedKey]:
        """The keys that several addresses have, and the addresses that have several keys."""
        times = {(key, direction): seen for key, direction, seen, _ in self._seen}

        def pair(shared: str, key: str, address: str, latest: bool) -> SharedKey:
            return SharedKey(shared, key, address, latest, times.get((key, INCOMING)), times.get((key, OUTGOING)))

        of_key = _several((key, address) for address, key in self._keys.items())
        of_address = _several((address, key) for key, address in self._addresses.items())
        keys, addresses = self._keys, self._addresses
        return [
            *(pair("key", key, one, addresses.get(key) == one) for key, some in of_key for one in some),
            *(pair("address", one, address, keys.get(address) == one) for address, some in of_address for one in some),
        ]


def _several(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Each first element that several second ones belong to, with these."""
    found: dict[str, list[str]] = {}
    for first, second in pairs:
        found.setdefault(first, []).append(second)
    return sorted((first, sorted(seconds)) for first, seconds in found.items() if len(seconds) > 1)
