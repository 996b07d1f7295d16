"""Tests for :mod:`wavesync.identity.certificates`."""

import contextlib
import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from service_identity.cryptography import extract_patterns
from service_identity.exceptions import VerificationError
from service_identity.hazmat import DNS_ID, verify_service_identity
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import (
    CLIENT_KEY,
    DAY,
    NOW,
    OTHER_KEY,
    SERVER,
    SERVER_KEY,
    SYSTEM,
    SYSTEM_KEY,
    client_credentials,
    der,
    server_credentials,
)
from wavesync.errors import SettingsError
from wavesync.identity.certificates import (
    DEFAULT_DAYS,
    MAX_DAYS,
    make_client_certificate,
    make_server_certificate,
    make_system_certificate,
    system_certificate_body,
)
from wavesync.identity.credentials import Credentials


class SystemCertificateTests(SynchronousTestCase):
    """The trust anchor that OpenSSL is given."""

    def test_deterministic(self) -> None:
        """Made on another machine in another year, it is the same file."""
        self.assertEqual(
            der(make_system_certificate(SYSTEM_KEY)), der(make_system_certificate(SYSTEM_KEY))
        )

    def test_body_from_the_public_key(self) -> None:
        """Whoever has only the public key can rebuild all but the signature."""
        body = system_certificate_body(SYSTEM_KEY.public_key())
        self.assertEqual(make_system_certificate(SYSTEM_KEY).tbs_certificate_bytes, body)

    def test_fields(self) -> None:
        """It may certify servers and clients and sign revocation lists, for ever, and no more."""
        certificate = make_system_certificate(SYSTEM_KEY)
        certificate.verify_directly_issued_by(certificate)
        self.assertEqual(certificate.serial_number, int(SYSTEM, 16))
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertTrue(constraints.critical)
        self.assertEqual((constraints.value.ca, constraints.value.path_length), (True, 0))
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        self.assertTrue(usage.critical)
        self.assertTrue(usage.value.key_cert_sign and usage.value.crl_sign)
        self.assertFalse(usage.value.digital_signature or usage.value.key_agreement)
        self.assertIn(b"99991231235959Z", der(certificate))


class LeafTests(SynchronousTestCase):
    """What servers and clients are given."""

    def test_validity(self) -> None:
        """It works on a machine whose clock is a week behind, and for ten years unattended."""
        certificate = server_credentials().certificate
        made = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
        self.assertEqual(made - certificate.not_valid_before_utc, datetime.timedelta(days=7))
        self.assertEqual(certificate.not_valid_after_utc - made, datetime.timedelta(DEFAULT_DAYS))

    def test_days(self) -> None:
        """The validity is what was asked for; out of range is refused with the range."""
        make = make_server_certificate
        public_key = SERVER_KEY.public_key()
        for days in (1, MAX_DAYS):
            certificate = make(SYSTEM_KEY, public_key, SERVER, now=NOW, days=days)
            self.assertEqual(certificate.not_valid_after_utc.timestamp(), NOW + days * DAY)
        for days in (0, MAX_DAYS + 1):
            with self.assertRaises(SettingsError) as caught:
                make(SYSTEM_KEY, public_key, SERVER, now=NOW, days=days)
            self.assertIn(f"1 to {MAX_DAYS}", str(caught.exception))

    def test_serial_numbers_differ(self) -> None:
        """Each certificate can be revoked by itself."""
        one, two = (
            make_server_certificate(SYSTEM_KEY, SERVER_KEY.public_key(), SERVER, now=NOW)
            for _ in range(2)
        )
        self.assertNotEqual(one.serial_number, two.serial_number)
        self.assertLess(max(one.serial_number, two.serial_number), 1 << 159)

    def test_client_names(self) -> None:
        """Names of 1 to 63 plain characters work, others are refused with the rule."""
        for name in ("a", "0", "control-room", "a.b_c-d", "n" * 63):
            make_client_certificate(SYSTEM_KEY, CLIENT_KEY.public_key(), name, now=NOW)
        for name in ("", "n" * 64, "Alice", "-a", ".a", "a b", "a@b", "ä", "a\n"):
            with self.assertRaises(SettingsError) as caught:
                make_client_certificate(SYSTEM_KEY, CLIENT_KEY.public_key(), name, now=NOW)
            self.assertIn("small letters", str(caught.exception))


def handshake(server: Credentials, client: Credentials, client_trusts: x509.Certificate) -> str:
    """Let OpenSSL's own chain check meet two credentials; give "" or why it failed."""
    ends = []
    for credentials, trusted in ((server, client.system_certificate), (client, client_trusts)):
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_privatekey(credentials.private_key)
        context.use_certificate(credentials.certificate)
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(trusted))
        store.set_time(datetime.datetime.fromtimestamp(NOW, datetime.UTC))
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *args: args[-1]
        )
        ends.append(SSL.Connection(context, None))
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    for _ in range(4):
        for end, other in ((ends[1], ends[0]), (ends[0], ends[1])):
            try:
                end.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return str(error)
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
    return ""


class OpenSSLTests(SynchronousTestCase):
    """The certificates do in TLS what they are for."""

    def test_handshake(self) -> None:
        """A server and a client of one system accept each other by the system's certificate."""
        server, client = server_credentials(), client_credentials()
        self.assertEqual(handshake(server, client, server.system_certificate), "")

    def test_other_system(self) -> None:
        """OpenSSL too refuses a server when another system's certificate is trusted."""
        other = make_system_certificate(OTHER_KEY)
        self.assertIn(
            "certificate verify failed",
            handshake(server_credentials(), client_credentials(), other),
        )

    def test_roles_cannot_be_swapped(self) -> None:
        """OpenSSL too refuses a client's certificate in a server's place."""
        client = client_credentials()
        self.assertIn(
            "certificate verify failed", handshake(client, client, client.system_certificate)
        )

    def test_service_identity(self) -> None:
        """The name check finds exactly SERVER.SYSTEM."""
        patterns = extract_patterns(server_credentials().certificate)
        verify_service_identity(patterns, [DNS_ID(f"{SERVER}.{SYSTEM}")], [])
        with self.assertRaises(VerificationError):
            verify_service_identity(patterns, [DNS_ID(f"{SYSTEM}.{SYSTEM}")], [])

    def test_pem(self) -> None:
        """Nothing but the certificate's bytes is needed to load it elsewhere."""
        pem = server_credentials().certificate.public_bytes(Encoding.PEM)
        self.assertEqual(
            crypto.load_certificate(crypto.FILETYPE_PEM, pem).get_serial_number(), 0x1111
        )
