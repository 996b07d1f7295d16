"""Tests for :mod:`wavesync.udt.gathering`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.gathering import (
    NEAR_CREDIT,
    NEAR_INTERVAL,
    PACING_CREDIT,
    PACING_INTERVAL,
    PEER_WINDOW_PART,
    WINDOW_PART,
    Gathering,
)
from wavesync.udt.send_buffer import SendBuffer
from wavesync.udt.tail import NEAR, SharedTrip

_PAYLOAD = 1456
_BURST = 44


class GatheringTests(SynchronousTestCase):
    """Bursts to a near peer are large, others as the pace wants them."""

    def gathering(self, trip: float, unsent: int = 1_000_000) -> Gathering:
        """:return: one to a peer as far away as that, with so many bytes to send."""
        buffer = SendBuffer(7, 100, _PAYLOAD, 0.0)
        buffer.write(bytes(unsent))
        shared = SharedTrip()
        shared.expect(trip, 0.0)
        return Gathering(buffer, shared)

    def setUp(self) -> None:
        """One peer just near enough, one just too far."""
        self.near = self.gathering(NEAR)
        self.far = self.gathering(NEAR + 0.0001)

    def test_pace(self) -> None:
        """A burst is what a millisecond brings, or five to a near peer, and what is late."""
        self.assertEqual(self.far.burst(2000.0, 0.0), round(2000 * PACING_INTERVAL))
        self.assertEqual(self.near.burst(2000.0, 0.0), round(2000 * NEAR_INTERVAL))
        self.assertEqual(self.far.burst(2000.0, 0.004), 10)
        for gathering in (self.near, self.far):
            self.assertEqual(gathering.burst(10.0, 0.0), 1)
            self.assertEqual(gathering.burst(1e6, 0.0), _BURST)
            self.assertEqual(gathering.burst(float("inf"), 0.0), _BURST)

    def test_credit(self) -> None:
        """To a near peer a late timer catches up 20 ms, as far as that is one burst."""
        self.assertEqual(self.far.credit(1000.0), PACING_CREDIT)
        self.assertEqual(self.near.credit(1000.0), NEAR_CREDIT)
        self.assertAlmostEqual(self.near.credit(4400.0), 0.01)
        self.assertEqual(self.near.credit(1e6), PACING_CREDIT)
        self.assertEqual(self.near.credit(float("inf")), PACING_CREDIT)

    def test_windows(self) -> None:
        """To a near peer nothing leaves through a window before a part of it, or a burst, may."""
        for part, window, enough in (
            (WINDOW_PART, 100, 25),
            (PEER_WINDOW_PART, 60, 30),
            (WINDOW_PART, 10_000, _BURST),
            (WINDOW_PART, 4, 1),
        ):
            self.assertEqual(self.near.through(enough, window, part), enough)
            self.assertEqual(self.near.through(enough - 1, window, part), 0)
            self.assertEqual(self.far.through(enough - 1, window, part), enough - 1)
        self.assertLessEqual(self.near.through(0, 1, WINDOW_PART), 0)
        self.assertLess(self.near.through(-3, 100, WINDOW_PART), 1)

    def test_waited_for(self) -> None:
        """What had to wait for a window leaves as one burst, whatever the pace; only that one."""
        self.near.through(10, 100, WINDOW_PART)
        self.assertEqual(self.near.burst(100.0, 0.0), 25)
        self.near.left()
        self.assertEqual(self.near.burst(100.0, 0.0), 1)

    def test_the_last_bytes(self) -> None:
        """What fits through leaves at once if it is all there is."""
        near = self.gathering(0.001, unsent=3 * _PAYLOAD)
        self.assertEqual(near.through(3, 100, WINDOW_PART), 3)
        self.assertEqual(near.through(2, 100, WINDOW_PART), 0)
