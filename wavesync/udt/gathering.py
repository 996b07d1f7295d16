"""How much gathers before it leaves as one burst.

A burst costs hardly more than a packet, so what little gain there is in sending sooner is lost where
the processes are busy: many connections that send small bursts keep them so, which keeps round trips
long, windows and bursts small.  To a peer that is near (:attr:`~wavesync.udt.tail.SharedTrip.near`) the
window is dozens of round trips anyway, and a part of it may as well leave at once.
"""

from wavesync.udt.send_buffer import SendBuffer
from wavesync.udt.tail import SharedTrip

__all__ = [
    "NEAR_CREDIT",
    "NEAR_INTERVAL",
    "PACING_CREDIT",
    "PACING_INTERVAL",
    "PEER_WINDOW_PART",
    "WINDOW_PART",
    "Gathering",
]

PACING_INTERVAL = 0.001
"""Seconds of sending that make one burst (1 .. 44 packets) ..."""

NEAR_INTERVAL = 0.005
"""... and to a near peer."""

PACING_CREDIT = 0.008
"""Seconds of sending that a late timer may catch up at once ..."""

NEAR_CREDIT = 0.02
"""... and to a near peer, as far as they make one burst: each of many connections has its turn so late."""

WINDOW_PART = 4
"""To a near peer nothing leaves before this fraction of the window, or a burst, may ..."""

PEER_WINDOW_PART = 2
"""... and this one of the peer's: most of what is on its way will be acknowledged at once, but if every ACK
let leave what it is for, many connections would go on with small bursts for ever."""


class Gathering:
    """See the module.

    :param buffer: what is to leave.
    :param shared: tells whether the peer is near.
    """

    __slots__ = ("_buffer", "_shared", "_whole")

    def __init__(self, buffer: SendBuffer, shared: SharedTrip) -> None:
        """Begin with nothing that waits."""
        self._buffer = buffer
        self._shared = shared
        self._whole = 0  # packets that waited for a window, and shall leave as one burst

    def credit(self, rate: float) -> float:
        """Tell how many seconds of sending a late timer may catch up.

        :param rate: packets a second.
        """
        if not self._shared.near:
            return PACING_CREDIT
        return max(PACING_CREDIT, min(NEAR_CREDIT, self._buffer.max_burst / rate))

    def burst(self, rate: float, late: float) -> int:
        """Tell how many packets the pace lets leave as one burst, 1 or more.

        :param rate: packets a second.
        :param late: seconds since they might have left.
        """
        ahead = NEAR_INTERVAL if self._shared.near else PACING_INTERVAL
        # What is late leaves as one burst; of many flows, most is.
        return max(1, self._whole, int(min(self._buffer.max_burst, rate * (late + ahead))))

    def through(self, room: int, window: int, part: int) -> int:
        """Wait, where the peer is near, until a part of a window, or a burst, may leave.

        :param room: packets that the window lets leave.
        :param window: packets.
        :param part: :data:`WINDOW_PART` or :data:`PEER_WINDOW_PART`.
        :returns: packets that may leave; as many as there is room for if that is enough for all.
        """
        buffer = self._buffer
        if not self._shared.near or buffer.unsent <= room * buffer.payload:
            return room
        enough = min(window // part, buffer.max_burst)
        if room >= enough:
            return room
        self._whole = enough
        return 0

    def left(self) -> None:
        """Note that a burst has left."""
        self._whole = 0
