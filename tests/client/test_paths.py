"""Tests for :mod:`wavesync.client.paths`."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.paths import (
    HOLE_TIMEOUT,
    PUNCH_TIMEOUT,
    TCP_TIMEOUT,
    HolePath,
    PunchPath,
    TCPPath,
)
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession

A: Address = ("198.51.100.1", 1)
B: Address = ("198.51.100.2", 2)


class FakeSessions:
    """Sessions whose verification the test decides."""

    def __init__(self) -> None:
        self.given_up = 0
        self.waiting: list[Deferred[Any]] = []

    def __call__(self) -> tuple[IProtocolFactory, Deferred[ClientSession]]:
        """Make one more."""

        def cancel(_: object) -> None:
            self.given_up += 1

        self.waiting.append(Deferred(cancel))
        return Factory.forProtocol(Protocol), self.waiting[-1]


class FakePort:
    """A UDP port that only notes what it is asked for."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.connected: Deferred[IProtocol] = Deferred()
        self.asked: list[tuple[Any, ...]] = []
        self.candidates: list[Address] = []

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None,
        timeout: float = PUNCH_TIMEOUT,
        delay: float = 0.0,
    ) -> "FakePort":
        """Note it."""
        if self.problem:
            raise ValueError(self.problem)
        self.asked.append((tuple(candidates), token, timeout, delay))
        return self

    def add_candidate(self, address: Address) -> bool:
        """Note it."""
        self.candidates.append(address)
        return True

    def cancel(self) -> None:
        """Give up."""

    def connect(
        self, address: Address, factory: IProtocolFactory, timeout: float = HOLE_TIMEOUT
    ) -> Deferred[IProtocol]:
        """Note it."""
        if self.problem:
            raise ValueError(self.problem)
        self.asked.append((address, timeout))
        return self.connected


class PathTests(SynchronousTestCase):
    """A path is there when its server is verified, and leaves nothing when it is given up."""

    def setUp(self) -> None:
        self.sessions = FakeSessions()
        self.port = FakePort()

    def punch(self) -> PunchPath:
        """A rendezvous."""
        return PunchPath(self.port, [A], 7, self.sessions)

    def test_verified(self) -> None:
        """What counts is verification, not the connection; the session knows its path."""
        for path in (self.punch(), HolePath(self.port, A, self.sessions)):
            self.port.connected = Deferred()
            opening = path.open()
            self.port.connected.callback(Protocol())
            self.assertNoResult(opening)
            session = type("Session", (), {})()
            self.sessions.waiting[-1].callback(session)
            self.assertIs(self.successResultOf(opening), session)
            self.assertEqual(session.path_kind, "udp")

    def test_timeouts(self) -> None:
        """How long each may take."""
        self.punch().open()
        PunchPath(self.port, [A], 7, self.sessions, timeout=1.5, delay=0.2).open()
        HolePath(self.port, A, self.sessions).open()
        self.assertEqual(
            self.port.asked,
            [((A,), 7, PUNCH_TIMEOUT, 0.0), ((A,), 7, 1.5, 0.2), (A, HOLE_TIMEOUT)],
        )

    def test_tcp_unanswered(self) -> None:
        """A SYN that nobody answers is told of in words for people."""
        reactor: Any = MemoryReactorClock()
        opening = TCPPath(reactor, A, self.sessions, timeout=1.5).open()
        _, _, factory, timeout, _ = reactor.tcpClients[-1]
        self.assertEqual(timeout, 1.5)
        factory.clientConnectionFailed(reactor.connectors[-1], Failure(TimeoutError()))
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(failure.getErrorMessage(), "no answer came")

    def test_not_verified(self) -> None:
        """Somebody else answered: that path has failed."""
        opening = self.punch().open()
        self.port.connected.callback(Protocol())
        self.sessions.waiting[0].errback(ConnectFailed("another server"))
        self.failureResultOf(opening, ConnectFailed)

    def test_never_heard(self) -> None:
        """What a time-out of punching means is said in words; the session is given up."""
        opening = self.punch().open()
        self.port.connected.errback(TimeoutError())
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("never heard", failure.getErrorMessage())
        self.assertEqual(self.sessions.given_up, 1)

    def test_refused(self) -> None:
        """Any other failure is told as it is."""
        opening = HolePath(self.port, A, self.sessions).open()
        self.port.connected.errback(ConnectionRefusedError())
        self.failureResultOf(opening, ConnectionRefusedError)
        self.assertEqual(self.sessions.given_up, 1)

    def test_impossible(self) -> None:
        """A port that will not, because of a bad token or because it is closed, fails the path."""
        self.port.problem = "this UDT port is closed"
        for path in (self.punch(), HolePath(self.port, A, self.sessions)):
            failure = self.failureResultOf(path.open(), ConnectFailed)
            self.assertEqual(failure.getErrorMessage(), "this UDT port is closed")
        self.assertEqual(self.sessions.given_up, 2)

    def test_cancelled(self) -> None:
        """Giving up before or after the connection stands gives the session up."""
        for connected in (False, True):
            self.port.connected = Deferred()
            opening = self.punch().open()
            if connected:
                self.port.connected.callback(Protocol())
            opening.cancel()
            self.failureResultOf(opening, CancelledError)
        self.assertEqual(self.sessions.given_up, 2)

    def test_updates(self) -> None:
        """New addresses are punched at once when punching goes on, from the start otherwise."""
        path = self.punch()
        path.add([A, B])
        path.open()
        self.assertEqual(self.port.asked[0][0], (A, B))
        path.add([B, ("198.51.100.3", 3)])
        self.assertEqual(self.port.candidates, [("198.51.100.3", 3)])
        self.assertEqual(path.addresses, [A, B, ("198.51.100.3", 3)])

    def test_tcp(self) -> None:
        """TCP goes to the one address, of whatever family, for so long."""
        reactor: Any = MemoryReactorClock()
        for address in (A, ("2001:db8::1", 80)):
            path = TCPPath(reactor, address, self.sessions)
            opening = path.open()
            host, port, _, timeout, _ = reactor.tcpClients[-1]
            self.assertEqual((host, port, timeout), (*address, TCP_TIMEOUT))
            opening.cancel()
            self.failureResultOf(opening)
        self.assertEqual(self.sessions.given_up, 2)
