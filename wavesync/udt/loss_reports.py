"""When to tell the sender what is missing: NAKs, repeated until the packets come.

libudt says each gap once; a lost NAK or retransmission then costs it a timeout.  Here a gap is
reported again after RTT + 4 deviations, ever less often.

Packets that come late without having been asked for were reordered, not lost; the first report of
a gap then waits as long as they took, at most half a round trip.
"""

import heapq
import math

from wavesync.udt.estimators import RoundTrip
from wavesync.udt.ranges import RangeSet

__all__ = ["LossReports"]

MIN_REPEAT = 0.02
"""Seconds between two reports of a gap, at least."""

MAX_REPEAT = 1.0
"""Seconds between two reports of a gap, at most (or one repeat interval if that is longer)."""

REPEAT_GROWTH = 1.5
"""Each report waits this much longer for the next."""

TOLERANCE_DECAY = 0.98
"""What is kept of the tolerance of reordering each time a gap turns out to be a real loss."""

MAX_TOLERANCE = 0.05
"""Seconds that a first report is held back, at most."""


class LossReports:
    """Keeps the times at which each gap is to be reported.

    :param missing: what is missing, kept by the receive buffer.
    :param round_trip: kept by the acknowledger.
    :ivar tolerance: seconds that a first report waits for reordered packets.
    """

    __slots__ = ("_due", "_round_trip", "_young", "_young_times", "missing", "tolerance")

    def __init__(self, missing: RangeSet, round_trip: RoundTrip) -> None:
        """Begin with nothing to report."""
        self.missing = missing
        self._round_trip = round_trip
        self._due: list[tuple[float, int, int, int]] = []  # heap: when, start, stop, reports made
        # Gaps seen so recently that what fills them cannot be a retransmission.
        self._young = RangeSet()
        self._young_times: list[tuple[float, int, int]] = []
        self.tolerance = 0.0

    def gap(self, start: int, stop: int, now: float) -> None:
        """Note that *start* .. *stop* was skipped at *now*."""
        heapq.heappush(self._due, (now + self.tolerance, start, stop, 0))
        if not self._round_trip.sampled:
            return
        self._young.add(start, stop)
        self._young_times.append((now, start, stop))

    def filled(self, first: int, stop: int, now: float) -> None:
        """Note that packets *first* .. *stop*, at least partly missing before, came at *now*."""
        limit = self._round_trip.rtt / 2
        times = self._young_times
        old = 0
        for since, start, end in times:
            if since >= now - limit:
                break
            self._young.remove(start, end)
            old += 1
        del times[:old]
        if not self._young.overlap(first, stop):
            self.tolerance *= TOLERANCE_DECAY
            return
        for since, start, end in times:
            if start < stop and first < end:
                late = min((now - since) * 1.25, limit, MAX_TOLERANCE)
                self.tolerance = max(self.tolerance, late)
                return

    def due(self, now: float) -> list[tuple[int, int]]:
        """Give the (start, stop) ranges to report now, and plan their repeats."""
        report: list[tuple[int, int]] = []
        heap = self._due
        if not heap or heap[0][0] > now:
            return report
        again: list[tuple[float, int, int, int]] = []
        base = max(MIN_REPEAT, self._round_trip.repeat_interval)
        while heap and heap[0][0] <= now:
            _, start, stop, tries = heapq.heappop(heap)
            wait = min(base * REPEAT_GROWTH ** min(tries, 32), max(base, MAX_REPEAT))
            for part in self.missing.overlap(start, stop):
                report.append(part)
                again.append((now + wait, *part, tries + 1))
        for entry in again:
            heapq.heappush(heap, entry)
        report.sort()
        return report

    def deadline(self) -> float:
        """Tell when :meth:`due` will next have something to say; infinity for never."""
        return self._due[0][0] if self._due else math.inf
