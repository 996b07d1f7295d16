"""Keys from fixed seeds, and certificates as a hostile peer might make them."""

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from wavesync.identity.certificates import (
    ISSUER,
    make_client_certificate,
    make_server_certificate,
    make_system_certificate,
)
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import system_id
from wavesync.identity.keys import raw_public_key
from wavesync.identity.verify import Role

NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""

DAY = 86400.0

SYSTEM_SEED, SERVER_SEED, CLIENT_SEED, OTHER_SEED = (bytes([n]) * 32 for n in (1, 2, 3, 4))

SYSTEM_KEY = Ed25519PrivateKey.from_private_bytes(SYSTEM_SEED)
SERVER_KEY = Ed25519PrivateKey.from_private_bytes(SERVER_SEED)
CLIENT_KEY = Ed25519PrivateKey.from_private_bytes(CLIENT_SEED)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(OTHER_SEED)

SYSTEM = system_id(SYSTEM_KEY.public_key())
OTHER_SYSTEM = system_id(OTHER_KEY.public_key())
SYSTEM_RAW = raw_public_key(SYSTEM_KEY)
OTHER_RAW = raw_public_key(OTHER_KEY)

SERVER = "00112233445546778899aabbccddeeff"
SERVER_SERIAL = 0x1111
CLIENT_SERIAL = 0x2222

SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def der(certificate: x509.Certificate) -> bytes:
    """Give a certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)


def server_credentials(mediators: tuple[str, ...] = (), label: str = "") -> Credentials:
    """Give the credentials of the fixed server."""
    certificate = make_server_certificate(
        SYSTEM_KEY, SERVER_KEY.public_key(), SERVER, now=NOW, serial=SERVER_SERIAL
    )
    anchor = make_system_certificate(SYSTEM_KEY)
    return Credentials(Role.SERVER, SERVER_KEY, certificate, anchor, mediators, label)


def client_credentials(
    name: str = "alice", *, system_key: Ed25519PrivateKey = SYSTEM_KEY, now: float = NOW
) -> Credentials:
    """Give the credentials of the fixed client, or of one that differs as asked."""
    certificate = make_client_certificate(
        system_key, CLIENT_KEY.public_key(), name, now=now, serial=CLIENT_SERIAL
    )
    return Credentials(Role.CLIENT, CLIENT_KEY, certificate, make_system_certificate(system_key))


def odd_leaf(
    *,
    signed_by: CertificateIssuerPrivateKeyTypes = SYSTEM_KEY,
    algorithm: SHA256 | None = None,
    key: CertificatePublicKeyTypes | None = None,
    issuer: x509.Name = ISSUER,
    subject: x509.Name | None = None,
    names: Sequence[x509.GeneralName] | None = (x509.DNSName(f"{SERVER}.{SYSTEM}"),),
    usages: Sequence[x509.ObjectIdentifier] | None = (SERVER_AUTH,),
    ca: bool | None = False,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    not_before: float = NOW - 7 * DAY,
    not_after: float = NOW + 3650 * DAY,
) -> bytes:
    """Make a server's certificate that is right in all but what is asked for."""
    hashed: HashAlgorithm | None = algorithm
    builder = (
        x509.CertificateBuilder()
        .serial_number(SERVER_SERIAL)
        .issuer_name(issuer)
        .subject_name(x509.Name([]) if subject is None else subject)
        .not_valid_before(datetime.datetime.fromtimestamp(not_before, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(not_after, datetime.UTC))
        .public_key(SERVER_KEY.public_key() if key is None else key)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), False)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    return der(builder.sign(signed_by, hashed))  # type: ignore[arg-type]


def signed(body: bytes) -> bytes:
    """Wrap any bytes as a certificate's body, with the system's right signature."""
    tail = bytes.fromhex("300506032b6570034100") + SYSTEM_KEY.sign(body)
    content = body + tail
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content
