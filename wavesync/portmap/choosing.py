"""Which of several protocols a router is spoken to with: all are tried at once.

Sans-I/O: :class:`wavesync.portmap.keeper.Keeper` tells what came of each.
"""

from wavesync.portmap.words import PortMapError, Reason

__all__ = ["GRACE", "Choice"]

GRACE = 0.3
"""Seconds that a protocol which works waits for a better one to be found working, too."""

_TELLING = (Reason.ANOTHER_NAT, Reason.NO_ADDRESS, Reason.REFUSED, Reason.MALFORMED)


class Choice:
    """Chooses.

    :param count: of protocols, the best first.
    """

    def __init__(self, count: int) -> None:
        self._pending = set(range(count))
        self._ready: set[int] = set()
        self._since: float | None = None
        self._errors: list[PortMapError] = []

    def found(self, index: int, now: float) -> None:
        """The router speaks it."""
        self._pending.discard(index)
        self._ready.add(index)
        if self._since is None:
            self._since = now

    def failed(self, index: int, error: PortMapError) -> None:
        """It does not; or what was asked of it came to nothing."""
        self._pending.discard(index)
        self._ready.discard(index)
        self._errors.append(error)

    def best(self, now: float) -> int | None:
        """Give the one to use now; ``None`` as long as there is none, or a better one may come."""
        if not self._ready:
            return None
        best = min(self._ready)
        assert self._since is not None, "something was found"
        waited = now >= self._since + GRACE
        return best if waited or not any(each < best for each in self._pending) else None

    def deadline(self) -> float | None:
        """When :meth:`best` may give another answer without anything new."""
        return None if self._since is None or not self._ready else self._since + GRACE

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._pending and not self._ready

    @property
    def why(self) -> PortMapError | None:
        """Why nothing can be used, in the words of the one that tells the most."""
        return min(self._errors, key=_telling, default=None)


def _telling(error: PortMapError) -> int:
    """The less, the more it tells: routers without an address refuse for the oddest of reasons."""
    return _TELLING.index(error.reason) if error.reason in _TELLING else len(_TELLING)
