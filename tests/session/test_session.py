"""Tests of client and server sessions over real TLS, with the path and the time in memory."""

import dataclasses
import gc
import weakref

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IOpenSSLContextFactory,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.session.support import (
    ADDRESS,
    NOW,
    OTHER_SERVER_ID,
    HalfCloser,
    Path,
    PathEnd,
    Recorder,
    System,
    build,
    wall_clock,
)
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.session.bridge import BridgeEnd
from wavesync.session.client import CONTROL, ClientSession, connect_session
from wavesync.session.core import Timing
from wavesync.session.errors import CredentialsRejected, PeerNotTrusted, Refused, SessionLost
from wavesync.session.server import (
    DIAL_WITHIN,
    EARLY_BYTES,
    NamedServices,
    ServerSessionFactory,
    Services,
)
from wavesync.session.shell import CLOSE_PATH_WITHIN, HANDSHAKE_WITHIN


@implementer(IStreamClientEndpoint)
class Dialled:
    """An endpoint whose connections are made by the test."""

    def __init__(self) -> None:
        self.factory: IProtocolFactory | None = None
        self.answer: Deferred[IProtocol] = Deferred(self._cancelled)
        self.cancelled = False

    def _cancelled(self, _: object) -> None:
        self.cancelled = True

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Note who asks."""
        self.factory = factory
        return self.answer

    def succeed(self) -> PathEnd:
        """The service takes the connection; its transport."""
        assert self.factory is not None
        protocol = build(self.factory)
        end = PathEnd("local")
        end.protocol = protocol
        protocol.makeConnection(end)
        self.answer.callback(protocol)
        return end


class SessionCase(SynchronousTestCase):
    """A system, a server with services, and clients that connect to it."""

    def setUp(self) -> None:
        """Make all that."""
        self.clock = Clock()
        self.system = System()
        self.client_credentials = self.system.client()
        self.server_credentials = self.system.server()
        self.apps: list[Recorder] = []
        self.endpoint = Dialled()
        self.log: list[tuple[str, str]] = []
        self.transports: list[ITransport] = []
        self.app_class: type[Recorder] = Recorder
        self.factory = self.serve()

    def serve(
        self, services: Services | None = None, *, max_sessions: int = 10, max_pending: int = 10
    ) -> ServerSessionFactory:
        """A server's factory."""

        def lost(peer: Peer, transport: ITransport) -> None:
            self.log.append(("lost", peer.text))
            self.assertIn(transport, self.transports)

        def authenticated(peer: Peer, transport: ITransport) -> None:
            self.log.append(("authenticated", peer.text))
            self.transports.append(transport)

        table: dict[str, IStreamClientEndpoint | IProtocolFactory] = {
            "app": Factory.forProtocol(self.make_app),
            "dial": self.endpoint,
        }
        return ServerSessionFactory(
            self.server_credentials,
            services if services is not None else NamedServices(table),
            self.clock,
            on_authenticated=authenticated,
            on_lost=lost,
            wall_clock=wall_clock,
            max_sessions=max_sessions,
            max_pending=max_pending,
        )

    def make_app(self) -> Recorder:
        """A protocol that serves a session itself."""
        app = self.app_class()
        self.apps.append(app)
        return app

    def start(
        self,
        credentials: Credentials | None = None,
        target: Target | None = None,
        server: IProtocol | None = None,
    ) -> tuple[Path, Deferred[ClientSession]]:
        """Connect a client over a new path."""
        factory, ready = connect_session(
            credentials if credentials is not None else self.client_credentials,
            target if target is not None else self.server_credentials.target,
            self.clock,
            wall_clock=wall_clock,
        )
        path = Path(self.clock)
        client = build(factory)
        if server is None:
            server = build(self.factory)
        path.connect(client, server)
        return path, ready

    def session(self) -> tuple[Path, ClientSession]:
        """An authenticated session."""
        path, ready = self.start()
        return path, self.successResultOf(ready)

    def opened(self, app: Recorder, service: str = "app") -> tuple[Path, ClientSession]:
        """A session with an open service."""
        path, session = self.session()
        opening = session.open(service, app)
        path.pump()
        self.assertIs(self.successResultOf(opening), app)
        return path, session

    def assert_quiet(self) -> None:
        """Nothing is left behind."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.factory.pending, self.factory.serving), (set(), set()))


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


class NotBelievedTests(SessionCase):
    """Everybody else is turned away with a sentence, on both sides."""

    def test_other_system(self) -> None:
        """A client of another system does not believe the server."""
        _, ready = self.start(System(2).client())
        error = self.failureResultOf(ready, PeerNotTrusted).value
        self.assertEqual(error.reason, "other-system")
        self.assertIn("another system", str(error))
        self.assertEqual(self.log, [])
        self.assert_quiet()

    def test_server_does_not_believe(self) -> None:
        """The client is done first: it learns of the rejection when it opens, as NotAllowed."""
        stranger = dataclasses.replace(
            System(2).client(), system_certificate=self.system.certificate
        )
        apps: list[Recorder] = []
        results: list[object] = []

        def open_at_once(session: ClientSession) -> None:
            apps.append(Recorder(b"secret"))
            session.open("app", apps[0]).addBoth(results.append)

        factory, ready = connect_session(
            stranger, self.server_credentials.target, self.clock, wall_clock=wall_clock
        )
        ready.addCallback(open_at_once)
        Path(self.clock).connect(build(factory), build(self.factory))
        (failure,) = results
        assert isinstance(failure, Failure)
        failure.trap(CredentialsRejected)
        failure.trap(NotAllowed)
        self.assertIn("did not accept these credentials", failure.getErrorMessage())
        assert apps[0].lost is not None
        self.assertIs(apps[0].lost.value, failure.value)
        self.assertEqual((self.log, self.apps), ([], []))
        self.assert_quiet()

    def test_expired_client(self) -> None:
        """Expired credentials are named as such where the alert tells."""
        old = self.system.client(now=NOW - 400 * 86400)
        path, ready = self.start(old)
        session = self.successResultOf(ready)
        error = self.failureResultOf(session.open("app", Recorder()), CredentialsRejected).value
        self.assertEqual(error.reason, "expired")
        self.assertTrue(path.server.lost)
        self.assert_quiet()

    def test_expired_server(self) -> None:
        """A server's expired certificate is named as such."""
        self.server_credentials = self.system.server(now=NOW - 400 * 86400)
        self.factory = self.serve()
        _, ready = self.start()
        self.assertEqual(self.failureResultOf(ready, PeerNotTrusted).value.reason, "expired")

    def test_wrong_server(self) -> None:
        """Another server of the system is not taken for the one asked for."""
        target = Target(self.server_credentials.system, OTHER_SERVER_ID)
        _, ready = self.start(target=target)
        error = self.failureResultOf(ready, PeerNotTrusted).value
        self.assertEqual(error.reason, "wrong-server")
        self.assertIn(str(target), str(error))

    def test_no_alpn(self) -> None:
        """Either side without ALPN, or with another one, is turned away."""
        for offered in ([], [b"http/1.1"]):
            context = self.raw_context(SSL.TLS_CLIENT_METHOD, self.client_credentials)
            if offered:
                context.set_alpn_protos(offered)
            end = self.against_server(context)
            self.assertTrue(end.lost)
            self.assertEqual(self.log, [])
        server = self.raw_context(SSL.TLS_SERVER_METHOD, self.server_credentials)
        factory = TLSMemoryBIOFactory(
            _Raw(server), False, Factory.forProtocol(Recorder), self.clock
        )
        _, ready = self.start(server=build(factory))
        self.assertEqual(self.failureResultOf(ready, PeerNotTrusted).value.reason, "no-alpn")
        self.assert_quiet()

    def test_tls_1_2(self) -> None:
        """Either side with TLS 1.2 is turned away."""
        context = self.raw_context(SSL.TLS_CLIENT_METHOD, self.client_credentials)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertTrue(self.against_server(context).lost)
        server = self.raw_context(SSL.TLS_SERVER_METHOD, self.server_credentials)
        server.set_max_proto_version(SSL.TLS1_2_VERSION)
        factory = TLSMemoryBIOFactory(
            _Raw(server), False, Factory.forProtocol(Recorder), self.clock
        )
        _, ready = self.start(server=build(factory))
        message = self.failureResultOf(ready, ConnectFailed).getErrorMessage()
        self.assertIn("does not speak TLS 1.3", message)
        self.assertEqual(self.log, [])
        self.assert_quiet()

    def test_client_without_certificate(self) -> None:
        """A client has to show who it is."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_alpn_protos([b"wavesync/1"])
        self.assertTrue(self.against_server(context).lost)
        self.assertEqual(self.log, [])

    def raw_context(self, method: int, credentials: Credentials) -> SSL.Context:
        """A context of somebody who checks nothing."""
        context = SSL.Context(method)
        context.use_certificate(credentials.certificate)
        context.use_privatekey(credentials.private_key)
        return context

    def against_server(self, context: SSL.Context) -> PathEnd:
        """Connect somebody's TLS to the server; its end of the path."""
        factory = TLSMemoryBIOFactory(
            _Raw(context), True, Factory.forProtocol(Recorder), self.clock
        )
        path = Path(self.clock)
        server = build(self.factory)
        path.connect(build(factory), server)
        return path.server

    def test_garbage(self) -> None:
        """Somebody who does not speak TLS at all, on either side."""
        path = Path(self.clock)
        server = build(self.factory)
        path.connect(Recorder(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), server)
        self.assertTrue(path.server.lost)
        _, ready = self.start(server=Recorder(b"SSH-2.0-OpenSSH_9.9\r\n"))
        message = self.failureResultOf(ready, ConnectFailed).getErrorMessage()
        self.assertIn("does not speak TLS 1.3", message)
        self.assertNotIn("SSL routines", message)
        self.assert_quiet()

    def test_closed_at_once(self) -> None:
        """A path that ends during the handshake says just that."""
        path, ready = self.start(server=Recorder())
        path.server.loseConnection()
        path.pump()
        message = self.failureResultOf(ready, ConnectFailed).getErrorMessage()
        self.assertIn("path ended", message)
        self.assert_quiet()

    def test_thousand_garbage_connections(self) -> None:
        """They leave no timers and no objects."""
        kept: list[weakref.ref[object]] = []
        for number in range(1000):
            path = Path(self.clock)
            server = build(self.factory)
            kept.append(weakref.ref(server))
            path.connect(Recorder(bytes([number % 256]) * (number % 40 + 1)), server)
            if number % 2:
                path.client.loseConnection()
            else:
                path.client.abortConnection()
            path.pump()
            self.assertTrue(path.server.lost)
            del server, path
        self.assert_quiet()
        gc.collect()
        self.assertEqual([ref for ref in kept if ref() is not None], [])


@implementer(IOpenSSLContextFactory)
class _Raw:
    """Somebody's TLS context, as TLSMemoryBIOFactory takes it."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:
        """Give it."""
        return self._context


class StreamTests(SessionCase):
    """Bytes and the ends of the stream."""

    def test_answer_after_end(self) -> None:
        """``printf question | wavesync connect``: the answer comes after our end."""
        self.app_class = HalfCloser
        HalfCloser.answer = b"answer"
        self.addCleanup(setattr, HalfCloser, "answer", b"")
        app = HalfCloser(b"question")
        path, session = self.session()
        opening = session.open("app", app)
        app.answer = b""
        app.transport.loseWriteConnection()
        path.pump()
        self.successResultOf(opening)
        server = self.apps[0]
        self.assertEqual(bytes(server.received), b"question")
        self.assertEqual(bytes(app.received), b"answer")
        self.assertTrue(app.read_ended and app.write_ended)
        for end in (app, server):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assertTrue(path.client.lost and path.server.lost)
        self.assert_quiet()

    def test_end_without_half_close(self) -> None:
        """A protocol without half-close is closed by the peer's end, its writes flushed."""
        app = HalfCloser()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.transport.write(b"x" * 300_000)
        app.transport.loseWriteConnection()
        path.pump()
        self.assertEqual(len(app.received), 300_000)
        for end in (app, server):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_lose_connection(self) -> None:
        """Closing flushes what was written, then both sides are done."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.write(b"y" * 200_000)
        app.transport.loseConnection()
        app.transport.write(b"too late")
        app.transport.loseConnection()
        path.pump()
        self.assertEqual(bytes(self.apps[0].received), b"y" * 200_000)
        for end in (app, self.apps[0]):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_no_bytes_after_close(self) -> None:
        """An application that has closed is not told of anything but the end."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.transport.write(b"under way")
        app.transport.loseConnection()
        path.pump()
        self.assertEqual(bytes(app.received), b"")
        self.assert_quiet()

    def test_abort(self) -> None:
        """Aborting is not an orderly end for either side."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.abortConnection()
        self.assertIs(app.lost, None)  # not from within the call
        path.pump()
        assert app.lost is not None and self.apps[0].lost is not None
        app.lost.trap(ConnectionAborted)
        self.apps[0].lost.trap(ConnectionLost)
        self.assertIn("gave up", self.apps[0].lost.getErrorMessage())
        self.assert_quiet()

    def test_truncated(self) -> None:
        """A bare close of the path, orderly or not, is an error on both sides, never an EOF."""
        for how in ("fin", "reset", "close_notify"):
            self.app_class = HalfCloser
            app = HalfCloser(b"some")
            path, session = self.opened(app)
            server = self.apps[-1]
            if how == "fin":
                path.client.loseConnection()
            elif how == "reset":
                path.client.abortConnection()
            else:
                session.transport.unregisterProducer()
                session.transport.loseConnection()
            path.pump()
            for end in (app, server):
                assert isinstance(end, HalfCloser) and end.lost is not None
                end.lost.trap(SessionLost)
                end.lost.trap(ConnectionLost)
                self.assertIn("in the middle of the session", end.lost.getErrorMessage())
                self.assertFalse(end.read_ended)
            self.assert_quiet()

    def test_truncated_after_one_end(self) -> None:
        """One END does not make the other direction complete."""
        app = HalfCloser()
        path, _ = self.opened(app, "app")
        server = self.apps[0]
        server.transport.loseConnection()
        path.server.buffer.clear()
        path.client.loseConnection()
        path.pump()
        assert server.lost is not None
        server.lost.trap(SessionLost)
        self.assert_quiet()

    def test_peer_breaks_protocol(self) -> None:
        """Garbage inside TLS ends the session with a sentence."""
        app = Recorder()
        path, session = self.opened(app)
        session.transport.write(b"\x00\x00\x00\x00")
        path.pump()
        assert self.apps[0].lost is not None and app.lost is not None
        self.assertIn("broke the protocol", self.apps[0].lost.getErrorMessage())
        self.assertIn("unknown type", app.lost.getErrorMessage())
        self.assert_quiet()


class TimeTests(SessionCase):
    """Nothing waits for ever."""

    def test_handshake_in_time(self) -> None:
        """Somebody who connects and says nothing is let go after ten seconds; so is a server."""
        path = Path(self.clock)
        server = build(self.factory)
        path.connect(Recorder(), server)
        path.advance(HANDSHAKE_WITHIN - 0.5)
        self.assertFalse(path.server.lost)
        path.advance(0.5)
        self.assertTrue(path.server.lost)
        path, ready = self.start(server=Recorder())
        path.advance(HANDSHAKE_WITHIN - 0.5)
        self.assertNoResult(ready)
        path.advance(0.5)
        message = self.failureResultOf(ready, ConnectFailed).getErrorMessage()
        self.assertIn("in time", message)
        self.assert_quiet()

    def test_open_in_time(self) -> None:
        """A client that authenticates and opens nothing is let go after ten seconds."""
        path, session = self.session()
        path.advance(9.5)
        self.assertFalse(session.lost)
        path.advance(0.5)
        self.assertTrue(session.lost and path.server.lost)
        self.assertEqual(self.log[-1][0], "lost")
        self.assert_quiet()

    def test_silence(self) -> None:
        """A dead path is noticed within eight seconds by both sides."""
        app = Recorder()
        path, _ = self.opened(app)
        path.stalled = True
        path.advance(7.5)
        self.assertIs(app.lost, None)
        path.advance(0.5)
        for end in (app, self.apps[0]):
            assert end.lost is not None
            end.lost.trap(SessionLost)
            self.assertIn("nothing has come", end.lost.getErrorMessage())
        path.advance(CLOSE_PATH_WITHIN)
        self.assertTrue(path.client.lost and path.server.lost)
        self.assert_quiet()

    def test_quiet_session_lives(self) -> None:
        """A session with nothing to say stays open."""
        app = Recorder()
        path, _ = self.opened(app)
        path.advance(60, step=0.5)
        self.assertIs(app.lost, None)

    def test_control_session(self) -> None:
        """A control session lives, carries no bytes, and can be closed."""
        app = Recorder()
        path, session = self.opened(app, CONTROL)
        self.assertEqual(self.apps, [])
        path.advance(60, step=0.5)
        self.assertFalse(session.lost)
        session.close()
        path.pump()
        self.assertTrue(session.lost)
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_path_that_does_not_close(self) -> None:
        """A peer that never closes its end of TLS is cut off."""
        app = Recorder()
        path, session = self.opened(app)
        path.server.pauseProducing()
        session.abort()
        path.advance(CLOSE_PATH_WITHIN - 0.5)
        self.assertFalse(path.client.lost)
        path.advance(0.5)
        self.assertTrue(path.client.lost)
        self.assert_quiet()


@implementer(IPushProducer)
class Producer:
    """A producer that notes whether it may produce."""

    def __init__(self) -> None:
        self.paused = False
        self.stopped = False

    def pauseProducing(self) -> None:
        """Note it."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Note it."""
        self.paused = False

    def stopProducing(self) -> None:
        """Note it."""
        self.stopped = True


class BackPressureTests(SessionCase):
    """Who is slow slows down the other, and nobody's memory fills."""

    def test_slow_reader_pauses_writer(self) -> None:
        """A reader that pauses stops the other side's producer, and bytes come on when it resumes."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        producer = Producer()
        app.transport.registerProducer(producer, True)
        server.transport.pauseProducing()
        written = 0
        while not producer.paused:
            app.transport.write(b"z" * 10_000)
            written += 10_000
            path.pump()
            self.assertLess(written, 1_000_000)
        self.assertLess(path.client.peak, 2 * PathEnd.BUFFER)
        path.advance(60)
        self.assertEqual(bytes(server.received), b"")
        self.assertIs(app.lost, None)
        server.transport.resumeProducing()
        self.assertEqual(bytes(server.received), b"")  # not from within the call
        path.pump()
        self.assertFalse(producer.paused)
        self.assertEqual(len(server.received), written)
        app.transport.unregisterProducer()
        app.transport.loseConnection()
        path.pump()
        self.assert_quiet()

    def test_pause_within_delivery(self) -> None:
        """A protocol that pauses while it is given bytes gets no more in that turn."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.on_data = lambda data: server.transport.pauseProducing()
        app.transport.write(b"1" * 100_000)
        app.transport.loseConnection()
        path.pump()
        first = len(server.received)
        self.assertLess(first, 20_000)
        self.assertIs(server.lost, None)
        for _ in range(20):
            server.transport.resumeProducing()
            path.pump()
        self.assertEqual(len(server.received), 100_000)
        self.assert_quiet()

    def test_end_waits_for_held_bytes(self) -> None:
        """A paused reader gets all bytes and the orderly end even if the path closed meanwhile."""
        app = HalfCloser()
        path, _ = self.opened(app)
        server = self.apps[0]
        app.transport.loseWriteConnection()
        app.transport.pauseProducing()
        server.transport.write(b"last words")
        path.pump()
        path.advance(30)
        self.assertEqual(bytes(app.received), b"")
        app.transport.resumeProducing()
        path.pump()
        self.assertEqual(bytes(app.received), b"last words")
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_close_while_paused(self) -> None:
        """Closing works while one's reading is paused."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.pauseProducing()
        self.apps[0].transport.write(b"unread")
        path.pump()
        app.transport.loseConnection()
        path.pump()
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assertEqual(bytes(app.received), b"")
        self.assert_quiet()

    def test_close_waits_for_producer(self) -> None:
        """A registered producer may finish after loseConnection."""
        app = Recorder()
        path, _ = self.opened(app)
        transport = app.transport
        transport.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, transport.registerProducer, Producer(), True)
        transport.loseConnection()
        transport.write(b"still")
        path.pump()
        self.assertIs(app.lost, None)
        transport.unregisterProducer()
        path.pump()
        self.assertEqual(bytes(self.apps[0].received), b"still")
        self.assertIsNot(app.lost, None)
        late = Producer()
        transport.registerProducer(late, True)
        self.assertTrue(late.stopped)

    def test_pull_producer(self) -> None:
        """A pull producer is asked as long as the path takes bytes."""
        app = Recorder()
        path, _ = self.opened(app)
        transport = app.transport

        class Pull:
            """Writes a hundred pieces."""

            left = 100
            stopped = False

            def resumeProducing(self) -> None:
                self.left -= 1
                transport.write(b"p" * 5000)
                if not self.left:
                    transport.unregisterProducer()

            def stopProducing(self) -> None:
                self.stopped = True

        pull = Pull()
        self.apps[0].transport.pauseProducing()
        transport.registerProducer(pull, False)
        path.pump()
        self.assertGreater(pull.left, 20)
        self.apps[0].transport.resumeProducing()
        path.pump()
        self.assertEqual(len(self.apps[0].received), 500_000)
        self.assertFalse(pull.stopped)

    def test_lost_path_stops_producer(self) -> None:
        """A producer is stopped when the session is lost."""
        app = Recorder()
        path, _ = self.opened(app)
        producer = Producer()
        app.transport.registerProducer(producer, True)
        path.client.abortConnection()
        self.assertTrue(producer.stopped)

    def test_early_bytes_are_bounded(self) -> None:
        """While the service is dialled, a client's bytes are held up to a bound, and none is lost."""
        path, session = self.session()
        app = Recorder()
        session.open("dial", app)
        app.transport.write(b"e" * 1_000_000)
        path.pump()
        (server,) = self.factory.serving
        held = sum(len(getattr(event, "data", b"")) for event in server._stream)
        self.assertGreaterEqual(held, EARLY_BYTES)
        self.assertLess(held, EARLY_BYTES + 2 * path.limit)
        path.advance(15)
        local = self.endpoint.succeed()
        for _ in range(40):
            path.pump()
            local.sent, local.buffer = local.sent + b"", bytearray()
            local.producer_paused = False
            if local.producer is not None:
                local.producer.resumeProducing()
        self.assertEqual(len(local.sent), 1_000_000)


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
        """A service that breaks is not an end of the stream for the client."""
        path, _, app, _ = self.dialling()
        local = self.endpoint.succeed()
        path.pump()
        local.lose(ConnectionLost())
        path.pump()
        assert app.lost is not None
        app.lost.trap(SessionLost)
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
        paths = [self.session() for _ in range(2)]
        self.assertIs(self.factory.buildProtocol(ADDRESS), None)
        path, session = paths[0]
        session.open("app", Recorder())
        path.pump()
        self.assertIsNot(self.factory.buildProtocol(ADDRESS), None)

    def test_close_all(self) -> None:
        """Stopping the server ends every session."""
        app = Recorder()
        path, _ = self.opened(app)
        other, _ = self.session()
        self.factory.close_all()
        path.pump()
        other.pump()
        assert app.lost is not None
        app.lost.trap(SessionLost)
        self.assert_quiet()

    def test_timing(self) -> None:
        """The time limits can be set."""
        self.factory.timing = Timing(open_within=1.0)
        path, session = self.session()
        path.advance(1.0)
        self.assertTrue(session.lost)
