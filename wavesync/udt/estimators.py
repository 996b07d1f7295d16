"""What a receiver measures for its ACKs: round-trip time, arrival rate, link capacity.

libudt's senders take these words as they come (their rate after a loss *is* the arrival rate), so
they must be truthful, and 0 where nothing is known.  Median filters as in draft-gg-udt-03, 4.6.
"""

import math
from collections.abc import Collection

__all__ = ["ArrivalRate", "Capacity", "Lowest", "RoundTrip"]

INITIAL_RTT = 0.1
"""Seconds assumed before the first sample, as libudt does."""

MAX_RTT_SAMPLE = 30.0
"""Seconds; a longer round trip is taken for a stale or forged answer."""

ARRIVAL_SAMPLES = 16
"""Gaps between arrivals that are remembered."""

CAPACITY_SAMPLES = 64
"""Packet-pair gaps that are remembered."""

LOWEST_PERIOD = 5.0
"""Seconds, and up to twice as many, that a lowest sample is remembered, unless it is said how long."""

GROUP = 0.0002
"""Seconds; packets that arrive closer than this are measured together (a burst has one time)."""

PAIR_GAP = 0.00002
"""Seconds; packets of a pair that arrive in one piece are taken to be no further apart.  The pace of a
slow sender must not count: a libudt sender would take it for the path's capacity and stay slow."""

_OUTLIER = 8
_ONE_PIECE = -1.0  # the gap of a pair that arrived in one piece


class RoundTrip:
    """The smoothed round-trip time and its variation (RFC 6298 weights 1/8 and 1/4).

    :ivar rtt: seconds.
    :ivar variance: mean deviation, seconds.
    :ivar sampled: whether a sample of our own has been taken.
    """

    __slots__ = ("rtt", "sampled", "variance")

    def __init__(self) -> None:
        """Begin with libudt's assumption of 100 ms, 50 ms."""
        self.rtt = INITIAL_RTT
        self.variance = INITIAL_RTT / 2
        self.sampled = False

    def add(self, sample: float) -> None:
        """Take one measured round trip, in seconds; impossible ones are ignored."""
        if not 0 <= sample <= MAX_RTT_SAMPLE:
            return
        if not self.sampled:
            self.sampled = True
            self.rtt, self.variance = sample, sample / 2
            return
        self.variance += (abs(sample - self.rtt) - self.variance) / 4
        self.rtt += (sample - self.rtt) / 8

    def adopt(self, rtt: float, variance: float) -> None:
        """Use what the peer says as long as nothing has been measured here.

        :param rtt: seconds.
        :param variance: seconds.
        """
        if not self.sampled and 0 < rtt <= MAX_RTT_SAMPLE and 0 <= variance <= MAX_RTT_SAMPLE:
            self.rtt, self.variance = rtt, variance

    @property
    def repeat_interval(self) -> float:
        """Seconds after which something unanswered may be called lost: RTT + 4 deviations."""
        return self.rtt + 4 * self.variance


class Lowest:
    """The lowest of the samples of some last seconds, or up to twice as many.

    :param period: seconds.
    :ivar value: infinity before the first.
    """

    __slots__ = ("_period", "_recent", "_until", "value")

    def __init__(self, period: float = LOWEST_PERIOD) -> None:
        """Begin knowing nothing."""
        self._period = period
        self.value = math.inf
        self._recent = math.inf  # lowest of the period that runs
        self._until = -math.inf

    def add(self, sample: float, now: float) -> None:
        """Take a sample."""
        if now > self._until:
            self._until = now + self._period
            self.value, self._recent = self._recent, math.inf
        self._recent = min(self._recent, sample)
        self.value = min(self.value, sample)


def _typical(gaps: Collection[float]) -> tuple[float, int]:
    """Give the mean of the gaps near the median, and how many those are."""
    median = sorted(gaps)[len(gaps) // 2]
    near = [gap for gap in gaps if median / _OUTLIER < gap < median * _OUTLIER]
    return (sum(near) / len(near) if near else 0.0), len(near)


def _keep(gaps: list[float], gap: float, most: int) -> None:
    """Add a gap to the latest ones: a list, as an empty deque takes ten times the memory."""
    gaps.append(gap)
    if len(gaps) > most:
        del gaps[0]


class ArrivalRate:
    """How fast packets arrive while they do: pauses fall out by the median filter."""

    __slots__ = ("_count", "_gaps", "_start")

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self._gaps: list[float] = []
        self._start = 0.0
        self._count = 0

    def add(self, packets: int, now: float) -> None:
        """Note that *packets* (1 or more) arrived at *now*."""
        elapsed = now - self._start
        if self._count and elapsed < GROUP:
            self._count += packets
            return
        if self._count:
            # The packets of the group now beginning took this long to come.
            _keep(self._gaps, elapsed / self._count, ARRIVAL_SAMPLES)
        self._start = now
        self._count = packets

    @property
    def spacing(self) -> float:
        """Seconds from one packet to the next; 0 for unknown."""
        if len(self._gaps) < ARRIVAL_SAMPLES // 2:
            return 0.0
        mean, count = _typical(self._gaps)
        return mean if count >= ARRIVAL_SAMPLES // 2 else 0.0

    @property
    def rate(self) -> int:
        """Packets a second; 0 for unknown."""
        spacing = self.spacing
        return round(1 / spacing) if spacing > 0 else 0


class Capacity:
    """What the narrowest link could carry, by the gap between packets 16n and 16n + 1."""

    __slots__ = ("_first_at", "_first_sequence", "_gaps")

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self._gaps: list[float] = []
        self._first_sequence = -1
        self._first_at = 0.0

    def add(self, first: int, count: int, now: float) -> None:
        """Note a run of packets that arrived at *now*.

        :param first: the first one's sequence number.
        :param count: how many with consecutive numbers.
        """
        if first == self._first_sequence + 1 and now > self._first_at:
            _keep(self._gaps, now - self._first_at, CAPACITY_SAMPLES)
        last = first + count - 1
        if last % 16 == 0:
            self._first_sequence, self._first_at = last, now
        elif first <= last - last % 16 < last:
            # A slow sender's pace is no measure: only the pair left back to back.
            _keep(self._gaps, _ONE_PIECE, CAPACITY_SAMPLES)

    def rate(self, arrival_rate: int) -> int:
        """Packets a second, never less than *arrival_rate*; 0 for unknown."""
        if not self._gaps:
            return arrival_rate
        apart = min(1 / arrival_rate, PAIR_GAP) if arrival_rate else PAIR_GAP
        mean, _ = _typical([apart if gap == _ONE_PIECE else gap for gap in self._gaps])
        return max(arrival_rate, round(1 / mean)) if mean > 0 else arrival_rate
