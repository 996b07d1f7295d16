"""A gate through which so many go at a time, the others in the order in which they came."""

from collections import deque

from twisted.internet.defer import Deferred, succeed

__all__ = ["Gate"]


class Gate:
    """Counts who is inside.

    :param places: how many may be inside at one time.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._admitting = False
        self._waiting: deque[Deferred[None]] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self) -> Deferred[None]:
        """Fires when there is a place, which is taken then; cancelling it gives up waiting."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def leave(self) -> None:
        """Give the place to the next."""
        self._free += 1
        if self._admitting:
            return  # whoever was let in has left in the same moment
        self._admitting = True
        try:
            while self._free and self._waiting:
                self._free -= 1
                self._waiting.popleft().callback(None)
        finally:
            self._admitting = False
