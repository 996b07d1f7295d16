"""Tests for :mod:`wavesync.udt.fine_timer`."""

import itertools
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from wavesync.udt.fine_timer import FineTimer, fine_timer

reactor: Any = _reactor


class FineTimerTests(TestCase):
    """A timer of the kernel on the reactor."""

    def setUp(self) -> None:
        """Make one, and note its calls."""
        self.calls: list[float] = []
        self.enough: Deferred[None] = Deferred()
        self.left = 1
        timer = fine_timer(reactor, self.called)
        if timer is None:
            self.skipTest("this system has no timerfd, or this reactor watches no descriptors")
        self.timer: FineTimer = timer
        self.addCleanup(timer.stop)

    def called(self) -> None:
        """Note a call; go on until there were enough."""
        self.calls.append(time.monotonic())
        self.left -= 1
        if self.left:
            self.timer.set(0.0003)
        elif not self.enough.called:
            self.enough.callback(None)

    async def go(self, seconds: float, times: int = 1) -> float:
        """Wait for so many calls; tell how long the quickest took."""
        self.left = times
        began = time.monotonic()
        self.timer.set(seconds)
        await self.enough
        moments = [began, *self.calls]
        return min(b - a for a, b in itertools.pairwise(moments))

    def test_finer(self) -> Deferred[None]:
        """It is called after fractions of a millisecond, and never too early."""

        async def test() -> None:
            quickest = await self.go(0.0003, 50)
            self.assertGreaterEqual(quickest, 0.0003)
            self.assertLess(quickest, 0.001)
            self.assertEqual(len(self.calls), 50)

        return Deferred.fromCoroutine(test())

    def test_at_once(self) -> Deferred[None]:
        """No time at all is short, not for ever; much time is less than a second."""

        async def test() -> None:
            self.timer.set(1e9)
            await self.go(0.0)
            self.assertEqual(len(self.calls), 1)

        return Deferred.fromCoroutine(test())

    def test_put_off(self) -> Deferred[None]:
        """Setting it again replaces what was set; what had come by then does not count."""

        async def test() -> None:
            self.timer.set(0.0001)
            time.sleep(0.001)
            took = await self.go(0.05)
            self.assertGreaterEqual(took, 0.05)
            self.assertEqual(len(self.calls), 1)

        return Deferred.fromCoroutine(test())

    def test_stop(self) -> None:
        """It gives its descriptor back, and can be stopped twice."""
        self.timer.set(0.0001)
        self.timer.stop()
        self.timer.stop()
        self.assertEqual(self.timer.fileno(), -1)
        self.assertNotIn(self.timer, reactor.getReaders())

    def test_virtual_time(self) -> None:
        """A virtual clock has none: everything is as fine as it is told there."""
        self.assertIsNone(fine_timer(Clock(), self.called))
