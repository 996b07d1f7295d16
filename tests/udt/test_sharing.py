"""Tests for how the default strategy shares a bottleneck."""

import math

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.sharing import (
    EAGER_FLIGHT,
    LOSSY,
    MIN_EAGERNESS,
    PEACE_ROUNDS,
    YIELD,
    Sharing,
    eagerness,
)


class EagernessTests(SynchronousTestCase):
    """How much a flow is after more."""

    def test_smaller_flows_are_more_eager(self) -> None:
        """What a flow takes on top grows with what it has, but by less."""
        for one, two in ((51, 100), (100, 400), (400, 1600), (1600, 2200)):
            self.assertGreater(eagerness(one), eagerness(two))
            self.assertLess(one * eagerness(one), two * eagerness(two))

    def test_bounds(self) -> None:
        """The smallest flow is not wild, the largest not idle."""
        self.assertEqual(eagerness(0.001), 1.0)
        self.assertEqual(eagerness(EAGER_FLIGHT), 1.0)
        self.assertLess(eagerness(EAGER_FLIGHT + 1), 1.0)
        self.assertEqual(eagerness(1e9), MIN_EAGERNESS)


class SharingTests(SynchronousTestCase):
    """Yielding, and coming back."""

    def rounds(
        self,
        sharing: Sharing,
        count: int,
        lost: int = 0,
        *,
        queued: bool = False,
        gained: int = 400,
    ) -> None:
        """Let round trips pass with a bandwidth-delay product of 200 packets."""
        for _ in range(count):
            sharing.end_round(gained, lost, queued, 200.0, 250.0, 600.0)

    def test_nobody_else(self) -> None:
        """A flow that never yielded is limited by nobody, and at peace from its second round."""
        sharing = Sharing()
        self.rounds(sharing, 1)
        self.assertEqual(sharing.cap, math.inf)
        self.assertTrue(sharing.peaceful)

    def test_yielding(self) -> None:
        """More loss than the limit in a queue costs a part of the window; the limit does not."""
        sharing = Sharing()
        self.rounds(sharing, 1, round(400 * LOSSY), queued=True)
        self.assertEqual(sharing.cap, math.inf)
        sharing = Sharing()
        self.rounds(sharing, 1, round(400 * LOSSY) + 1, queued=True)
        self.assertAlmostEqual(sharing.cap, YIELD * 600)

    def test_floor(self) -> None:
        """However often it yields, a flow keeps what fills the path at its rate."""
        sharing = Sharing()
        self.rounds(sharing, 10, 400, queued=True)
        self.assertEqual(sharing.cap, 250.0)

    def test_no_queue(self) -> None:
        """Loss without a queue is nobody's fault."""
        sharing = Sharing()
        self.rounds(sharing, 10, 100)
        self.assertEqual(sharing.cap, math.inf)

    def test_usual_loss(self) -> None:
        """What is lost all the time is no sign of an overflow, more than that is."""
        sharing = Sharing()
        self.rounds(sharing, 40, 4)
        self.rounds(sharing, 1, 15, queued=True)
        self.assertEqual(sharing.cap, math.inf)
        self.rounds(sharing, 1, 25, queued=True)
        self.assertLess(sharing.cap, math.inf)

    def test_usual_loss_has_a_limit(self) -> None:
        """A flow that loses a lot because queues overflow all the time goes on yielding."""
        sharing = Sharing()
        self.rounds(sharing, 100, 40, queued=True)
        self.assertEqual(sharing.cap, 250.0)

    def test_usual_loss_is_forgotten(self) -> None:
        """A path that has become clean counts as one."""
        sharing = Sharing()
        self.rounds(sharing, 40, 4)
        self.rounds(sharing, 80)
        self.rounds(sharing, 1, 9, queued=True)
        self.assertLess(sharing.cap, math.inf)

    def test_fewer_than_thought(self) -> None:
        """A round trip that seems to take deliveries back does no harm."""
        sharing = Sharing()
        self.rounds(sharing, 40, 4)
        self.rounds(sharing, 1, 0, gained=-1)
        self.rounds(sharing, 1, 0, gained=0)
        self.assertEqual(sharing.cap, math.inf)

    def test_coming_back(self) -> None:
        """The window that was given up comes back little by little."""
        sharing = Sharing()
        self.rounds(sharing, 1, 100, queued=True)
        self.rounds(sharing, 32)
        self.assertAlmostEqual(sharing.cap, YIELD * 600 + 100 + 32)

    def test_peace(self) -> None:
        """Probes are larger once it is long enough that a flow yielded."""
        sharing = Sharing()
        self.rounds(sharing, 1, 100, queued=True)
        self.rounds(sharing, PEACE_ROUNDS)
        self.assertFalse(sharing.peaceful)
        self.assertEqual(sharing.probe(200.0), 0.5)
        self.rounds(sharing, 1)
        self.assertTrue(sharing.peaceful)
        self.assertEqual(sharing.probe(200.0), 1.75)
        self.assertEqual(sharing.probe(1.0), 2.0)

    def test_headroom(self) -> None:
        """A small flow puts more into the queue of others, measured by what it has."""
        sharing = Sharing()
        self.assertEqual(sharing.headroom(10.0), 7.5)
        self.assertAlmostEqual(sharing.headroom(200.0), 140.0)
        self.assertAlmostEqual(sharing.headroom(1e6), 0.28e6)
