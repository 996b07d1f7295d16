"""Tests for :mod:`wavesync.stun.learning`."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.learning import AGAIN_AFTER, RETRY_AFTER, START_AFTER, LifetimeLearner
from wavesync.stun.pace import SHORTEST_PAUSE, Pace


class LifetimeLearnerTests(SynchronousTestCase):
    """A host that runs for long sends no more often than its NAT demands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pace = Pace()
        self.searches: list[Deferred[Lifetime | str]] = []
        self.cancelled = 0
        self.fraction = 0.5
        self.learner = LifetimeLearner(
            self.clock, self.search, self.pace, random=lambda: self.fraction
        )

    def search(self) -> Deferred[Lifetime | str]:
        """Note that one begins."""
        self.searches.append(Deferred(self.cancel))
        return self.searches[-1]

    def cancel(self, _: object) -> None:
        """Note that one is given up."""
        self.cancelled += 1

    def test_learns(self) -> None:
        """Some seconds after the start it is found out, and again each hour."""
        self.learner.start()
        self.learner.start()
        self.clock.advance(START_AFTER - 1)
        self.assertEqual(self.searches, [])
        self.clock.advance(1)
        self.searches[0].callback(Lifetime(20.0, 22.0))
        self.assertAlmostEqual(self.pace.interval, 12.0)
        self.clock.advance(AGAIN_AFTER)
        self.searches[1].callback(Lifetime(9.0, 10.0))
        self.assertAlmostEqual(self.pace.interval, 5.4)

    def test_not_found(self) -> None:
        """Where nothing can be found out, what is known stands, and it is tried again soon."""
        self.learner.start()
        self.clock.advance(START_AFTER)
        self.searches[0].callback("nobody answers")
        self.clock.advance(RETRY_AFTER)
        self.searches[1].errback(OSError("no socket"))
        self.clock.advance(RETRY_AFTER)
        self.assertEqual((len(self.searches), self.pace.interval), (3, SHORTEST_PAUSE))

    def test_jitter(self) -> None:
        """Not all hosts search in the same moment."""
        for fraction, seconds in ((0.0, START_AFTER / 2), (1.0, START_AFTER * 1.5)):
            self.fraction = fraction
            self.learner.start()
            (call,) = self.clock.getDelayedCalls()
            self.assertAlmostEqual(call.getTime(), seconds)
            self.learner.stop()

    def test_stop(self) -> None:
        """Stopped, it leaves nothing, whatever it was doing, and can be started again."""
        self.learner.stop()
        self.learner.start()
        self.learner.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.learner.start()
        self.clock.advance(START_AFTER)
        self.learner.stop()
        self.assertEqual((self.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.learner.start()
        self.clock.advance(START_AFTER)
        self.assertEqual(len(self.searches), 2)
