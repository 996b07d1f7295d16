"""Tests for :mod:`wavesync.tunnel.websocket` and :mod:`wavesync.tunnel.hello`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.tunnel.channel import CodecError
from wavesync.tunnel.hello import HelloError, HelloReader, make_hello
from wavesync.tunnel.websocket import MAX_MESSAGE, WebSocketCodec

_MASK = b"\0\0\0\0"


def _frame(first: int, payload: bytes = b"", mask: bytes = _MASK) -> bytes:
    """A client's frame with a mask of zeros, written by hand (RFC 6455 section 5.2)."""
    return bytes([first, 0x80 | len(payload)]) + mask + payload


class CodecTests(SynchronousTestCase):
    """Frames."""

    def test_large(self) -> None:
        """Large writes become few long messages, not many short ones."""
        codec = WebSocketCodec(client=False)
        data = bytes(MAX_MESSAGE)
        self.assertEqual(codec.encode(data), b"\x82\x7f" + MAX_MESSAGE.to_bytes(8, "big") + data)
        self.assertEqual(len(codec.encode(data + b"x")), MAX_MESSAGE + 10 + 3)

    @given(st.lists(st.binary(max_size=70_000), max_size=4), st.data())
    def test_any_pieces(self, writes: list[bytes], data: st.DataObject) -> None:
        """Whatever is written comes out, however the network cuts it, in both directions."""
        for client in (True, False):
            ours, theirs = WebSocketCodec(client=client), WebSocketCodec(client=not client)
            sent = b"".join(bytes(ours.encode(each)) for each in writes) + ours.end()
            found = b""
            while sent:
                size = data.draw(st.integers(1, len(sent)))
                found += theirs.decode(sent[:size])
                sent = sent[size:]
            self.assertEqual(found, b"".join(writes))
            self.assertTrue(theirs.ended)

    def test_masked(self) -> None:
        """A client's frames are masked, each with another mask (RFC 6455 section 5.3)."""
        codec = WebSocketCodec(client=True)
        frames = [bytes(codec.encode(b"\0" * 64)) for _ in range(4)]
        for frame in frames:
            self.assertEqual(frame[:2], b"\x82\xc0")
            self.assertEqual(frame[6:10], frame[2:6])
        self.assertEqual(len({frame[2:6] for frame in frames}), 4)

    def test_fragments(self) -> None:
        """What comes of an unfinished message is not held back."""
        codec = WebSocketCodec(client=False)
        self.assertEqual(codec.decode(_frame(0x02, b"one")), b"one")
        self.assertEqual(codec.decode(_frame(0x00, b"two") + _frame(0x80, b"three")), b"twothree")
        partial = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + _MASK
        self.assertEqual(codec.decode(partial + b"begin"), b"begin")
        self.assertEqual(codec.decode(b"more"), b"more")

    def test_pings(self) -> None:
        """The newest ping is answered, with its own words; pongs nobody asked for are ignored."""
        codec = WebSocketCodec(client=False)
        said = _frame(0x89, b"old") + _frame(0x8A, b"?") + _frame(0x82, b"x") + _frame(0x89, b"new")
        self.assertEqual(codec.decode(said), b"x")
        self.assertEqual(codec.reply, b"\x8a\x03new")

    def test_end(self) -> None:
        """A close frame ends the stream; nothing behind it counts."""
        codec = WebSocketCodec(client=False)
        close = _frame(0x88, b"\x03\xe8")
        self.assertEqual(codec.decode(_frame(0x82, b"x") + close + _frame(0x82, b"y")), b"x")
        self.assertTrue(codec.ended)
        self.assertEqual(codec.end(), b"\x88\x02\x03\xe8")

    def test_closed_otherwise(self) -> None:
        """A close frame that tells of trouble is no orderly end; what came before it counts."""
        codec = WebSocketCodec(client=False)
        data = _frame(0x82, b"x") + _frame(0x88, b"\x03\xf3")
        error = self.assertRaises(CodecError, codec.decode, data)
        self.assertEqual((str(error), error.found), ("closed with code 1011", b"x"))
        for good in (b"", b"\x03\xe8", b"\x03\xe9going away"):
            codec = WebSocketCodec(client=False)
            self.assertEqual(codec.decode(_frame(0x88, good)), b"")
            self.assertTrue(codec.ended)

    def test_broken(self) -> None:
        """Text, frames without a mask, unknown kinds: an error, and a close frame that says so."""
        for data in (
            _frame(0x81, b"text"),
            _frame(0x81, b"\xff\xff"),
            b"\x82\x01x",
            _frame(0x83, b"x"),
            _frame(0xF2, b"x"),
            _frame(0x80, b"x"),
            _frame(0x09, b"x"),
            b"\x89\xfe\x00\x7e" + _MASK + bytes(126),
            _frame(0x88, b"\x03"),
            _frame(0x88, b"\x00\x01"),
            b"\x82\xff" + b"\xff" * 8 + _MASK,
        ):
            for step in (1, len(data)):
                codec = WebSocketCodec(client=False)

                def feed(
                    codec: WebSocketCodec = codec, data: bytes = data, step: int = step
                ) -> None:
                    for at in range(0, len(data), step):
                        codec.decode(data[at : at + step])

                self.assertRaises(CodecError, feed)
                self.assertEqual(codec.end(), b"\x88\x02\x03\xea", data)


class HelloTests(SynchronousTestCase):
    """The first 16 bytes."""

    def test_hello(self) -> None:
        """A name and 12 random bytes; what follows is given back."""
        hello = make_hello(lambda size: bytes(range(size)))
        self.assertEqual(hello, b"WST1" + bytes(range(12)))
        reader = HelloReader()
        self.assertEqual([reader.feed(hello[:5]), reader.feed(hello[5:] + b"rest")], [None, hello])
        self.assertEqual(reader.rest, b"rest")
        slow = HelloReader(hello)
        self.assertEqual([slow.feed(bytes([byte])) for byte in hello], [None] * 15 + [hello])
        self.assertEqual(slow.rest, b"")

    def test_wrong(self) -> None:
        """The first byte that is wrong is enough."""
        hello = make_hello(bytes)
        self.assertRaises(HelloError, HelloReader().feed, b"w")
        self.assertRaises(HelloError, HelloReader().feed, b"WST2")
        for at in range(16):
            wrong = bytes(byte ^ (number == at) for number, byte in enumerate(hello))
            self.assertRaises(HelloError, HelloReader(hello).feed, wrong[: at + 1])
        reader = HelloReader(hello)
        self.assertIsNone(reader.feed(hello[:15]))
        self.assertRaises(HelloError, reader.feed, b"\x01")
