"""Counts durations by how long they were, in memory that does not grow."""

from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["LONGEST", "SECONDS", "Histogram"]

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""The bounds of a network's durations, seconds: a round trip in the same town, up to a time-out."""

LONGEST = 60.0
"""Seconds as which anything longer counts: a peer that tells nonsense must not spoil the sum."""


class Histogram:
    """How many durations were how long.

    :param bounds: the upper bounds of the classes, rising; the last class has none.
    :ivar counts: how many fell into each class, one more than there are bounds.
    :ivar sum: all of them together, seconds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; a bound belongs to the class below it.

        :param seconds: taken as 0 to :data:`LONGEST`.
        """
        seconds = min(max(seconds, 0.0), LONGEST)
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
