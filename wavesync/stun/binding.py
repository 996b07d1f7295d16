"""Answering Binding requests: minimal, and no help to whoever forges a source address.

RFC 8489 sections 6.3 and 11.
"""

from collections.abc import Collection

from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PADDING,
    PASSWORD_ALGORITHM,
    REALM,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    StunError,
    encode_xor_address,
)
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    decode,
    encode,
    unknown_required,
)
from wavesync.stun.responses import success_response, unknown_attributes_response

__all__ = [
    "KNOWN_IN_BINDING",
    "MAX_ANSWER",
    "MAX_UNKNOWN_LISTED",
    "SHORT_REFUSAL",
    "answer_binding",
    "binding_response",
]

MAX_ANSWER = 120
"""Longest answer to a Binding request, in bytes."""

MAX_UNKNOWN_LISTED = 32
"""Most unknown attributes that a 420 answer lists: what fits :data:`MAX_ANSWER`."""

SHORT_REFUSAL = 44
"""Bytes of the longest refusal that may exceed its request: two attributes, no reason phrase.

It multiplies what a forger sends by less than the success answer does that anybody can ask for
(20 bytes for 32), and lets even a short request hear that CHANGE-REQUEST is not served.
"""

KNOWN_IN_BINDING = frozenset(
    {
        USERNAME,
        MESSAGE_INTEGRITY,
        REALM,
        NONCE,
        MESSAGE_INTEGRITY_SHA256,
        PASSWORD_ALGORITHM,
        USERHASH,
        PADDING,
    }
)
"""Comprehension-required attributes that a Binding request may carry here.

Credentials are understood and not needed: Binding is for anybody.
"""


def binding_response(data: bytes | memoryview, source: Address) -> bytes | None:
    """Answer the datagram *data* from *source* if it is a Binding request.

    :returns: the answer's bytes, at most :data:`MAX_ANSWER`, or None for silence: not STUN, a
        wrong FINGERPRINT, another method, an indication or a response.
    """
    try:
        return answer_binding(decode(data), source)
    except StunError:
        return None


def answer_binding(
    message: Message,
    source: Address,
    *,
    known: Collection[int] = KNOWN_IN_BINDING,
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes | None:
    """Answer a decoded *message* from *source* if it is a Binding request.

    A success response holds XOR-MAPPED-ADDRESS, *extra*, and a FINGERPRINT where the request has
    one; no SOFTWARE.  A 420 answer is longer than the request only up to :data:`SHORT_REFUSAL`: its
    reason phrase, and if that is not enough the answer, is left out.

    :param known: the comprehension-required attributes that are understood.
    :param extra: further attributes of a success response (RFC 5780 behaviour discovery).
    :returns: the answer's bytes, or None for silence.
    :raises ValueError: *extra* makes the answer longer than :data:`MAX_ANSWER`, or *source* is not
        a numeric address.
    """
    if message.method != BINDING or message.message_class is not MessageClass.REQUEST:
        return None
    fingerprint = message.get(FINGERPRINT) is not None
    unknown = unknown_required(message, known)
    if unknown:
        return _refusal(message, unknown[:MAX_UNKNOWN_LISTED], fingerprint)
    mapped = (XOR_MAPPED_ADDRESS, encode_xor_address(source, message.transaction_id))
    answer = encode(success_response(message, (mapped, *extra)), fingerprint=fingerprint)
    if len(answer) > MAX_ANSWER:
        raise ValueError(f"A Binding answer of {len(answer)} bytes is too long.")
    return answer


def _refusal(request: Message, unknown: tuple[int, ...], fingerprint: bool) -> bytes | None:
    """A 420 answer, or None where it would be too long for *request*."""
    longest = min(max(len(request.raw), SHORT_REFUSAL), MAX_ANSWER)
    for reason in ("Unknown Attribute", ""):
        response = unknown_attributes_response(request, unknown, reason)
        answer = encode(response, fingerprint=fingerprint)
        if len(answer) <= longest:
            return answer
    return None
