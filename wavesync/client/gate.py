"""A gate through which as many go at a time as gets them through soonest, in the order in which they came.

More at a time do not go faster once the two ends are busy all the time: they only wait for each other,
and what waits too long is sent again, which makes both ends busier still.
"""

from collections import deque

from twisted.internet.defer import Deferred, succeed

__all__ = ["LEAST", "MOST", "Gate"]

LEAST = 8
"""Places at the beginning, and at least."""

MOST = 48
"""Places at most."""

_PATIENCE = 2.0
"""Times the usual that one may take to get through, and still one place more is opened."""

_GRACE = 0.02
"""The same in seconds, in addition."""

_DRIFT = 256
"""How slowly what is usual rises; it falls at once."""


class Gate:
    """Counts who is inside, and opens or closes places by how long they take.

    :param least: places at the beginning, and at least.
    :param most: places at most.
    :ivar places: how many may be inside now.
    """

    def __init__(self, least: int = LEAST, most: int = MOST) -> None:
        self.places = least
        self._least = least
        self._most = most
        self._inside = 0
        self._admitting = False
        self._usual: float | None = None
        self._waiting: deque[Deferred[None]] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self) -> Deferred[None]:
        """Fires when there is a place, which is taken then; cancelling it gives up waiting."""
        if self._inside < self.places and not self._waiting:
            self._inside += 1
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def leave(self, took: float | None = None) -> None:
        """Give the place to the next.

        :param took: seconds from entering to getting through; None for whoever did not.
        """
        self._inside -= 1
        if took is not None:
            self._adapt(took)
        if self._admitting:
            return  # whoever was let in has left in the same moment
        self._admitting = True
        try:
            while self._inside < self.places and self._waiting:
                self._inside += 1
                self._waiting.popleft().callback(None)
        finally:
            self._admitting = False

    def _adapt(self, took: float) -> None:
        if self._usual is None or took < self._usual:
            self._usual = took
        else:
            self._usual += (took - self._usual) / _DRIFT
        if took > _PATIENCE * self._usual + _GRACE:
            self.places = max(self._least, self.places - 1)
        else:
            self.places = min(self._most, self.places + 1)
