"""Messages to bytes and back, and everything else refused."""

import hashlib
import hmac
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.stun import vectors
from tests.stun.strategies import messages
from wavesync.stun.attributes import (
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PADDING,
    REALM,
    SOFTWARE,
    USERNAME,
)
from wavesync.stun.message import (
    BINDING,
    FINGERPRINT_SIZE,
    HEADER_SIZE,
    INTEGRITY_SHA256_SIZE,
    MAX_ATTRIBUTES,
    MAX_MESSAGE,
    Message,
    MessageClass,
    StunError,
    bytes_before,
    check_integrity,
    decode,
    encode,
    encoded_size,
    is_stun,
    pad_message,
    unknown_required,
)

TRANSACTION_ID = bytes(range(12))
KEY = b"a key"


def request(*attributes: tuple[int, bytes]) -> Message:
    """A Binding request with *attributes*."""
    return Message(BINDING, MessageClass.REQUEST, TRANSACTION_ID, attributes)


def wire(*attributes: tuple[int, bytes], padding: bytes = b"\0\0\0") -> bytes:
    """A Binding request written by hand, with any attributes in any order."""
    body = b"".join(
        struct.pack("!HH", kind, len(value)) + value + padding[: -len(value) % 4]
        for kind, value in attributes
    )
    return struct.pack("!HHI", 1, len(body), 0x2112A442) + TRANSACTION_ID + body


def with_integrity(raw: bytes, kind: int, digest: str, cut: int | None = None) -> bytes:
    """*raw* with an integrity attribute computed by hand under :data:`KEY`."""
    size = cut or hashlib.new(digest).digest_size
    covered = raw[:2] + struct.pack("!H", len(raw) + 4 + size - 20) + raw[4:]
    return covered + struct.pack("!HH", kind, size) + hmac.digest(KEY, covered, digest)[:size]


def lengthened(raw: bytes, *attributes: tuple[int, bytes]) -> bytes:
    """*raw* with *attributes* behind it and the length put right."""
    raw += wire(*attributes)[HEADER_SIZE:]
    return raw[:2] + struct.pack("!H", len(raw) - HEADER_SIZE) + raw[4:]


class RoundTrips(SynchronousTestCase):
    """What is written is read."""

    @given(messages, st.booleans(), st.one_of(st.none(), st.binary(max_size=40)))
    def test_round_trip(self, message: Message, fingerprint: bool, key: bytes | None) -> None:
        """Any message comes back the same, with the integrity and fingerprint asked for."""
        raw = encode(message, integrity_key=key, fingerprint=fingerprint)
        decoded = decode(raw)
        extra = [MESSAGE_INTEGRITY_SHA256] * (key is not None) + [FINGERPRINT] * fingerprint
        count = len(message.attributes)
        self.assertEqual(decoded.attributes[:count], message.attributes)
        self.assertEqual([kind for kind, _ in decoded.attributes[count:]], extra)
        self.assertEqual(
            (decoded.method, decoded.message_class, decoded.transaction_id),
            (message.method, message.message_class, message.transaction_id),
        )
        self.assertEqual(decoded.raw, raw)
        if key is not None:
            self.assertTrue(check_integrity(decoded, key))
        self.assertEqual(
            len(raw),
            encoded_size(message)
            + FINGERPRINT_SIZE * fingerprint
            + INTEGRITY_SHA256_SIZE * (key is not None),
        )

    @given(messages)
    def test_views(self, message: Message) -> None:
        """A datagram may come as a view of a larger buffer and is copied out of it."""
        raw = encode(message)
        buffer = bytearray(b"xx" + raw)
        decoded = decode(memoryview(buffer)[2:])
        buffer[:] = bytes(len(buffer))
        self.assertEqual(decoded, decode(raw))
        self.assertEqual(decoded.raw, raw)

    def test_message_types(self) -> None:
        """Method and class bits are interleaved as in RFC 8489 figure 3."""
        for method, message_class, expected in (
            (1, MessageClass.REQUEST, 0x0001),
            (1, MessageClass.INDICATION, 0x0011),
            (1, MessageClass.SUCCESS, 0x0101),
            (1, MessageClass.ERROR, 0x0111),
            (0x56, MessageClass.REQUEST, 0x00A6),
            (0x56, MessageClass.SUCCESS, 0x01A6),
            (0xF0, MessageClass.INDICATION, 0x02F0),
            (0xFFF, MessageClass.ERROR, 0x3FFF),
        ):
            raw = encode(Message(method, message_class, TRANSACTION_ID))
            self.assertEqual(int.from_bytes(raw[:2], "big"), expected, (method, message_class))

    def test_padding_is_zero(self) -> None:
        """What we send pads with zeros, and the length of an attribute does not count them."""
        raw = encode(request((SOFTWARE, b"abcde")), fingerprint=False)
        self.assertEqual(raw[HEADER_SIZE:], b"\x80\x22\x00\x05abcde\0\0\0")


class Refusals(SynchronousTestCase):
    """What is not a message gives StunError and nothing else."""

    def test_every_truncation(self) -> None:
        """A message cut anywhere is refused, with its old length and with one that fits."""
        raw = encode(request((SOFTWARE, b"abcdefgh"), (USERNAME, b"me")))
        for size in range(len(raw)):
            cut = raw[:size]
            self.assertRaises(StunError, decode, cut)
            if size >= HEADER_SIZE and size not in (20, 32, 40):
                fixed = cut[:2] + struct.pack("!H", size - HEADER_SIZE) + cut[4:]
                self.assertRaises(StunError, decode, fixed)

    @given(messages, st.data())
    def test_every_changed_bit(self, message: Message, data: st.DataObject) -> None:
        """With a FINGERPRINT, one bit changed anywhere is noticed, but in the type that marks it."""
        raw = bytearray(encode(message))
        mark = range((len(raw) - 8) * 8, (len(raw) - 6) * 8)
        place = data.draw(st.integers(0, len(raw) * 8 - 1).filter(lambda bit: bit not in mark))
        raw[place // 8] ^= 1 << place % 8
        self.assertRaises(StunError, decode, bytes(raw))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes behind a good header give a message or StunError."""
        body += bytes(-len(body) % 4)
        raw = struct.pack("!HHI", 1, len(body), 0x2112A442) + TRANSACTION_ID + body
        try:
            message = decode(raw)
        except StunError:
            return
        self.assertEqual(message.transaction_id, TRANSACTION_ID)

    def test_header(self) -> None:
        """Top bits, cookie and length each decide whether it is STUN at all."""
        raw = encode(request())
        self.assertTrue(is_stun(raw))
        for wrong in (
            b"",
            raw[:19],
            bytes([raw[0] | 0x80]) + raw[1:],
            bytes([raw[0] | 0x40]) + raw[1:],
            raw[:4] + b"\0" + raw[5:],
            raw + b"\0\0\0\0",
            raw[:3] + bytes([raw[3] + 4]) + raw[4:],
            raw[:3] + bytes([raw[3] + 1]) + raw[4:] + b"\0",
        ):
            self.assertFalse(is_stun(wrong))
            self.assertRaises(StunError, decode, wrong)

    def test_fingerprint_must_be_last(self) -> None:
        """An attribute behind a FINGERPRINT makes the message wrong."""
        body = wire((SOFTWARE, b"x"))
        crc = struct.pack("!I", zlib.crc32(lengthened(body, (FINGERPRINT, bytes(4)))[:-8]))
        good = bytes(a ^ b for a, b in zip(crc, b"STUN", strict=True))
        decode(lengthened(body, (FINGERPRINT, good)))
        self.assertRaises(
            StunError, decode, lengthened(body, (FINGERPRINT, good), (SOFTWARE, b"x"))
        )

    def test_fingerprint_size(self) -> None:
        """A FINGERPRINT of another length than 4 is refused."""
        for size in (0, 3, 5, 8):
            self.assertRaises(StunError, decode, wire((FINGERPRINT, bytes(size))))
        for size in (1, 2, 3):  # right if its padding is counted in
            covered = wire((FINGERPRINT, bytes(size)))[:HEADER_SIZE]
            right = struct.pack("!I", zlib.crc32(covered) ^ 0x5354554E)
            raw = covered + struct.pack("!HH", FINGERPRINT, size) + right
            self.assertRaises(StunError, decode, raw)

    def test_limit_of_attributes(self) -> None:
        """As many attributes as the limit are taken, one more is refused."""
        most = [(SOFTWARE, b"")] * MAX_ATTRIBUTES
        self.assertEqual(len(decode(wire(*most)).attributes), MAX_ATTRIBUTES)
        self.assertRaises(StunError, decode, wire(*most, (SOFTWARE, b"")))

    def test_limit_of_size(self) -> None:
        """The largest multiple of 4 within the limit is taken, the next refused."""
        largest = MAX_MESSAGE - MAX_MESSAGE % 4
        self.assertEqual(
            len(decode(wire((PADDING, bytes(largest - 24)))).get(PADDING) or b""), largest - 24
        )
        self.assertRaises(StunError, decode, wire((PADDING, bytes(largest - 20))))


class Encoding(SynchronousTestCase):
    """Our own mistakes are ValueError."""

    def test_cannot_be_written(self) -> None:
        """Numbers out of range and attributes that encode() places itself are refused."""
        for message in (
            Message(-1, MessageClass.REQUEST, TRANSACTION_ID),
            Message(0x1000, MessageClass.REQUEST, TRANSACTION_ID),
            Message(1, MessageClass.REQUEST, bytes(11)),
            Message(1, MessageClass.REQUEST, bytes(13)),
            request((-1, b"")),
            request((0x10000, b"")),
            request((MESSAGE_INTEGRITY, bytes(20))),
            request((MESSAGE_INTEGRITY_SHA256, bytes(32))),
            request((FINGERPRINT, bytes(4))),
        ):
            self.assertRaises(ValueError, encode, message)

    def test_limits(self) -> None:
        """Integrity and fingerprint count towards the limits of attributes and size."""
        most = [(SOFTWARE, b"")] * (MAX_ATTRIBUTES - 2)
        encode(request(*most), integrity_key=KEY)
        self.assertRaises(ValueError, encode, request(*most, (SOFTWARE, b"")), integrity_key=KEY)
        largest = MAX_MESSAGE - MAX_MESSAGE % 4 - 24 - FINGERPRINT_SIZE
        encode(request((PADDING, bytes(largest))))
        self.assertRaises(ValueError, encode, request((PADDING, bytes(largest + 1))))


class Attributes(SynchronousTestCase):
    """Which attributes of a message count."""

    def test_first_of_duplicates(self) -> None:
        """Of two attributes of one type the first counts."""
        message = decode(wire((NONCE, b"first"), (REALM, b""), (NONCE, b"second")))
        self.assertEqual(message.get(NONCE), b"first")
        self.assertEqual(message.get_all(NONCE), (b"first", b"second"))
        self.assertIsNone(message.get(USERNAME))
        self.assertEqual(message.get_all(USERNAME), ())

    def test_behind_integrity(self) -> None:
        """Behind MESSAGE-INTEGRITY only the SHA-256 form and FINGERPRINT count."""
        raw = with_integrity(wire((NONCE, b"n")), MESSAGE_INTEGRITY, "sha1")
        raw = lengthened(raw, (REALM, b"slipped in"), (MESSAGE_INTEGRITY, bytes(20)))
        raw = with_integrity(raw, MESSAGE_INTEGRITY_SHA256, "sha256")
        raw = lengthened(raw, (USERNAME, b"slipped in"), (MESSAGE_INTEGRITY_SHA256, bytes(32)))
        message = decode(raw)
        self.assertEqual(
            [kind for kind, _ in message.attributes],
            [NONCE, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256],
        )
        self.assertTrue(check_integrity(message, KEY))

    def test_behind_sha256_integrity(self) -> None:
        """Behind MESSAGE-INTEGRITY-SHA256 only FINGERPRINT counts, not even the SHA-1 form."""
        raw = with_integrity(wire(), MESSAGE_INTEGRITY_SHA256, "sha256")
        raw = with_integrity(raw, MESSAGE_INTEGRITY, "sha1")
        self.assertEqual([kind for kind, _ in decode(raw).attributes], [MESSAGE_INTEGRITY_SHA256])

    def test_unknown_required(self) -> None:
        """Only comprehension-required attributes are listed, each once, in order."""
        message = decode(
            wire((0x7FFF, b""), (0x8000, b""), (NONCE, b""), (0x0030, b""), (0x7FFF, b""))
        )
        self.assertEqual(unknown_required(message, {NONCE}), (0x7FFF, 0x0030))
        self.assertEqual(unknown_required(message, {NONCE, 0x7FFF, 0x30}), ())

    def test_unknown_behind_integrity(self) -> None:
        """An attribute that does not count is not complained about."""
        raw = lengthened(with_integrity(wire(), MESSAGE_INTEGRITY, "sha1"), (0x7FFF, b""))
        self.assertEqual(unknown_required(decode(raw), {MESSAGE_INTEGRITY}), ())


class Integrity(SynchronousTestCase):
    """check_integrity."""

    def test_truncated(self) -> None:
        """A cut SHA-256 value passes from 16 bytes in steps of 4, and only if asked for."""
        for size in (12, 15, 16, 18, 20, 24, 28, 31, 32):
            raw = wire((NONCE, b"n"))
            covered = raw[:2] + struct.pack("!H", len(raw) + 4 + size - 20) + raw[4:]
            value = hmac.digest(KEY, covered, "sha256")[:size]
            message = decode(lengthened(raw, (MESSAGE_INTEGRITY_SHA256, value)))
            with self.subTest(size=size):
                fits = size in (16, 20, 24, 28, 32)
                self.assertEqual(check_integrity(message, KEY, allow_truncated=True), fits)
                self.assertEqual(check_integrity(message, KEY), size == 32)
                self.assertFalse(check_integrity(message, b"wrong", allow_truncated=True))

    def test_lengths(self) -> None:
        """Values too long or too short never pass, nor does an empty one."""
        for kind, size in (
            (MESSAGE_INTEGRITY, 0),
            (MESSAGE_INTEGRITY, 16),
            (MESSAGE_INTEGRITY, 24),
            (MESSAGE_INTEGRITY_SHA256, 0),
            (MESSAGE_INTEGRITY_SHA256, 36),
        ):
            message = decode(wire((kind, bytes(size))))
            self.assertFalse(check_integrity(message, KEY, allow_truncated=True))

    def test_none(self) -> None:
        """A message without integrity, or one of our own never encoded, does not pass."""
        self.assertFalse(check_integrity(decode(wire((NONCE, b"n"))), KEY))
        self.assertFalse(check_integrity(request((MESSAGE_INTEGRITY, bytes(20))), KEY))

    def test_sha256_decides(self) -> None:
        """Where both forms are there, a wrong SHA-256 value is not saved by a right SHA-1 one."""
        raw = with_integrity(wire(), MESSAGE_INTEGRITY, "sha1")
        self.assertTrue(check_integrity(decode(raw), KEY))
        raw = lengthened(raw, (MESSAGE_INTEGRITY_SHA256, bytes(32)))
        self.assertFalse(check_integrity(decode(raw), KEY))

    def test_changed(self) -> None:
        """A changed attribute before the integrity is noticed even with a new FINGERPRINT."""
        good = encode(request((NONCE, b"abcd")), integrity_key=KEY, fingerprint=False)
        self.assertTrue(check_integrity(decode(good), KEY))
        self.assertFalse(check_integrity(decode(good.replace(b"abcd", b"abcx")), KEY))


class BytesBefore(SynchronousTestCase):
    """bytes_before: what a signature inside a message covers."""

    def test_cut(self) -> None:
        """The cut is the message that ends before the attribute, whatever came behind it."""
        short = encode(request((NONCE, b"abc")), fingerprint=False)
        for key in (None, KEY):
            raw = encode(request((NONCE, b"abc"), (REALM, b"r"), (REALM, b"s")), integrity_key=key)
            self.assertEqual(bytes_before(raw, REALM), short)
        self.assertEqual(decode(short).attributes, ((NONCE, b"abc"),))

    def test_absent(self) -> None:
        """An attribute that is not there, or does not count, cannot be cut at."""
        raw = encode(request((NONCE, b"abc")))
        self.assertRaises(StunError, bytes_before, raw, REALM)
        self.assertRaises(StunError, bytes_before, b"nonsense", REALM)
        raw = lengthened(with_integrity(wire(), MESSAGE_INTEGRITY, "sha1"), (REALM, b"r"))
        self.assertRaises(StunError, bytes_before, raw, REALM)

    def test_vectors(self) -> None:
        """Cutting before the integrity of the RFC's messages leaves whole messages."""
        cut = bytes_before(vectors.REQUEST, MESSAGE_INTEGRITY)
        self.assertEqual(decode(cut).get(USERNAME), b"evtj:h6vY")


class Padding(SynchronousTestCase):
    """pad_message."""

    def test_exact(self) -> None:
        """A request grows to exactly the size asked for, with or without integrity."""
        message = request((NONCE, b"abc"))
        for size in (40, 44, 1200):
            self.assertEqual(len(encode(pad_message(message, size))), size)
        reserve = INTEGRITY_SHA256_SIZE + FINGERPRINT_SIZE
        padded = pad_message(message, 1200, reserve=reserve)
        self.assertEqual(len(encode(padded, integrity_key=KEY)), 1200)
        padded = pad_message(message, 1200, reserve=0)
        self.assertEqual(len(encode(padded, fingerprint=False)), 1200)

    def test_nothing_to_add(self) -> None:
        """A message of the right size stays as it is."""
        message = request((NONCE, b"abc"))
        self.assertEqual(pad_message(message, 36), message)
        self.assertEqual(len(encode(message)), 36)

    def test_impossible(self) -> None:
        """A size below the message's own, or not a multiple of 4, is refused."""
        message = request((NONCE, b"abc"))
        for size in (32, 35, 37, 1201):
            self.assertRaises(ValueError, pad_message, message, size)
        self.assertRaises(ValueError, pad_message, message, 1200, reserve=3)
