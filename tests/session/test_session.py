"""Tests of opening a service over a session: real TLS, path and time in memory."""

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.session.cases import SessionCase
from tests.session.support import (
    ADDRESS,
    HalfCloser,
    Path,
    PathEnd,
    Recorder,
    build,
)
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.session.bridge import BridgeEnd
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.core import Timing
from wavesync.session.errors import Refusal, Refused, SessionLost
from wavesync.session.relayed import RelayedAddress
from wavesync.session.server import (
    DIAL_WITHIN,
    NamedServices,
)


class OpeningTests(SessionCase):
    """From an authenticated path to an open service."""

    def test_authenticated_before_anything_is_opened(self) -> None:
        """The Deferred fires with a session that knows whom it talks to."""
        _, session = self.session()
        self.assertEqual(session.peer, self.server_credentials.peer)
        self.assertFalse(session.accepted)
        self.assertEqual(self.apps, [])
        self.assertEqual(self.log, [("authenticated", self.client_credentials.peer.text)])

    def test_bare_system(self) -> None:
        """Asked for a system, the session tells which server it found."""
        _, ready = self.start(target=Target(self.server_credentials.system))
        peer = self.successResultOf(ready).peer
        assert peer is not None
        self.assertEqual(peer.server, self.server_credentials.server)

    def test_first_bytes_travel_with_open(self) -> None:
        """The protocol is connected at once, and all it says goes in one flight."""
        path, session = self.session()
        app = Recorder(b"first bytes")
        before = len(path.client.sent)
        opening = session.open("app", app)
        self.clock.advance(0)
        flight = path.client.sent[before:]
        self.assertEqual(flight[0], 23)
        size = 5 + int.from_bytes(flight[3:5], "big")
        self.assertEqual(len(flight), size)  # one TLS record carries all of it
        self.assertNoResult(opening)
        path.pump()
        self.assertIs(self.successResultOf(opening), app)
        self.assertTrue(session.accepted)
        self.assertEqual(bytes(self.apps[0].received), b"first bytes")

    def test_unknown_service(self) -> None:
        """The person learns which services there are."""
        path, session = self.session()
        app = Recorder()
        opening = session.open("web", app)
        path.pump()
        error = self.failureResultOf(opening, Refused).value
        self.assertEqual((error.code, str(error)), (404, "no service 'web' here; known: app, dial"))
        assert app.lost is not None
        self.assertIs(app.lost.value, error)
        self.assertIsInstance(error, ConnectFailed)
        self.assert_quiet()

    def test_many_names(self) -> None:
        """A long list is cut."""
        table = {f"s{n:02}": self.endpoint for n in range(21)}
        peer = self.client_credentials.peer
        self.factory = self.serve(NamedServices(table))
        self.assertTrue(self.factory.no_service("x", peer).endswith("s19, ..."))
        self.factory = self.serve(lambda name, peer: None)
        self.assertTrue(self.factory.no_service("x", peer).endswith("known: none"))

    def test_not_allowed(self) -> None:
        """A refusal by code 403 is NotAllowed, which ends a command with status 3."""
        path, session = self.session()
        opening = session.open("dial", Recorder())
        path.pump()
        (server,) = self.factory.serving
        server._refuse(403, "alice may not use 'dial'")
        path.pump()
        error = self.failureResultOf(opening, NotAllowed).value
        self.assertEqual(str(error), "alice may not use 'dial'")

    def test_service_lookup_fails(self) -> None:
        """A bug in looking up services refuses the client and is logged."""

        def services(name: str, peer: Peer) -> IProtocolFactory:
            raise RuntimeError("bug")

        self.factory = self.serve(services)
        path, session = self.session()
        opening = session.open("x", Recorder())
        path.pump()
        self.assertEqual(self.failureResultOf(opening, Refused).value.code, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_factory_without_protocol(self) -> None:
        """A factory that takes nobody refuses the client."""
        factory = Factory()
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.factory = self.serve(NamedServices({"x": factory}))
        path, session = self.session()
        opening = session.open("x", Recorder())
        path.pump()
        self.assertEqual(self.failureResultOf(opening, Refused).value.code, 502)

    def test_one_service_a_session(self) -> None:
        """A second open is the caller's mistake."""
        _, session = self.opened(Recorder())
        self.assertRaises(ValueError, session.open, "app", Recorder())

    def test_transport(self) -> None:
        """The transport is what Twisted's protocols expect, and knows peer and path."""
        app = Recorder()
        _, session = self.opened(app)
        session.path_kind = "lan"
        transport = app.transport
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, transport)
        self.assertEqual(transport.getPeer().host, "192.0.2.2")
        self.assertEqual(transport.getHost().host, "192.0.2.1")
        self.assertEqual(transport.peer, session.peer)
        self.assertEqual(transport.path_kind, "lan")
        self.assertRaises(TypeError, transport.write, "text")
        verifyObject(IProtocolFactory, self.factory)

    def test_ping(self) -> None:
        """The round trip to the server can be measured."""
        path, session = self.opened(Recorder())
        answer = session.ping()
        self.clock.advance(0.125)
        path.pump()
        self.assertEqual(self.successResultOf(answer), 0.125)
        path.advance(1.75)
        self.clock.advance(0.25)  # the session's own PING is under way
        answer = session.ping()
        self.clock.advance(0.25)
        path.pump()
        self.assertEqual(self.successResultOf(answer), 0.25)
        answer = session.ping()
        path.client.abortConnection()
        self.failureResultOf(answer, SessionLost)
        self.failureResultOf(session.ping(), SessionLost)

    def test_loser_of_a_race(self) -> None:
        """A client that closes without OPEN is let go quietly."""
        path, session = self.session()
        session.close()
        path.pump()
        self.assertTrue(path.client.lost and path.server.lost and session.lost)
        self.assertEqual([what for what, _ in self.log], ["authenticated", "lost"])
        self.assert_quiet()
        self.failureResultOf(session.open("app", Recorder()), SessionLost)

    def test_cancel(self) -> None:
        """Giving up while opening tells protocol, server and caller."""
        path, session = self.session()
        app = Recorder()
        opening = session.open("dial", app)
        path.pump()
        opening.cancel()
        path.pump()
        self.failureResultOf(opening, CancelledError)
        assert app.lost is not None
        app.lost.trap(ConnectionAborted)
        self.assertTrue(self.endpoint.cancelled)
        self.assert_quiet()

    def test_cancel_before_authentication(self) -> None:
        """A path that is given up early is aborted, connected or not."""
        factory, ready = connect_session(
            self.client_credentials, self.server_credentials.target, self.clock
        )
        ready.cancel()
        self.failureResultOf(ready, CancelledError)
        protocol = build(factory)
        path = Path(self.clock)
        path.connect(protocol, Recorder())
        self.assertTrue(path.client.lost)
        self.assertEqual(bytes(path.client.sent), b"")
        self.assert_quiet()

        factory, ready = connect_session(
            self.client_credentials, self.server_credentials.target, self.clock
        )
        protocol = build(factory)
        path = Path(self.clock)
        path.connect(protocol, Recorder())
        ready.cancel()
        self.failureResultOf(ready, CancelledError)
        self.assertTrue(path.client.lost)
        self.assert_quiet()


class DialTests(SessionCase):
    """A service is dialled on OPEN only, and joined byte for byte."""

    def dialling(self) -> tuple[Path, ClientSession, HalfCloser, Deferred[IProtocol]]:
        """A client that waits for its service."""
        path, session = self.session()
        self.assertIs(self.endpoint.factory, None)
        app = HalfCloser(b"early")
        opening = session.open("dial", app)
        path.pump()
        self.assertNoResult(opening)
        self.assertIsNot(self.endpoint.factory, None)
        return path, session, app, opening

    def test_joined(self) -> None:
        """Bytes and ends pass between the client and the local service."""
        path, _, app, opening = self.dialling()
        local = self.endpoint.succeed()
        path.pump()
        self.successResultOf(opening)
        self.assertEqual(bytes(local.sent), b"early")
        app.transport.loseWriteConnection()
        path.pump()
        self.assertTrue(local.half_closed)
        assert isinstance(local.protocol, BridgeEnd)
        local.protocol.dataReceived(b"answer")
        local.protocol.readConnectionLost()
        local.lose(ConnectionDone())
        path.pump()
        self.assertEqual(bytes(app.received), b"answer")
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_refused_by_service(self) -> None:
        """The person learns that the service does not take connections."""
        path, _, app, opening = self.dialling()
        self.endpoint.answer.errback(Failure(ConnectionLost("nobody there")))
        path.pump()
        error = self.failureResultOf(opening, Refused).value
        self.assertEqual(error.code, 502)
        self.assertIn("service 'dial' did not take the connection", str(error))
        self.assertIsNot(app.lost, None)
        self.assert_quiet()

    def test_dial_timeout(self) -> None:
        """A service that does not answer in time is given up."""
        path, _, _, opening = self.dialling()
        path.advance(DIAL_WITHIN - 0.5)
        self.assertNoResult(opening)
        path.advance(0.5)
        self.assertEqual(self.failureResultOf(opening, Refused).value.code, 504)
        self.assertTrue(self.endpoint.cancelled)
        self.assert_quiet()

    def test_client_leaves_while_dialling(self) -> None:
        """A dial for a client that has gone is given up."""
        path, _, app, opening = self.dialling()
        path.client.abortConnection()
        path.pump()
        self.assertTrue(self.endpoint.cancelled)
        self.failureResultOf(opening, SessionLost)
        self.assertIsNot(app.lost, None)
        self.assert_quiet()

    def test_service_breaks(self) -> None:
        """A service that breaks is not an end of the stream for the client, who is told so."""
        path, _, app, _ = self.dialling()
        local = self.endpoint.succeed()
        path.pump()
        local.lose(ConnectionLost())
        path.pump()
        assert app.lost is not None
        app.lost.trap(SessionLost)
        assert isinstance(app.lost.value, SessionLost)
        self.assertEqual(app.lost.value.code, Refusal.BROKEN)
        self.assertEqual(
            app.lost.getErrorMessage(),
            "the other side ended the session: its own connection broke",
        )
        self.assertFalse(app.read_ended)
        self.assert_quiet()

    def test_client_breaks(self) -> None:
        """A client that breaks is not an end of the stream for the service."""
        path, _, _, _ = self.dialling()
        local = self.endpoint.succeed()
        local.other = PathEnd("service")
        path.pump()
        path.client.abortConnection()
        self.assertTrue(local.lost)
        self.assertFalse(local.closed)
        self.assert_quiet()


class BoundTests(SessionCase):
    """A server's sessions and half-open paths are bounded."""

    def test_sessions(self) -> None:
        """As many sessions as allowed, and one more is refused."""
        self.factory = self.serve(max_sessions=2)
        for _ in range(2):
            self.opened(Recorder())
        path, session = self.session()
        opening = session.open("app", Recorder())
        path.pump()
        self.assertEqual(self.failureResultOf(opening, Refused).value.code, 503)
        self.assertEqual(len(self.factory.serving), 2)

    def test_pending(self) -> None:
        """As many paths without OPEN as allowed, and one more is closed at once."""
        self.factory = self.serve(max_pending=2)
        path, ready = self.start(self.system.client("bob"))
        session = self.successResultOf(ready)
        self.session()
        self.assertIs(self.factory.buildProtocol(ADDRESS), None)
        session.open("app", Recorder())
        path.pump()
        self.assertIsNot(self.factory.buildProtocol(ADDRESS), None)

    def test_sessions_of_one_client(self) -> None:
        """One client gets so many, and one more is refused; another client is served."""
        self.factory = self.serve(max_sessions_per_client=2)
        for _ in range(2):
            self.opened(Recorder())
        path, session = self.session()
        opening = session.open("app", Recorder())
        path.pump()
        self.assertEqual(self.failureResultOf(opening, Refused).value.code, 503)
        path, ready = self.start(self.system.client("bob"))
        opening = self.successResultOf(ready).open("app", Recorder())
        path.pump()
        self.successResultOf(opening)

    def test_room_beside_known_clients(self) -> None:
        """A client that opens path after path and asks for nothing on them gives up its own
        oldest, and shuts out nobody."""
        self.factory = self.serve(max_pending=3)
        path, ready = self.start(self.system.client("bob"))
        single = self.successResultOf(ready)
        crowd = [self.session()[1] for _ in range(2)]
        newcomer = self.session()[1]
        self.clock.advance(0)
        self.assertEqual(len(self.factory.pending), 3)
        self.assertFalse(single.lost or newcomer.lost)
        opening = single.open("app", Recorder())
        path.pump()
        self.successResultOf(opening)
        self.assertNotIn(crowd[0], self.factory.pending)

    def test_one_source(self) -> None:
        """All addresses of an IPv6 /64 are one host when room is made."""
        self.factory = self.serve(max_pending=3)
        other = StringTransport(peerAddress=IPv6Address("TCP", "2001:db8:0:1::1", 1))
        crowd = [
            StringTransport(peerAddress=IPv6Address("TCP", f"2001:db8::{n}", 1)) for n in range(2)
        ]
        for transport in (other, *crowd):
            build(self.factory).makeConnection(transport)
        self.assertIsNot(self.factory.buildProtocol(ADDRESS), None)
        self.assertEqual([t.disconnecting for t in (other, *crowd)], [False, True, False])

    def test_room_for_others(self) -> None:
        """Paths on which nobody says who he is go first: the oldest of the host with most."""
        self.factory = self.serve(max_pending=4)
        known = self.session()[1]
        crowd = [StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", n)) for n in range(2)]
        other = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.8", 1))
        for transport in (other, *crowd):
            build(self.factory).makeConnection(transport)
        self.assertEqual(len(self.factory.pending), 4)
        path, session = self.session()
        self.assertFalse(session.lost or known.lost or other.disconnecting)
        self.assertEqual([each.disconnecting for each in crowd], [True, False])
        self.assertEqual(len(self.factory.pending), 4)
        session.open("app", Recorder())
        path.pump()
        self.assertTrue(session.accepted)

    def test_relayed(self) -> None:
        """Clients whose address is a relay's word have half of the places: it may be lying."""
        self.factory = self.serve(max_pending=6)
        other = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.8", 1))
        build(self.factory).makeConnection(other)
        crowd = []
        for n in range(5):
            address = RelayedAddress(f"192.0.2.{n}", 1, "http://r.example:1")
            crowd.append(StringTransport(peerAddress=address))
            protocol = self.factory.buildProtocol(address)
            assert protocol is not None
            protocol.makeConnection(crowd[-1])
        self.assertEqual(
            [t.disconnecting for t in (other, *crowd)], [False] + [True] * 2 + [False] * 3
        )
        self.assertEqual(len(self.factory.pending), 4)

    def test_close_all(self) -> None:
        """Stopping the server ends every session, and clients are told why."""
        app = Recorder()
        path, _ = self.opened(app)
        other, _ = self.session()
        self.factory.close_all()
        path.pump()
        other.pump()
        assert app.lost is not None
        app.lost.trap(SessionLost)
        self.assertIn("the server is stopping", app.lost.getErrorMessage())
        self.assert_quiet()

    def test_timing(self) -> None:
        """The time limits can be set."""
        self.factory.timing = Timing(open_within=1.0)
        path, session = self.session()
        path.advance(1.0)
        self.assertTrue(session.lost)
