"""Tests for :mod:`wavesync.agent.waits`."""

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.registration import Wait
from wavesync.agent.waits import Waits


class WaitsTests(SynchronousTestCase):
    """An agent comes back soon, but a thousand agents do not come back together or for ever."""

    def test_back_off(self) -> None:
        """Failures wait twice as long each time, up to a limit; success begins anew."""
        waits = Waits(jitter=lambda: 1.0)
        for why, expected in (
            (Wait.UNREACHABLE, [0.5, 1, 2, 4, 5, 5]),
            (Wait.BUSY, [1, 2, 4, 8, 16, 30, 30]),
            (Wait.BROKEN, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]),
        ):
            self.assertEqual([waits.next(why) for _ in expected], expected)
        waits.reset()
        self.assertEqual(waits.next(Wait.UNREACHABLE), 0.5)

    def test_time_spent(self) -> None:
        """Time lost in an attempt in vain is not waited for once more."""
        waits = Waits(jitter=lambda: 1.0)
        for _ in range(10):
            waits.next(Wait.UNREACHABLE)
        self.assertEqual(waits.next(Wait.UNREACHABLE, spent=4.0), 1.0)
        self.assertEqual(waits.next(Wait.UNREACHABLE, spent=6.0), Waits.FIRST_BROKEN)

    def test_very_many_failures(self) -> None:
        """A mediator that was taken away is asked rarely, and numbers do not overflow."""
        waits = Waits(jitter=lambda: 1.0)
        for _ in range(Waits.HOPEFUL):
            last = waits.next(Wait.UNREACHABLE)
        self.assertEqual(last, Waits.LONGEST)
        for _ in range(100_000):
            last = waits.next(Wait.UNREACHABLE)
        self.assertEqual(last, Waits.FORLORN)

    def returns(self, down: float, agents: int = 2000) -> list[float]:
        """When each of many agents reaches a mediator that was restarted, seconds after its return.

        :param down: for how long there was none.
        """
        draw = Random(down)
        times = []
        for _ in range(agents):
            waits = Waits(jitter=lambda: draw.uniform(0.5, 1.5))
            now = waits.next(Wait.DISMISSED)
            while now < down:
                now += waits.next(Wait.UNREACHABLE)
            times.append(now - down)
        return sorted(times)

    def test_restarted_mediator(self) -> None:
        """All agents are back within ten seconds of a restart, less than a tenth in any tenth of a second.

        However long the mediator was away: not at all, seconds, or two minutes.
        """
        for down in (0.0, 0.7, 3.0, 20.0, 120.0):
            times = self.returns(down)
            self.assertLess(times[-1], 8, f"down for {down} s")
            slices = Counter(int(time * 10) for time in times)
            self.assertLess(max(slices.values()), len(times) / 10, f"down for {down} s")

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
