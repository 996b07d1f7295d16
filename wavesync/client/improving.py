"""Looks for a direct path to servers that are reached through a relay, now and then and at need only.

Networks change: a router is replaced, a laptop goes home.  Whoever was relayed once must not be relayed
for ever.  Nothing is sent on account of a server that nobody connects to.
"""

from wavesync.client.ways import MAX_KNOWN

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "Improving"]

FIRST_PAUSE = 15.0
"""Seconds from the first connect through a relay until a direct path is looked for again."""

LONGEST_PAUSE = 300.0
"""The pause doubles each time, up to so many seconds."""


class Improving:
    """Says when to look again.  Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._next: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        """How many servers are reached through a relay."""
        return len(self._next)

    def relayed(self, server: str, now: float) -> None:
        """A race of all paths to *server* was won by a relay."""
        if server not in self._next:
            if len(self._next) >= MAX_KNOWN:
                del self._next[next(iter(self._next))]
            self._next[server] = now + FIRST_PAUSE, FIRST_PAUSE

    def improved(self, server: str) -> None:
        """A direct path works."""
        self._next.pop(server, None)

    def due(self, server: str, now: float) -> bool:
        """Tell, when a connection is wanted, whether to look for a direct path beside it."""
        at, pause = self._next.get(server, (now + 1, 0.0))
        if now < at:
            return False
        pause = min(2 * pause, LONGEST_PAUSE)
        self._next[server] = now + pause, pause
        return True
