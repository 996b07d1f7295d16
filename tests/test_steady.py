"""Tests for :mod:`wavesync.steady`."""

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from wavesync.steady import keep_steady


class KeepSteadyTests(SynchronousTestCase):
    """A process of ours does not stall when its host's clock is set."""

    def test_monotonic(self) -> None:
        """The reactor, and the timers that are set with it, count by the monotonic clock."""
        reactor = SelectReactor()
        self.assertTrue(keep_steady(reactor))
        before = time.monotonic()
        self.assertLess(abs(reactor.seconds() - before), 60)
        called: list[bool] = []
        timer = reactor.callLater(0, called.append, True)
        self.assertLess(abs(timer.getTime() - before), 60)
        while not called:
            reactor.runUntilCurrent()
        reactor.disconnectAll()

    def test_timers_are_set(self) -> None:
        """One in whose timers the date is in already is not touched."""
        reactor = SelectReactor()
        reactor.callLater(100, lambda: None)
        self.assertFalse(keep_steady(reactor))
        self.assertLess(abs(reactor.seconds() - time.time()), 60)
