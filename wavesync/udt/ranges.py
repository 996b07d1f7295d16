"""Sets of sequence numbers kept as a few sorted ranges: what is lost, what is to be sent again."""

from bisect import bisect_left, bisect_right

__all__ = ["RangeSet"]


class RangeSet:
    """A set of extended sequence numbers, stored as disjoint half-open ranges in order.

    Every operation costs O(log n) searching plus the moving of list entries, n being the number of
    ranges; a set within a window of w packets holds at most w / 2 ranges.

    :ivar count: how many numbers are in the set.
    """

    __slots__ = ("_starts", "_stops", "count")

    def __init__(self) -> None:
        """Make an empty set."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.count = 0

    def __bool__(self) -> bool:
        """Tell whether any number is in the set."""
        return bool(self._starts)

    def __contains__(self, number: int) -> bool:
        """Tell whether *number* is in the set."""
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._stops[index]

    def ranges(self) -> list[tuple[int, int]]:
        """Give all ranges as (start, stop) pairs in order; *stop* is not in the set."""
        return list(zip(self._starts, self._stops, strict=True))

    def first(self) -> tuple[int, int]:
        """Give the lowest range; the set must not be empty."""
        return self._starts[0], self._stops[0]

    def add(self, start: int, stop: int) -> int:
        """Put the numbers from *start* up to, not including, *stop* into the set.

        :returns: how many of them were not there before.
        """
        if start >= stop:
            return 0
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        before = 0
        if low < high:
            before = sum(self._stops[low:high]) - sum(self._starts[low:high])
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]
        added = stop - start - before
        self.count += added
        return added

    def remove(self, start: int, stop: int) -> int:
        """Take the numbers from *start* up to, not including, *stop* out of the set.

        :returns: how many of them were there.
        """
        low = bisect_right(self._stops, start)
        high = bisect_left(self._starts, stop)
        if low >= high:
            return 0
        before = sum(self._stops[low:high]) - sum(self._starts[low:high])
        starts: list[int] = []
        stops: list[int] = []
        if self._starts[low] < start:
            starts.append(self._starts[low])
            stops.append(start)
        if self._stops[high - 1] > stop:
            starts.append(stop)
            stops.append(self._stops[high - 1])
        self._starts[low:high] = starts
        self._stops[low:high] = stops
        removed = before - (sum(stops) - sum(starts))
        self.count -= removed
        return removed

    def remove_below(self, limit: int) -> int:
        """Take everything below *limit* out; returns how many numbers that were."""
        if not self._starts or self._starts[0] >= limit:
            return 0
        return self.remove(self._starts[0], limit)

    def overlap(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Give the parts of *start* .. *stop* that are in the set."""
        low = bisect_right(self._stops, start)
        high = bisect_left(self._starts, stop)
        return [
            (max(start, self._starts[index]), min(stop, self._stops[index]))
            for index in range(low, high)
        ]

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Give the parts of *start* .. *stop* that are not in the set."""
        parts: list[tuple[int, int]] = []
        for inside, after in self.overlap(start, stop):
            if inside > start:
                parts.append((start, inside))
            start = after
        if start < stop:
            parts.append((start, stop))
        return parts
