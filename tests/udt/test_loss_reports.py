"""Tests for :mod:`wavesync.udt.loss_reports`."""

import itertools
import math

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.estimators import RoundTrip
from wavesync.udt.loss_reports import MAX_REPEAT, MAX_TOLERANCE, MIN_REPEAT, LossReports
from wavesync.udt.ranges import RangeSet


class LossReportsTests(SynchronousTestCase):
    """Gaps are reported at once and again until they are filled."""

    def setUp(self) -> None:
        """A path of 40 ms, known exactly."""
        self.missing = RangeSet()
        self.trip = RoundTrip()
        self.trip.rtt, self.trip.variance, self.trip.sampled = 0.04, 0.0, True
        self.reports = LossReports(self.missing, self.trip)

    def lose(self, start: int, stop: int, now: float) -> None:
        """Skip some packets."""
        self.missing.add(start, stop)
        self.reports.gap(start, stop, now)

    def fill(self, start: int, stop: int, now: float) -> None:
        """Receive some of them."""
        self.missing.remove(start, stop)
        self.reports.filled(start, stop, now)

    def test_at_once(self) -> None:
        """A gap is reported the moment it is seen, once."""
        self.lose(5, 8, 1.0)
        self.assertEqual(self.reports.deadline(), 1.0)
        self.assertEqual(self.reports.due(1.0), [(5, 8)])
        self.assertEqual(self.reports.due(1.0), [])

    def test_repeated(self) -> None:
        """libudt says a gap once; we repeat after a round trip, then ever less often."""
        self.lose(5, 8, 1.0)
        times = []
        now = 1.0
        for _ in range(12):
            now = self.reports.deadline()
            self.assertEqual(self.reports.due(now - 1e-9), [])
            self.assertEqual(self.reports.due(now), [(5, 8)])
            times.append(now)
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertAlmostEqual(waits[0], 0.04)
        self.assertAlmostEqual(waits[1], 0.06)
        self.assertEqual(waits, sorted(waits))
        self.assertAlmostEqual(waits[-1], MAX_REPEAT)

    def test_not_too_often(self) -> None:
        """On a path without delay a gap is still reported only every 20 ms."""
        self.trip.rtt = 0.0001
        self.lose(5, 8, 1.0)
        self.reports.due(1.0)
        self.assertAlmostEqual(self.reports.deadline(), 1.0 + MIN_REPEAT)

    def test_long_path(self) -> None:
        """On a path longer than the longest wait, nothing is repeated before it can have come."""
        self.trip.rtt = 3.0
        self.lose(5, 8, 1.0)
        self.reports.due(1.0)
        self.assertAlmostEqual(self.reports.deadline(), 4.0)

    def test_only_what_is_still_missing(self) -> None:
        """A repeat names the packets that have not come, and nothing when all have."""
        self.lose(5, 10, 1.0)
        self.reports.due(1.0)
        self.fill(6, 8, 1.05)
        self.assertEqual(self.reports.due(1.1), [(5, 6), (8, 10)])
        self.fill(5, 6, 1.12)
        self.fill(8, 10, 1.12)
        self.assertEqual(self.reports.due(2.0), [])
        self.assertEqual(self.reports.deadline(), math.inf)

    def test_records_are_bounded(self) -> None:
        """However gaps break up, there are no more records than missing packets."""
        self.lose(0, 1000, 1.0)
        self.reports.due(1.0)
        for number in range(0, 1000, 2):
            self.fill(number, number + 1, 1.05)
        for now in range(2, 40):
            self.reports.due(float(now))
            self.assertLessEqual(len(self.reports._due), self.missing.count)

    def test_reordering_is_tolerated(self) -> None:
        """Packets that come late by themselves make first reports wait about as long."""
        self.lose(5, 6, 1.0)
        self.assertEqual(self.reports.due(1.0), [(5, 6)])
        self.fill(5, 6, 1.01)
        self.assertAlmostEqual(self.reports.tolerance, 0.0125)
        self.lose(7, 8, 1.1)
        self.assertEqual(self.reports.due(1.1), [])
        self.fill(7, 8, 1.11)
        self.assertEqual(self.reports.due(2.0), [])

    def test_tolerance_is_bounded(self) -> None:
        """It never exceeds half a round trip, nor 50 ms."""
        self.lose(5, 6, 1.0)
        self.fill(5, 6, 1.019)
        self.assertAlmostEqual(self.reports.tolerance, 0.02)
        self.trip.rtt = 10.0
        self.lose(6, 7, 2.0)
        self.fill(6, 7, 6.0)
        self.assertEqual(self.reports.tolerance, MAX_TOLERANCE)

    def test_losses_are_not_reordering(self) -> None:
        """What comes after a round trip was sent again: tolerance shrinks."""
        self.lose(5, 6, 1.0)
        self.fill(5, 6, 1.01)
        before = self.reports.tolerance
        self.lose(7, 8, 2.0)
        self.fill(7, 8, 2.05)
        self.assertLess(self.reports.tolerance, before)

    def test_nothing_is_learnt_before_the_path_is_known(self) -> None:
        """Without a measured round trip a retransmission would look like reordering."""
        self.trip.sampled = False
        self.lose(5, 6, 1.0)
        self.fill(5, 6, 1.001)
        self.assertEqual(self.reports.tolerance, 0.0)
