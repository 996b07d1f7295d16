"""Tests of :mod:`wavesync.session.tls`: who is believed, and what is on the wire."""

import contextlib
import dataclasses
import datetime
from unittest import skipUnless

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.session.support import (
    NOW,
    OTHER_SERVER_ID,
    SERVER_ID,
    Path,
    Recorder,
    System,
    wall_clock,
)
from wavesync.errors import ConnectFailed
from wavesync.identity.certificates import make_server_certificate
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.session.errors import CredentialsRejected, PeerNotTrusted
from wavesync.session.offers import choose_groups
from wavesync.session.tls import (
    ALPN,
    MAX_CLIENT_HELLO,
    ClientTLS,
    ServerTLS,
    Verdict,
    client_context,
    handshake_error,
    rejection,
    server_context,
    verdict_of,
)


def wrap(context: ClientTLS | ServerTLS, is_client: bool, clock: Clock) -> TLSMemoryBIOProtocol:
    """A TLS protocol for one connection, with nothing above it."""
    factory = TLSMemoryBIOFactory(context, is_client, Factory.forProtocol(Recorder), clock)
    protocol = factory.buildProtocol(None)
    assert isinstance(protocol, TLSMemoryBIOProtocol)
    return protocol


class Handshake:
    """One handshake in memory, already over."""

    def __init__(self, client: ClientTLS, server: ServerTLS) -> None:
        clock = Clock()
        self.path = Path(clock)
        self.client, self.server = wrap(client, True, clock), wrap(server, False, clock)
        self.told = self.client.wrappedProtocol
        self.path.connect(self.client, self.server)


def both(client: Credentials, server: Credentials, target: Target) -> tuple[ClientTLS, ServerTLS]:
    """The contexts of both ends."""
    return (
        client_context(client, target, wall_clock=wall_clock),
        server_context(server, wall_clock=wall_clock),
    )


class GoodTests(SynchronousTestCase):
    """The right client and the right server find each other."""

    def setUp(self) -> None:
        """Make a system."""
        self.system = System()
        self.client, self.server = self.system.client(), self.system.server()

    def test_both_know_each_other(self) -> None:
        """Each end learns who the other is; TLS 1.3, ALPN and X25519 are in use."""
        done = Handshake(*both(self.client, self.server, self.server.target))
        theirs, ours = verdict_of(done.client).peer, verdict_of(done.server).peer
        assert theirs is not None and ours is not None
        self.assertEqual(theirs, self.server.peer)
        self.assertEqual(ours, self.client.peer)
        handle = done.client.getHandle()
        self.assertEqual(handle.get_protocol_version_name(), "TLSv1.3")
        self.assertEqual(handle.get_group_name().lower(), "x25519")
        self.assertEqual(done.client.negotiatedProtocol, ALPN)
        self.assertEqual(done.server.negotiatedProtocol, ALPN)

    @skipUnless(hasattr(SSL.Context, "set_tls13_ciphersuites"), "pyOpenSSL 25.2 or later")
    def test_fast_cipher(self) -> None:
        """The cheapest of the good ciphers is in use; one that the other side prefers is, if it must."""
        for only, wanted in (
            (b"", "TLS_AES_128_GCM_SHA256"),
            (b"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
            (b"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ):
            client, server = both(self.client, self.server, self.server.target)
            if only:
                client._context.set_tls13_ciphersuites(only)
            done = Handshake(client, server)
            self.assertEqual(done.client.getHandle().get_cipher_name(), wanted)

    def test_bare_system(self) -> None:
        """Asked for a system, the client takes any of its servers and reports which."""
        server = self.system.server(OTHER_SERVER_ID)
        done = Handshake(*both(self.client, server, Target(self.client.system)))
        peer = verdict_of(done.client).peer
        assert peer is not None
        self.assertEqual(peer.server, OTHER_SERVER_ID)

    def test_interfaces(self) -> None:
        """The contexts are what TLSMemoryBIOFactory asks for."""
        client, server = both(self.client, self.server, self.server.target)
        verifyObject(IOpenSSLClientConnectionCreator, client)
        verifyObject(IOpenSSLServerConnectionCreator, server)

    def test_own_clock(self) -> None:
        """The clock handed in decides about validity, not the computer's."""
        system = System()
        far = NOW + 40 * 365 * 86400.0
        client, server = system.client(now=far), system.server(now=far)
        done = Handshake(
            client_context(client, server.target, wall_clock=lambda: far),
            server_context(server, wall_clock=lambda: far),
        )
        self.assertIsNot(verdict_of(done.client).peer, None)
        self.assertIsNot(verdict_of(done.server).peer, None)


class BadTests(SynchronousTestCase):
    """Nobody else is believed, and the reason is a word and a sentence."""

    def setUp(self) -> None:
        """Make a system."""
        self.system = System()
        self.client, self.server = self.system.client(), self.system.server()

    def reasons(
        self, client: Credentials, server: Credentials, target: Target | None = None
    ) -> tuple[str, str]:
        """Why the client and the server do not believe the other."""
        wanted = target if target is not None else self.server.target
        done = Handshake(*both(client, server, wanted))
        self.assertTrue(done.path.client.lost and done.path.server.lost)
        verdicts = verdict_of(done.client), verdict_of(done.server)
        for verdict in verdicts:
            if verdict.reason:
                self.assertIs(verdict.peer, None)
                self.assertNotIn("SSL", verdict.sentence)
        return verdicts[0].reason, verdicts[1].reason

    def test_other_system_server(self) -> None:
        """A server of another system."""
        self.assertEqual(self.reasons(self.client, System(2).server())[0], "other-system")

    def test_other_system_client(self) -> None:
        """A client of another system that trusts this one."""
        stranger = dataclasses.replace(
            System(2).client(), system_certificate=self.system.certificate
        )
        self.assertEqual(self.reasons(stranger, self.server), ("", "other-system"))

    def test_wrong_server(self) -> None:
        """Another server of the same system."""
        other = self.system.server(OTHER_SERVER_ID)
        self.assertEqual(self.reasons(self.client, other), ("wrong-server", ""))

    def test_expired(self) -> None:
        """Certificates of last year, on either side."""
        last_year = NOW - 366 * 86400
        old_server = self.system.server(now=last_year)
        old_client = self.system.client(now=last_year)
        self.assertEqual(self.reasons(self.client, old_server)[0], "expired")
        self.assertEqual(self.reasons(old_client, self.server)[1], "expired")

    def test_not_yet_valid(self) -> None:
        """Certificates of next month."""
        self.assertEqual(
            self.reasons(self.client, self.system.server(now=NOW + 30 * 86400))[0], "not-yet-valid"
        )

    def test_wrong_role(self) -> None:
        """A client's certificate does not make a server, nor the other way round."""
        self.assertEqual(self.reasons(self.client, self.system.client())[0], "wrong-role")
        self.assertEqual(self.reasons(self.system.server(), self.server)[1], "wrong-role")

    def test_forged(self) -> None:
        """A certificate with the right names under the wrong key."""
        key = Ed25519PrivateKey.generate()
        leaf = make_server_certificate(
            self.system.key, key.public_key(), SERVER_ID, now=NOW, days=10
        )
        broken = bytearray(leaf.public_bytes(Encoding.DER))
        broken[-1] ^= 1
        credentials = dataclasses.replace(
            self.server, private_key=key, certificate=x509.load_der_x509_certificate(bytes(broken))
        )
        self.assertEqual(self.reasons(self.client, credentials)[0], "bad-signature")

    def test_odd_certificate(self) -> None:
        """OpenSSL reads certificates that nobody else can: they are refused, without an exception."""
        der = self.server.certificate_der
        at = der.index(b"Z\x17\x0d")  # between the two times of validity
        odd = der[: at - 1] + b"?" + der[at:]
        shown = crypto.load_certificate(crypto.FILETYPE_ASN1, odd)
        self.assertRaises(ValueError, shown.to_cryptography)
        context, _ = both(self.client, self.server, self.server.target)
        protocol = wrap(context, True, Clock())
        connection = context.clientConnectionForTLS(protocol)
        self.assertFalse(context._verify(connection, shown, 0, 0, 1))
        self.assertEqual(verdict_of(protocol).reason, "malformed")

    def test_long_chain(self) -> None:
        """A stranger cannot have us check a long chain of his certificates, one dear signature
        after another: no more than two are looked at."""
        looked: list[int] = []

        class Counting(ServerTLS):
            """Notes the depth of each certificate that is looked at."""

            def _verify(self, connection: SSL.Connection, shown: crypto.X509, *rest: int) -> bool:
                looked.append(rest[1])
                return super()._verify(connection, shown, *rest)

        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(n))]) for n in (0, 1, 2, 3, 3)
        ]
        keys = [Ed25519PrivateKey.generate() for _ in range(4)]
        keys.append(keys[3])
        at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
        chain = [
            x509.CertificateBuilder()
            .serial_number(n + 1)
            .subject_name(names[n])
            .issuer_name(names[n + 1])
            .not_valid_before(at - datetime.timedelta(1))
            .not_valid_after(at + datetime.timedelta(1))
            .public_key(keys[n].public_key())
            .add_extension(x509.BasicConstraints(n > 0, None), True)
            .sign(keys[n + 1], None)
            for n in range(4)
        ]
        client, _ = both(self.client, self.server, self.server.target)
        client._context.use_certificate(chain[0])
        client._context.use_privatekey(keys[0])
        for each in chain[1:]:
            client._context.add_extra_chain_cert(each)
        server = Counting(self.server, wall_clock=wall_clock, revoked=None)
        done = Handshake(client, server)
        self.assertIsNone(verdict_of(done.server).peer)
        self.assertTrue(verdict_of(done.server).reason)
        self.assertLessEqual(max(looked), 1)

    def test_openssl_disagrees(self) -> None:
        """A good leaf is not enough when OpenSSL finds no way from it to the system."""
        key = Ed25519PrivateKey.generate()
        good = make_server_certificate(
            self.system.key, key.public_key(), SERVER_ID, now=NOW, days=9
        )
        builder = x509.CertificateBuilder(
            issuer_name=good.issuer,
            subject_name=good.subject,
            public_key=key.public_key(),
            serial_number=good.serial_number,
            not_valid_before=good.not_valid_before_utc,
            not_valid_after=good.not_valid_after_utc,
            extensions=list(good.extensions),
        )
        other = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(good.issuer)], 12345)
        odd = builder.add_extension(other, False).sign(self.system.key, None)
        for certificate, reason in ((good, ""), (odd, "bad-chain")):
            server = dataclasses.replace(self.server, private_key=key, certificate=certificate)
            done = Handshake(*both(self.client, server, self.server.target))
            self.assertEqual(verdict_of(done.client).reason, reason)
            self.assertEqual(verdict_of(done.client).peer is None, bool(reason))

    def test_openssl_complains(self) -> None:
        """Any fault that OpenSSL finds in a handshake counts, but for what our own look decides."""
        context, _ = both(self.client, self.server, self.server.target)
        shown = crypto.X509.from_cryptography(self.server.certificate)
        for error, depth, believed in (
            (10, 0, True),  # our clock decides
            (19, 1, True),  # the other side has sent its system's certificate
            (20, 0, True),  # the context knows no way; the first look at the leaf is for that
            (26, 0, False),  # a certificate for something else
            (26, 1, False),
        ):
            protocol = wrap(context, True, Clock())
            connection = context.clientConnectionForTLS(protocol)
            context._verify(connection, shown, error, depth, 0)
            self.assertEqual(context._verify(connection, shown, 0, 0, 1), believed)
            verdict = verdict_of(protocol)
            self.assertEqual(verdict.reason, "" if believed else "bad-chain")
            self.assertEqual(verdict.peer is not None, believed)

    def test_chain_is_sent(self) -> None:
        """A peer may send its system's certificate beside its own; we send our own alone."""
        for chain in (False, True):
            client, server = both(self.client, self.server, self.server.target)
            if chain:
                for context in (client, server):
                    context._context.add_extra_chain_cert(self.system.certificate)
            done = Handshake(client, server)
            for end, peer in ((done.client, self.server.peer), (done.server, self.client.peer)):
                self.assertEqual(verdict_of(end).peer, peer)
            sent = done.client.getHandle().get_peer_cert_chain()
            assert sent is not None
            self.assertEqual(len(sent), 2 if chain else 1)

    def test_revoked(self) -> None:
        """A certificate on the list of revoked ones."""
        serial = self.client.certificate.serial_number
        done = Handshake(
            client_context(self.client, self.server.target, wall_clock=wall_clock),
            server_context(self.server, wall_clock=wall_clock, revoked=lambda n: n == serial),
        )
        self.assertEqual(verdict_of(done.server).reason, "revoked")

    def test_client_is_told(self) -> None:
        """The client's end sees an alert, from which the person learns what is wrong."""
        old = self.system.client(now=NOW - 366 * 86400)
        done = Handshake(*both(old, self.server, self.server.target))
        assert isinstance(done.told, Recorder) and done.told.lost is not None
        verdict = verdict_of(done.client)
        self.assertTrue(verdict.ended(done.told.lost))
        error = rejection(verdict)
        assert error is not None
        self.assertIn("did not accept these credentials: they have expired", str(error))


class ErrorTests(SynchronousTestCase):
    """What people are told."""

    def test_alerts(self) -> None:
        """An alert is known by its number, whatever this OpenSSL says of it."""
        known = {42, 43, 44, 45, 46, 48, 49, 51, 116, 120}
        for alert in range(10, 121):
            connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
            connection.set_connect_state()
            self.assertRaises(SSL.WantReadError, connection.do_handshake)
            connection.bio_write(bytes([21, 3, 3, 0, 2, 2, alert]))
            error = self.assertRaises(SSL.Error, connection.do_handshake)
            verdict = Verdict()
            self.assertTrue(verdict.ended(Failure(error)))
            self.assertEqual(verdict.alert, alert if alert in known else None)

    def test_other_ends(self) -> None:
        """A path that just ended, and a fault that this side has found, are no alerts."""
        verdict = Verdict()
        self.assertFalse(verdict.ended(Failure(ConnectionDone())))
        for odd in ([], [("SSL routines", "", "certificate verify failed")], "words", None):
            self.assertTrue(verdict.ended(Failure(SSL.Error(odd))))
            self.assertIsNone(verdict.alert)
        self.assertTrue(verdict.ended(Failure(SSL.Error())))

    def test_sentences(self) -> None:
        """Each way to fail has its own error, and none shows OpenSSL's lists."""
        cases: list[tuple[Verdict, bool, type[Exception], str]] = [
            (Verdict(reason="expired", sentence="too old"), True, PeerNotTrusted, "too old"),
            (Verdict(alert=120), True, PeerNotTrusted, "does not speak wavesync"),
            (Verdict(alert=45), True, CredentialsRejected, "have expired"),
            (Verdict(alert=44), True, CredentialsRejected, "were revoked"),
            (Verdict(alert=48), True, CredentialsRejected, "did not accept"),
            (Verdict(), True, ConnectFailed, "TLS 1.3"),
            (Verdict(), False, ConnectFailed, "path ended"),
        ]
        for verdict, spoken, kind, text in cases:
            error = handshake_error(verdict, spoken)
            self.assertIsInstance(error, kind)
            self.assertIn(text, str(error))
        self.assertIs(rejection(Verdict(alert=80)), None)


def _hello(context: ClientTLS) -> bytes:
    """The first bytes a client sends."""
    clock = Clock()
    path = Path(clock)
    path.client.protocol = client = wrap(context, True, clock)
    path.server.protocol = Protocol()
    client.makeConnection(path.client)
    clock.advance(0)
    return bytes(path.client.sent)


def _extensions(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello in one TLS record (RFC 8446, section 4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    found = {}
    while at < end:
        kind, size = (
            int.from_bytes(hello[at : at + 2], "big"),
            int.from_bytes(hello[at + 2 : at + 4], "big"),
        )
        found[kind] = hello[at + 4 : at + 4 + size]
        at += 4 + size
    return found


class WireTests(SynchronousTestCase):
    """What can be seen of a handshake from outside, and what cannot."""

    def setUp(self) -> None:
        """Make a system."""
        self.system = System()
        self.client, self.server = self.system.client(), self.system.server()

    def test_client_hello_fits_one_packet(self) -> None:
        """The ClientHello is far below 1200 bytes: X25519's share first, P-256 possible."""
        hello = _hello(client_context(self.client, self.server.target))
        self.assertEqual(hello[0], 22)
        self.assertEqual(len(hello), 5 + int.from_bytes(hello[3:5], "big"))
        self.assertLessEqual(len(hello), MAX_CLIENT_HELLO)
        self.assertLess(len(hello), 300)
        extensions = _extensions(hello)
        self.assertEqual(extensions[10], bytes.fromhex("0004001d0017"))
        self.assertEqual(extensions[51][2:6], bytes.fromhex("001d0020"))

    def test_no_names_in_clear(self) -> None:
        """No SNI, and neither id in any form in what both ends send before encryption."""
        hello = _hello(client_context(self.client, self.server.target))
        self.assertNotIn(0, _extensions(hello))
        done = Handshake(*both(self.client, self.server, self.server.target))
        seen = bytes(done.path.client.sent + done.path.server.sent)
        for name in (self.server.server, self.server.system, self.client.name):
            assert name is not None
            self.assertNotIn(name.encode(), seen)
        self.assertNotIn(bytes.fromhex(SERVER_ID), seen)

    def test_only_tls13(self) -> None:
        """The ClientHello offers nothing but TLS 1.3."""
        self.assertEqual(
            _extensions(_hello(client_context(self.client, self.server.target)))[43],
            bytes.fromhex("020304"),
        )

    def test_groups_without_x25519(self) -> None:
        """Where the library cannot be told of X25519, P-256 is used, with either kind of peer."""
        for set_list in (None, lambda context, groups: 0):
            for plain_client, plain_server in ((True, True), (True, False), (False, True)):
                client, server = both(self.client, self.server, self.server.target)
                if plain_client:
                    choose_groups(client._context, set_list)
                if plain_server:
                    choose_groups(server._context, set_list)
                done = Handshake(client, server)
                self.assertIsNot(verdict_of(done.client).peer, None)
                self.assertIsNot(verdict_of(done.server).peer, None)
                self.assertEqual(done.client.getHandle().get_group_name(), "secp256r1")


def _holder() -> TLSMemoryBIOProtocol:
    """What carries a verdict, as Twisted would set it."""
    protocol = TLSMemoryBIOProtocol.__new__(TLSMemoryBIOProtocol)
    vars(protocol)["wavesync_verdict"] = Verdict()
    return protocol


class ResumptionTests(SynchronousTestCase):
    """No connection continues an older one: that would skip the look at the certificate."""

    def setUp(self) -> None:
        """Make a system."""
        system = System()
        self.client, self.server = system.client(), system.server()

        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.use_certificate(self.client.certificate)
        self.context.use_privatekey(self.client.private_key)
        self.context.set_alpn_protos([ALPN])

    def connect(
        self, server_context: SSL.Context, session: SSL.Session | None
    ) -> SSL.Session | None:
        """Connect a client that resumes if it can; what it remembers afterwards."""
        client = SSL.Connection(self.context, None)
        if session is not None:
            client.set_session(session)
        client.set_connect_state()
        server = SSL.Connection(server_context, None)
        server.set_app_data(_holder())
        server.set_accept_state()
        for _ in range(5):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                    one.recv(100)
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        self.assertTrue(client.get_peer_finished() and server.get_peer_finished())
        session = client.get_session()
        client.shutdown()  # OpenSSL forgets the sessions of connections that were not closed
        server.shutdown()
        return session

    def test_nothing_is_resumed(self) -> None:
        """A client that keeps its session has its certificate looked at again."""
        calls: list[int] = []

        def revoked(serial: int) -> bool:
            calls.append(serial)
            return False

        server = server_context(self.server, wall_clock=wall_clock, revoked=revoked)
        session = self.connect(server._context, None)
        self.assertEqual(len(calls), 1)
        self.connect(server._context, session)
        self.assertEqual(len(calls), 2)

    def test_this_test_can_fail(self) -> None:
        """The same client does resume at a server that allows it."""
        calls: list[int] = []

        def verify(connection: object, cert: object, error: int, depth: int, ok: int) -> bool:
            calls.append(depth)
            return True

        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.server.certificate)
        context.use_privatekey(self.server.private_key)
        context.set_session_id(b"test")
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        session = self.connect(context, None)
        looked = len(calls)
        self.assertGreaterEqual(looked, 1)
        self.connect(context, session)
        self.assertEqual(len(calls), looked)
