"""Tests for :mod:`wavesync.udt.estimators`."""

import math

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.estimators import (
    LOWEST_PERIOD,
    MAX_RTT_SAMPLE,
    ArrivalRate,
    Capacity,
    Lowest,
    RoundTrip,
)


class LowestTests(SynchronousTestCase):
    """The lowest sample is remembered for a while."""

    def test_lowest(self) -> None:
        """A lower one counts at once, a higher one when the lowest has been forgotten."""
        lowest = Lowest()
        self.assertEqual(lowest.value, math.inf)
        told = []
        for sample, now in (
            (0.3, 0.0),
            (0.1, 1.0),
            (0.2, 2.0),
            (0.2, 5.5),
            (0.4, 6.0),
            (0.4, 11.0),
        ):
            lowest.add(sample, now)
            told.append(lowest.value)
        self.assertEqual(LOWEST_PERIOD, 5.0)
        self.assertEqual(told, [0.3, 0.1, 0.1, 0.1, 0.1, 0.2])


class RoundTripTests(SynchronousTestCase):
    """Round trips are smoothed, and only plausible ones count."""

    def test_starts_like_libudt(self) -> None:
        """Before any sample 100 ms with a deviation of 50 ms are told to the peer."""
        trip = RoundTrip()
        self.assertEqual((trip.rtt, trip.variance), (0.1, 0.05))
        self.assertAlmostEqual(trip.repeat_interval, 0.3)

    def test_first_sample_counts_fully(self) -> None:
        """The assumption is dropped at once, so that a short path is not slow for seconds."""
        trip = RoundTrip()
        trip.add(0.004)
        self.assertEqual((trip.rtt, trip.variance), (0.004, 0.002))

    def test_smoothing(self) -> None:
        """A later sample counts for an eighth, its deviation for a quarter."""
        trip = RoundTrip()
        trip.add(0.08)
        trip.add(0.16)
        self.assertAlmostEqual(trip.rtt, 0.09)
        self.assertAlmostEqual(trip.variance, 0.04 + (0.08 - 0.04) / 4)

    def test_limit(self) -> None:
        """30 s is taken, more and less than nothing are not."""
        trip = RoundTrip()
        trip.add(MAX_RTT_SAMPLE + 0.001)
        trip.add(-0.001)
        self.assertFalse(trip.sampled)
        trip.add(MAX_RTT_SAMPLE)
        self.assertEqual(trip.rtt, MAX_RTT_SAMPLE)

    def test_the_peer_is_believed_until_we_know_better(self) -> None:
        """A side that only sends uses the receiver's figures; its own samples replace them."""
        trip = RoundTrip()
        trip.adopt(0.02, 0.001)
        self.assertEqual(trip.rtt, 0.02)
        trip.add(0.03)
        trip.adopt(0.5, 0.1)
        self.assertEqual(trip.rtt, 0.03)

    def test_nonsense_is_not_believed(self) -> None:
        """Zero and absurd figures in an ACK change nothing."""
        trip = RoundTrip()
        trip.adopt(0.0, 0.0)
        trip.adopt(4000.0, 0.1)
        trip.adopt(0.1, 4000.0)
        self.assertEqual(trip.rtt, 0.1)


class ArrivalRateTests(SynchronousTestCase):
    """Word 4 of our ACKs: libudt's senders set their rate by it."""

    def test_unknown_at_first(self) -> None:
        """Nothing is told before there are enough samples."""
        rate = ArrivalRate()
        for index in range(8):
            rate.add(1, index * 0.001)
        self.assertEqual(rate.rate, 0)
        rate.add(1, 0.008)
        self.assertEqual(rate.rate, 1000)

    def test_bursts_that_come_at_once(self) -> None:
        """Packets handed over together count as spread over the time since the last ones."""
        rate = ArrivalRate()
        for index in range(20):
            rate.add(4, index * 0.001)
            rate.add(6, index * 0.001 + 0.0001)
        self.assertEqual(rate.rate, 10000)

    def test_pauses_fall_out(self) -> None:
        """A writer that pauses does not make the path look slow."""
        rate = ArrivalRate()
        now = 0.0
        for index in range(64):
            now += 0.5 if index % 8 == 0 else 0.001
            rate.add(1, now)
        self.assertEqual(rate.rate, 1000)


class CapacityTests(SynchronousTestCase):
    """Word 5 of our ACKs: measured by packets 16n and 16n + 1."""

    def test_pairs(self) -> None:
        """The gap within pairs counts, not the pauses between them."""
        capacity = Capacity()
        for index in range(10):
            capacity.add(16 * index, 1, index * 0.1)
            capacity.add(16 * index + 1, 1, index * 0.1 + 0.0005)
        self.assertEqual(capacity.rate(0), 2000)

    def test_parted_pairs_do_not_count(self) -> None:
        """Without the second packet right after the first nothing is measured."""
        capacity = Capacity()
        for index in range(10):
            capacity.add(16 * index, 1, index * 0.1)
            capacity.add(16 * index + 2, 1, index * 0.1 + 0.0005)
        self.assertEqual(capacity.rate(0), 0)

    def test_never_below_what_arrives(self) -> None:
        """A path carries at least what came over it."""
        self.assertEqual(Capacity().rate(700), 700)

    def test_pairs_within_a_burst(self) -> None:
        """Pairs that came in one piece count with the spacing of arrivals if that is short; the
        pace of a slow sender does not count, or libudt would stay slow."""
        for step, expected in ((0.00064, 100_000), (0.064, 50_000), (1.0, 50_000)):
            capacity, arrival = Capacity(), ArrivalRate()
            for index in range(64):
                arrival.add(64, index * step)
                capacity.add(64 * index - 8, 64, index * step)
            self.assertEqual(capacity.rate(arrival.rate), expected)
