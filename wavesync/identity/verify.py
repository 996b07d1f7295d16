"""The one function that decides whether a certificate is a system's server or client.

TLS and proofs both come here, so there is one place where a hostile certificate is judged.  It
needs the system's 32-byte key and nothing else: no store, no chain, no names to be trusted.
"""

import enum
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from wavesync.identity.certificates import ISSUER
from wavesync.identity.ids import system_id
from wavesync.identity.signatures import signed

__all__ = [
    "MAX_CERTIFICATE",
    "UNREADABLE",
    "Leaf",
    "Peer",
    "Reason",
    "Role",
    "VerificationError",
    "read_leaf",
    "verify_leaf",
]

MAX_CERTIFICATE = 1024
"""Longest certificate that is parsed, in bytes of DER; ours have at most 372."""

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""All that cryptography raises over the bytes of a certificate, or of a revocation list."""

_BEGINNING = re.compile(
    rb"\x30(?:\x81.|\x82..)\x30(?:\x81.|\x82..)\xa0\x03\x02\x01\x02"
    rb"\x02(?!\x01\x00)[\x01-\x14][\x00-\x7f]",
    re.DOTALL,
)
"""Two SEQUENCEs, version 3, and a positive serial number of at most 20 bytes.

Looked at first because the parser would complain of other serial numbers in the log.
"""

_SIGNATURE_HEAD = b"\x03\x41\x00"
"""A BIT STRING of 64 whole bytes: parsers let the number of unused bits be changed by anybody."""

_SERVER_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})")
_CLIENT_NAME = re.compile(r"wavesync:([a-z0-9][a-z0-9._-]{0,62})@([0-9a-f]{32})")


class Role(enum.Enum):
    """What a certificate is for."""

    SERVER = "server"
    CLIENT = "client"


class Reason(enum.StrEnum):
    """Why something was not believed: short codes for logs, answers and metrics."""

    OVERSIZE = "oversize"
    MALFORMED = "malformed"
    WRONG_KEY_TYPE = "wrong-key-type"
    WRONG_ISSUER = "wrong-issuer"
    AUTHORITY = "authority"
    UNKNOWN_EXTENSION = "unknown-extension"
    WRONG_USAGE = "wrong-usage"
    WRONG_NAME = "wrong-name"
    OTHER_SYSTEM = "other-system"
    BAD_SIGNATURE = "bad-signature"
    WRONG_ROLE = "wrong-role"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    STALE = "stale"
    OLDER = "older"


class VerificationError(Exception):
    """A certificate or proof is not to be believed: the only error of this package's checks.

    :ivar reason: the short code.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        """Take the code and the sentence for people, which ``str()`` gives back."""
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody whose certificate was verified.

    :ivar role: server or client.
    :ivar system: id of the system.
    :ivar server: id of the server; None for a client.
    :ivar name: name of the client; None for a server.
    :ivar fingerprint: SHA-256 of the certificate's DER.
    :ivar serial: the certificate's serial number, as a revocation list would name it.
    """

    role: Role
    system: str
    server: str | None
    name: str | None
    fingerprint: bytes
    serial: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """Give ``SERVER.SYSTEM`` or ``NAME@SYSTEM``."""
        if self.role is Role.SERVER:
            return f"{self.server}.{self.system}"
        return f"{self.name}@{self.system}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with a good form and signature, whose time and role are still to be judged.

    :ivar peer: whom it names.
    :ivar public_key: the peer's key.
    :ivar raw_key: the same, 32 bytes.
    :ivar serial: serial number, as a CRL would list it.
    :ivar not_before: first second of validity, since the epoch.
    :ivar not_after: last second of validity, since the epoch.
    """

    peer: Peer
    public_key: Ed25519PublicKey
    raw_key: bytes
    serial: int
    not_before: float
    not_after: float

    def check(
        self, *, role: Role | None, at: float, revoked: Callable[[int], bool] | None = None
    ) -> Peer:
        """Judge what may change while the certificate stays the same.

        :param role: the role wanted; None for either.
        :param at: seconds since the epoch at which it has to be valid.
        :param revoked: tells whether a serial number was revoked; None when nothing was.
        :raises VerificationError: ``wrong-role``, ``not-yet-valid``, ``expired``, ``revoked``.
        """
        if role is not None and role is not self.peer.role:
            raise VerificationError(
                Reason.WRONG_ROLE,
                f"this is the certificate of a {self.peer.role.value}, not of a {role.value}.",
            )
        if at < self.not_before:
            raise VerificationError(
                Reason.NOT_YET_VALID, "the certificate is not valid yet; a clock may be wrong."
            )
        if at > self.not_after:
            raise VerificationError(Reason.EXPIRED, "the certificate has expired.")
        if revoked is not None and revoked(self.serial):
            raise VerificationError(Reason.REVOKED, "the certificate was revoked.")
        return self.peer


def verify_leaf(
    der: bytes,
    system_key: bytes,
    *,
    role: Role | None,
    at: float,
    revoked: Callable[[int], bool] | None = None,
) -> Peer:
    """Decide whether a certificate is one of a system's, and whose.

    :param der: the certificate, any bytes a peer may have sent.
    :param system_key: the system's public key, 32 raw bytes.
    :param role: the role wanted; None for either.
    :param at: seconds since the epoch at which it has to be valid.
    :param revoked: tells whether a serial number was revoked; None when nothing was.
    :raises VerificationError: for every other certificate, and for what is none.
    """
    return read_leaf(der, system_key).check(role=role, at=at, revoked=revoked)


def read_leaf(der: bytes, system_key: bytes) -> Leaf:
    """Parse a certificate and check all that never changes: form, names, issuer and signature.

    :param der: any bytes.
    :param system_key: the system's public key, 32 raw bytes.
    :raises VerificationError: when it is not a leaf of that system.
    """
    if len(der) > MAX_CERTIFICATE:
        raise VerificationError(Reason.OVERSIZE, "the certificate is too long.")
    try:
        return _read_leaf(der, system_key)
    except UNREADABLE as error:
        raise VerificationError(Reason.MALFORMED, "the certificate is malformed.") from error


def _read_leaf(der: bytes, system_key: bytes) -> Leaf:
    if _BEGINNING.match(der) is None:
        raise ValueError("not the beginning of a leaf")
    certificate = x509.load_der_x509_certificate(der)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        raise VerificationError(
            Reason.WRONG_KEY_TYPE, "the certificate's signature is not Ed25519."
        )
    public_key = certificate.public_key()
    if not isinstance(public_key, Ed25519PublicKey):
        raise VerificationError(Reason.WRONG_KEY_TYPE, "the certificate's key is not Ed25519.")
    role, name, system = _read_extensions(certificate.extensions)
    if system != system_id(system_key):
        raise VerificationError(Reason.OTHER_SYSTEM, "the certificate is of another system.")
    if certificate.issuer != ISSUER:
        raise VerificationError(Reason.WRONG_ISSUER, "the certificate's issuer is not a system.")
    if der[-67:-64] != _SIGNATURE_HEAD:
        raise ValueError("not the end of a leaf")
    if not signed(certificate.signature, certificate.tbs_certificate_bytes, system_key):
        raise VerificationError(
            Reason.BAD_SIGNATURE, "the certificate was not signed by the system."
        )
    server, client = (name, None) if role is Role.SERVER else (None, name)
    serial = certificate.serial_number
    return Leaf(
        peer=Peer(role, system, server, client, hashlib.sha256(der).digest(), serial),
        public_key=public_key,
        raw_key=public_key.public_bytes_raw(),
        serial=serial,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _read_extensions(extensions: x509.Extensions) -> tuple[Role, str, str]:
    """Give the role, the server's id or client's name, and the system's id."""
    constraints: x509.BasicConstraints | None = None
    usage: x509.ExtendedKeyUsage | None = None
    names: x509.SubjectAlternativeName | None = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            constraints = value
        elif isinstance(value, x509.ExtendedKeyUsage):
            usage = value
        elif isinstance(value, x509.SubjectAlternativeName):
            names = value
        elif extension.critical:
            raise VerificationError(
                Reason.UNKNOWN_EXTENSION, "the certificate has an unknown critical extension."
            )
    if constraints is None or constraints.ca:
        raise VerificationError(Reason.AUTHORITY, "the certificate does not say CA:FALSE.")
    match [] if usage is None else list(usage):
        case [ExtendedKeyUsageOID.SERVER_AUTH]:
            role = Role.SERVER
        case [ExtendedKeyUsageOID.CLIENT_AUTH]:
            role = Role.CLIENT
        case _:
            raise VerificationError(
                Reason.WRONG_USAGE, "the certificate is not for exactly one of server and client."
            )
    match [] if names is None else list(names):
        case [x509.DNSName() as name] if role is Role.SERVER:
            found = _SERVER_NAME.fullmatch(name.value)
        case [x509.UniformResourceIdentifier() as name] if role is Role.CLIENT:
            found = _CLIENT_NAME.fullmatch(name.value)
        case _:
            found = None
    if found is None:
        raise VerificationError(
            Reason.WRONG_NAME, "the certificate does not carry exactly one name of its role."
        )
    return role, found[1], found[2]
