"""Tests for wavesync.doctor.kept."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.findings import Findings
from wavesync.doctor.kept import FRESH, KeptExamination
from wavesync.errors import ConnectFailed


class KeptTests(SynchronousTestCase):
    """Clients that ask often do not have a server examine its network often."""

    def setUp(self) -> None:
        """Nothing is known."""
        self.clock = Clock()
        self.running: list[Deferred[Findings]] = []
        self.kept = KeptExamination(self.clock, self.examine)

    def examine(self) -> Deferred[Findings]:
        """Begin one more examination."""
        self.running.append(Deferred())
        return self.running[-1]

    def test_shared(self) -> None:
        """Whoever asks meanwhile is told the same; one who gives up takes nothing from the others."""
        first, second = self.kept.findings(), self.kept.findings()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        found = Findings(network="a")
        self.running[0].callback(found)
        self.assertIs(self.successResultOf(second), found)
        self.assertEqual(len(self.running), 1)

    def test_fresh(self) -> None:
        """For a while what was found is told again, then not any more."""
        self.kept.findings()
        self.running[0].callback(Findings())
        self.clock.advance(FRESH - 0.1)
        self.successResultOf(self.kept.findings())
        self.clock.advance(0.1)
        self.assertNoResult(self.kept.findings())
        self.assertEqual(len(self.running), 2)

    def test_failed(self) -> None:
        """After an examination that failed the next one who asks begins another."""
        asked = self.kept.findings()
        self.running[0].errback(ConnectFailed("no"))
        self.failureResultOf(asked, ConnectFailed)
        self.kept.findings()
        self.assertEqual(len(self.running), 2)

    def test_stop(self) -> None:
        """Nothing is left open, and who waits is told."""
        self.successResultOf(self.kept.stop())
        asked = self.kept.findings()
        self.successResultOf(self.kept.stop())
        self.failureResultOf(asked, CancelledError)
