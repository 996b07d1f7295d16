"""Tests for :mod:`wavesync.client.hole`; :mod:`tests.client.test_connector` has it on a network."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.hole import IDLE_LIMIT, Hole, KnownWay
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.session.client import CONTROL

PLACE: Address = ("198.51.100.1", 4100)


class FakeSession:
    """A control session."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, IProtocol]] = []
        self.accepted: Deferred[IProtocol] = Deferred()
        self.closed = False

    def open(self, service: str, protocol: IProtocol) -> Deferred[IProtocol]:
        """Note it."""
        self.opened.append((service, protocol))
        return self.accepted

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakePath:
    """A way whose end the test decides."""

    kind = "udp"

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
        self.lost: list[KnownWay] = []
        self.hole = Hole(
            "server", PLACE, lambda: self.path, clock=self.clock, on_lost=self.lost.append
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

    def test_held(self) -> None:
        """It is held by a control session; used or not, for so long."""
        session = self.held()
        self.clock.advance(IDLE_LIMIT - 1)
        self.hole.used()
        self.clock.advance(IDLE_LIMIT - 1)
        self.assertEqual((self.lost, session.closed), ([], False))
        self.clock.advance(2)
        self.assertEqual((self.lost, session.closed), ([self.hole], True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

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

    def test_other_ways(self) -> None:
        """A way over TCP has nothing to hold."""
        way = KnownWay("server", "tcp", PLACE, lambda: self.path)
        way.used()
        way.close()
        self.assertFalse(self.path.cancelled)
