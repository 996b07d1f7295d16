"""What is still to be told to others of the servers that are at this relay, and what again."""

from collections import OrderedDict

from wavesync.identity.ids import Target

__all__ = ["BATCH", "REFRESH", "Ledger"]

REFRESH = 30.0
"""Seconds after which it is told again that a server is here."""

BATCH = 500
"""Servers in one message."""


class Ledger:
    """Keeps count.  Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._new: dict[Target, None] = {}
        self._gone: dict[Target, None] = {}
        self._told: OrderedDict[Target, float] = OrderedDict()

    def __len__(self) -> int:
        """Count the servers that are here."""
        return len(self._new) + len(self._told)

    @property
    def told(self) -> int:
        """How many of them others were told of."""
        return len(self._told)

    def arrived(self, server: Target) -> None:
        """A server is here."""
        self._gone.pop(server, None)
        self._told.pop(server, None)
        self._new[server] = None

    def left(self, server: Target) -> None:
        """A server is not here any more."""
        self._new.pop(server, None)
        if self._told.pop(server, None) is not None:
            self._gone[server] = None

    def afresh(self) -> None:
        """Nobody knows anything any more: tell of all that are here, and of none that is not."""
        self._new = {**dict.fromkeys(self._told), **self._new}
        self._told.clear()
        self._gone.clear()

    def take(self, now: float) -> tuple[list[Target], list[Target]]:
        """Give what is to be told now: servers that are here, and servers that are not any more.

        Each list has :data:`BATCH` entries at most; ask again until both are empty.
        """
        here: list[Target] = []
        for server in self._new:
            if len(here) == BATCH:
                break
            here.append(server)
        for server, told in self._told.items():
            if len(here) == BATCH or now - told < REFRESH:
                break
            here.append(server)
        for server in here:
            self._new.pop(server, None)
            self._told[server] = now
            self._told.move_to_end(server)
        gone = list(self._gone)[:BATCH]
        for server in gone:
            del self._gone[server]
        return here, gone

    def deadline(self) -> float | None:
        """Tell when there is something to tell: minus infinity for now, None for not by itself."""
        if self._new or self._gone:
            return float("-inf")
        told = next(iter(self._told.values()), None)
        return None if told is None else told + REFRESH
