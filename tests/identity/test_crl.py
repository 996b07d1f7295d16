"""Tests for :mod:`wavesync.identity.crl`: the list of revoked certificates."""

import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import (
    DAY,
    NOW,
    OTHER_KEY,
    OTHER_RAW,
    SYSTEM,
    SYSTEM_KEY,
    SYSTEM_RAW,
)
from wavesync.errors import SettingsError
from wavesync.identity.certificates import FOREVER, ISSUER
from wavesync.identity.crl import MAX_CRL, MAX_NUMBER, MAX_REVOKED, make_crl, read_crl
from wavesync.identity.verify import Reason, VerificationError

TOP = (1 << 159) - 1


def odd_crl(
    *,
    issuer: x509.Name = ISSUER,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ec_key: bool = False,
    entries: int = 0,
) -> bytes:
    """A list as nobody but the system's own key could make it, and should not."""
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(now).next_update(FOREVER)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for serial in range(1, entries + 1):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    if ec_key:
        return builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(
            Encoding.DER
        )
    return builder.sign(SYSTEM_KEY, None).public_bytes(Encoding.DER)


KEY_ID = (x509.AuthorityKeyIdentifier(bytes.fromhex(SYSTEM), None, None), False)
NUMBER = (x509.CRLNumber(5), False)


class CrlTests(SynchronousTestCase):
    """What the system signs is read back, and nothing else is believed."""

    def refused(self, reason: Reason, der: bytes, key: bytes = SYSTEM_RAW) -> None:
        """Check that a list is refused for that reason."""
        with self.assertRaises(VerificationError) as caught:
            read_crl(der, key)
        self.assertEqual(caught.exception.reason, reason)

    def test_round_trip(self) -> None:
        """Serial numbers, times and the number come back."""
        revoked = {1: NOW - 5.5, TOP: NOW, 77: 0.0}
        made = make_crl(SYSTEM_KEY, revoked, number=9, now=NOW + 0.5)
        read = read_crl(made.der, SYSTEM_RAW)
        self.assertEqual(read, made)
        self.assertEqual((read.system, read.number, read.issued), (SYSTEM, 9, NOW))
        self.assertEqual(dict(read.revoked), {1: float(int(NOW - 5.5)), 77: 0.0, TOP: NOW})

    def test_deterministic(self) -> None:
        """The same parameters give the same bytes, in whatever order."""
        one = make_crl(SYSTEM_KEY, {2: NOW, 1: NOW}, number=1, now=NOW)
        two = make_crl(SYSTEM_KEY, {1: NOW, 2: NOW}, number=1, now=NOW)
        self.assertEqual(one.der, two.der)

    def test_empty(self) -> None:
        """A list may name nobody."""
        made = make_crl(SYSTEM_KEY, {}, number=1, now=NOW)
        self.assertEqual(dict(read_crl(made.der, SYSTEM_RAW).revoked), {})

    def test_size(self) -> None:
        """The longest list is within the limit of what is read; one more entry cannot be made."""
        revoked = {TOP - n: NOW for n in range(MAX_REVOKED)}
        made = make_crl(SYSTEM_KEY, revoked, number=MAX_NUMBER, now=NOW)
        self.assertLess(len(made.der), MAX_CRL)
        self.assertEqual(len(read_crl(made.der, SYSTEM_RAW).revoked), MAX_REVOKED)
        revoked[1] = NOW
        with self.assertRaises(SettingsError):
            make_crl(SYSTEM_KEY, revoked, number=1, now=NOW)
        extensions = (KEY_ID, NUMBER)
        at_limit = odd_crl(extensions=extensions, entries=MAX_REVOKED)
        self.assertEqual(len(read_crl(at_limit, SYSTEM_RAW).revoked), MAX_REVOKED)
        past = odd_crl(extensions=extensions, entries=MAX_REVOKED + 1)
        self.refused(Reason.OVERSIZE, past)

    def test_numbers(self) -> None:
        """Numbers and serial numbers out of range cannot be made."""
        for number in (0, -1, MAX_NUMBER + 1):
            with self.assertRaises(SettingsError):
                make_crl(SYSTEM_KEY, {}, number=number, now=NOW)
        for serial in (0, -1, TOP + 1):
            with self.assertRaises(SettingsError):
                make_crl(SYSTEM_KEY, {serial: NOW}, number=1, now=NOW)

    def test_another_system(self) -> None:
        """Another system's list is not signed by this one."""
        other = make_crl(OTHER_KEY, {1: NOW}, number=1, now=NOW)
        self.refused(Reason.BAD_SIGNATURE, other.der)
        self.assertEqual(read_crl(other.der, OTHER_RAW).number, 1)

    def test_odd_forms(self) -> None:
        """What the system's key has signed but is no such list is refused by its reason."""
        good = (KEY_ID, NUMBER)
        self.assertEqual(read_crl(odd_crl(extensions=good), SYSTEM_RAW).number, 5)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
        self.refused(Reason.WRONG_ISSUER, odd_crl(issuer=name, extensions=good))
        self.refused(Reason.MALFORMED, odd_crl(extensions=good, ec_key=True))
        self.refused(Reason.OTHER_SYSTEM, odd_crl(extensions=(NUMBER,)))
        foreign = (x509.AuthorityKeyIdentifier(bytes(16), None, None), False)
        self.refused(Reason.OTHER_SYSTEM, odd_crl(extensions=(foreign, NUMBER)))
        self.refused(Reason.MALFORMED, odd_crl(extensions=(KEY_ID,)))
        zero = (x509.CRLNumber(0), False)
        self.refused(Reason.MALFORMED, odd_crl(extensions=(KEY_ID, zero)))
        huge = (x509.CRLNumber(MAX_NUMBER + 1), False)
        self.refused(Reason.MALFORMED, odd_crl(extensions=(KEY_ID, huge)))
        delta = (x509.DeltaCRLIndicator(4), True)
        self.refused(Reason.UNKNOWN_EXTENSION, odd_crl(extensions=(*good, delta)))
        part = (
            x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
            True,
        )
        self.refused(Reason.UNKNOWN_EXTENSION, odd_crl(extensions=(*good, part)))

    def test_too_long(self) -> None:
        """More bytes than the limit are not looked at."""
        self.refused(Reason.OVERSIZE, bytes(MAX_CRL + 1))
        self.refused(Reason.MALFORMED, bytes(MAX_CRL))

    def test_every_bit(self) -> None:
        """No bit of a list can be changed, and none added or taken away."""
        der = make_crl(SYSTEM_KEY, {0x1111: NOW, TOP: NOW}, number=2, now=NOW).der
        for at in range(len(der)):
            for bit in range(8):
                changed = bytearray(der)
                changed[at] ^= 1 << bit
                with self.assertRaises(VerificationError):
                    read_crl(bytes(changed), SYSTEM_RAW)
        for other in (der + b"\0", der[:-1], b"\0" + der, der[1:], b""):
            with self.assertRaises(VerificationError):
                read_crl(other, SYSTEM_RAW)

    @given(st.binary(max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """Any bytes are refused by the one exception."""
        with self.assertRaises(VerificationError):
            read_crl(b"\x30" + data, SYSTEM_RAW)

    @given(st.data())
    def test_cut_and_glued(self, data: st.DataObject) -> None:
        """Pieces of a list in the wrong places are refused by the one exception."""
        der = make_crl(SYSTEM_KEY, dict.fromkeys(range(1, 9), NOW), number=2, now=NOW).der
        start = data.draw(st.integers(0, len(der) - 1))
        end = data.draw(st.integers(start + 1, len(der)))
        middle = data.draw(st.binary(max_size=20))
        mixed = der[:start] + middle + der[end:]
        if mixed != der:
            with self.assertRaises(VerificationError):
                read_crl(mixed, SYSTEM_RAW)

    def test_time_is_not_judged(self) -> None:
        """A list from a clock that is years off is as good as any."""
        made = make_crl(SYSTEM_KEY, {1: NOW}, number=1, now=NOW + 9000 * DAY)
        self.assertEqual(read_crl(made.der, SYSTEM_RAW).number, 1)

    def test_openssl_reads_it(self) -> None:
        """A person can look at the file with openssl, which finds it signed by the system."""
        directory = Path(self.mktemp())
        directory.mkdir()
        made = make_crl(SYSTEM_KEY, {0x1111: NOW}, number=3, now=NOW)
        (directory / "crl.pem").write_text(made.pem)
        ran = subprocess.run(
            ["openssl", "crl", "-in", str(directory / "crl.pem"), "-noout", "-text"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("1111", ran.stdout)
        self.assertIn("Dec 31 23:59:59 9999 GMT", ran.stdout)
