"""Tests for :mod:`wavesync.client.way` and :mod:`wavesync.client.gate`."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.test_hole import PLACE, FakePath
from wavesync.client.gate import LEAST, MOST, Gate
from wavesync.client.way import KnownWay
from wavesync.errors import ConnectFailed


class GateTests(SynchronousTestCase):
    """So many are inside at a time."""

    def test_order(self) -> None:
        """The others come in as they came, and who gives up is left out."""
        gate = Gate(2, 2)
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

    def test_more_at_a_time(self) -> None:
        """As long as they get through as fast as ever, more are let in, to a limit."""
        gate = Gate()
        for _ in range(2 * MOST):
            gate.enter()
        for count in range(LEAST, MOST + 2):
            self.assertEqual(gate.places, min(count, MOST))
            gate.leave(0.1)
        self.assertEqual(gate.places, MOST)

    def test_fewer_at_a_time(self) -> None:
        """When they only wait for each other, fewer are let in, down to a limit."""
        gate = Gate()
        for _ in range(4 * MOST):
            gate.enter()
        for _ in range(MOST):
            gate.leave(0.1)
        for count in range(MOST, LEAST - 2, -1):
            self.assertEqual(gate.places, max(count, LEAST))
            gate.leave(0.3)
        waiting = len(gate)
        gate.leave()  # whoever did not get through tells nothing
        self.assertEqual((gate.places, len(gate)), (LEAST, waiting - 1))


class WayTests(SynchronousTestCase):
    """Further connections are made over a known way, not all at the same moment."""

    def setUp(self) -> None:
        self.paths: list[FakePath] = []
        self.clock = Clock()
        self.way = KnownWay("server", "tcp", PLACE, self.make_path, self.clock)

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
        """So many are being made, and others wait until one of them is done, however it ends."""
        openings = [self.way.path().open() for _ in range(LEAST + 6)]
        self.assertEqual(len(self.paths), LEAST)
        self.paths[5].opened.callback(object())
        self.assertEqual(len(self.paths), LEAST + 2)  # it went well, so there is a place more
        self.paths[6].opened.errback(ConnectFailed("full"))
        self.failureResultOf(openings[6], ConnectFailed)
        self.assertEqual(len(self.paths), LEAST + 3)
        openings[7].cancel()
        self.failureResultOf(openings[7], CancelledError)
        self.assertTrue(self.paths[7].cancelled)
        self.assertEqual(len(self.paths), LEAST + 4)

    def test_given_up_while_waiting(self) -> None:
        """Who gives up while waiting takes no turn."""
        openings = [self.way.path().open() for _ in range(LEAST + 2)]
        openings[-2].cancel()
        self.failureResultOf(openings[-2], CancelledError)
        self.paths[0].opened.callback(object())
        self.assertEqual(len(self.paths), LEAST + 1)
        self.paths[-1].opened.callback(object())
        self.successResultOf(openings[-1])

    def test_closed(self) -> None:
        """When the way is closed, all that are under way or wait fail at once, for that reason."""
        openings = [self.way.path().open() for _ in range(LEAST + 2)]
        self.way.close("it is gone")
        for opening in openings:
            self.assertIn("gone", self.failureResultOf(opening, ConnectFailed).getErrorMessage())
        self.assertTrue(all(path.cancelled for path in self.paths))
        self.assertEqual(len(self.paths), LEAST)
        self.failureResultOf(self.way.path().open(), ConnectFailed)
        self.assertEqual(len(self.paths), LEAST)

    def test_all_fail_at_once(self) -> None:
        """Hundreds that wait for a way which fails in the very moment exhaust nothing."""
        self.way = KnownWay("server", "tcp", PLACE, self.failing_path, self.clock)
        self.paths = []
        openings = [self.way.path().open() for _ in range(LEAST)]
        openings += [self.way.path().open() for _ in range(2000)]
        for opening in openings:
            opening.addErrback(lambda _: self.way.close())
        self.paths[0].opened.errback(ConnectFailed("the port is closed"))
        for opening in openings:
            self.successResultOf(opening)

    def failing_path(self) -> Any:
        """A path that works for the first ones only."""
        path = self.make_path()
        if len(self.paths) > LEAST:
            path.opened.errback(ConnectFailed("the port is closed"))
        return path
