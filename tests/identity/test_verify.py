"""Tests for :mod:`wavesync.identity.verify`: every way in which a certificate may be wrong."""

import hashlib
import warnings
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import (
    CLIENT_AUTH,
    DAY,
    NOW,
    OTHER_KEY,
    OTHER_RAW,
    OTHER_SYSTEM,
    SERVER,
    SERVER_AUTH,
    SERVER_SERIAL,
    SYSTEM,
    SYSTEM_KEY,
    SYSTEM_RAW,
    client_credentials,
    der,
    odd_leaf,
    server_credentials,
    signed,
)
from wavesync.identity.certificates import make_system_certificate
from wavesync.identity.verify import (
    MAX_CERTIFICATE,
    Peer,
    Reason,
    Role,
    VerificationError,
    read_leaf,
    verify_leaf,
)

SERVER_DER = server_credentials().certificate_der
CLIENT_DER = client_credentials().certificate_der
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def _numbered(number: int) -> bytes:
    """A client's certificate, another for each number."""
    return client_credentials(f"client-{number}").certificate_der


class Case(SynchronousTestCase):
    """What the tests below share."""

    def refused(
        self,
        reason: str,
        certificate: bytes,
        *,
        system_key: bytes = SYSTEM_RAW,
        role: Role | None = None,
        at: float = NOW,
        revoked: Callable[[int], bool] | None = None,
    ) -> None:
        """Check that a certificate is refused for that reason, with a sentence."""
        with self.assertRaises(VerificationError) as caught:
            verify_leaf(certificate, system_key, role=role, at=at, revoked=revoked)
        self.assertEqual(caught.exception.reason, reason)
        self.assertTrue(str(caught.exception).endswith("."), str(caught.exception))


class GoodTests(Case):
    """Certificates that are what they say."""

    def test_server(self) -> None:
        """A server is known by its id and system."""
        peer = verify_leaf(SERVER_DER, SYSTEM_RAW, role=Role.SERVER, at=NOW)
        fingerprint = hashlib.sha256(SERVER_DER).digest()
        self.assertEqual(peer, Peer(Role.SERVER, SYSTEM, SERVER, None, fingerprint))
        self.assertEqual(peer.text, f"{SERVER}.{SYSTEM}")

    def test_client(self) -> None:
        """A client is known by its name and system."""
        peer = verify_leaf(CLIENT_DER, SYSTEM_RAW, role=Role.CLIENT, at=NOW)
        fingerprint = hashlib.sha256(CLIENT_DER).digest()
        self.assertEqual(peer, Peer(Role.CLIENT, SYSTEM, None, "alice", fingerprint))
        self.assertEqual(peer.text, f"alice@{SYSTEM}")

    def test_either_role(self) -> None:
        """Who does not care about the role is told it."""
        roles = [
            verify_leaf(d, SYSTEM_RAW, role=None, at=NOW).role for d in (SERVER_DER, CLIENT_DER)
        ]
        self.assertEqual(roles, [Role.SERVER, Role.CLIENT])

    def test_longest_client_name(self) -> None:
        """A client whose name is as long as allowed is accepted."""
        certificate = client_credentials("n" * 63).certificate_der
        self.assertEqual(read_leaf(certificate, SYSTEM_RAW).peer.name, "n" * 63)

    def test_the_odd_leaf_is_good_by_default(self) -> None:
        """The refusals below are for the reason given and no other."""
        self.assertEqual(verify_leaf(odd_leaf(), SYSTEM_RAW, role=None, at=NOW).server, SERVER)

    def test_unknown_uncritical_extension(self) -> None:
        """What a later version adds without calling it critical does no harm."""
        certificate = odd_leaf(extra=[(UNKNOWN, False)])
        self.assertEqual(verify_leaf(certificate, SYSTEM_RAW, role=None, at=NOW).server, SERVER)

    def test_first_and_last_second(self) -> None:
        """Both ends of the validity are inside it (RFC 5280, section 4.1.2.5)."""
        leaf = read_leaf(SERVER_DER, SYSTEM_RAW)
        self.assertEqual(leaf.not_before, NOW - 7 * DAY)
        for at in (leaf.not_before, leaf.not_after):
            verify_leaf(SERVER_DER, SYSTEM_RAW, role=None, at=at)


class RefusedTests(Case):
    """Certificates of strangers, of the wrong kind, and made to deceive."""

    def test_wrong_role(self) -> None:
        """A client cannot pass for a server, nor a server for a client."""
        self.refused(Reason.WRONG_ROLE, CLIENT_DER, role=Role.SERVER)
        self.refused(Reason.WRONG_ROLE, SERVER_DER, role=Role.CLIENT)

    def test_time(self) -> None:
        """One second early or late is refused, and which of the two is told."""
        leaf = read_leaf(SERVER_DER, SYSTEM_RAW)
        self.refused(Reason.NOT_YET_VALID, SERVER_DER, at=leaf.not_before - 1)
        self.refused(Reason.EXPIRED, SERVER_DER, at=leaf.not_after + 1)

    def test_revoked(self) -> None:
        """A revoked serial number is refused, its neighbours are not."""
        self.refused(Reason.REVOKED, SERVER_DER, revoked=lambda serial: serial == SERVER_SERIAL)
        verify_leaf(SERVER_DER, SYSTEM_RAW, role=None, at=NOW, revoked=lambda serial: serial == 1)

    def test_other_system(self) -> None:
        """Another system's good certificate is refused as such."""
        self.refused(Reason.OTHER_SYSTEM, SERVER_DER, system_key=OTHER_RAW)

    def test_name_of_another_system(self) -> None:
        """A system cannot certify names of another one, whichever key is trusted."""
        certificate = odd_leaf(names=[x509.DNSName(f"{SERVER}.{OTHER_SYSTEM}")])
        self.refused(Reason.OTHER_SYSTEM, certificate)
        self.refused(Reason.BAD_SIGNATURE, certificate, system_key=OTHER_RAW)

    def test_signed_by_somebody_else(self) -> None:
        """Our names under another key's signature are worth nothing."""
        self.refused(Reason.BAD_SIGNATURE, odd_leaf(signed_by=OTHER_KEY))

    def test_signed_by_another_leaf(self) -> None:
        """A server cannot certify others: there are no chains."""
        self.refused(Reason.BAD_SIGNATURE, odd_leaf(signed_by=server_credentials().private_key))

    def test_wrong_issuer(self) -> None:
        """An issuer that OpenSSL would not find is refused here as well."""
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wx")])
        self.refused(Reason.WRONG_ISSUER, odd_leaf(issuer=issuer))

    def test_authority(self) -> None:
        """A leaf that says CA:TRUE, or does not say CA:FALSE, is refused."""
        self.refused(Reason.AUTHORITY, odd_leaf(ca=True))
        self.refused(Reason.AUTHORITY, odd_leaf(ca=None))

    def test_the_systems_own_certificate(self) -> None:
        """The trust anchor is not a server."""
        self.refused(Reason.UNKNOWN_EXTENSION, der(make_system_certificate(SYSTEM_KEY)))

    def test_other_key_types(self) -> None:
        """Only Ed25519 keys are certified: one kind of signature to get right."""
        for key in (CURVE_KEY.public_key(), X25519PrivateKey.generate().public_key()):
            self.refused(Reason.WRONG_KEY_TYPE, odd_leaf(key=key))

    def test_other_signature_types(self) -> None:
        """Only Ed25519 signatures count."""
        self.refused(Reason.WRONG_KEY_TYPE, odd_leaf(signed_by=CURVE_KEY, algorithm=SHA256()))

    def test_unknown_critical_extension(self) -> None:
        """What has to be understood and is not, refuses (RFC 5280, section 4.2)."""
        self.refused(Reason.UNKNOWN_EXTENSION, odd_leaf(extra=[(UNKNOWN, True)]))
        constraints = x509.NameConstraints([x509.DNSName("example")], None)
        self.refused(Reason.UNKNOWN_EXTENSION, odd_leaf(extra=[(constraints, True)]))

    def test_usages(self) -> None:
        """Exactly one of serverAuth and clientAuth: none, both, any and others are refused."""
        other = ExtendedKeyUsageOID.CODE_SIGNING
        for usages in (
            None,
            [SERVER_AUTH, CLIENT_AUTH],
            [SERVER_AUTH, SERVER_AUTH],
            [SERVER_AUTH, other],
            [other],
            [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
        ):
            self.refused(Reason.WRONG_USAGE, odd_leaf(usages=usages))

    def test_server_names(self) -> None:
        """Only SERVER.SYSTEM in small hex digits is a server's name."""
        good = f"{SERVER}.{SYSTEM}"
        for text in (
            SYSTEM,
            good.upper(),
            good + ".",
            good + "\n",
            good + "\0",
            " " + good,
            "x" + good,
            good.replace(".", "-"),
            f"*.{SYSTEM}",
            f"{SERVER}.{SERVER}.{SYSTEM}",
            f"{SERVER[1:]}.{SYSTEM}",
        ):
            self.refused(Reason.WRONG_NAME, odd_leaf(names=[x509.DNSName(text)]))

    def test_client_names(self) -> None:
        """Only wavesync:NAME@SYSTEM is a client's name."""
        for text in (
            f"wavesync:Alice@{SYSTEM}",
            f"wavesync:@{SYSTEM}",
            f"wavesync:{'n' * 64}@{SYSTEM}",
            f"wavesync:a@b@{SYSTEM}",
            f"wavesync://alice@{SYSTEM}",
            f"WAVESYNC:alice@{SYSTEM}",
            f"wavesync:alice@{SYSTEM.upper()}",
            f"wavesync:alice@{SYSTEM}\n",
            f"alice@{SYSTEM}",
        ):
            names = [x509.UniformResourceIdentifier(text)]
            self.refused(Reason.WRONG_NAME, odd_leaf(names=names, usages=[CLIENT_AUTH]))

    def test_number_and_kind_of_names(self) -> None:
        """Exactly one name, of the kind that the role has."""
        server = x509.DNSName(f"{SERVER}.{SYSTEM}")
        client = x509.UniformResourceIdentifier(f"wavesync:alice@{SYSTEM}")
        self.refused(Reason.WRONG_NAME, odd_leaf(names=None))
        self.refused(Reason.WRONG_NAME, odd_leaf(names=[server, server]))
        self.refused(Reason.WRONG_NAME, odd_leaf(names=[server, client]))
        self.refused(Reason.WRONG_NAME, odd_leaf(names=[client]))
        self.refused(Reason.WRONG_NAME, odd_leaf(names=[server], usages=[CLIENT_AUTH]))
        self.refused(Reason.WRONG_NAME, odd_leaf(names=[x509.RFC822Name(f"{SERVER}.{SYSTEM}")]))

    def test_a_subject_is_not_a_name(self) -> None:
        """What stands in the subject is never looked at."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
        peer = verify_leaf(odd_leaf(subject=subject), SYSTEM_RAW, role=None, at=NOW)
        self.assertEqual(peer.server, SERVER)


class MalformedTests(Case):
    """Bytes that are no certificate: one error for all of them."""

    def test_size_limit(self) -> None:
        """At the limit a certificate is read; one byte more is refused unread."""
        filler = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")

        def padded(size: int) -> bytes:
            return odd_leaf(extra=[(x509.UnrecognizedExtension(filler, bytes(size)), False)])

        size = next(s for s in range(MAX_CERTIFICATE) if len(padded(s)) == MAX_CERTIFICATE)
        verify_leaf(padded(size), SYSTEM_RAW, role=None, at=NOW)
        self.refused(Reason.OVERSIZE, padded(size + 1))
        self.refused(Reason.OVERSIZE, bytes(100_000))

    def test_trailing_bytes(self) -> None:
        """Nothing may follow a certificate."""
        self.refused(Reason.MALFORMED, SERVER_DER + b"\0")

    def test_unused_bits(self) -> None:
        """Nobody can make a second certificate of one, with another fingerprint.

        Parsers read a signature whose last bit is 0 as well when it is said to be unused.
        """
        certificate = next(d for d in map(_numbered, range(100)) if not d[-1] & 1)
        changed = certificate[:-65] + b"\x01" + certificate[-64:]
        self.assertEqual(x509.load_der_x509_certificate(changed).signature, changed[-64:])
        read_leaf(certificate, SYSTEM_RAW)
        self.refused(Reason.MALFORMED, changed)

    def test_every_truncation(self) -> None:
        """A certificate cut short anywhere is refused."""
        for size in range(len(SERVER_DER)):
            self.refused(Reason.MALFORMED, SERVER_DER[:size])

    def test_every_changed_byte(self) -> None:
        """No byte can be changed without being noticed."""
        for position in range(len(SERVER_DER)):
            changed = bytearray(SERVER_DER)
            changed[position] ^= 1 << position % 8
            with self.assertRaises(VerificationError):
                verify_leaf(bytes(changed), SYSTEM_RAW, role=Role.SERVER, at=NOW)

    @given(st.data())
    def test_well_signed_nonsense(self, data: st.DataObject) -> None:
        """Even a body that the system signed may be nonsense; it gives a peer or the one error."""
        body = bytearray(x509.load_der_x509_certificate(SERVER_DER).tbs_certificate_bytes)
        for _ in range(data.draw(st.integers(1, 3))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            peer = verify_leaf(signed(bytes(body)), SYSTEM_RAW, role=Role.SERVER, at=NOW)
        except VerificationError:
            return
        self.assertEqual(peer.system, SYSTEM)

    def test_well_signed_and_unchanged(self) -> None:
        """The test above would pass a good body."""
        body = x509.load_der_x509_certificate(SERVER_DER).tbs_certificate_bytes
        verify_leaf(signed(body), SYSTEM_RAW, role=Role.SERVER, at=NOW)

    def test_extension_twice(self) -> None:
        """Two extensions of one kind are refused, so that no two readers take different ones."""
        body = x509.load_der_x509_certificate(
            odd_leaf(
                extra=[
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.126"), b"0\0"), False)
                ]
            )
        ).tbs_certificate_bytes
        twice = body.replace(bytes.fromhex("0603551d7e"), bytes.fromhex("0603551d13"))
        self.assertNotEqual(twice, body)
        self.refused(Reason.MALFORMED, signed(twice))

    def test_version_1(self) -> None:
        """A certificate that cannot have extensions is refused."""
        body = x509.load_der_x509_certificate(SERVER_DER).tbs_certificate_bytes
        self.refused(Reason.MALFORMED, signed(body.replace(bytes.fromhex("a003020102"), b"", 1)))

    def test_serial_number(self) -> None:
        """A serial number that no revocation list could name is refused, and none is logged."""
        body = x509.load_der_x509_certificate(SERVER_DER).tbs_certificate_bytes
        caught = self.enterContext(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        for serial in ("02020000", "0202ffff", "02020011"):
            changed = body.replace(bytes.fromhex("02021111"), bytes.fromhex(serial), 1)
            self.assertNotEqual(changed, body)
            self.refused(Reason.MALFORMED, signed(changed))
        zero = body.replace(bytes.fromhex("02021111"), bytes.fromhex("020100"), 1)
        self.refused(Reason.MALFORMED, signed(zero[:2] + bytes([zero[2] - 1]) + zero[3:]))
        long = body.replace(bytes.fromhex("02021111"), b"\x02\x15" + b"\x11" * 21, 1)
        self.refused(Reason.MALFORMED, signed(long[:2] + bytes([long[2] + 19]) + long[3:]))
        self.assertEqual(caught, [])

    @given(st.binary(max_size=MAX_CERTIFICATE + 2))
    def test_garbage(self, garbage: bytes) -> None:
        """Any bytes are refused with the one error."""
        with self.assertRaises(VerificationError):
            verify_leaf(garbage, SYSTEM_RAW, role=None, at=NOW)
