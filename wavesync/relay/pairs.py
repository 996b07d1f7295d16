"""The pairs that are joined just now: ended when idle, dead or revoked, counted when over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wavesync.identity.verify import Peer
from wavesync.relay.pair import IPair
from wavesync.relay.statistics import Statistics

__all__ = ["CHECK_INTERVAL", "Joined", "Pairs"]

CHECK_INTERVAL = 5.0
"""Seconds between looks at all pairs."""


@dataclass(slots=True, eq=False)
class Joined:
    """One of them.

    :ivar pair: the two legs.
    :ivar client: who the client is.
    :ivar server: who the server is.
    :ivar early_up: bytes that the client had sent before they were joined.
    :ivar early_down: bytes that the server had.
    :ivar suspect: whether a leg seemed dead when it was looked at last.
    """

    pair: IPair
    client: Peer
    server: Peer
    early_up: int
    early_down: int
    suspect: bool = False

    @property
    def up(self) -> int:
        """Bytes from the client to the server."""
        return self.early_up + int(self.pair.up)

    @property
    def down(self) -> int:
        """Bytes from the server to the client."""
        return self.early_down + int(self.pair.down)


class Pairs:
    """All of them.

    :param idle_timeout: seconds without a byte after which a pair ends.
    :param statistics: where they are counted.
    """

    def __init__(self, idle_timeout: float, statistics: Statistics) -> None:
        self._idle_timeout = idle_timeout
        self._statistics = statistics
        self._joined: dict[Joined, None] = {}

    def __len__(self) -> int:
        """Count them."""
        return len(self._joined)

    def __iter__(self) -> Iterator[Joined]:
        """All of them, at this moment."""
        return iter(list(self._joined))

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to servers and to clients since the start, of pairs that are over as well."""
        up = self._statistics.up + sum(each.up for each in self._joined)
        return up, self._statistics.down + sum(each.down for each in self._joined)

    def add(self, joined: Joined, over: Callable[[], None]) -> None:
        """Begin one.

        :param over: called when it is over, whatever the reason.
        """
        self._joined[joined] = None
        self._statistics.joined += 1

        def ended(reason: str) -> None:
            del self._joined[joined]
            self._statistics.ended[reason] += 1
            self._statistics.up += joined.up
            self._statistics.down += joined.down
            over()

        joined.pair.notify(ended)

    def check(self, now: float) -> None:
        """End those that are idle or dead; call it every :data:`CHECK_INTERVAL`."""
        for joined in self:
            if now - joined.pair.last_moved >= self._idle_timeout:
                joined.pair.abort("idle")
                continue
            suspect = joined.pair.dying()
            if suspect and joined.suspect:
                joined.pair.abort("dead")
            joined.suspect = suspect

    def end(self, reason: str, which: Callable[[Joined], bool] = lambda joined: True) -> None:
        """End some, or all."""
        for joined in self:
            if which(joined):
                joined.pair.abort(reason)
