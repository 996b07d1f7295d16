"""How long a connection waits for a silent peer, and when it breaks its own silence."""

import math

__all__ = ["DRAIN_TIMEOUT", "KEEP_ALIVE_INTERVAL", "PEER_TIMEOUT", "Patience"]

KEEP_ALIVE_INTERVAL = 5.0
"""Seconds of our own silence after which a keep-alive leaves, unless set otherwise."""

PEER_TIMEOUT = 30.0
"""Seconds of the peer's silence after which it is given up (libudt takes 46 and more)."""

DRAIN_TIMEOUT = 180.0
"""Seconds that :meth:`Connection.close` waits for acknowledgements without any coming."""


class Patience:
    """The times of one connection.

    :param now: when it begins, seconds.
    :ivar heard_at: when the peer was last heard.
    :ivar sent_at: when something last left.
    """

    __slots__ = ("_drained", "_since", "heard_at", "sent_at")

    def __init__(self, now: float) -> None:
        """Begin as if something had just been heard and sent."""
        self.heard_at = now
        self.sent_at = now
        self._drained = 0
        self._since = math.inf

    def begin(self, point: int, now: float) -> None:
        """Begin to wait for the acknowledgement of all that was written.

        :param point: the first packet that has not been acknowledged.
        """
        self._drained, self._since = point, now

    def is_over(self, point: int, now: float) -> bool:
        """Tell whether none has come for too long; each acknowledgement starts the wait anew."""
        if point != self._drained:
            self._drained, self._since = point, now
        return now >= self._since + DRAIN_TIMEOUT

    def deadline(self, keep_alive_interval: float) -> float:
        """Tell when the peer, or we ourselves, will have been silent for too long.

        :param keep_alive_interval: seconds that are too long for us.
        """
        ours, theirs = self.sent_at + keep_alive_interval, self.heard_at + PEER_TIMEOUT
        return min(ours, theirs, self._since + DRAIN_TIMEOUT)
