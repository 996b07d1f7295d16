"""Building requests' answers: success, error, and 420 for what is not understood."""

from collections.abc import Iterable

from wavesync.stun.attributes import (
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    encode_error_code,
    encode_unknown_attributes,
)
from wavesync.stun.message import Message, MessageClass

__all__ = [
    "BAD_REQUEST",
    "STALE_NONCE",
    "UNAUTHENTICATED",
    "UNKNOWN_ATTRIBUTE",
    "error_response",
    "success_response",
    "unknown_attributes_response",
]

# RFC 8489 section 14.8.
BAD_REQUEST = 400
UNAUTHENTICATED = 401
UNKNOWN_ATTRIBUTE = 420
STALE_NONCE = 438


def success_response(request: Message, attributes: Iterable[tuple[int, bytes]] = ()) -> Message:
    """The success response to *request*, with *attributes*."""
    return Message(request.method, MessageClass.SUCCESS, request.transaction_id, tuple(attributes))


def error_response(
    request: Message, code: int, reason: str = "", attributes: Iterable[tuple[int, bytes]] = ()
) -> Message:
    """The error response to *request*: ERROR-CODE, then *attributes*.

    :param code: 300..699.
    :param reason: a phrase for people, at most 127 characters.
    :raises ValueError: *code* or *reason* is out of range.
    """
    error = (ERROR_CODE, encode_error_code(code, reason))
    return Message(request.method, MessageClass.ERROR, request.transaction_id, (error, *attributes))


def unknown_attributes_response(
    request: Message, unknown: Iterable[int], reason: str = "Unknown Attribute"
) -> Message:
    """The 420 answer to *request*, listing *unknown* (RFC 8489 section 6.3.1).

    :param unknown: what :func:`wavesync.stun.message.unknown_required` gave.
    """
    listed = (UNKNOWN_ATTRIBUTES, encode_unknown_attributes(unknown))
    return error_response(request, UNKNOWN_ATTRIBUTE, reason, (listed,))
