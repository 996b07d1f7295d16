"""Tests of :mod:`wavesync.alarm`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.alarm import Alarm


class AlarmTests(SynchronousTestCase):
    """It is never late, and hardly ever moved."""

    def setUp(self) -> None:
        """Make one."""
        self.clock = Clock()
        self.came: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.came.append(self.clock.seconds()))

    def advance_to(self, at: float) -> None:
        """Let time pass."""
        self.clock.pump([0.5] * round((at - self.clock.seconds()) * 2))

    def test_comes_once(self) -> None:
        """It comes at the time it was set to, once; then it can be set again."""
        self.alarm.set(2.0)
        self.advance_to(5.0)
        self.assertEqual(self.came, [2.0])
        self.alarm.set(6.0)
        self.advance_to(9.0)
        self.assertEqual(self.came, [2.0, 6.0])

    def test_earlier(self) -> None:
        """Set to an earlier time it comes then, and not again at the first."""
        self.alarm.set(5.0)
        self.alarm.set(2.0)
        self.advance_to(9.0)
        self.assertEqual(self.came, [2.0])

    def test_later(self) -> None:
        """Set to later times it is left alone: a busy session makes no timer for each of its bytes."""
        self.alarm.set(2.0)
        (timer,) = self.clock.getDelayedCalls()
        for _ in range(3):
            self.alarm.set(2.0)
            self.alarm.set(4.0)
        self.assertEqual(self.clock.getDelayedCalls(), [timer])
        self.advance_to(9.0)
        self.assertEqual(self.came, [2.0])

    def test_odd_times(self) -> None:
        """The same time again makes no new timer, whatever rounding makes of it."""
        now = 0.1
        self.clock.advance(now)
        for wait in (0.1, 0.7, 14.9, 15.0):
            self.alarm.set(None)
            self.alarm.set(now + wait)
            before = self.clock.getDelayedCalls()
            self.alarm.set(now + wait)
            self.assertEqual(self.clock.getDelayedCalls(), before)

    def test_past(self) -> None:
        """A time that is over means at once, but not from inside the call."""
        self.clock.advance(3.0)
        self.alarm.set(1.0)
        self.assertEqual(self.came, [])
        self.clock.advance(0)
        self.assertEqual(self.came, [3.0])

    def test_off(self) -> None:
        """It can be switched off, again and again."""
        self.alarm.set(2.0)
        self.alarm.set(None)
        self.alarm.set(None)
        self.advance_to(5.0)
        self.assertEqual((self.came, self.clock.getDelayedCalls()), ([], []))
