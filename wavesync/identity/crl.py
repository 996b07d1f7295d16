"""The list of a system's revoked certificates: one X.509 CRL (RFC 5280, section 5), rising numbers.

There is one list for servers and clients alike.  It is as small as RFC 5280 lets it be, never
expires (the system's key is offline, and nobody is to be locked out because it stays there), and a
higher CRL number replaces a lower one whole.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from wavesync.errors import SettingsError
from wavesync.identity.certificates import FOREVER, ISSUER
from wavesync.identity.ids import system_id
from wavesync.identity.verify import UNREADABLE, Reason, VerificationError

__all__ = ["MAX_CRL", "MAX_NUMBER", "MAX_REVOKED", "RevocationList", "make_crl", "read_crl"]

MAX_REVOKED = 5000
"""Most certificates on one list."""

MAX_CRL = 262_144
"""Longest list that is parsed, in bytes of DER; one of :data:`MAX_REVOKED` entries has some 200,000."""

MAX_NUMBER = (1 << 63) - 1
"""Highest CRL number."""

_MAX_SERIAL = 1 << 159
"""Serial numbers are positive and below this (RFC 5280, section 4.1.2.2: at most 20 bytes)."""

_SIGNATURE_HEAD = b"\x03\x41\x00"
"""A BIT STRING of 64 whole bytes: parsers let the number of unused bits be changed by anybody."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose form and signature were found good.

    :ivar system: id of the system.
    :ivar number: CRL number, 1 .. :data:`MAX_NUMBER`.
    :ivar issued: when it was made, seconds since the epoch; for people only.
    :ivar revoked: each revoked serial number, and when it was revoked (seconds since the epoch).
    :ivar der: its bytes.
    """

    system: str
    number: int
    issued: float
    revoked: Mapping[int, float]
    der: bytes

    @property
    def pem(self) -> str:
        """The list as text, as files have it."""
        crl = x509.load_der_x509_crl(self.der)
        return crl.public_bytes(Encoding.PEM).decode("ascii")


def make_crl(
    system_key: Ed25519PrivateKey, revoked: Mapping[int, float], *, number: int, now: float
) -> RevocationList:
    """Make the list: the same parameters give the same bytes.

    :param revoked: serial number and time of revocation (seconds since the epoch, cut to whole
        ones) of each certificate.
    :param number: 1 .. :data:`MAX_NUMBER`, higher than that of any list made before.
    :param now: seconds since the epoch.
    :raises SettingsError: there are too many entries, or *number* or a serial is out of range.
    """
    if len(revoked) > MAX_REVOKED:
        raise SettingsError(
            f"a system's list has room for {MAX_REVOKED} revoked certificates: make a new system."
        )
    if not 1 <= number <= MAX_NUMBER:
        raise SettingsError(f"a revocation list cannot have the number {number}.")
    if not all(0 < serial < _MAX_SERIAL for serial in revoked):
        raise SettingsError("a serial number is positive and has at most 159 bits.")
    system = system_id(system_key.public_key())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ISSUER)
        .last_update(_time(now))
        .next_update(FOREVER)
        .add_extension(
            x509.AuthorityKeyIdentifier(bytes.fromhex(system), None, None), critical=False
        )
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, at in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(at))
        builder = builder.add_revoked_certificate(entry.build())
    der = builder.sign(system_key, None).public_bytes(Encoding.DER)
    entries = {serial: float(int(at)) for serial, at in sorted(revoked.items())}
    return RevocationList(system, number, float(int(now)), MappingProxyType(entries), der)


def read_crl(der: bytes, system_key: bytes) -> RevocationList:
    """Decide whether bytes are a list of a system's.

    Nothing is counted or kept before the signature was found good, and time is not judged.

    :param der: any bytes a peer may have sent.
    :param system_key: the system's public key, 32 raw bytes.
    :raises VerificationError: ``oversize``, ``malformed``, ``wrong-key-type``, ``wrong-issuer``,
        ``bad-signature``, ``unknown-extension``, ``other-system``.
    """
    if len(der) > MAX_CRL:
        raise VerificationError(Reason.OVERSIZE, "the revocation list is too long.")
    try:
        return _read(der, system_key)
    except UNREADABLE as error:
        raise VerificationError(Reason.MALFORMED, "the revocation list is malformed.") from error


def _read(der: bytes, system_key: bytes) -> RevocationList:
    if der[:1] != b"\x30" or der[-67:-64] != _SIGNATURE_HEAD:
        raise ValueError("not the beginning or the end of a list")
    crl = x509.load_der_x509_crl(der)
    if crl.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        raise VerificationError(
            Reason.WRONG_KEY_TYPE, "the revocation list's signature is not Ed25519."
        )
    if crl.issuer != ISSUER:
        raise VerificationError(
            Reason.WRONG_ISSUER, "the revocation list's issuer is not a system."
        )
    if not crl.is_signature_valid(Ed25519PublicKey.from_public_bytes(system_key)):
        raise VerificationError(
            Reason.BAD_SIGNATURE, "the revocation list was not signed by the system."
        )
    number = _read_extensions(crl.extensions, system_id(system_key))
    # The signature holds: what follows can only be the work of the system's own key.
    if len(crl) > MAX_REVOKED:
        raise VerificationError(Reason.OVERSIZE, "the revocation list has too many entries.")
    revoked = {entry.serial_number: entry.revocation_date_utc.timestamp() for entry in crl}
    if not all(0 < serial < _MAX_SERIAL for serial in revoked):
        raise ValueError("not serial numbers")
    issued = crl.last_update_utc.timestamp()
    return RevocationList(system_id(system_key), number, issued, MappingProxyType(revoked), der)


def _read_extensions(extensions: Iterable[x509.Extension[x509.ExtensionType]], system: str) -> int:
    """Give the list's number; it must be whole (not a delta, not of a part) and of *system*."""
    number = 0
    key_id: bytes | None = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            key_id = value.key_identifier
        elif extension.critical:
            raise VerificationError(
                Reason.UNKNOWN_EXTENSION, "the revocation list has an unknown critical extension."
            )
    if key_id != bytes.fromhex(system):
        raise VerificationError(Reason.OTHER_SYSTEM, "the revocation list is of another system.")
    if not 1 <= number <= MAX_NUMBER:
        raise ValueError("not a number of a list")
    return number


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
