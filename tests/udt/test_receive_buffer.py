"""Tests for :mod:`wavesync.udt.receive_buffer`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.packet import DataPacket
from wavesync.udt.receive_buffer import (
    LARGE,
    ReceiveBuffer,
    one_destination,
    parse_burst,
    split_burst,
)


def _burst(first: int, payloads: list[bytes], destination: int = 5) -> bytes:
    return b"".join(
        DataPacket(first + index & 0x7FFF_FFFF, 1, destination, payload).encode()
        for index, payload in enumerate(payloads)
    )


class ParseBurstTests(SynchronousTestCase):
    """A burst of consecutive data packets for us is taken apart at once; others are not."""

    def test_full(self) -> None:
        """Sequence number, count and joined payloads are found."""
        payloads = [bytes([index]) * 20 for index in range(44)]
        data = _burst(1000, payloads)
        self.assertEqual(parse_burst(data, 36, 5), (1000, 44, b"".join(payloads)))
        self.assertEqual(parse_burst(memoryview(data), 36, 5), (1000, 44, b"".join(payloads)))

    def test_short_last(self) -> None:
        """The last packet may be shorter, down to an empty one, of any length."""
        for size in (0, 1, 7, 19):
            payloads = [b"a" * 20, b"b" * 20, b"c" * size]
            self.assertEqual(parse_burst(_burst(7, payloads), 36, 5), (7, 3, b"".join(payloads)))

    def test_single(self) -> None:
        """One packet is a burst, whatever its length."""
        for size in (0, 1, 2, 3, 1456):
            data = _burst(7, [b"x" * size])
            self.assertEqual(parse_burst(data, len(data), 5), (7, 1, b"x" * size))

    def test_anything_else(self) -> None:
        """Gaps, control packets, other ids, half headers and wraps go the slow way."""
        good = [b"a" * 20] * 3
        data = _burst(7, good)
        self.assertIsNone(parse_burst(data, 36, 6))
        self.assertIsNone(parse_burst(_burst(7, good[:2]) + _burst(10, good[:1]), 36, 5))
        self.assertIsNone(parse_burst(data[:72] + _burst(9, good[:1], 6), 36, 5))
        self.assertIsNone(parse_burst(data[:72] + _burst(10, [b"short"]), 36, 5))
        self.assertIsNone(parse_burst(data[:72] + _burst(9, [b"short"], 6), 36, 5))
        self.assertIsNone(parse_burst(_burst(0x7FFF_FFFE, good), 36, 5))
        self.assertIsNone(parse_burst(b"\x80" + data[1:], 36, 5))
        self.assertIsNone(parse_burst(data[:72] + b"\x80" + data[73:], 36, 5))
        self.assertIsNone(parse_burst(data + b"tail", 36, 5))
        self.assertIsNone(parse_burst(data, 35, 5))
        self.assertIsNone(parse_burst(data, 15, 5))
        self.assertIsNone(parse_burst(b"", 36, 5))

    @settings(deadline=None)
    @given(st.binary(max_size=200), st.integers(1, 60))
    def test_total(self, data: bytes, segment_size: int) -> None:
        """Any bytes of any segment size give something or nothing, never an error; cut up, they are
        all there, in whole packets."""
        parse_burst(data, segment_size, 0)
        parts = split_burst(memoryview(data), segment_size)
        self.assertEqual(b"".join(data[start:stop] for start, stop in parts), data)
        self.assertTrue(all(start % segment_size == 0 for start, _ in parts))
        if len(data) >= segment_size:
            one_destination(data, segment_size)

    def test_split(self) -> None:
        """A burst with gaps is cut at the gaps only; a short last packet stands alone."""
        payloads = [b"a" * 20] * 3
        data = _burst(7, payloads) + _burst(12, payloads) + _burst(12, [b"b" * 20, b"short"])
        parts = split_burst(memoryview(data), 36)
        self.assertEqual(parts, [(0, 108), (108, 216), (216, 252), (252, 273)])
        self.assertEqual(split_burst(memoryview(data[:70]), 35), [(0, 35), (35, 70)])

    def test_one_destination(self) -> None:
        """A packet for somebody else is found wherever it is, even as a short last one."""
        for size in (20, 21):
            for stranger in range(3):
                last = [b"x" * size, b"x" * size, b"x" * 5]
                data = [_burst(7 + index, [last[index]], 5) for index in range(3)]
                self.assertTrue(one_destination(b"".join(data), size + 16))
                data[stranger] = _burst(7 + stranger, [last[stranger]], 6)
                self.assertFalse(one_destination(b"".join(data), size + 16))


class ReceiveBufferTests(SynchronousTestCase):
    """Packets come out in order, once, within the window."""

    @settings(deadline=None)
    @given(st.data())
    def test_any_order(self, data: st.DataObject) -> None:
        """Runs in any order, overlapping and repeated, give the stream once all came."""
        total = data.draw(st.integers(1, 40))
        stream = bytes(range(total * 3 - data.draw(st.integers(0, 2))))
        buffer = ReceiveBuffer(1000, 64)
        got = b""
        fresh = 0
        runs = data.draw(
            st.lists(st.tuples(st.integers(0, total - 1), st.integers(1, 9)), max_size=60)
        )
        for first, length in [*runs, *((index, 1) for index in range(total))]:
            count = min(length, total - first)
            fresh += buffer.accept(1000 + first, count, stream[first * 3 : (first + count) * 3], 3)
            self.assertEqual(
                buffer.highest - buffer.expected, buffer.missing.count + buffer.waiting
            )
            if buffer.held:
                got += b"".join(buffer.take())
        self.assertEqual(got, stream)
        self.assertEqual(fresh, total)
        self.assertEqual(buffer.expected, 1000 + total)
        self.assertFalse(buffer.missing)

    def test_window_limit(self) -> None:
        """The last packet of the window is held, the one after it is not."""
        buffer = ReceiveBuffer(0, 10)
        self.assertEqual(buffer.accept(10, 1, b"x", 1), 0)
        self.assertEqual(buffer.accept(9, 1, b"x", 1), 1)
        self.assertEqual(buffer.missing.ranges(), [(0, 9)])

    def test_run_across_the_window(self) -> None:
        """Of a run that goes beyond the window, what fits is taken."""
        for start in (0, 2):
            buffer = ReceiveBuffer(0, 10)
            self.assertEqual(buffer.accept(start, 20, bytes(20), 1), 10 - start)
            self.assertEqual(buffer.highest, 10)

    def test_unread_packets_fill_the_window(self) -> None:
        """A reader that takes nothing stops the writer; reading makes room."""
        buffer = ReceiveBuffer(0, 10)
        self.assertEqual(buffer.accept(0, 10, bytes(10), 1), 10)
        self.assertEqual(buffer.free, 0)
        self.assertEqual(buffer.accept(10, 1, b"x", 1), 0)
        self.assertEqual(buffer.take(), [bytes(10)])
        self.assertEqual(buffer.free, 10)
        self.assertEqual(buffer.accept(10, 1, b"x", 1), 1)

    def test_pieces(self) -> None:
        """Large runs are given out as they came, small ones in one piece."""
        for size, pieces in ((LARGE, 2), (LARGE - 1, 1)):
            buffer = ReceiveBuffer(0, 100)
            buffer.accept(0, size, b"a" * size, 1)
            buffer.accept(size, size, b"b" * size, 1)
            taken = buffer.take()
            self.assertEqual(len(taken), pieces)
            self.assertEqual(b"".join(taken), b"a" * size + b"b" * size)
            self.assertEqual((buffer.take(), buffer.held), ([], 0))

    def test_far_away(self) -> None:
        """Numbers long past or far ahead change nothing."""
        buffer = ReceiveBuffer(2**31, 10)
        for number in (0, 2**31 - 1, 2**31 + 10, 2**32):
            self.assertEqual(buffer.accept(number, 1, b"x", 1), 0)
        self.assertEqual((buffer.highest, buffer.held), (2**31, 0))

    def test_clear_keeps_what_is_in_order(self) -> None:
        """After the end, bytes in order can be read; those behind a gap are gone."""
        buffer = ReceiveBuffer(0, 10)
        buffer.accept(0, 2, b"ab", 1)
        buffer.accept(5, 2, b"xy", 1)
        buffer.clear()
        self.assertEqual((buffer.take(), buffer.waiting), ([b"ab"], 0))
