"""Tests for :mod:`wavesync.client.hole`; :mod:`tests.client.test_connector` has it on a network."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.hole import ANSWER_WITHIN, IDLE_LIMIT, Hole
from wavesync.client.way import KnownWay
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.session.client import CONTROL

PLACE: Address = ("198.51.100.1", 4100)


class FakeSession:
    """A session, for control or for data."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, IProtocol]] = []
        self.accepted: Deferred[IProtocol] = Deferred()
        self.ended: Deferred[bool] = Deferred()
        self.pings: list[Deferred[float]] = []
        self.closed = False
        self.guarded = self.watching = self.dead = False

    def open(self, service: str, protocol: IProtocol) -> Deferred[IProtocol]:
        """Note it."""
        self.opened.append((service, protocol))
        return self.accepted

    def ping(self) -> Deferred[float]:
        """Note it."""
        self.pings.append(Deferred())
        return self.pings[-1]

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def guard(self, on: bool) -> None:
        """Note it."""
        self.guarded = on

    def watch(self, on: bool) -> None:
        """Note it."""
        self.watching = on

    def fell_silent(self) -> None:
        """Note it."""
        self.dead = True


class FakePath:
    """A way whose end the test decides."""

    kind = "udp"
    on_heard: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.addresses = [PLACE]
        self.cancelled = False
        self.opened: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def open(self) -> Deferred[Any]:
        """Begin."""
        return self.opened


class HoleTests(SynchronousTestCase):
    """A hole is held while it works and somebody may use it, and told of when it is gone."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = FakePath()
        self.later = FakePath()
        self.lost: list[KnownWay] = []
        paths = iter([self.path, self.later])
        self.hole = Hole(
            "server", PLACE, lambda: next(paths), clock=self.clock, on_lost=self.lost.append
        )

    def held(self) -> FakeSession:
        """Come to a hole that is held."""
        self.hole.hold()
        session = FakeSession()
        self.path.opened.callback(session)
        ((service, protocol),) = session.opened
        self.assertEqual(service, CONTROL)
        session.accepted.callback(protocol)
        return session

    def watched(self) -> FakeSession:
        """A session for data goes over the hole."""
        session: Any = FakeSession()
        self.hole.watch(session)
        return cast(FakeSession, session)

    def test_idle(self) -> None:
        """A hole that nobody uses is let go after so long; a new connection counts as use."""
        session = self.held()
        self.clock.advance(IDLE_LIMIT - 1)
        self.hole.wanted()
        session.pings[0].callback(0.1)
        self.clock.advance(IDLE_LIMIT - 1)
        self.assertEqual((self.lost, session.closed), ([], False))
        self.clock.advance(2)
        self.assertEqual((self.lost, session.closed), ([self.hole], True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_use(self) -> None:
        """However long a connection lasts, its hole is held; the idle time begins after the last."""
        control = self.held()
        one, two = self.watched(), self.watched()
        self.clock.advance(100 * IDLE_LIMIT)
        one.ended.callback(False)
        self.clock.advance(100 * IDLE_LIMIT)
        two.ended.callback(False)
        self.clock.advance(IDLE_LIMIT - 1)
        self.assertEqual((self.lost, control.closed), ([], False))
        self.clock.advance(1)
        self.assertEqual((self.lost, control.closed), ([self.hole], True))

    def test_silent(self) -> None:
        """Where one connection fell silent, no other is tried: who waits is told at once."""
        control = self.held()
        session = self.watched()
        waiting = self.hole.path().open()
        session.ended.callback(True)
        self.assertEqual((self.lost, control.closed), ([self.hole], True))
        self.assertIn("silent", self.failureResultOf(waiting, ConnectFailed).getErrorMessage())
        self.assertTrue(self.later.cancelled)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        late = self.hole.path().open()
        self.failureResultOf(late, ConnectFailed)

    def test_other_ends(self) -> None:
        """A connection that ended otherwise says nothing about the hole, nor one after it."""
        self.held()
        session = self.watched()
        session.ended.callback(False)
        self.assertEqual(self.lost, [])
        late = self.watched()
        self.hole.close()
        late.ended.callback(True)
        self.assertEqual(self.lost, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_watches_for_all(self) -> None:
        """The control session looks after the others, and no more once it is over."""
        control = self.held()
        self.assertFalse(control.watching)
        one = self.watched()
        self.assertTrue(control.watching and one.guarded)
        one.ended.callback(False)
        self.assertFalse(control.watching)
        two, three = self.watched(), self.watched()
        control.ended.callback(True)
        self.assertTrue(two.dead and three.dead)

    def test_let_go_in_use(self) -> None:
        """Connections over a hole that is let go look after themselves."""
        control = self.held()
        one = self.watched()
        self.hole.close()
        control.ended.callback(False)
        self.assertFalse(one.dead or one.guarded)

    def test_no_answer(self) -> None:
        """A hole that died unnoticed is found out when somebody wants a connection."""
        control = self.held()
        waiting = self.hole.path().open()
        self.assertEqual(len(control.pings), 1)
        self.clock.pump([0.1] * int(10 * ANSWER_WITHIN - 1))
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, ConnectFailed)
        self.assertEqual((self.lost, control.closed), ([self.hole], True))

    def test_busy_machine(self) -> None:
        """Who was not let run reads what has come before judging that nothing has."""
        control = self.held()
        self.hole.path().open()
        self.clock.advance(10 * ANSWER_WITHIN)
        self.assertEqual(self.lost, [])
        control.pings[0].callback(0.1)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.lost, [])

    def test_answers(self) -> None:
        """An answer shows that it lives, or a connection that was made; it is asked once a time."""
        for answer in ("pong", "connection"):
            self.setUp()
            control = self.held()
            self.hole.path().open()
            self.hole.wanted()
            self.assertEqual(len(control.pings), 1)
            if answer == "pong":
                control.pings[0].callback(0.1)
            else:
                self.later.opened.callback(FakeSession())
            self.clock.advance(ANSWER_WITHIN)
            self.assertEqual(self.lost, [])
            self.hole.wanted()
            self.assertEqual(len(control.pings), 2)

    def test_not_asked_before_it_is_held(self) -> None:
        """As long as the control session is under way, there is nobody to ask."""
        self.hole.hold()
        self.hole.path().open()
        self.clock.advance(ANSWER_WITHIN)
        self.assertEqual(self.lost, [])

    def test_cannot_be_held(self) -> None:
        """A hole over which nothing can be opened is none."""
        self.hole.hold()
        self.path.opened.errback(ConnectFailed("nobody there"))
        self.assertEqual(self.lost, [self.hole])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails_at_once(self) -> None:
        """The same when it fails in the very moment."""
        self.path.opened.errback(ConnectFailed("the port is closed"))
        self.hole.hold()
        self.assertEqual(self.lost, [self.hole])

    def test_refused(self) -> None:
        """A server that does not accept the control session closes the hole, told once."""
        self.hole.hold()
        session = FakeSession()
        self.path.opened.callback(session)
        failure = Failure(ConnectFailed("busy"))
        session.opened[0][1].connectionLost(failure)
        session.accepted.errback(failure)
        self.assertEqual(self.lost, [self.hole])

    def test_lost(self) -> None:
        """The end of the control session is the end of the hole."""
        session = self.held()
        session.opened[0][1].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.lost, [self.hole])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """Its owner may let it go at any time, and is not told what it knows."""
        session = self.held()
        self.hole.close()
        self.hole.close()
        self.assertTrue(session.closed)
        session.opened[0][1].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.lost, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_while_opening(self) -> None:
        """The same before it is held: the attempt is given up."""
        self.hole.hold()
        self.hole.close()
        self.assertTrue(self.path.cancelled)
        self.assertEqual(self.lost, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
