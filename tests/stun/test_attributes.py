"""Attribute values: round trips, and every wrong value refused with the right exception."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.stun.strategies import ipv4_addresses, ipv6_addresses, transaction_ids
from wavesync.interfaces import Address
from wavesync.stun import attributes
from wavesync.stun.attributes import (
    MAX_REASON,
    MAX_REASON_SENT,
    ErrorCode,
    StunError,
    attribute_name,
    decode_address,
    decode_error_code,
    decode_text,
    decode_u32,
    decode_u64,
    decode_unknown_attributes,
    decode_xor_address,
    encode_address,
    encode_error_code,
    encode_text,
    encode_u32,
    encode_u64,
    encode_unknown_attributes,
    encode_xor_address,
    is_required,
)

TRANSACTION_ID = bytes(range(12))


class Addresses(SynchronousTestCase):
    """MAPPED-ADDRESS, XOR-MAPPED-ADDRESS and their like."""

    def test_written(self) -> None:
        """Family, port and address stand where RFC 8489 section 14.1 puts them."""
        self.assertEqual(encode_address(("192.0.2.1", 32853)), bytes.fromhex("00 01 8055 c0000201"))
        self.assertEqual(
            encode_address(("2001:db8::1", 1)),
            bytes.fromhex("00 02 0001 20010db8000000000000000000000001"),
        )

    @given(st.one_of(ipv4_addresses, ipv6_addresses), transaction_ids)
    def test_round_trip(self, address: Address, transaction_id: bytes) -> None:
        """Any address comes back as it was, plain or XORed."""
        self.assertEqual(decode_address(encode_address(address)), address)
        value = encode_xor_address(address, transaction_id)
        self.assertEqual(decode_xor_address(value, transaction_id), address)

    def test_ipv4_in_ipv6(self) -> None:
        """A peer seen through a dual-stack socket is told its IPv4 address."""
        value = encode_address(("::ffff:192.0.2.1", 7))
        self.assertEqual(decode_address(value), ("192.0.2.1", 7))

    def test_first_byte_is_ignored(self) -> None:
        """A server that fills the reserved byte is understood."""
        value = b"\xff" + encode_address(("192.0.2.1", 7))[1:]
        self.assertEqual(decode_address(value), ("192.0.2.1", 7))

    def test_cannot_be_written(self) -> None:
        """Names, scopes and ports out of range are refused as our own mistake."""
        for address in (
            ("localhost", 1),
            ("fe80::1%eth0", 1),
            ("1.2.3.4\0", 1),
            ("", 1),
            ("1.2.3.4", -1),
            ("1.2.3.4", 65536),
        ):
            self.assertRaises(ValueError, encode_address, address)

    def test_cannot_be_read(self) -> None:
        """A wrong family, or a length that is not the family's, is the peer's mistake."""
        ipv4, ipv6 = encode_address(("192.0.2.1", 7)), encode_address(("2001:db8::1", 7))
        for value in (
            b"",
            ipv4[:-1],
            ipv4 + b"\0",
            ipv6[:-1],
            ipv6 + b"\0",
            b"\0\3" + ipv4[2:],
            b"\0\2" + ipv4[2:],
            b"\0\1" + ipv6[2:],
        ):
            self.assertRaises(StunError, decode_address, value)
            self.assertRaises(StunError, decode_xor_address, value, TRANSACTION_ID)


class ErrorCodes(SynchronousTestCase):
    """ERROR-CODE."""

    def test_written(self) -> None:
        """438 is class 4 and number 38 (RFC 8489 section 14.8)."""
        self.assertEqual(encode_error_code(438, "Stale"), b"\0\0\x04\x26Stale")

    @given(st.integers(300, 699), st.text(max_size=MAX_REASON_SENT))
    def test_round_trip(self, code: int, reason: str) -> None:
        """Code and reason come back as they were."""
        reason = reason.encode("utf-8", "replace").decode()
        self.assertEqual(
            decode_error_code(encode_error_code(code, reason)), ErrorCode(code, reason)
        )

    def test_limits(self) -> None:
        """Codes 300..699 and reasons up to the limits pass, one past them is refused."""
        self.assertRaises(ValueError, encode_error_code, 299)
        self.assertRaises(ValueError, encode_error_code, 700)
        encode_error_code(500, "x" * MAX_REASON_SENT)
        self.assertRaises(ValueError, encode_error_code, 500, "x" * (MAX_REASON_SENT + 1))
        head = b"\0\0\x05\0"
        self.assertEqual(len(decode_error_code(head + b"x" * MAX_REASON).reason), MAX_REASON)
        for value in (
            head + b"x" * (MAX_REASON + 1),
            head[:3],
            b"",
            b"\0\0\x02\0",
            b"\0\0\x07\0",
            b"\0\0\x04\x64",
        ):
            self.assertRaises(StunError, decode_error_code, value)

    def test_reserved_bits_and_bad_text(self) -> None:
        """Reserved bits are ignored, and a reason that is not UTF-8 does not hide the code."""
        self.assertEqual(decode_error_code(b"\xff\xff\xfc\x63\xff"), ErrorCode(499, "\ufffd"))


class Lists(SynchronousTestCase):
    """UNKNOWN-ATTRIBUTES, numbers and text."""

    @given(st.lists(st.integers(0, 0xFFFF), max_size=20))
    def test_unknown_attributes(self, types: list[int]) -> None:
        """The list comes back as it was; an odd length is refused."""
        value = encode_unknown_attributes(types)
        self.assertEqual(decode_unknown_attributes(value), tuple(types))
        self.assertRaises(StunError, decode_unknown_attributes, value + b"\0")

    def test_unknown_attributes_out_of_range(self) -> None:
        """A type that has no 16 bits cannot be listed."""
        self.assertRaises(ValueError, encode_unknown_attributes, [65536])

    def test_numbers(self) -> None:
        """Numbers take exactly 4 and 8 bytes; others are refused on both sides."""
        self.assertEqual(encode_u32(0x01020304), b"\1\2\3\4")
        self.assertEqual(decode_u32(b"\xff" * 4), 2**32 - 1)
        self.assertEqual(encode_u64(2**64 - 1), b"\xff" * 8)
        self.assertEqual(decode_u64(b"\0" * 7 + b"\5"), 5)
        for number in (-1, 2**32):
            self.assertRaises(ValueError, encode_u32, number)
        for number in (-1, 2**64):
            self.assertRaises(ValueError, encode_u64, number)
        for size in (0, 3, 5, 8):
            self.assertRaises(StunError, decode_u32, bytes(size))
        for size in (0, 4, 7, 9):
            self.assertRaises(StunError, decode_u64, bytes(size))

    def test_text(self) -> None:
        """Text is UTF-8 of at most so many bytes."""
        self.assertEqual(decode_text(encode_text("\u00e4", 2), 2), "\u00e4")
        self.assertRaises(ValueError, encode_text, "\u00e4", 1)
        self.assertRaises(ValueError, encode_text, "\ud800", 9)
        self.assertRaises(StunError, decode_text, b"abc", 2)
        self.assertRaises(StunError, decode_text, b"\xff", 2)


class Registry(SynchronousTestCase):
    """The numbers themselves."""

    def test_names(self) -> None:
        """Every standard number has its name; others show as numbers."""
        self.assertEqual(attribute_name(0x0020), "XOR-MAPPED-ADDRESS")
        self.assertEqual(attribute_name(0xE200), "0xE200")
        for number, name in attributes.NAMES.items():
            self.assertEqual(getattr(attributes, name.replace("-", "_")), number)

    def test_required(self) -> None:
        """The upper half of the numbers may be skipped by who does not know them."""
        self.assertTrue(is_required(0x7FFF))
        self.assertFalse(is_required(0x8000))

    def test_exports(self) -> None:
        """Every public number is exported and named."""
        source = Path(attributes.__file__).read_text(encoding="utf-8")
        constants = set(re.findall(r"^([A-Z][A-Z0-9_]+) = 0x\w{4}\b(?!\w)", source, re.M))
        self.assertTrue(constants)
        self.assertEqual(constants - set(attributes.__all__), set())
        self.assertEqual({name.replace("-", "_") for name in attributes.NAMES.values()}, constants)
