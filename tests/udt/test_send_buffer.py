"""Tests for :mod:`wavesync.udt.send_buffer`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.packet import (
    MAX_BURST_BYTES,
    MAX_BURST_PACKETS,
    DataPacket,
    Position,
    decode_packet,
)
from wavesync.udt.send_buffer import SendBuffer


def _packets(data: bytes, segment: int) -> list[DataPacket]:
    """Cut a burst as a carrier does."""
    packets = []
    for start in range(0, len(data), segment):
        packet = decode_packet(data[start : start + segment])
        assert isinstance(packet, DataPacket)
        packets.append(packet)
    return packets


def _cut(buffer: SendBuffer, packets: int, now: float = 0.0) -> bytes:
    """Cut a burst and lay it out."""
    burst = buffer.cut(packets, now)
    return buffer.packets(burst, 0, burst.count)


class SendBufferTests(SynchronousTestCase):
    """What is written leaves as full packets and stays until acknowledged."""

    @settings(deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=70), max_size=12),
        st.lists(st.integers(1, 5), min_size=1, max_size=60),
    )
    def test_bytes_survive(self, writes: list[bytes], sizes: list[int]) -> None:
        """However it was written and cut, the payloads joined are the stream; all but the last are full."""
        buffer = SendBuffer(9, 100, 10, 0.0)
        for data in writes:
            buffer.write(data)
        stream = b"".join(writes)
        payloads: list[bytes] = []
        sequence = 100
        for size in sizes:
            if not buffer.unsent:
                break
            burst = buffer.cut(size, 0.0)
            self.assertLessEqual(burst.count, size)
            packets = _packets(buffer.packets(burst, 0, burst.count), 26)
            self.assertEqual(len(packets), burst.count)
            for packet in packets:
                self.assertEqual(packet.sequence, sequence)
                self.assertEqual(packet.destination, 9)
                sequence += 1
            payloads += [packet.payload for packet in packets]
        sent = b"".join(payloads)
        self.assertEqual(sent, stream[: len(sent)])
        self.assertEqual(buffer.unsent, len(stream) - len(sent))
        self.assertEqual(buffer.unacknowledged, len(stream))
        self.assertTrue(all(len(payload) == 10 for payload in payloads[:-1]))

    def test_small_writes_share_a_packet(self) -> None:
        """Unlike libudt we do not spend a packet a write."""
        buffer = SendBuffer(9, 0, 1456, 0.0)
        for _ in range(100):
            buffer.write(b"0123456789")
        self.assertEqual(len(_cut(buffer, 44)), 1016)

    def test_message_bits(self) -> None:
        """A burst is numbered like one send() of libudt: first, middle, last, or only; never O."""
        buffer = SendBuffer(9, 0, 10, 0.0)
        buffer.write(bytes(45))
        packets = _packets(_cut(buffer, 4), 26) + _packets(_cut(buffer, 4), 26)
        self.assertEqual(
            [(packet.position, packet.message) for packet in packets],
            [
                (Position.FIRST, 1),
                (Position.MIDDLE, 1),
                (Position.MIDDLE, 1),
                (Position.LAST, 1),
                (Position.ONLY, 2),
            ],
        )
        self.assertFalse(any(packet.in_order for packet in packets))

    def test_wrap_within_a_burst(self) -> None:
        """0x7FFFFFFF is followed by 0."""
        buffer = SendBuffer(9, 0x7FFF_FFFE, 10, 0.0)
        buffer.write(bytes(40))
        packets = _packets(_cut(buffer, 4), 26)
        self.assertEqual([packet.sequence for packet in packets], [0x7FFF_FFFE, 0x7FFF_FFFF, 0, 1])

    def test_timestamp(self) -> None:
        """Timestamps are microseconds since the connection began, and wrap."""
        buffer = SendBuffer(9, 0, 10, 100.0)
        buffer.write(bytes(20))
        self.assertEqual(_packets(_cut(buffer, 1, 100.5), 26)[0].timestamp, 500_000)
        late = 100.5 + 2**32 / 1e6
        self.assertEqual(_packets(_cut(buffer, 1, late), 26)[0].timestamp, 500_000)

    @settings(deadline=None)
    @given(
        st.lists(st.integers(1, 44), min_size=1, max_size=20),
        st.lists(st.integers(0, 300), max_size=20),
    )
    def test_acknowledging(self, sizes: list[int], moves: list[int]) -> None:
        """After any ACK, the bytes not acknowledged are exactly those of the packets after it."""
        buffer = SendBuffer(9, 50, 10, 0.0)
        buffer.write(bytes(sum(sizes) * 10 - 3))
        lengths = []
        for size in sizes:
            lengths += [len(packet.payload) for packet in _packets(_cut(buffer, size), 26)]
        point = 50
        for move in [*moves, 1000]:
            point = min(point + move, buffer.next)
            buffer.acknowledge(point)
            self.assertEqual(buffer.unacknowledged, sum(lengths[point - 50 :]))
            if point < buffer.next:
                burst = buffer.find(point)
                self.assertTrue(burst.first <= point < burst.first + burst.count)
        self.assertEqual(buffer.unacknowledged, 0)

    @settings(deadline=None)
    @given(st.integers(0, 99), st.integers(1, 100))
    def test_copies(self, first: int, count: int) -> None:
        """A retransmission is the same packets again, as far as one burst holds them."""
        buffer = SendBuffer(9, 0, 10, 0.0)
        buffer.write(bytes(995))
        sent: list[DataPacket] = []
        while buffer.unsent:
            sent += _packets(_cut(buffer, 7), 26)
        burst, got = buffer.copy(first, min(first + count, 100))
        self.assertGreaterEqual(got, 1)
        self.assertEqual(_packets(burst.data, burst.segment_size), sent[first : first + got])
        self.assertEqual(got, min(first + count, 100, first // 7 * 7 + 7) - first)

    def test_memory_is_given_back(self) -> None:
        """A long transfer keeps only what is in flight."""
        buffer = SendBuffer(9, 0, 10, 0.0)
        for _ in range(5000):
            buffer.write(bytes(10))
            buffer.cut(1, 0.0)
            buffer.acknowledge(buffer.next - 3)
        kept = buffer._bursts
        self.assertLess(len(kept), 3000)
        self.assertEqual(sum(burst is not None for burst in kept), 3)

    def test_many_writes(self) -> None:
        """Of very many small writes none is lost, and what has left is not kept with what waits."""
        buffer = SendBuffer(9, 0, 10, 0.0)
        stream = b"".join(b"%07d" % number for number in range(6000))
        for start in range(0, len(stream), 7):
            buffer.write(stream[start : start + 7])
        sent = b""
        while buffer.unsent:
            sent += b"".join(packet.payload for packet in _packets(_cut(buffer, 44), 26))
            buffer.acknowledge(buffer.next)
            self.assertEqual(sum(map(len, buffer._chunks)) - buffer._offset, buffer.unsent)
            if len(stream) - buffer.unsent > 30_000 and len(stream) < 50_000:
                buffer.write(b"more")
                stream += b"more"
        self.assertEqual(sent, stream)
        self.assertEqual(buffer._chunks, [])

    def test_burst_limits(self) -> None:
        """44 packets of 1472 bytes fit one send; fewer when packets are larger."""
        self.assertEqual(SendBuffer(9, 0, 1456, 0.0).max_burst, MAX_BURST_PACKETS)
        self.assertEqual(MAX_BURST_PACKETS * 1472, MAX_BURST_BYTES)
        self.assertEqual(SendBuffer(9, 0, 1457, 0.0).max_burst, 43)
        self.assertEqual(SendBuffer(9, 0, 8956, 0.0).max_burst, 7)
        self.assertEqual(SendBuffer(9, 0, 65491, 0.0).max_burst, 1)

    def test_clear(self) -> None:
        """An aborted connection keeps nothing."""
        buffer = SendBuffer(9, 0, 10, 0.0)
        buffer.write(bytes(100))
        buffer.cut(3, 0.0)
        buffer.clear()
        self.assertEqual((buffer.unsent, buffer.unacknowledged), (0, 0))
        self.assertEqual(buffer.acknowledged, buffer.next)
