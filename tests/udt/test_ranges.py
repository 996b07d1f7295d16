"""Tests for :mod:`wavesync.udt.ranges`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.ranges import RangeSet

_STEP = st.tuples(
    st.sampled_from(["add", "remove", "remove_below"]), st.integers(0, 60), st.integers(0, 12)
)


class RangeSetTests(SynchronousTestCase):
    """A range set is a set of integers."""

    @settings(deadline=None)
    @given(st.lists(_STEP, max_size=40), st.integers(0, 60), st.integers(0, 20))
    def test_like_a_set(self, steps: list[tuple[str, int, int]], start: int, length: int) -> None:
        """After any steps it holds, counts, overlaps and lacks what a plain set does."""
        ranges, plain = RangeSet(), set[int]()
        for action, first, size in steps:
            numbers = set(range(first, first + size))
            if action == "add":
                self.assertEqual(ranges.add(first, first + size), len(numbers - plain))
                plain |= numbers
            elif action == "remove":
                self.assertEqual(ranges.remove(first, first + size), len(numbers & plain))
                plain -= numbers
            else:
                below = {number for number in plain if number < first}
                self.assertEqual(ranges.remove_below(first), len(below))
                plain -= below
            self.assertEqual(ranges.count, len(plain))
            self.assertEqual(bool(ranges), bool(plain))
        flat = [number for low, high in ranges.ranges() for number in range(low, high)]
        self.assertEqual(flat, sorted(plain))
        if plain:
            self.assertEqual(ranges.first(), ranges.ranges()[0])
        asked = range(start, start + length)
        inside = [
            n for low, high in ranges.overlap(start, start + length) for n in range(low, high)
        ]
        outside = [n for low, high in ranges.gaps(start, start + length) for n in range(low, high)]
        self.assertEqual(inside, [number for number in asked if number in plain])
        self.assertEqual(outside, [number for number in asked if number not in plain])
        for number in asked:
            self.assertEqual(number in ranges, number in plain)

    def test_neighbours_join(self) -> None:
        """Ranges that touch become one, so that NAKs stay short."""
        ranges = RangeSet()
        ranges.add(1, 3)
        ranges.add(5, 7)
        ranges.add(3, 5)
        self.assertEqual(ranges.ranges(), [(1, 7)])
