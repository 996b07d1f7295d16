"""Tests for :mod:`wavesync.udt.scanning`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.packet import DataPacket
from wavesync.udt.scanning import Cuts, consecutive, split_burst, strip


def _burst(first: int, payloads: list[bytes], destination: int = 5) -> bytes:
    return b"".join(
        DataPacket(first + index & 0x7FFF_FFFF, 1, destination, payload).encode()
        for index, payload in enumerate(payloads)
    )


class ConsecutiveTests(SynchronousTestCase):
    """A burst of consecutive data packets for one connection is taken apart at once; others are not."""

    def found(self, data: bytes, segment_size: int) -> tuple[int, int, int, bytes] | None:
        """Look at a burst: by itself, and within memory that has been cut; both find the same."""
        run = consecutive(data, segment_size)
        whole = strip(data, segment_size) if run else b""
        if segment_size % 4 == 0 and segment_size > 16:
            memory = memoryview(bytearray(data) + bytes(3 * segment_size))
            cuts = Cuts(memory, segment_size)
            view = memory[: len(data)]
            self.assertEqual(consecutive(view, segment_size, cuts), run)
            if run:
                self.assertEqual(strip(view, segment_size, cuts), whole)
        return (*run, whole) if run else None

    def test_full(self) -> None:
        """Sequence number, count, destination and joined payloads are found."""
        payloads = [bytes([index]) * 20 for index in range(44)]
        data = _burst(1000, payloads)
        self.assertEqual(self.found(data, 36), (1000, 44, 5, b"".join(payloads)))

    def test_short_last(self) -> None:
        """The last packet may be shorter, down to an empty one, of any length."""
        for size in (0, 1, 7, 19):
            payloads = [b"a" * 20, b"b" * 20, b"c" * size]
            self.assertEqual(self.found(_burst(7, payloads), 36), (7, 3, 5, b"".join(payloads)))

    def test_anything_else(self) -> None:
        """Gaps, control packets, several ids, half headers and wraps go the slow way."""
        good = [b"a" * 20] * 3
        data = _burst(7, good)
        for other in (
            _burst(7, good[:2]) + _burst(10, good[:1]),
            _burst(7, good[:1]) + _burst(7, good[:1]) + _burst(9, good[:1]),
            data[:72] + _burst(9, good[:1], 6),
            data[:36] + _burst(8, good[:1], 6) + data[72:],
            data[:72] + _burst(10, [b"short"]),
            data[:72] + _burst(9, [b"short"], 6),
            _burst(0x7FFF_FFFE, good),
            b"\x80" + data[1:],
            data[:72] + b"\x80" + data[73:],
            data + b"tail",
            b"",
        ):
            self.assertIsNone(self.found(other, 36))
        self.assertIsNone(self.found(data, 35))
        self.assertIsNone(self.found(data, 12))

    @settings(deadline=None)
    @given(st.integers(0, 2**31 - 1), st.integers(1, 60), st.integers(0, 2**32 - 1), st.data())
    def test_numbers(self, first: int, count: int, bits: int, draw: st.DataObject) -> None:
        """Any change in one packet's number is noticed, whatever the numbers are."""
        data = bytearray(_burst(first, [b"1234"] * count))
        found = consecutive(bytes(data), 20)
        self.assertEqual(found is not None, first + count < 2**31)
        at = 20 * draw.draw(st.integers(0, count - 1))
        changed = int.from_bytes(data[at : at + 4], "big") ^ bits
        data[at : at + 4] = changed.to_bytes(4, "big")
        if count > 1 and bits:
            self.assertIsNone(consecutive(bytes(data), 20))

    @settings(deadline=None)
    @given(st.binary(max_size=200), st.integers(1, 60))
    def test_total(self, data: bytes, segment_size: int) -> None:
        """Any bytes of any segment size give something or nothing, never an error; cut up, they are
        all there, in whole packets."""
        self.found(data, segment_size)
        parts = split_burst(memoryview(data), segment_size)
        self.assertEqual(b"".join(data[start:stop] for start, stop in parts), data)
        self.assertTrue(all(start % segment_size == 0 for start, _ in parts))

    def test_split(self) -> None:
        """A burst with gaps is cut at the gaps only; a short last packet stands alone."""
        payloads = [b"a" * 20] * 3
        data = _burst(7, payloads) + _burst(12, payloads) + _burst(12, [b"b" * 20, b"short"])
        parts = split_burst(memoryview(data), 36)
        self.assertEqual(parts, [(0, 108), (108, 216), (216, 252), (252, 273)])
        self.assertEqual(split_burst(memoryview(data[:70]), 35), [(0, 35), (35, 70)])
