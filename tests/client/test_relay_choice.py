"""Tests for :mod:`wavesync.client.relay_choice`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.relay_choice import LONGEST_WAIT, RelayChoice, RelayOption
from wavesync.signalling.relay_urls import Relay

NEAR = RelayOption(Relay("near.example", 3356, tls=False), 0.01)
FAR = RelayOption(Relay("far.example", 3356, tls=False), 0.09)


class RelayChoiceTests(SynchronousTestCase):
    """A client goes through the relay over which the server is nearest, and waits for none in vain."""

    def setUp(self) -> None:
        self.choice: RelayChoice[str] = RelayChoice()
        for option in (NEAR, FAR):
            self.choice.begin(option, 1.0)

    def test_nothing_reached(self) -> None:
        """Nothing is due while no relay has answered."""
        self.assertIsNone(self.choice.due())
        self.assertFalse(self.choice.empty)
        self.assertEqual(set(self.choice.pending), {NEAR, FAR})

    def test_best_possible(self) -> None:
        """A relay than which none can be better any more is asked at once."""
        self.choice.reached(NEAR, "leg", 1.04)
        self.assertEqual(self.choice.due(), 1.04)
        self.assertEqual(self.choice.take(), (NEAR, "leg"))

    def test_may_be_better(self) -> None:
        """One that is far from the server waits for one that is near, as long as that can be better."""
        self.choice.reached(FAR, "far", 1.02)
        due = self.choice.due()
        self.assertAlmostEqual(due or 0.0, 1.0 + 0.02 + 0.09 - 0.01)
        self.choice.reached(NEAR, "near", 1.05)
        self.assertEqual(self.choice.due(), 1.05)
        self.assertEqual(self.choice.take(), (NEAR, "near"))
        self.assertEqual(self.choice.drain(), ["far"])
        self.assertTrue(self.choice.empty)

    def test_bound(self) -> None:
        """However far the server says that it is from a relay, the wait is short."""
        odd = RelayOption(Relay("odd.example", 3356, tls=False), 60.0)
        self.choice.begin(odd, 1.0)
        self.choice.reached(odd, "odd", 1.01)
        self.assertAlmostEqual(self.choice.due() or 0.0, 1.01 + LONGEST_WAIT)

    def test_other_port(self) -> None:
        """A host that was asked in vain is asked by another port only after all others."""
        port = RelayOption(Relay("near.example", 443, tls=True), 0.01)
        self.choice.begin(port, 1.0)
        self.choice.reached(NEAR, "near", 1.02)
        self.assertEqual(self.choice.take(), (NEAR, "near"))
        self.choice.in_vain(NEAR)
        self.choice.reached(port, "port", 1.03)
        self.assertAlmostEqual(self.choice.due() or 0.0, 1.0 + LONGEST_WAIT)
        self.choice.reached(FAR, "far", 1.09)
        self.assertEqual(self.choice.due(), 1.09)
        self.assertEqual(self.choice.take(), (FAR, "far"))
        self.assertEqual(self.choice.take(), (port, "port"))

    def test_failed(self) -> None:
        """A relay that fails is waited for no longer, and one that was lost is not picked."""
        self.choice.reached(FAR, "far", 1.02)
        self.choice.failed(NEAR)
        self.assertEqual(self.choice.due(), 1.02)
        self.choice.failed(FAR)
        self.assertTrue(self.choice.empty)
        self.assertIsNone(self.choice.due())
