"""How a connection ends: SHUTDOWN several times, then an answer to whoever goes on.

UDT never acknowledges a SHUTDOWN, and libudt says it once: if that is lost, the other side finds
out after 46 s.  So it is said three times, and for a while each packet that still comes is answered
by one more.  A wavesync end answers the first with one of its own, and the other need not go on.
"""

import math

__all__ = ["LINGER", "SHUTDOWNS", "SHUTDOWN_INTERVAL", "Ending"]

SHUTDOWNS = 3
"""Times that SHUTDOWN is said."""

SHUTDOWN_INTERVAL = 0.02
"""Seconds between them, or a round trip if that is longer (at most a second)."""

LINGER = 3.0
"""Seconds after the first SHUTDOWN during which a peer that goes on is told again."""


class Ending:
    """The SHUTDOWNs of one connection.

    :param replies: the peer is a wavesync end, to which its SHUTDOWN is answered.
    :ivar finished: nothing more is to be said.
    """

    __slots__ = ("_due", "_end", "_is_reply", "_left", "_replies", "finished")

    def __init__(self, *, replies: bool = False) -> None:
        """Begin while the connection lives."""
        self._replies = replies
        self._is_reply = False
        self._left = 0
        self._due = math.inf
        self._end = math.inf
        self.finished = False

    def begin(self, now: float) -> None:
        """Say SHUTDOWN from *now* on."""
        self._left = SHUTDOWNS
        self._due = now
        self._end = now + LINGER

    def heard(self, now: float) -> None:
        """The peer says SHUTDOWN: say nothing more, but for one answer to who said it first."""
        if self._replies and self._end == math.inf:
            self._is_reply = True
            self._left, self._due = 1, now
        else:
            self.finish()

    def finish(self) -> None:
        """Say nothing more."""
        self.finished = True
        self._left = 0

    def answer(self, now: float) -> None:
        """The peer goes on: one SHUTDOWN with the next datagrams, however many packets came."""
        if not self.finished:
            self._due = now
            self._left = max(self._left, 1)

    def due(self, now: float, rtt: float) -> bool:
        """Tell whether to say SHUTDOWN now; calling it means that it is said.

        :param rtt: round-trip time, seconds.
        """
        if not self._left or now < self._due:
            return False
        self._left -= 1
        if self._is_reply:
            self.finish()
        self._due = now + min(1.0, max(SHUTDOWN_INTERVAL, rtt))
        return True

    def timer(self, now: float) -> None:
        """Finish when the time has come."""
        if now >= self._end:
            self.finish()

    def deadline(self) -> float:
        """Tell when :meth:`due` or :meth:`timer` will do something."""
        return min(self._end, self._due) if self._left else self._end
