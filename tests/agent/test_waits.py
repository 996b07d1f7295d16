"""Tests for :mod:`wavesync.agent.waits`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.registration import Wait
from wavesync.agent.waits import Waits


class WaitsTests(SynchronousTestCase):
    """An agent comes back soon, but a thousand agents do not come back together or for ever."""

    def test_back_off(self) -> None:
        """Failures wait twice as long each time, up to a limit; success begins anew."""
        waits = Waits(jitter=lambda: 1.0)
        self.assertEqual(
            [waits.next(Wait.RETRY) for _ in range(9)], [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        )
        waits.reset()
        self.assertEqual(waits.next(Wait.RETRY), 0.5)

    def test_very_many_failures(self) -> None:
        """A mediator that is away for a year does not make numbers overflow."""
        waits = Waits(jitter=lambda: 1.0)
        for _ in range(100_000):
            last = waits.next(Wait.RETRY)
        self.assertEqual(last, 30)

    def test_minutes(self) -> None:
        """Refused and superseded agents stay away for minutes."""
        waits = Waits(jitter=lambda: 1.0)
        self.assertEqual(waits.next(Wait.REFUSED), 120)
        self.assertEqual(waits.next(Wait.SUPERSEDED), 300)

    def test_jitter(self) -> None:
        """By default no two agents wait equally long, and none much longer than meant."""
        times = {Waits().next(Wait.SUPERSEDED) for _ in range(100)}
        self.assertGreater(len(times), 90)
        self.assertTrue(all(150 <= time <= 450 for time in times))
