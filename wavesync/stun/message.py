"""STUN messages and their bytes (RFC 8489 sections 5, 14, 14.5, 14.6, 14.7).

:func:`decode` is total: whatever a peer sends gives a :class:`Message` or :class:`StunError`.
:func:`encode` writes our own messages and raises ``ValueError`` for one that cannot be written.
"""

import hmac
import struct
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum

from wavesync.stun.attributes import (
    FINGERPRINT,
    MAGIC_COOKIE,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    PADDING,
    TRANSACTION_ID_SIZE,
    StunError,
)

__all__ = [
    "BINDING",
    "FINGERPRINT_SIZE",
    "HEADER_SIZE",
    "INTEGRITY_SHA256_SIZE",
    "MAX_ATTRIBUTES",
    "MAX_MESSAGE",
    "Message",
    "MessageClass",
    "StunError",
    "bytes_before",
    "check_integrity",
    "decode",
    "encode",
    "encode_attributes",
    "encode_body",
    "encoded_size",
    "is_stun",
    "message_before",
    "pad_message",
    "unknown_required",
]

MAX_MESSAGE = 65535
"""Longest message taken or written, in bytes with its header."""

MAX_ATTRIBUTES = 64
"""Most attributes of one message, counting integrity and fingerprint."""

HEADER_SIZE = 20
"""Bytes of the header: type, length, magic cookie, transaction id."""

FINGERPRINT_SIZE = 8
"""Bytes that a FINGERPRINT adds to a message."""

INTEGRITY_SHA256_SIZE = 36
"""Bytes that a full MESSAGE-INTEGRITY-SHA256 adds to a message."""

BINDING = 0x001
"""The Binding method."""

_HEADER = struct.Struct("!HHI12s")
_HEAD = struct.Struct("!HHI")
_ATTRIBUTE = struct.Struct("!HH")
_FINGERPRINT_MASK = 0x5354554E  # RFC 8489 section 14.7: "STUN"
_SHA1_SIZE = 20
_SHA256_SIZE = 32
_SHA256_SHORTEST = 16  # RFC 8489 section 14.6
_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by the size's remainder
_FINGERPRINT_HEAD = _ATTRIBUTE.pack(FINGERPRINT, 4)
_OPTIONAL = 0x8000  # from here on attributes may be skipped (RFC 8489 section 14)
_PLACED_BY_ENCODE = frozenset({MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, FINGERPRINT})


class MessageClass(IntEnum):
    """The two class bits (RFC 8489 section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


_CLASSES = tuple(MessageClass)


@dataclass(frozen=True, slots=True)
class Message:
    """One STUN message.

    :ivar method: 0..0xFFF.
    :ivar message_class: request, indication, success or error response.
    :ivar transaction_id: 12 bytes.
    :ivar attributes: pairs of type and value without padding, in the order of the wire.  Of a
        decoded message, only those that count: what follows MESSAGE-INTEGRITY or
        MESSAGE-INTEGRITY-SHA256 is left out as RFC 8489 sections 14.5 and 14.6 demand.
    :ivar raw: the bytes it was decoded from; empty for a message of our own.
    """

    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()
    raw: bytes = field(default=b"", compare=False, repr=False)

    def get(self, attribute_type: int) -> bytes | None:
        """The value of the first attribute of *attribute_type*; duplicates do not count."""
        for found, value in self.attributes:
            if found == attribute_type:
                return value
        return None

    def get_all(self, attribute_type: int) -> tuple[bytes, ...]:
        """All values of *attribute_type*, for the attributes that are meant to be repeated."""
        return tuple(value for found, value in self.attributes if found == attribute_type)


def is_stun(datagram: bytes | bytearray | memoryview) -> bool:
    """Whether *datagram* looks like STUN rather than UDT or anything else.

    Looks at the header only: top bits 00, magic cookie, a length that is the datagram's less 20
    and a multiple of 4 (RFC 8489 sections 5 and 7.3).  A wrong FINGERPRINT is :func:`decode`'s
    to find.
    """
    size = len(datagram)
    if size < HEADER_SIZE or size & 3:
        return False
    head: tuple[int, int, int] = _HEAD.unpack_from(datagram)
    return head[0] < 0x4000 and head[1:] == (size - HEADER_SIZE, MAGIC_COOKIE)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """Read one message: a whole datagram, or what a stream's framing has cut out.

    Padding may hold anything.  A FINGERPRINT must be the last attribute and right; integrity is
    not looked at (see :func:`check_integrity`).

    :raises StunError: *data* is not a STUN message, is longer than :data:`MAX_MESSAGE` or has
        more than :data:`MAX_ATTRIBUTES` attributes.
    """
    if not is_stun(data):
        raise StunError("The bytes do not begin with a STUN header that fits them.")
    if len(data) > MAX_MESSAGE:
        raise StunError(f"The message is longer than {MAX_MESSAGE} bytes.")
    raw = bytes(data)
    kind, _, _, transaction_id = _HEADER.unpack_from(raw)
    return Message(
        method=(kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | kind & 0x000F,
        message_class=_CLASSES[(kind & 0x0100) >> 7 | (kind & 0x0010) >> 4],
        transaction_id=transaction_id,
        attributes=tuple([(found, value) for found, _, value in _counting_attributes(raw)]),
        raw=raw,
    )


def _check_fingerprint(raw: bytes, offset: int, size: int, *, is_last: bool) -> None:
    """Refuse a FINGERPRINT that is misplaced, misshapen or wrong (RFC 8489 section 14.7)."""
    if not is_last:
        raise StunError("FINGERPRINT is not the last attribute.")
    if size != 4:
        raise StunError("FINGERPRINT is not 4 bytes long.")
    if raw[offset + _ATTRIBUTE.size :] != _fingerprint(raw[:offset]):
        raise StunError("FINGERPRINT is wrong.")


def _fingerprint(covered: bytes) -> bytes:
    """The value of a FINGERPRINT over *covered*, whose length field already counts it."""
    return (zlib.crc32(covered) ^ _FINGERPRINT_MASK).to_bytes(4, "big")


def _counting_attributes(raw: bytes) -> list[tuple[int, int, bytes]]:
    """Give type, offset of the attribute's head, and value of each attribute in *raw* that counts.

    Those that do not are what follows the integrity attributes (RFC 8489 sections 14.5, 14.6).

    :param raw: bytes that :func:`is_stun` is true of.
    :raises StunError: an attribute goes past the end, there are too many, or FINGERPRINT is
        wrong or not the last.
    """
    counting: list[tuple[int, int, bytes]] = []
    offset, end, count = HEADER_SIZE, len(raw), 0
    sha1_seen = sha256_seen = False
    head = _ATTRIBUTE.unpack_from
    while offset < end:
        count += 1
        if count > MAX_ATTRIBUTES:
            raise StunError(f"The message has more than {MAX_ATTRIBUTES} attributes.")
        # The head is there: end and every offset are multiples of 4.
        found, size = head(raw, offset)
        begin = offset + 4
        following = begin + size + (-size & 3)
        if following > end:
            raise StunError("An attribute goes past the end of the message.")
        if found == FINGERPRINT:
            _check_fingerprint(raw, offset, size, is_last=following == end)
        elif sha256_seen or (sha1_seen and found != MESSAGE_INTEGRITY_SHA256):
            offset = following
            continue
        counting.append((found, offset, raw[begin : begin + size]))
        if found == MESSAGE_INTEGRITY:
            sha1_seen = True
        elif found == MESSAGE_INTEGRITY_SHA256:
            sha256_seen = True
        offset = following
    return counting


def _message_type(method: int, message_class: MessageClass) -> int:
    """The 14-bit message type: class bits between the method's (RFC 8489 section 5)."""
    return (
        (method & 0xF80) << 2
        | (method & 0x070) << 1
        | (method & 0x00F)
        | (message_class & 2) << 7
        | (message_class & 1) << 4
    )


def _with_length(raw: bytes, length: int) -> bytes:
    """*raw* with *length* in the header's length field."""
    return raw[:2] + length.to_bytes(2, "big") + raw[4:]


def _attribute(attribute_type: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(attribute_type, len(value)) + value + _PADDING[len(value) & 3]


def encoded_size(message: Message) -> int:
    """Bytes of *message* without integrity and fingerprint."""
    return HEADER_SIZE + sum(
        [4 + len(value) + (-len(value) & 3) for _, value in message.attributes]
    )


def encode(
    message: Message, *, integrity_key: bytes | None = None, fingerprint: bool = True
) -> bytes:
    """Write *message*, padded with zeros.

    :param integrity_key: if given, a MESSAGE-INTEGRITY-SHA256 with this key is added (RFC 8489
        section 14.6); it covers every attribute of the message.
    :param fingerprint: whether to end with a FINGERPRINT (RFC 8489 section 14.7).
    :raises ValueError: a number out of range, more than :data:`MAX_ATTRIBUTES` attributes, more
        than :data:`MAX_MESSAGE` bytes, or an attribute that only this function may place.
    """
    if not 0 <= message.method <= 0xFFF:
        raise ValueError("A STUN method is a number in 0..4095.")
    if len(message.transaction_id) != TRANSACTION_ID_SIZE:
        raise ValueError("A STUN transaction id is 12 bytes long.")
    added = FINGERPRINT_SIZE if fingerprint else 0
    size = encoded_size(message) + added
    count = len(message.attributes) + fingerprint
    if integrity_key is not None:
        size, count = size + INTEGRITY_SHA256_SIZE, count + 1
    if size > MAX_MESSAGE or count > MAX_ATTRIBUTES:
        raise ValueError(f"A STUN message of {size} bytes and {count} attributes is too big.")
    # The length counts what is covered so far, and what covers it (sections 14.5 to 14.7).
    length = size - HEADER_SIZE - (added if integrity_key is not None else 0)
    message_type = _message_type(message.method, message.message_class)
    pieces = [_HEADER.pack(message_type, length, MAGIC_COOKIE, message.transaction_id)]
    for attribute_type, value in message.attributes:
        if attribute_type in _PLACED_BY_ENCODE or not 0 <= attribute_type <= 0xFFFF:
            raise ValueError(f"Attribute 0x{attribute_type:04X} cannot be given to encode().")
        pieces += _ATTRIBUTE.pack(attribute_type, len(value)), value, _PADDING[len(value) & 3]
    raw = b"".join(pieces)
    if integrity_key is not None:
        raw += _attribute(MESSAGE_INTEGRITY_SHA256, hmac.digest(integrity_key, raw, "sha256"))
        raw = _with_length(raw, size - HEADER_SIZE)
    return raw + _FINGERPRINT_HEAD + _fingerprint(raw) if fingerprint else raw


def encode_attributes(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """Write attributes one after the other, padded with zeros, without looking at what they are."""
    pieces: list[bytes] = []
    for attribute_type, value in attributes:
        pieces += _ATTRIBUTE.pack(attribute_type, len(value)), value, _PADDING[len(value) & 3]
    return b"".join(pieces)


def encode_body(
    method: int, message_class: MessageClass, transaction_id: bytes, body: bytes
) -> bytes:
    """Write a message of which the attributes are written already, and end it with a FINGERPRINT.

    For answers that are sent often and differ little; :func:`encode` checks what it is given.

    :param body: whole attributes, padded.
    """
    length = len(body) + FINGERPRINT_SIZE
    raw = _HEADER.pack(_message_type(method, message_class), length, MAGIC_COOKIE, transaction_id)
    raw += body
    return raw + _FINGERPRINT_HEAD + _fingerprint(raw)


def check_integrity(message: Message, key: bytes, *, allow_truncated: bool = False) -> bool:
    """Whether a decoded *message* was made by somebody who has *key*.

    MESSAGE-INTEGRITY-SHA256 is checked where there is one, else MESSAGE-INTEGRITY (SHA-1); the
    comparison takes constant time.  False for a message with neither, or that was not decoded.

    :param allow_truncated: take a SHA-256 value cut to 16, 20, 24 or 28 bytes too, which RFC 8489
        section 14.6 leaves to each usage; the full 32 always count.
    """
    for attribute_type in (MESSAGE_INTEGRITY_SHA256, MESSAGE_INTEGRITY):
        value = message.get(attribute_type)
        if value is None or not message.raw:
            continue
        if attribute_type == MESSAGE_INTEGRITY:
            digest, fits = "sha1", len(value) == _SHA1_SIZE
        else:
            shortest = _SHA256_SHORTEST if allow_truncated else _SHA256_SIZE
            digest, fits = "sha256", shortest <= len(value) <= _SHA256_SIZE and not len(value) & 3
        if not fits:
            return False
        covered = message_before(message, attribute_type)
        counted = len(covered) + _ATTRIBUTE.size + len(value) - HEADER_SIZE
        expected = hmac.digest(key, _with_length(covered, counted), digest)
        return hmac.compare_digest(expected[: len(value)], value)
    return False


def bytes_before(raw: bytes, attribute_type: int) -> bytes:
    """The message *raw* cut before its first attribute of *attribute_type*.

    The length field of the result says where it ends, so that it is a message by itself: what a
    signature in that attribute covers.

    :raises StunError: *raw* has no such attribute that counts, or is no message.
    """
    if not is_stun(raw):
        raise StunError("The bytes do not begin with a STUN header that fits them.")
    for found, offset, _ in _counting_attributes(raw):
        if found == attribute_type:
            return _with_length(raw[:offset], offset - HEADER_SIZE)
    raise StunError(f"The message has no attribute 0x{attribute_type:04X} that counts.")


def message_before(message: Message, attribute_type: int) -> bytes:
    """What :func:`bytes_before` gives for a decoded *message*, whose attributes are known already.

    :raises StunError: it has no such attribute.
    """
    offset = HEADER_SIZE
    for found, value in message.attributes:
        if found == attribute_type:
            return _with_length(message.raw[:offset], offset - HEADER_SIZE)
        if found == MESSAGE_INTEGRITY:
            break  # what follows may have been left out
        offset += 4 + len(value) + (-len(value) & 3)
    return bytes_before(message.raw, attribute_type)


def unknown_required(message: Message, known: Collection[int]) -> tuple[int, ...]:
    """The comprehension-required attributes of *message* that are not in *known*.

    Each once, in the order of the wire: what a 420 answer lists (RFC 8489 section 6.3.1).
    """
    unknown = [found for found, _ in message.attributes if found < _OPTIONAL and found not in known]
    return tuple(dict.fromkeys(unknown)) if unknown else ()


def pad_message(message: Message, size: int, *, reserve: int = FINGERPRINT_SIZE) -> Message:
    """*message* with a PADDING attribute (RFC 5780 section 7.6) that brings it to *size* bytes.

    Nothing is added where it has that size already.

    :param size: bytes of the whole encoded message, a multiple of 4.
    :param reserve: bytes that will still be added: :data:`FINGERPRINT_SIZE` and
        :data:`INTEGRITY_SHA256_SIZE` by :func:`encode`, others by the caller.
    :raises ValueError: *size* is not a multiple of 4, or less than the message takes.
    """
    missing = size - encoded_size(message) - reserve
    if size % 4 or missing < 0 or missing % 4:
        raise ValueError(f"A message cannot be padded to {size} bytes: {missing} bytes to fill.")
    if not missing:
        return message
    padding = (PADDING, bytes(missing - _ATTRIBUTE.size))
    return replace(message, attributes=(*message.attributes, padding))
