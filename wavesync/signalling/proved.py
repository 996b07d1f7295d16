"""Messages that carry a proof: signing them, and finding what a proof covers.

PROOF is the last attribute but FINGERPRINT.  Its signature covers the whole message up to it, with
the header's length field set as if the message ended there.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from wavesync.identity.proofs import sign_proof
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import Attributes
from wavesync.signalling.numbers import Attribute
from wavesync.stun.attributes import FINGERPRINT
from wavesync.stun.message import (
    FINGERPRINT_SIZE,
    INTEGRITY_SHA256_SIZE,
    Message,
    MessageClass,
    encode,
    message_before,
    pad_message,
)

if TYPE_CHECKING:
    from wavesync.identity.credentials import Credentials

__all__ = ["Prover", "ProvesMessages", "covered", "encode_padded", "encode_proved"]

_HEAD_SIZE = 4


class ProvesMessages(Protocol):
    """What signs a message for a purpose: :class:`Prover`, or a stand-in in a test."""

    def __call__(self, purpose: str, message: bytes, /) -> bytes:
        """Return the value of PROOF for *message*, the bytes before that attribute."""


@dataclass(frozen=True, slots=True)
class Prover:
    """Signs messages to one mediator at one moment.

    :ivar credentials: whose proof it is.
    :ivar audience: the mediator's name, as the credentials know it (never as the mediator says).
    :ivar now: seconds since the epoch.
    :ivar nonce: the NONCE of a 401 or 438 answer, empty without one.
    """

    credentials: "Credentials"
    audience: str
    now: float
    nonce: bytes = b""

    def __call__(self, purpose: str, message: bytes) -> bytes:
        """Return the value of PROOF for *message*, the bytes before that attribute."""
        return sign_proof(
            self.credentials,
            purpose=purpose,
            audience=self.audience,
            now=self.now,
            nonce=self.nonce,
            message=message,
        )


def _request(method: int, transaction_id: bytes, attributes: Attributes) -> Message:
    return Message(method, MessageClass.REQUEST, transaction_id, tuple(attributes))


def encode_padded(
    method: int, transaction_id: bytes, attributes: Attributes, *, key: bytes, size: int
) -> bytes:
    """Return a request of exactly *size* bytes with MESSAGE-INTEGRITY-SHA256 by *key*.

    :raises ValueError: the attributes do not fit.
    """
    request = _request(method, transaction_id, attributes)
    padded = pad_message(request, size, reserve=INTEGRITY_SHA256_SIZE + FINGERPRINT_SIZE)
    return encode(padded, integrity_key=key)


def encode_proved(
    method: int,
    transaction_id: bytes,
    attributes: Attributes,
    prover: ProvesMessages,
    purpose: str,
    *,
    size: int | None = None,
) -> bytes:
    """Return a request with PROOF and FINGERPRINT.

    :param size: fill up with PADDING to exactly so many bytes.
    :raises ValueError: the message does not fit *size*.
    """
    request = _request(method, transaction_id, attributes)
    unsigned = encode(request, fingerprint=False)
    proof = prover(purpose, unsigned)
    if size is not None:
        reserve = _HEAD_SIZE + len(proof) + -len(proof) % 4 + FINGERPRINT_SIZE
        request = pad_message(request, size, reserve=reserve)
        unsigned = encode(request, fingerprint=False)
        proof = prover(purpose, unsigned)
    return encode(replace(request, attributes=(*request.attributes, (Attribute.PROOF, proof))))


def covered(message: Message) -> tuple[bytes, bytes] | None:
    """Return the PROOF of a received *message* and the bytes that it covers, ``None`` without one.

    :raises SignallingError: something that the proof does not cover follows it.
    """
    proof = message.get(Attribute.PROOF)
    if proof is None:
        return None
    types = [attribute for attribute, _ in message.attributes]
    if any(later != FINGERPRINT for later in types[types.index(Attribute.PROOF) + 1 :]):
        raise SignallingError("an attribute follows the proof")
    return proof, message_before(message, Attribute.PROOF)
