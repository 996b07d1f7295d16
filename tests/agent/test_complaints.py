"""Tests of :mod:`wavesync.agent.complaints`."""

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import LogListener
from wavesync.agent.complaints import LINES_A_MINUTE, LINES_AT_ONCE, Complaints

_AT_ONCE = int(LINES_AT_ONCE)


class ComplaintsTests(SynchronousTestCase):
    """A mediator cannot fill the log of an agent."""

    def setUp(self) -> None:
        """A log that is listened to."""
        listener = LogListener("tests.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said
        self.clock = Clock()
        self.complaints = Complaints(Logger(namespace="tests.agent"), self.clock.seconds)

    def complain(self, number: int, about: str = "m") -> None:
        """Warn so often."""
        for count in range(number):
            self.complaints.warn(about, "{about} did {count}", about=about, count=count)

    def test_limit(self) -> None:
        """So many lines are logged and not one more; another mediator's still are."""
        self.complain(_AT_ONCE + 1)
        self.assertEqual(len(self.said), _AT_ONCE)
        self.complain(1, "another")
        self.assertEqual(len(self.said), _AT_ONCE + 1)

    def test_number(self) -> None:
        """The next line that is logged says how many were not."""
        self.complain(_AT_ONCE + 7)
        self.said.clear()
        self.clock.advance(60 / LINES_A_MINUTE)
        self.complain(1)
        self.assertEqual(self.said, ["left out 7 lines about the mediator m", "m did 0"])
        self.clock.advance(60 / LINES_A_MINUTE)
        self.complain(1)
        self.assertEqual(self.said[2:], ["m did 0"])

    def test_many_mediators(self) -> None:
        """However many names there are, what is remembered of them is bounded."""
        for name in range(1000):
            self.complain(_AT_ONCE + 1, f"m{name}")
        self.assertLessEqual(len(self.complaints._left_out), 64)
