"""Answering the Binding requests that nearly everybody sends by template, without taking them apart.

Plain is a request of which every byte is known but the transaction id: without attributes, or with a
right FINGERPRINT alone.  The answer is byte for byte what :func:`wavesync.stun.binding.answer_binding`
gives; whatever else comes is for that to look at.
"""

import zlib
from typing import Final

from wavesync.interfaces import Address
from wavesync.stun.attributes import MAGIC_COOKIE, XOR_MAPPED_ADDRESS, encode_address

__all__ = ["ANSWER_HEAD", "ATTRIBUTE_HEAD", "PLAIN_HEAD", "PLAIN_SIZE", "quick_answer"]

PLAIN_SIZE: Final = 20
"""Bytes of a request without attributes."""

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")

PLAIN_HEAD: Final = b"\x00\x01\x00\x00" + _COOKIE
"""The first 8 bytes of a Binding request without attributes (RFC 8489 section 5)."""

ANSWER_HEAD: Final = b"\x01\x01\x00\x0c" + _COOKIE
"""The first 8 bytes of its answer to an IPv4 address."""

ATTRIBUTE_HEAD: Final = XOR_MAPPED_ADDRESS.to_bytes(2, "big") + b"\x00\x08"
"""The four bytes in front of that address (RFC 8489 section 14.2)."""

_ATTRIBUTE_HEAD_6 = XOR_MAPPED_ADDRESS.to_bytes(2, "big") + b"\x00\x14"
_SEALED_SIZE = 28
_SEALED_HEAD = b"\x00\x01\x00\x08" + _COOKIE
_SEAL_HEAD = b"\x80\x28\x00\x04"
_SEAL_MASK = 0x5354554E  # RFC 8489 section 14.7
_SUCCESS = b"\x01\x01"
_MASK_4 = int.from_bytes(b"\x00\x00" + _COOKIE[:2] + _COOKIE, "big")
_MASK_6 = b"\x00\x00" + _COOKIE[:2] + _COOKIE


def quick_answer(data: bytes, source: Address) -> bytes | None:
    """Answer the datagram *data* if it is a plain Binding request.

    :param source: where it came from.
    :returns: None for what is not plain, be it a Binding request or not.
    :raises ValueError: *source* is not a numeric address.
    """
    size = len(data)
    if size == PLAIN_SIZE and data.startswith(PLAIN_HEAD):
        sealed = False
    elif size == _SEALED_SIZE and data.startswith(_SEALED_HEAD) and data[20:24] == _SEAL_HEAD:
        if int.from_bytes(data[24:], "big") != zlib.crc32(data[:20]) ^ _SEAL_MASK:
            return None
        sealed = True
    else:
        return None
    transaction_id = data[8:20]
    value = encode_address(source)
    plain = int.from_bytes(value, "big")
    if len(value) == 8:
        body = ATTRIBUTE_HEAD + (plain ^ _MASK_4).to_bytes(8, "big")
    else:
        mask = int.from_bytes(_MASK_6 + transaction_id, "big")
        body = _ATTRIBUTE_HEAD_6 + (plain ^ mask).to_bytes(20, "big")
    length = len(body) + 8 if sealed else len(body)
    answer = _SUCCESS + length.to_bytes(2, "big") + _COOKIE + transaction_id + body
    if sealed:
        answer += _SEAL_HEAD + (zlib.crc32(answer) ^ _SEAL_MASK).to_bytes(4, "big")
    return answer
