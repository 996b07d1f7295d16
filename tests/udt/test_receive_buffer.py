"""Tests for :mod:`wavesync.udt.receive_buffer`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.receive_buffer import LARGE, ReceiveBuffer


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
            fresh += buffer.accept(
                1000 + first, count, [stream[first * 3 : (first + count) * 3]], 3
            )
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
        self.assertEqual(buffer.accept(10, 1, [b"x"], 1), 0)
        self.assertEqual(buffer.accept(9, 1, [b"x"], 1), 1)
        self.assertEqual(buffer.missing.ranges(), [(0, 9)])

    def test_run_across_the_window(self) -> None:
        """Of a run that goes beyond the window, what fits is taken."""
        for start in (0, 2):
            buffer = ReceiveBuffer(0, 10)
            self.assertEqual(buffer.accept(start, 20, [bytes(20)], 1), 10 - start)
            self.assertEqual(buffer.highest, 10)

    def test_unread_packets_fill_the_window(self) -> None:
        """A reader that takes nothing stops the writer; reading makes room."""
        buffer = ReceiveBuffer(0, 10)
        self.assertEqual(buffer.accept(0, 10, [bytes(10)], 1), 10)
        self.assertEqual(buffer.free, 0)
        self.assertEqual(buffer.accept(10, 1, [b"x"], 1), 0)
        self.assertEqual(buffer.take(), [bytes(10)])
        self.assertEqual(buffer.free, 10)
        self.assertEqual(buffer.accept(10, 1, [b"x"], 1), 1)

    def test_pieces(self) -> None:
        """Large runs are given out as they came, small ones in one piece."""
        for size, pieces in ((LARGE, 2), (LARGE - 1, 1)):
            buffer = ReceiveBuffer(0, 100)
            buffer.accept(0, size, [b"a" * size], 1)
            buffer.accept(size, size, [b"b" * size], 1)
            taken = buffer.take()
            self.assertEqual(len(taken), pieces)
            self.assertEqual(b"".join(taken), b"a" * size + b"b" * size)
            self.assertEqual((buffer.take(), buffer.held), ([], 0))

    def test_far_away(self) -> None:
        """Numbers long past or far ahead change nothing."""
        buffer = ReceiveBuffer(2**31, 10)
        for number in (0, 2**31 - 1, 2**31 + 10, 2**32):
            self.assertEqual(buffer.accept(number, 1, [b"x"], 1), 0)
        self.assertEqual((buffer.highest, buffer.held), (2**31, 0))

    def test_clear_keeps_what_is_in_order(self) -> None:
        """After the end, bytes in order can be read; those behind a gap are gone."""
        buffer = ReceiveBuffer(0, 10)
        buffer.accept(0, 2, [b"ab"], 1)
        buffer.accept(5, 2, [b"xy"], 1)
        buffer.clear()
        self.assertEqual((buffer.take(), buffer.waiting), ([b"ab"], 0))
