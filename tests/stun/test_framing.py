"""Streams of messages, in any pieces."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.stun import vectors
from tests.stun.strategies import messages
from wavesync.stun.framing import DEFAULT_MAX_SIZE, StreamDecoder, StreamError
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    StunError,
    decode,
    encode,
    pad_message,
)


def sized(size: int) -> bytes:
    """A message of exactly *size* bytes."""
    return encode(pad_message(Message(BINDING, MessageClass.REQUEST, bytes(12)), size))


class Streams(SynchronousTestCase):
    """Messages cut out of a stream."""

    def test_byte_by_byte(self) -> None:
        """A stream that trickles gives each message with its last byte."""
        decoder = StreamDecoder()
        for raw in vectors.ALL:
            for octet in raw[:-1]:
                self.assertEqual(decoder.feed(bytes([octet])), [])
            self.assertEqual(decoder.feed(raw[-1:]), [decode(raw)])
            self.assertEqual(decoder.buffered, 0)

    def test_all_at_once(self) -> None:
        """Messages back to back in one piece all come out, in order."""
        decoder = StreamDecoder()
        self.assertEqual(decoder.feed(b"".join(vectors.ALL)), [decode(raw) for raw in vectors.ALL])
        self.assertEqual(decoder.feed(b""), [])

    @given(st.lists(messages.map(encode), max_size=5), st.data())
    def test_any_pieces(self, raws: list[bytes], data: st.DataObject) -> None:
        """However the network cuts the stream, the same messages come out."""
        stream = b"".join(raws)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        decoder = StreamDecoder()
        found = []
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            found += decoder.feed(stream[begin:end])
        self.assertEqual(found, [decode(raw) for raw in raws])
        self.assertEqual([message.raw for message in found], raws)

    def test_limit(self) -> None:
        """A message of the longest size passes; one longer is refused from its header alone."""
        for decoder, limit in ((StreamDecoder(), DEFAULT_MAX_SIZE), (StreamDecoder(64), 64)):
            self.assertEqual(len(decoder.feed(sized(limit))), 1)
            longer = sized(limit + 4)
            self.assertEqual(decoder.feed(longer[:3]), [])
            self.assertRaises(StreamError, decoder.feed, longer[3:4])

    def test_limit_of_limits(self) -> None:
        """A limit that no message or no header could fit is our own mistake."""
        StreamDecoder(20)
        StreamDecoder(65535)
        self.assertRaises(ValueError, StreamDecoder, 19)
        self.assertRaises(ValueError, StreamDecoder, 65536)

    def test_bounded(self) -> None:
        """Between calls never a whole longest message is kept."""
        decoder = StreamDecoder(64)
        stream = sized(64) * 3
        for begin in range(0, len(stream), 7):
            decoder.feed(stream[begin : begin + 7])
            self.assertLess(decoder.buffered, 64)


class Garbage(SynchronousTestCase):
    """What is not STUN ends the stream."""

    def test_as_early_as_can_be(self) -> None:
        """A wrong byte in the header is noticed when it comes."""
        good = sized(28)
        for place, wrong in ((0, 0x40), (0, 0x80), (3, 9), (4, 0), (5, 0), (6, 0), (7, 0)):
            decoder = StreamDecoder()
            self.assertEqual(decoder.feed(good[:place]), [])
            self.assertRaises(StreamError, decoder.feed, bytes([wrong]))

    def test_wrong_inside(self) -> None:
        """A message whose attributes do not fit it ends the stream."""
        raw = bytearray(sized(40))
        raw[23] = 99
        decoder = StreamDecoder()
        self.assertRaises(StreamError, decoder.feed, bytes(raw))

    def test_messages_before(self) -> None:
        """Messages that were complete before the fault are not lost, however it is cut."""
        stream = sized(28) + sized(32) + b"GET / HTTP/1.1\r\n"
        error = self.assertRaises(StreamError, StreamDecoder().feed, stream)
        self.assertEqual([len(message.raw) for message in error.messages], [28, 32])
        self.assertIsInstance(error, StunError)

    def test_stays_dead(self) -> None:
        """After a fault nothing is read, not even what would be good, and nothing is kept."""
        decoder = StreamDecoder()
        self.assertRaises(StreamError, decoder.feed, b"\xff" * 1000)
        error = self.assertRaises(StreamError, decoder.feed, sized(28))
        self.assertEqual(error.messages, [])
        self.assertEqual(decoder.buffered, 0)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give messages or StreamError, the same at once and byte by byte."""
        self.assertEqual(self._read([data]), self._read([bytes([octet]) for octet in data]))

    def _read(self, pieces: list[bytes]) -> tuple[list[Message], bool]:
        """The messages in *pieces*, and whether they end in a fault."""
        decoder = StreamDecoder()
        found: list[Message] = []
        for piece in pieces:
            try:
                found += decoder.feed(piece)
            except StreamError as error:
                return found + error.messages, True
        return found, False
