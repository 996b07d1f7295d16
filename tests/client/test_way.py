"""Tests for :mod:`wavesync.client.way` and :mod:`wavesync.client.gate`."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.gate import Gate
from wavesync.client.way import MAX_OPENING, KnownWay
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address

PLACE: Address = ("198.51.100.1", 4100)


class GateTests(SynchronousTestCase):
    """So many are inside at a time."""

    def test_order(self) -> None:
        """The others come in as they came, and who gives up is left out."""
        gate = Gate(2)
        entered: list[int] = []
        turns = []
        for number in range(5):
            turns.append(gate.enter())
            turns[-1].addCallbacks(lambda _, n=number: entered.append(n), lambda _: None)
        self.assertEqual((entered, len(gate)), ([0, 1], 3))
        turns[3].cancel()
        gate.leave()
        gate.leave()
        self.assertEqual((entered, len(gate)), ([0, 1, 2, 4], 0))
        gate.leave()
        gate.leave()
        self.successResultOf(gate.enter())
        self.successResultOf(gate.enter())
        self.assertNoResult(gate.enter())


class FakePath:
    """A path whose end the test decides."""

    kind = "tcp"

    def __init__(self) -> None:
        self.addresses = [PLACE]
        self.cancelled = False
        self.opened: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def open(self) -> Deferred[Any]:
        """Begin."""
        return self.opened


class WayTests(SynchronousTestCase):
    """Further connections are made over a known way, not all at the same moment."""

    def setUp(self) -> None:
        self.paths: list[FakePath] = []
        self.way = KnownWay("server", "tcp", PLACE, self.make_path)

    def make_path(self) -> Any:
        """One more path."""
        self.paths.append(FakePath())
        return self.paths[-1]

    def test_opens(self) -> None:
        """A connection is made as by its path."""
        path = self.way.path()
        self.assertEqual((path.kind, path.addresses), ("tcp", [PLACE]))
        opening = path.open()
        session = object()
        self.paths[0].opened.callback(session)
        self.assertIs(self.successResultOf(opening), session)
        self.assertEqual(self.way.attempts, {})

    def test_fails(self) -> None:
        """What went wrong is told."""
        opening = self.way.path().open()
        self.paths[0].opened.errback(ConnectFailed("nobody there"))
        self.assertIn("nobody", self.failureResultOf(opening, ConnectFailed).getErrorMessage())

    def test_many(self) -> None:
        """So many are being made, and one more waits until one of them is done, however it ends."""
        openings = [self.way.path().open() for _ in range(MAX_OPENING + 3)]
        self.assertEqual(len(self.paths), MAX_OPENING)
        self.paths[5].opened.callback(object())
        self.assertEqual(len(self.paths), MAX_OPENING + 1)
        self.paths[6].opened.errback(ConnectFailed("full"))
        self.failureResultOf(openings[6], ConnectFailed)
        self.assertEqual(len(self.paths), MAX_OPENING + 2)
        openings[7].cancel()
        self.failureResultOf(openings[7], CancelledError)
        self.assertTrue(self.paths[7].cancelled)
        self.assertEqual(len(self.paths), MAX_OPENING + 3)

    def test_given_up_while_waiting(self) -> None:
        """Who gives up while waiting takes no turn."""
        openings = [self.way.path().open() for _ in range(MAX_OPENING + 2)]
        openings[-2].cancel()
        self.failureResultOf(openings[-2], CancelledError)
        self.paths[0].opened.callback(object())
        self.assertEqual(len(self.paths), MAX_OPENING + 1)
        self.paths[-1].opened.callback(object())
        self.successResultOf(openings[-1])

    def test_closed(self) -> None:
        """When the way is closed, all that are under way or wait fail at once, for that reason."""
        openings = [self.way.path().open() for _ in range(MAX_OPENING + 2)]
        self.way.close("it is gone")
        for opening in openings:
            self.assertIn("gone", self.failureResultOf(opening, ConnectFailed).getErrorMessage())
        self.assertTrue(all(path.cancelled for path in self.paths))
        self.assertEqual(len(self.paths), MAX_OPENING)
        self.failureResultOf(self.way.path().open(), ConnectFailed)
        self.assertEqual(len(self.paths), MAX_OPENING)

    def test_all_fail_at_once(self) -> None:
        """Hundreds that wait for a way which fails in the very moment exhaust nothing."""
        self.way = KnownWay("server", "tcp", PLACE, self.failing_path)
        self.paths = []
        openings = [self.way.path().open() for _ in range(MAX_OPENING)]
        openings += [self.way.path().open() for _ in range(2000)]
        for opening in openings:
            opening.addErrback(lambda _: self.way.close())
        self.paths[0].opened.errback(ConnectFailed("the port is closed"))
        for opening in openings:
            self.successResultOf(opening)

    def failing_path(self) -> Any:
        """A path that works for the first ones only."""
        path = self.make_path()
        if len(self.paths) > MAX_OPENING:
            path.opened.errback(ConnectFailed("the port is closed"))
        return path
