"""Tests of :mod:`wavesync.session.frames`."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.session.connection_id import connection_options
from wavesync.session.frames import (
    HEADER_SIZE,
    MAX_DATA,
    MAX_OPTIONS,
    MAX_SENTENCE,
    MAX_SERVICE,
    Ack,
    Data,
    End,
    Frame,
    FrameDecoder,
    FrameError,
    Open,
    Opened,
    Ping,
    Pong,
    Refused,
    Reset,
    encode,
    encode_data,
    is_service_name,
)

GOLDEN: list[tuple[Frame, str]] = [
    (Open(""), "01 000001 00"),
    (Open("ssh"), "01 000004 03 737368"),
    (Open("ssh", ((0x81, b"ab"),)), "01 000009 03 737368 81 0002 6162"),
    (
        Open("a", connection_options("00112233445566778899aabbccddeeff")),
        "01 000015 01 61 82 0010 00112233445566778899aabbccddeeff",
    ),
    (Opened(), "02 000000"),
    (Opened(((0x80, b""),)), "02 000003 80 0000"),
    (Refused(404, "no"), "03 000004 0194 6e6f"),
    (Data(b"xyz"), "04 000003 78797a"),
    (End(), "05 000000"),
    (Reset(499, "bye"), "06 000005 01f3 627965"),
    (Ping(b"\0\0\0\0\0\0\0\1"), "07 000008 0000000000000001"),
    (Pong(b"\0\0\0\0\0\0\0\1"), "08 000008 0000000000000001"),
    (Ack(0x123456789), "09 000008 0000000123456789"),
]
"""Frames and their bytes, as docs/session.rst shows them."""


def decode(*pieces: bytes) -> list[Frame]:
    """All frames of a stream that comes in these pieces; DATA that follow each other are one."""
    decoder = FrameDecoder()
    found: list[Frame] = []
    for frame in (frame for piece in pieces for frame in decoder.feed(piece)):
        if isinstance(frame, Data) and found and isinstance(found[-1], Data):
            found[-1] = Data(found[-1].data + frame.data)
        else:
            found.append(frame)
    return found


class GoldenTests(SynchronousTestCase):
    """The bytes on the wire are those that the documentation shows."""

    def test_encode(self) -> None:
        """Every frame has the documented bytes."""
        for frame, text in GOLDEN:
            self.assertEqual(encode(frame), bytes.fromhex(text), frame)

    def test_decode(self) -> None:
        """Every documented frame is understood."""
        for frame, text in GOLDEN:
            self.assertEqual(decode(bytes.fromhex(text)), [frame])

    def test_byte_by_byte(self) -> None:
        """However the path cuts the stream, the same frames come out."""
        stream = b"".join(encode(frame) for frame, _ in GOLDEN)
        wanted = [frame for frame, _ in GOLDEN]
        self.assertEqual(decode(*(bytes([b]) for b in stream)), wanted)
        for cut in range(len(stream)):
            self.assertEqual(decode(stream[:cut], stream[cut:]), wanted)

    def test_data_is_cut(self) -> None:
        """Long writes become frames as long as they may be; those of 64 KiB are one."""
        for size, wanted in (
            (0, []),
            (1, [1]),
            (MAX_DATA, [MAX_DATA]),
            (2 * MAX_DATA + 1, [MAX_DATA, MAX_DATA, 1]),
        ):
            pieces = encode_data(b"a" * size)
            self.assertEqual([len(piece) for piece in pieces[1::2]], wanted)
            for header, each in zip(pieces[0::2], wanted, strict=True):
                self.assertEqual(header, b"\x04" + each.to_bytes(3, "big"))

    def test_data_as_it_comes(self) -> None:
        """Bytes are given out when they come, not when their frame is complete, and none is kept."""
        decoder = FrameDecoder()
        stream = encode(Data(b"abcdef")) + encode(Data(b"ghi")) + encode(End())
        self.assertEqual(list(decoder.feed(stream[:4])), [])
        self.assertEqual(list(decoder.feed(stream[4:7])), [Data(b"abc")])
        self.assertEqual(decoder.held, 0)
        self.assertEqual(list(decoder.feed(stream[7:12])), [Data(b"def")])
        self.assertEqual(decoder.held, 2)  # of a header
        self.assertEqual(list(decoder.feed(stream[12:15])), [Data(b"g")])
        self.assertEqual(list(decoder.feed(stream[15:])), [Data(b"hi"), End()])

    def test_data_that_come_together(self) -> None:
        """The bytes of frames that come together are one, up to what else is between them."""
        stream = b"".join(
            encode(each) for each in (Data(b"a"), Data(b"b"), Ack(1), Data(b"c"), Data(b"d"))
        )
        self.assertEqual(list(FrameDecoder().feed(stream)), [Data(b"ab"), Ack(1), Data(b"cd")])

    def test_nothing_is_kept(self) -> None:
        """What is fed may be overwritten afterwards, whatever of it is held or was given out."""
        for frame in (Data(b"abcdef"), Refused(404, "no such service")):
            decoder, stream = FrameDecoder(), bytearray(encode(frame))
            view = memoryview(stream)
            got = list(decoder.feed(view[:7]))
            view[:7] = bytes(7)
            got += list(decoder.feed(view[7:]))
            view[7:] = bytes(len(view) - 7)
            if isinstance(frame, Data):
                got = [Data(b"".join(each.data for each in got if isinstance(each, Data)))]
            self.assertEqual(got, [frame])


class LimitTests(SynchronousTestCase):
    """What a peer can make us hold is bounded, and the bound itself is allowed."""

    def bad(self, data: bytes) -> None:
        """These bytes are no frame."""
        self.assertRaises(FrameError, decode, data)

    def test_payload(self) -> None:
        """A frame of 64 KiB is taken, a longer one is refused by its header alone."""
        biggest = encode(Data(b"d" * MAX_DATA))
        self.assertEqual(decode(biggest), [Data(b"d" * MAX_DATA)])
        self.bad(b"\x04" + (MAX_DATA + 1).to_bytes(3, "big"))
        self.bad(b"\xff" + (MAX_DATA + 1).to_bytes(3, "big"))
        self.assertRaises(ValueError, encode, Data(b"d" * (MAX_DATA + 1)))

    def test_held(self) -> None:
        """At most one incomplete frame is kept."""
        decoder = FrameDecoder()
        biggest = b"\x80" + MAX_DATA.to_bytes(3, "big") + bytes(MAX_DATA)
        self.assertEqual(list(decoder.feed(encode(End()) + biggest[:-1])), [End()])
        self.assertEqual(decoder.held, HEADER_SIZE + MAX_DATA - 1)
        self.assertEqual(list(decoder.feed(biggest[-1:] + encode(End()))), [End()])
        self.assertEqual(decoder.held, 0)

    def test_service(self) -> None:
        """A name of 64 characters is the longest."""
        name = "s" * MAX_SERVICE
        self.assertEqual(decode(encode(Open(name))), [Open(name)])
        self.assertRaises(ValueError, encode, Open(name + "s"))
        self.bad(b"\x01\x00\x00\x42\x41" + b"s" * 65)

    def test_names(self) -> None:
        """Names are made of small letters, digits, dot, underscore and dash; a dot may be in front."""
        for name in ("a", "0", "ssh-2", "a.b_c", "web.example", ".built-in"):
            self.assertTrue(is_service_name(name), name)
        for name in ("", "-a", ".", "..a", ".-a", "A", "a b", "a\n", "ä", "_x"):
            self.assertFalse(is_service_name(name), name)
        for raw in (b"-a", b"A", b"a\n", b"\xc3\xa4"):
            self.bad(b"\x01" + (len(raw) + 1).to_bytes(3, "big") + bytes([len(raw)]) + raw)

    def test_sentence(self) -> None:
        """A sentence has at most 512 bytes; ours are cut, and never inside a character."""
        full = Refused(1, "x" * MAX_SENTENCE)
        self.assertEqual(decode(encode(full)), [full])
        self.assertEqual(decode(encode(Refused(1, "x" * (MAX_SENTENCE + 1)))), [full])
        cut = decode(encode(Reset(1, "x" + "ä" * MAX_SENTENCE)))
        self.assertEqual(cut, [Reset(1, "x" + "ä" * 255)])
        size = MAX_SENTENCE + 3
        self.bad(b"\x03" + size.to_bytes(3, "big") + b"x" * size)

    def test_sentence_is_harmless(self) -> None:
        """A peer's sentence cannot steer the terminal it is shown on."""
        frames = decode(encode(Reset(1, "a\x1b[2Jb\nc")) + b"\x06\x00\x00\x03\x00\x01\xff")
        self.assertEqual(frames, [Reset(1, "a?[2Jb?c"), Reset(1, "\N{REPLACEMENT CHARACTER}")])

    def test_options(self) -> None:
        """Sixteen options are taken, seventeen are not."""
        options = tuple((0x80 + n, b"v") for n in range(MAX_OPTIONS))
        self.assertEqual(decode(encode(Open("a", options))), [Open("a", options)])
        self.bad(encode(Open("a", (*options, (0xA0, b"")))))
        self.bad(encode(Opened((*options, (0xA0, b"")))))

    def test_malformed(self) -> None:
        """Wrong lengths inside frames are refused, not read past."""
        for text in (
            "01 000000",  # OPEN without a name
            "01 000002 02 61",  # name longer than the frame
            "01 000004 01 61 81 00",  # option cut in its header
            "01 000006 01 61 81 0002 61",  # option cut in its value
            "02 000001 80",
            "03 000001 01",
            "05 000001 00",
            "06 000000",
            "07 000007 00000000000000",
            "08 000009 000000000000000000",
            "09 000007 00000000000000",
            "00 000000",  # unknown, must be understood
            "0a 000000",
            "7f 000000",
        ):
            self.bad(bytes.fromhex(text))
        self.assertRaises(ValueError, encode, Ping(b"short"))

    def test_unknown_may_be_ignored(self) -> None:
        """A later version's frame with the high bit set is skipped."""
        stream = bytes.fromhex("80 000002 6161") + encode(End()) + bytes.fromhex("ff 000000")
        self.assertEqual(decode(stream), [End()])

    def test_frames_before_garbage(self) -> None:
        """What was complete before the garbage is still delivered."""
        decoder = FrameDecoder()
        got: list[Frame] = []
        frames = iter(decoder.feed(encode(End()) + b"\x00\x00\x00\x00"))
        got.append(next(frames))
        self.assertRaises(FrameError, next, frames)
        self.assertEqual(got, [End()])


class PropertyTests(SynchronousTestCase):
    """Whatever comes, the parser keeps its promises."""

    @given(st.lists(st.binary(max_size=40), max_size=8))
    def test_total(self, pieces: list[bytes]) -> None:
        """Random bytes give frames or FrameError, and no more is held than one frame."""
        decoder = FrameDecoder()
        try:
            for piece in pieces:
                list(decoder.feed(piece))
                self.assertLess(decoder.held, HEADER_SIZE + MAX_DATA)
        except FrameError:
            pass

    @given(st.binary(max_size=60), st.integers(0, 255))
    def test_total_framed(self, payload: bytes, kind: int) -> None:
        """Random payloads under right lengths give a frame that encodes again, or FrameError."""
        try:
            frames = decode(bytes([kind]) + len(payload).to_bytes(3, "big") + payload)
        except FrameError:
            return
        for frame in frames:
            self.assertEqual(decode(encode(frame)), [frame])

    @given(st.binary(max_size=70000), st.integers(1, 9000))
    def test_data_round_trip(self, data: bytes, size: int) -> None:
        """A stream is the same after cutting it anywhere."""
        stream = b"".join(encode_data(data))
        frames = decode(*(stream[i : i + size] for i in range(0, len(stream), size)))
        self.assertEqual(b"".join(f.data for f in frames if isinstance(f, Data)), data)


class DocumentationTests(SynchronousTestCase):
    """The documentation shows what the code does."""

    def test_examples(self) -> None:
        """Every golden frame stands in docs/session.rst, and no other."""
        page = Path(__file__).parents[2] / "docs" / "session.rst"
        text = page.read_text(encoding="utf-8")
        block = text.split("Examples::\n\n")[1].split("\n\n")[0]
        shown = [line[37:].strip() for line in block.splitlines()]
        self.assertEqual(shown, [wanted for _, wanted in GOLDEN])
