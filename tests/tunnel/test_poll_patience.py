"""Tests of :mod:`wavesync.tunnel.poll_patience`: proxies that cut what lasts too long."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.tunnel.poll_patience import HOLD, LEAST_HOLD, Patience


class PatienceTests(SynchronousTestCase):
    """It learns how long is too long, and forgets it again."""

    def test_requests_are_cut(self) -> None:
        """A proxy that cuts every request after 10 s: they are held for less, and cut no more."""
        patience = Patience()
        cuts = 0
        for _ in range(6):
            if patience.hold > 10.0:
                cuts += 1
                patience.cut(10.0, 10.0)
        self.assertEqual(cuts, 1)
        self.assertGreater(patience.hold, 5.0)
        self.assertFalse(patience.outworn(60.0))

    def test_connections_are_cut(self) -> None:
        """A proxy that cuts every connection after 20 s: none gets that old, once that is known."""
        patience = Patience()
        age, cuts = 0.0, 0
        for _ in range(40):
            if patience.outworn(age):
                age = 0.0
            if age + patience.hold >= 20.0:
                cuts += 1
                patience.cut(20.0 - age, 20.0)
                age = 0.0
            else:
                age += patience.hold
        self.assertLessEqual(cuts, 3)
        self.assertGreater(patience.hold, 5.0)

    def test_short_cuts_teach_nothing(self) -> None:
        """A proxy that is started anew cuts requests of any age."""
        patience = Patience()
        patience.cut(0.5, 0.5)
        self.assertEqual((patience.hold, patience.life), (HOLD, None))

    def test_limits(self) -> None:
        """There is a least time, and what is never cut grows back, no further than at first."""
        patience = Patience()
        patience.cut(1.5, 1.5)
        self.assertEqual(patience.hold, LEAST_HOLD)
        patience.cut(1.5, 10.0)
        self.assertIsNotNone(patience.life)
        for _ in range(400):
            patience.held()
        self.assertEqual((patience.hold, patience.life), (HOLD, None))
