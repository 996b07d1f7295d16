"""Tests for :mod:`wavesync.agent.parking_waits`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.parking_waits import ParkingWaits


class ParkingWaitsTests(SynchronousTestCase):
    """How long a relay is left alone."""

    def test_failures(self) -> None:
        """Three failures are followed by an attempt at once, then ever longer pauses up to 11 s."""
        waits = ParkingWaits(lambda: 1.0)
        pauses = [round(waits.failed(), 3) for _ in range(13)]
        self.assertEqual(pauses, [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 11.0, 11.0, 11.0])
        for _ in range(5000):
            waits.failed()
        self.assertEqual(waits.failed(), 11.0)
        waits.reset()
        self.assertEqual(waits.failed(), 0.0)

    def test_spread(self) -> None:
        """A thousand servers do not come in the same moment, and none later than it must."""
        for name, least, most in (
            ("spread", 0.0, 5.0),
            ("fill", 0.0, 3.0),
            ("moved", 5.0, 15.0),
            ("refused", 60.0, 180.0),
        ):
            early, late = ParkingWaits(lambda: 0.0), ParkingWaits(lambda: 1.0)
            bounds = [getattr(waits, name)() for waits in (early, late)]
            self.assertEqual(bounds, [least, most], name)
        for _ in range(20):
            pause = early.failed()
        self.assertEqual(pause, 5.5)

    def test_busy(self) -> None:
        """A relay is obeyed that says when to come again, within reason."""
        waits = ParkingWaits(lambda: 0.0)
        self.assertEqual([waits.busy(said) for said in (None, 0.0, 7.0, 86400.0)], [1, 0.1, 7, 60])
        self.assertEqual(ParkingWaits(lambda: 1.0).busy(10.0), 15.0)
