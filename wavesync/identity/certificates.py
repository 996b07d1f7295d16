"""The X.509 certificates of a system, its servers and its clients.

They exist because OpenSSL trusts certificates, not keys, and are as small as RFC 5280 lets them
be: a server's or client's whole proof of identity has to fit 512 bytes of a datagram
(:mod:`wavesync.identity.proofs`).  That is why every issuer is the same two letters: what tells one
system from another is the key, never a name.
"""

import datetime
import re
import secrets

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wavesync.errors import SettingsError
from wavesync.identity.ids import system_id

__all__ = [
    "BACKDATED_DAYS",
    "CLIENT_NAME",
    "DEFAULT_DAYS",
    "FOREVER",
    "ISSUER",
    "MAX_DAYS",
    "check_client_name",
    "make_client_certificate",
    "make_server_certificate",
    "make_system_certificate",
    "system_certificate_body",
]

DEFAULT_DAYS = 3650
"""How long a server's or client's certificate is valid unless told otherwise, in days.

Ten years: sites are unattended, and what ends trust early is revocation, not a forgotten date.
"""

MAX_DAYS = 36500
"""The longest validity that can be asked for, in days."""

BACKDATED_DAYS = 7
"""How far notBefore lies before the making, in days: clocks of small sites are wrong by days."""

CLIENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""What a client's name has to match as a whole."""

ISSUER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ws")])
"""Subject of every system certificate, issuer of every certificate."""

FOREVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280, section 4.1.2.5: no well-defined expiration date."""

_EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
"""notBefore of every system certificate."""


def make_system_certificate(system_key: Ed25519PrivateKey) -> x509.Certificate:
    """Make the self-signed certificate of a system: the same key gives the same bytes, always.

    CA:TRUE with path length 0, keyCertSign and cRLSign, both critical; serial number is the
    system's id as an integer; 20200101000000Z to 99991231235959Z.
    """
    return _system_builder(system_key.public_key()).sign(system_key, None)


def system_certificate_body(public_key: Ed25519PublicKey) -> bytes:
    """Give the DER TBSCertificate that :func:`make_system_certificate` signs.

    Needs the public key only, so that whoever holds that can tell whether a system certificate is
    the one that the rule gives.
    """
    anybody = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return _system_builder(public_key).sign(anybody, None).tbs_certificate_bytes


def make_server_certificate(
    system_key: Ed25519PrivateKey,
    public_key: Ed25519PublicKey,
    server_id: str,
    *,
    now: float,
    days: int = DEFAULT_DAYS,
    serial: int | None = None,
) -> x509.Certificate:
    """Make a server's certificate: serverAuth, one SAN, the dNSName ``SERVER.SYSTEM``.

    :param server_id: the server's id, 32 hex digits.
    :param now: seconds since the epoch; the certificate is valid from 7 days before.
    :param days: how long it is valid from *now* on, 1 .. :data:`MAX_DAYS`.
    :param serial: the serial number; a random one of 159 bits when None.
    :raises SettingsError: when *days* is out of range.
    """
    name = x509.DNSName(f"{server_id}.{system_id(system_key.public_key())}")
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return _make_leaf(system_key, public_key, name, usage, now, days, serial)


def make_client_certificate(
    system_key: Ed25519PrivateKey,
    public_key: Ed25519PublicKey,
    name: str,
    *,
    now: float,
    days: int = DEFAULT_DAYS,
    serial: int | None = None,
) -> x509.Certificate:
    """Make a client's certificate: clientAuth, one SAN, the URI ``wavesync:NAME@SYSTEM``.

    :param name: the client's name, see :data:`CLIENT_NAME`; other parameters and errors as for
        :func:`make_server_certificate`.
    :raises SettingsError: when *name* is not a client's name.
    """
    check_client_name(name)
    uri = f"wavesync:{name}@{system_id(system_key.public_key())}"
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return _make_leaf(
        system_key, public_key, x509.UniformResourceIdentifier(uri), usage, now, days, serial
    )


def check_client_name(name: str) -> None:
    """Refuse what cannot be a client's name.

    :raises SettingsError: with a sentence that says what can.
    """
    if CLIENT_NAME.fullmatch(name) is None:
        raise SettingsError(
            f"{name[:64]!r} cannot be a client's name: it starts with a letter or digit and has at"
            " most 63 small letters, digits, dots, underscores and hyphens."
        )


def _system_builder(public_key: Ed25519PublicKey) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .serial_number(int(system_id(public_key), 16))
        .issuer_name(ISSUER)
        .subject_name(ISSUER)
        .not_valid_before(_EPOCH)
        .not_valid_after(FOREVER)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )


def _make_leaf(
    system_key: Ed25519PrivateKey,
    public_key: Ed25519PublicKey,
    name: x509.GeneralName,
    usage: x509.ObjectIdentifier,
    now: float,
    days: int,
    serial: int | None,
) -> x509.Certificate:
    if not 1 <= days <= MAX_DAYS:
        raise SettingsError(f"a certificate is valid for 1 to {MAX_DAYS} days, not {days}.")
    made = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(_random_serial() if serial is None else serial)
        .issuer_name(ISSUER)
        # Empty, so the SAN is critical (RFC 5280, section 4.2.1.6).
        .subject_name(x509.Name([]))
        .not_valid_before(made - datetime.timedelta(days=BACKDATED_DAYS))
        .not_valid_after(made + datetime.timedelta(days=days))
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .sign(system_key, None)
    )


def _random_serial() -> int:
    """Draw a positive serial number of at most 159 bits (RFC 5280, section 4.1.2.2)."""
    return secrets.randbits(159) or 1
