"""Tests of sessions with somebody else: real TLS, path and time in memory."""

import dataclasses
import gc
import weakref

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLContextFactory,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.session.cases import SessionCase
from tests.session.support import (
    NOW,
    OTHER_SERVER_ID,
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
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.door import Door
from wavesync.session.errors import CredentialsRejected, PeerNotTrusted


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
        self.factory.door = Door(burst=1000)
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
