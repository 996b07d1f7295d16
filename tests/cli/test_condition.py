"""Tests for :mod:`wavesync.cli.condition`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.cli.condition import MAX_TOLD, Condition

AWAY = "the server is not online"
BUSY = "the mediator is busy"


class ConditionTests(SynchronousTestCase):
    """Whoever leaves a forwarding running over night reads what happened, not how often."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.condition = Condition(self.said.append, self.clock.seconds)

    def test_works(self) -> None:
        """As long as all is well nothing is said."""
        for _ in range(100):
            self.condition.opened()
        self.assertEqual(self.said, [])

    def test_outage(self) -> None:
        """An outage is a line at its beginning, one for each new reason, and one at its end."""
        for _ in range(50):
            self.condition.failed(AWAY)
            self.condition.failed(BUSY)
            self.clock.advance(1)
        self.assertEqual(self.said, [AWAY, BUSY])
        self.condition.opened()
        self.condition.opened()
        again = "it works again, after 50 s and 100 connections in vain"
        self.assertEqual(self.said[2:], [again])
        self.condition.failed(AWAY)
        self.assertEqual(self.said[3:], [AWAY])
        self.condition.opened()
        self.assertIn("1 connection in vain", self.said[4])

    def test_broken(self) -> None:
        """Twenty connections that break for one reason are one line; the next time it is another."""
        for _ in range(2):
            self.said.clear()
            self.condition.opened()
            for _ in range(20):
                self.condition.broke("nothing was heard")
            self.condition.opened()
            self.assertEqual(self.said, ["a connection broke: nothing was heard"])

    def test_flood(self) -> None:
        """Reasons that are all different are told up to a limit."""
        for number in range(MAX_TOLD + 1):
            self.condition.failed(f"reason {number}")
        self.assertEqual(len(self.said), MAX_TOLD)
