"""Proofs: a message's sender shows which server or client of which system it is.

A proof is one signature over the purpose, the audience, a time or the audience's nonce, and the
hash of the message in front of it, together with the signer's certificate and the system's key.
Whoever checks it needs no list of accounts: the system's id is made from the key in the proof.
:doc:`/identity` in the documentation describes the bytes.

The signature does not cover the certificate: a checker has to compare ``peer.system`` with the
system that the message is about.
"""

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from wavesync.identity.signatures import signed
from wavesync.identity.verify import Leaf, Peer, Reason, Role, VerificationError, read_leaf

if TYPE_CHECKING:
    from wavesync.identity.credentials import Credentials

__all__ = [
    "MAX_AUDIENCE",
    "MAX_CACHED_CERTIFICATES",
    "MAX_NONCE",
    "MAX_PROOF",
    "MAX_PURPOSE",
    "PROOF_FRESHNESS",
    "CheckedProof",
    "ProofChecker",
    "check_proof",
    "nonce_of",
    "sign_proof",
]

PROOF_FRESHNESS = 30.0
"""How far a proof's time may be from the checker's clock, in seconds, either way."""

MAX_PROOF = 512
"""Longest proof, in bytes."""

MAX_NONCE = 32
"""Longest nonce, in bytes."""

MAX_PURPOSE = 32
"""Longest purpose, in bytes of UTF-8."""

MAX_AUDIENCE = 255
"""Longest audience, in bytes of UTF-8."""

MAX_CACHED_CERTIFICATES = 1024
"""How many verified certificates a :class:`ProofChecker` remembers unless told otherwise."""

_VERSION = 1
_CONTEXT = b"wavesync-proof-v1\0"
_SIGNATURE = 64
_KEPT_CONTEXTS = 64
_TIME_AND_NONCE = struct.Struct("!HQH")
_DIGEST_SIZE = struct.pack("!H", 32)


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """A proof that holds.

    :ivar peer: who signed.
    :ivar time: when, by the signer's clock, in seconds since the epoch.
    :ivar nonce: the nonce it answers; empty when there was none.
    :ivar digest: 32 bytes, the same for every repeat of one proof over one message and for nothing
        else: what a cache against replay is keyed by.
    :ivar system_key: the system's raw public key, whose id is the peer's system.
    """

    peer: Peer
    time: float
    nonce: bytes
    digest: bytes
    system_key: bytes


class _Proof(NamedTuple):
    """The fields of a proof, taken apart and not yet believed."""

    time: int
    nonce: bytes
    system_key: bytes
    certificate: bytes
    signature: bytes


def sign_proof(
    credentials: "Credentials",
    *,
    purpose: str,
    audience: str,
    now: float,
    nonce: bytes = b"",
    message: bytes,
) -> bytes:
    """Make a proof.

    :param credentials: whose proof it is.
    :param purpose: what it is for ("listen", "connect", ...), 1 .. :data:`MAX_PURPOSE` bytes.
    :param audience: configured name of the mediator or relay, 1 .. :data:`MAX_AUDIENCE` bytes.
    :param now: seconds since the epoch.
    :param nonce: the audience's nonce, 0 .. :data:`MAX_NONCE` bytes.
    :param message: the message's bytes in front of the proof.
    :return: at most :data:`MAX_PROOF` bytes.
    :raises ValueError: when a parameter is out of range.
    """
    time = round(now * 1000)
    statement = _statement(purpose, audience, time, nonce, message)
    certificate = credentials.certificate_der
    blob = b"".join(
        (
            struct.pack("!BQB", _VERSION, time, len(nonce)),
            nonce,
            credentials.system_key_bytes,
            struct.pack("!H", len(certificate)),
            certificate,
            credentials.private_key.sign(statement),
        )
    )
    if len(blob) > MAX_PROOF:
        raise ValueError("the certificate is too long for a proof")
    return blob


def check_proof(
    blob: bytes,
    *,
    purpose: str,
    audience: str,
    message: bytes,
    role: Role | None,
    now: float | None,
    nonce_ok: Callable[[bytes], bool] | None = None,
    revoked: Callable[[int], bool] | None = None,
    at: float | None = None,
) -> CheckedProof:
    """Decide who sent a message.

    Fresh is a proof whose time is within :data:`PROOF_FRESHNESS` of *now*, or whose nonce
    *nonce_ok* accepts.  With *now* None a nonce is insisted on, and with *nonce_ok* None as well a
    proof of any age will do (an agent looks again at what the mediator has already found fresh).

    :param blob: the proof, any bytes a peer may have sent.
    :param purpose: the purpose it must have been made for.
    :param audience: the audience it must have been made for.
    :param message: the message's bytes in front of the proof.
    :param role: the role wanted; None for either.
    :param now: seconds since the epoch.
    :param nonce_ok: tells whether a nonce is one of ours and still good; called at most once, and
        only for a proof that holds in all else, so that it may spend the nonce.
    :param revoked: tells whether a serial number was revoked; None when nothing was.
    :param at: when the certificate has to be valid, in seconds since the epoch: *now* if None, and
        the proof's own time if that is None too.
    :raises VerificationError: for all that does not hold; ``stale`` when only freshness is missing.
    :raises ValueError: when our own *purpose* or *audience* is out of range.
    """
    return _check(
        blob, purpose, audience, message, role, now, nonce_ok, revoked, at, read=read_leaf
    )


def nonce_of(blob: bytes) -> bytes:
    """Look up the nonce of a proof that nobody has checked.

    :return: the nonce; empty where there is none, or where *blob* is no proof.
    """
    if len(blob) < 10 or not blob[9]:
        return b""
    try:
        return _split(blob).nonce
    except VerificationError:
        return b""


class ProofChecker:
    """Checks many proofs, remembering the certificates whose signature already held.

    What can change (role wanted, time, revocation) is judged anew each time.  The table is bounded
    and forgets the least recently used; failures are not remembered.

    :ivar revoked: tells whether a serial number of a system (id) was revoked; None when nothing was.
    """

    def __init__(
        self,
        capacity: int = MAX_CACHED_CERTIFICATES,
        *,
        revoked: Callable[[str, int], bool] | None = None,
    ) -> None:
        """Start with nothing remembered.

        :param capacity: how many certificates to remember, at least 1.
        """
        if capacity < 1:
            raise ValueError("a ProofChecker remembers at least one certificate")
        self.revoked = revoked
        self._capacity = capacity
        self._leaves: OrderedDict[tuple[bytes, bytes], Leaf] = OrderedDict()

    def __len__(self) -> int:
        """Count the remembered certificates."""
        return len(self._leaves)

    def check(
        self,
        blob: bytes,
        *,
        purpose: str,
        audience: str,
        message: bytes,
        role: Role | None,
        now: float | None,
        nonce_ok: Callable[[bytes], bool] | None = None,
        at: float | None = None,
    ) -> CheckedProof:
        """Decide who sent a message: parameters and errors as for :func:`check_proof`."""
        system = ""

        def read(certificate: bytes, system_key: bytes) -> Leaf:
            nonlocal system
            leaf = self._read(certificate, system_key)
            system = leaf.peer.system
            return leaf

        def revoked(serial: int) -> bool:
            return self.revoked is not None and self.revoked(system, serial)

        return _check(blob, purpose, audience, message, role, now, nonce_ok, revoked, at, read=read)

    def _read(self, certificate: bytes, system_key: bytes) -> Leaf:
        key = (certificate, system_key)
        leaf = self._leaves.get(key)
        if leaf is None:
            leaf = self._leaves[key] = read_leaf(certificate, system_key)
            if len(self._leaves) > self._capacity:
                self._leaves.popitem(last=False)
        else:
            self._leaves.move_to_end(key)
        return leaf


def _check(
    blob: bytes,
    purpose: str,
    audience: str,
    message: bytes,
    role: Role | None,
    now: float | None,
    nonce_ok: Callable[[bytes], bool] | None,
    revoked: Callable[[int], bool] | None,
    at: float | None,
    *,
    read: Callable[[bytes, bytes], Leaf],
) -> CheckedProof:
    proof = _split(blob)
    time = proof.time / 1000
    fresh = abs(now - time) <= PROOF_FRESHNESS if now is not None else nonce_ok is None
    if not fresh and (nonce_ok is None or not proof.nonce):
        raise VerificationError(Reason.STALE, "the proof is too old or from the future.")
    leaf = read(proof.certificate, proof.system_key)
    if at is None:
        at = time if now is None else now
    peer = leaf.check(role=role, at=at, revoked=revoked)
    statement = _statement(purpose, audience, proof.time, proof.nonce, message)
    if not signed(proof.signature, statement, leaf.raw_key):
        raise VerificationError(
            Reason.BAD_SIGNATURE, "the proof's signature does not fit the message."
        )
    if not fresh and (nonce_ok is None or not nonce_ok(proof.nonce)):
        raise VerificationError(Reason.STALE, "the proof's nonce is not good any more.")
    digest = hashlib.sha256(leaf.raw_key + statement).digest()
    return CheckedProof(peer, time, proof.nonce, digest, proof.system_key)


def _split(blob: bytes) -> _Proof:
    """Take a proof apart."""
    malformed = VerificationError(Reason.MALFORMED, "the proof is malformed.")
    if len(blob) > MAX_PROOF:
        raise VerificationError(Reason.OVERSIZE, "the proof is too long.")
    if len(blob) < 10:
        raise malformed
    version, time, nonce_length = struct.unpack_from("!BQB", blob)
    key_at = 10 + nonce_length
    certificate_at = key_at + 34
    if version != _VERSION or nonce_length > MAX_NONCE or len(blob) < certificate_at:
        raise malformed
    (certificate_length,) = struct.unpack_from("!H", blob, certificate_at - 2)
    signature_at = certificate_at + certificate_length
    if len(blob) != signature_at + _SIGNATURE:
        raise malformed
    return _Proof(
        time=time,
        nonce=bytes(blob[10:key_at]),
        system_key=bytes(blob[key_at : key_at + 32]),
        certificate=bytes(blob[certificate_at:signature_at]),
        signature=bytes(blob[signature_at:]),
    )


def _statement(purpose: str, audience: str, time: int, nonce: bytes, message: bytes) -> bytes:
    """Build the bytes that are signed.

    :param time: milliseconds since the epoch.
    """
    if len(nonce) > MAX_NONCE or not 0 <= time < 1 << 64:
        raise ValueError("nonce or time is out of range")
    return b"".join(
        (
            _context(purpose, audience),
            _TIME_AND_NONCE.pack(8, time, len(nonce)),
            nonce,
            _DIGEST_SIZE,
            hashlib.sha256(message).digest(),
        )
    )


@lru_cache(maxsize=_KEPT_CONTEXTS)
def _context(purpose: str, audience: str) -> bytes:
    """Build the beginning of a statement: the same for all of one checker's."""
    purpose_bytes, audience_bytes = purpose.encode(), audience.encode()
    if not 1 <= len(purpose_bytes) <= MAX_PURPOSE or not 1 <= len(audience_bytes) <= MAX_AUDIENCE:
        raise ValueError("purpose or audience is empty or too long")
    fields = (purpose_bytes, audience_bytes)
    return _CONTEXT + b"".join(struct.pack("!H", len(field)) + field for field in fields)
