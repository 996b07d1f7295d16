"""How long NATs keep mappings, by network, kept across restarts.

It saves a process that starts anew the search, and its NAT the packets of a careful pace.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from wavesync.identity.kept import read_kept, write_kept
from wavesync.signalling.network import this_network
from wavesync.stun.behaviour_words import Lifetime

__all__ = ["KEEP_FOR", "MAX_NETWORKS", "Lifetimes", "lifetimes_path"]

MAX_NETWORKS = 64
"""Networks of which it is kept; the one that was looked at the longest ago goes first."""

KEEP_FOR = 7 * 86400.0
"""Seconds after which it does not count any more."""

_MAX_FILE = 1 << 16
_MAX_NAME = 64
_LONGEST = 86400.0


def lifetimes_path(directory: Path) -> Path:
    """Where they are kept in a directory of credentials, or of state."""
    return directory / "lifetimes.json"


class _Entry(msgspec.Struct, frozen=True):
    """What was found on one network, and when."""

    alive: float
    gone: float | None
    at: float

    def sound(self) -> bool:
        """Whether all of it can be used."""
        return all(0 <= each <= _LONGEST for each in (self.alive, self.gone or 0.0))


class Lifetimes:
    """Keeps them.

    :param path: the file; two processes may have the same.
    :param wall_clock: seconds since the epoch.
    :param network: names the network that this host is on now.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall_clock: Callable[[], float],
        network: Callable[[], str] = this_network,
    ) -> None:
        self._path = path
        self._wall_clock = wall_clock
        self._network = network

    def recall(self) -> tuple[Lifetime, float] | None:
        """Find what is known of the network that this host is on.

        :returns: it, and how many seconds ago it was found.
        """
        found = self._load().get(self._network())
        if found is None:
            return None
        age = self._wall_clock() - found.at
        return (Lifetime(found.alive, found.gone), age) if 0 <= age < KEEP_FOR else None

    def keep(self, lifetime: Lifetime) -> None:
        """Note what was found on the network that this host is on."""
        known = self._load()
        name = self._network()
        known.pop(name, None)
        known[name] = _Entry(lifetime.alive, lifetime.gone, self._wall_clock())
        write_kept(self._path, dict(list(known.items())[-MAX_NETWORKS:]))

    def _load(self) -> dict[str, _Entry]:
        found = read_kept(self._path, dict[str, _Entry], _MAX_FILE) or {}
        return {
            name: entry for name, entry in found.items() if len(name) <= _MAX_NAME and entry.sound()
        }
