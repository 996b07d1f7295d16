"""Numbers of the standard STUN attributes, and the values that go into them.

Every ``encode_*`` takes our own values and raises ``ValueError`` for a value that cannot be
written; every ``decode_*`` takes a peer's bytes and raises :class:`StunError` for bytes that are
not such a value, and nothing else.  Padding and the type/length head of an attribute are the
business of :mod:`wavesync.stun.message`.
"""

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from wavesync.interfaces import Address

__all__ = [
    "ALTERNATE_DOMAIN",
    "ALTERNATE_SERVER",
    "CHANGE_REQUEST",
    "ERROR_CODE",
    "FINGERPRINT",
    "MAGIC_COOKIE",
    "MAPPED_ADDRESS",
    "MAX_REASON",
    "MAX_REASON_SENT",
    "MESSAGE_INTEGRITY",
    "MESSAGE_INTEGRITY_SHA256",
    "NAMES",
    "NONCE",
    "OTHER_ADDRESS",
    "PADDING",
    "PASSWORD_ALGORITHM",
    "PASSWORD_ALGORITHMS",
    "REALM",
    "RESPONSE_ORIGIN",
    "RESPONSE_PORT",
    "SOFTWARE",
    "TRANSACTION_ID_SIZE",
    "UNKNOWN_ATTRIBUTES",
    "USERHASH",
    "USERNAME",
    "XOR_MAPPED_ADDRESS",
    "ErrorCode",
    "StunError",
    "attribute_name",
    "decode_address",
    "decode_error_code",
    "decode_text",
    "decode_u32",
    "decode_u64",
    "decode_unknown_attributes",
    "decode_xor_address",
    "encode_address",
    "encode_error_code",
    "encode_text",
    "encode_u32",
    "encode_u64",
    "encode_unknown_attributes",
    "encode_xor_address",
    "is_required",
]

MAGIC_COOKIE = 0x2112A442
"""Bytes 4..7 of every message (RFC 8489 section 5)."""

TRANSACTION_ID_SIZE = 12
"""Bytes of a transaction id."""

MAX_REASON = 763
"""Longest reason phrase taken from a peer, in bytes (RFC 8489 section 14.8)."""

MAX_REASON_SENT = 127
"""Longest reason phrase sent, in characters (fewer than 128, RFC 8489 section 14.8)."""

# RFC 8489 section 18.3, comprehension-required (0x0000..0x7FFF).
MAPPED_ADDRESS = 0x0001
CHANGE_REQUEST = 0x0003  # RFC 5780
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
REALM = 0x0014
NONCE = 0x0015
MESSAGE_INTEGRITY_SHA256 = 0x001C
PASSWORD_ALGORITHM = 0x001D
USERHASH = 0x001E
XOR_MAPPED_ADDRESS = 0x0020
PADDING = 0x0026  # RFC 5780
RESPONSE_PORT = 0x0027  # RFC 5780
# Comprehension-optional (0x8000..0xFFFF).
PASSWORD_ALGORITHMS = 0x8002
ALTERNATE_DOMAIN = 0x8003
SOFTWARE = 0x8022
ALTERNATE_SERVER = 0x8023
FINGERPRINT = 0x8028
RESPONSE_ORIGIN = 0x802B  # RFC 5780
OTHER_ADDRESS = 0x802C  # RFC 5780

NAMES: dict[int, str] = {
    MAPPED_ADDRESS: "MAPPED-ADDRESS",
    CHANGE_REQUEST: "CHANGE-REQUEST",
    USERNAME: "USERNAME",
    MESSAGE_INTEGRITY: "MESSAGE-INTEGRITY",
    ERROR_CODE: "ERROR-CODE",
    UNKNOWN_ATTRIBUTES: "UNKNOWN-ATTRIBUTES",
    REALM: "REALM",
    NONCE: "NONCE",
    MESSAGE_INTEGRITY_SHA256: "MESSAGE-INTEGRITY-SHA256",
    PASSWORD_ALGORITHM: "PASSWORD-ALGORITHM",
    USERHASH: "USERHASH",
    XOR_MAPPED_ADDRESS: "XOR-MAPPED-ADDRESS",
    PADDING: "PADDING",
    RESPONSE_PORT: "RESPONSE-PORT",
    PASSWORD_ALGORITHMS: "PASSWORD-ALGORITHMS",
    ALTERNATE_DOMAIN: "ALTERNATE-DOMAIN",
    SOFTWARE: "SOFTWARE",
    ALTERNATE_SERVER: "ALTERNATE-SERVER",
    FINGERPRINT: "FINGERPRINT",
    RESPONSE_ORIGIN: "RESPONSE-ORIGIN",
    OTHER_ADDRESS: "OTHER-ADDRESS",
}
"""The standard attributes' names, for people."""

_FAMILY_IPV4 = 1
_FAMILY_IPV6 = 2
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


class StunError(Exception):
    """A peer's bytes are not a STUN message, or an attribute's bytes not such a value.

    The only exception that anything a peer sends can cause in this package.
    """


class ErrorCode(NamedTuple):
    """What an ERROR-CODE attribute says (RFC 8489 section 14.8).

    :ivar code: 300..699.
    :ivar reason: a phrase for people, perhaps empty.
    """

    code: int
    reason: str


def is_required(attribute_type: int) -> bool:
    """Whether a receiver must know *attribute_type* to use the message (RFC 8489 section 14)."""
    return attribute_type < 0x8000


def attribute_name(attribute_type: int) -> str:
    """The name of *attribute_type* for people: ``NONCE``, or ``0xE200`` where it is not standard."""
    return NAMES.get(attribute_type) or f"0x{attribute_type:04X}"


def encode_address(address: Address) -> bytes:
    """Write *address* as in MAPPED-ADDRESS (RFC 8489 section 14.1).

    An IPv4 address in its IPv6 form (``::ffff:192.0.2.1``), as dual-stack sockets show it, is
    written as the IPv4 address it is.

    :raises ValueError: the host is not numeric or the port not 0..65535.
    """
    host, port = address
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"Port {port} is not in 0..65535.")
    try:
        if ":" not in host:
            return struct.pack("!BBH", 0, _FAMILY_IPV4, port) + socket.inet_pton(
                socket.AF_INET, host
            )
        packed = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):  # ValueError: a NUL or a character outside ASCII
        raise ValueError(f"{host!r} is not a numeric address.") from None
    if packed.startswith(_IPV4_IN_IPV6):
        return struct.pack("!BBH", 0, _FAMILY_IPV4, port) + packed[12:]
    return struct.pack("!BBH", 0, _FAMILY_IPV6, port) + packed


def decode_address(value: bytes) -> Address:
    """Read a MAPPED-ADDRESS value: MAPPED-ADDRESS, ALTERNATE-SERVER, OTHER-ADDRESS and the like.

    The first byte is ignored (RFC 8489 section 14.1).

    :raises StunError: an unknown family, or the wrong length for the family.
    """
    if len(value) == 8 and value[1] == _FAMILY_IPV4:
        host = socket.inet_ntop(socket.AF_INET, value[4:])
    elif len(value) == 20 and value[1] == _FAMILY_IPV6:
        host = socket.inet_ntop(socket.AF_INET6, value[4:])
    else:
        raise StunError("The address attribute has an unknown family or the wrong length.")
    return host, int.from_bytes(value[2:4], "big")


def _xor(value: bytes, transaction_id: bytes) -> bytes:
    """XOR port and address of an address value with cookie and *transaction_id*."""
    cookie = MAGIC_COOKIE.to_bytes(4, "big")
    mask = (bytes(2) + cookie[:2] + cookie + transaction_id)[: len(value)]
    size = len(mask)
    changed = int.from_bytes(value[:size], "big") ^ int.from_bytes(mask, "big")
    return changed.to_bytes(size, "big")


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """Write *address* as in XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).

    :param transaction_id: of the message that will carry it, 12 bytes.
    :raises ValueError: as :func:`encode_address`.
    """
    return _xor(encode_address(address), transaction_id)


def decode_xor_address(value: bytes, transaction_id: bytes) -> Address:
    """Read an XOR-MAPPED-ADDRESS value.

    :param transaction_id: of the message that carried it, 12 bytes.
    :raises StunError: as :func:`decode_address`.
    """
    return decode_address(_xor(value, transaction_id) + value[20:])


def encode_error_code(code: int, reason: str = "") -> bytes:
    """Write an ERROR-CODE value (RFC 8489 section 14.8).

    :raises ValueError: *code* is not 300..699 or *reason* longer than 127 characters.
    """
    if not 300 <= code <= 699:
        raise ValueError(f"Error code {code} is not in 300..699.")
    if len(reason) > MAX_REASON_SENT:
        raise ValueError("The reason phrase is longer than 127 characters.")
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode("utf-8")


def decode_error_code(value: bytes) -> ErrorCode:
    """Read an ERROR-CODE value; bytes of the reason that are not UTF-8 are replaced.

    :raises StunError: too short, a class other than 3..6, a number above 99, or a reason longer
        than 763 bytes.
    """
    if not 4 <= len(value) <= 4 + MAX_REASON:
        raise StunError("The ERROR-CODE attribute has the wrong length.")
    hundreds, number = value[2] & 0b111, value[3]
    if not 3 <= hundreds <= 6 or number > 99:
        raise StunError("The ERROR-CODE attribute has a code outside 300..699.")
    return ErrorCode(hundreds * 100 + number, value[4:].decode("utf-8", "replace"))


def encode_unknown_attributes(types: Iterable[int]) -> bytes:
    """Write an UNKNOWN-ATTRIBUTES value (RFC 8489 section 14.9).

    :raises ValueError: a type is not 0..65535.
    """
    try:
        return b"".join(struct.pack("!H", attribute_type) for attribute_type in types)
    except struct.error:
        raise ValueError("An attribute type is not in 0..65535.") from None


def decode_unknown_attributes(value: bytes) -> tuple[int, ...]:
    """Read an UNKNOWN-ATTRIBUTES value.

    :raises StunError: the length is odd.
    """
    if len(value) % 2:
        raise StunError("The UNKNOWN-ATTRIBUTES attribute has an odd length.")
    return struct.unpack(f"!{len(value) // 2}H", value)


def encode_u32(number: int) -> bytes:
    """Write a 32-bit unsigned number.

    :raises ValueError: *number* is not 0..2**32-1.
    """
    return _encode_unsigned(number, 4)


def encode_u64(number: int) -> bytes:
    """Write a 64-bit unsigned number.

    :raises ValueError: *number* is not 0..2**64-1.
    """
    return _encode_unsigned(number, 8)


def _encode_unsigned(number: int, size: int) -> bytes:
    try:
        return number.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{number} does not fit an unsigned number of {size} bytes.") from None


def decode_u32(value: bytes) -> int:
    """Read a 32-bit unsigned number.

    :raises StunError: *value* is not 4 bytes long.
    """
    return _decode_unsigned(value, 4)


def decode_u64(value: bytes) -> int:
    """Read a 64-bit unsigned number.

    :raises StunError: *value* is not 8 bytes long.
    """
    return _decode_unsigned(value, 8)


def _decode_unsigned(value: bytes, size: int) -> int:
    if len(value) != size:
        raise StunError(f"A number attribute is {len(value)} bytes long instead of {size}.")
    return int.from_bytes(value, "big")


def encode_text(text: str, limit: int) -> bytes:
    """Write *text* as UTF-8.

    :param limit: the most bytes it may take.
    :raises ValueError: it takes more, or has lone surrogates.
    """
    value = text.encode("utf-8")
    if len(value) > limit:
        raise ValueError(f"The text is longer than {limit} bytes.")
    return value


def decode_text(value: bytes, limit: int) -> str:
    """Read UTF-8 text.

    :param limit: the most bytes it may take.
    :raises StunError: it takes more, or is not UTF-8.
    """
    if len(value) > limit:
        raise StunError(f"A text attribute is longer than {limit} bytes.")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise StunError("A text attribute is not UTF-8.") from None
