"""What the system keeps for a port until it is read, and how the port's connections share it."""

import math

from wavesync.udt.packet import MAX_BURST_PACKETS

__all__ = ["LEAST_SHARE", "PERIOD", "Room"]

PERIOD = 0.2
"""Seconds; who takes part says so once in as many, and counts for up to twice as long."""

OVERBOOKED = 1.25
"""Where several share, the shares together are this many times what there is: bursts that come whole
take two thirds of what single packets do, and some of what is on its way has been read already."""

LEAST_SHARE = 16
"""Packets; no share is smaller, however many there are."""


class Room:
    """The packets that the system keeps for a port, shared by connections over which much comes.

    :param packets: how many there are.
    """

    __slots__ = ("_before", "_mark", "_now", "_packets", "_until")

    def __init__(self, packets: int) -> None:
        """Begin with nobody in it."""
        self._packets = packets
        self._mark = 0
        self._now = 0  # connections in this period
        self._before = 0  # in the one before
        self._until = -math.inf

    def take_part(self, mark: int, now: float) -> int:
        """Count a connection over which much comes.

        :param mark: what this gave it the last time; 0 at first.
        :returns: what to give it the next time.
        """
        self._turn(now)
        if mark != self._mark:
            self._now += 1
        return self._mark

    def share(self, now: float) -> int:
        """:return: packets that each may have on their way: whole bursts, if it is more than one."""
        self._turn(now)
        count = max(self._now, self._before)
        if count <= 1:
            return self._packets
        share = int(min(self._packets, self._packets * OVERBOOKED / count))
        return max(LEAST_SHARE, share - share % MAX_BURST_PACKETS or share)

    def _turn(self, now: float) -> None:
        if now < self._until:
            return
        self._before = self._now if now < self._until + PERIOD else 0
        self._now = 0
        self._mark += 1
        self._until = now + PERIOD
