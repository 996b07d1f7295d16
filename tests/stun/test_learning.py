"""Tests for :mod:`wavesync.stun.learning`."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.learning import AGAIN_AFTER, RETRY_AFTER, START_AFTER, LifetimeLearner
from wavesync.stun.pace import SHORTEST_PAUSE, Pace


class Kept:
    """Knows something, or nothing, of this network.

    :ivar kept: what it was given to keep.
    """

    def __init__(self, known: tuple[Lifetime, float] | None) -> None:
        self.known = known
        self.kept: list[Lifetime] = []

    def recall(self) -> tuple[Lifetime, float] | None:
        """Tell it."""
        return self.known

    def keep(self, lifetime: Lifetime) -> None:
        """Keep it."""
        self.kept.append(lifetime)


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

    def test_kept(self) -> None:
        """What was found within the hour counts from the start, and is not searched for again until
        then; what is older counts until it was searched for; what is found is kept."""
        for age, wait in ((600.0, AGAIN_AFTER - 600.0), (2 * AGAIN_AFTER, START_AFTER)):
            kept = Kept((Lifetime(20.0, None), age))
            self.learner = LifetimeLearner(
                self.clock, self.search, self.pace, kept=kept, random=lambda: 0.5
            )
            self.pace.interval = SHORTEST_PAUSE
            self.searches.clear()
            self.learner.start()
            self.assertEqual(self.pace.interval, 12.0)
            self.clock.advance(wait - 1)
            self.assertEqual(self.searches, [])
            self.clock.advance(1)
            self.searches[0].callback(Lifetime(25.0, 30.0))
            self.assertEqual((self.pace.interval, kept.kept), (15.0, [Lifetime(25.0, 30.0)]))
            self.learner.stop()

    def test_nothing_kept(self) -> None:
        """On a network that is new the search comes soon; what cannot be found out is not kept."""
        kept = Kept(None)
        self.learner = LifetimeLearner(
            self.clock, self.search, self.pace, kept=kept, random=lambda: 0.5
        )
        self.learner.start()
        self.clock.advance(START_AFTER)
        self.searches[0].callback("nobody answers")
        self.assertEqual((kept.kept, self.pace.interval), ([], SHORTEST_PAUSE))
        self.learner.stop()

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
