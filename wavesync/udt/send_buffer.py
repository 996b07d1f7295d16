"""The bytes on their way out: queued as written, then kept until acknowledged.

The unit is the burst of up to 44 packets (:mod:`wavesync.udt.layout`): there is no object, list
entry or copy a packet.  A retransmitted packet keeps its first timestamp: neither
libudt 4.11 nor we read the timestamp of a data packet (round trips are measured by ACK and ACK2).
"""

from bisect import bisect_right

from wavesync.interfaces import Burst
from wavesync.udt.layout import SentBurst, lay_out
from wavesync.udt.packet import HEADER, HEADER_SIZE, MAX_BURST_BYTES, MAX_BURST_PACKETS, Position
from wavesync.udt.sequence import FIRST_MESSAGE, SEQUENCE_MASK, next_message

__all__ = ["HIGH_WATER", "LOW_WATER", "MAX_FLIGHT", "PROBE_PERIOD", "SendBuffer"]

_COMPACT = 1024
_ONLY = Position.ONLY << 30


HIGH_WATER = 2 << 20
"""Unsent bytes at which :attr:`SendBuffer.full` turns true."""

LITTLE = 8 << 10
"""Bytes that have left and are not acknowledged, up to which :meth:`SendBuffer.cut_small` has a packet."""

LOW_WATER = 512 << 10
"""Unsent bytes at which it turns false again."""


MAX_FLIGHT = 1 << 17
"""Packets; what a peer's window word counts for at most."""

PROBE_PERIOD = 16
"""Packets 16n and 16n + 1 leave back to back: the receiver measures capacity by them."""


class SendBuffer:
    """See the module.

    :param peer_id: destination id of every packet.
    :param isn: extended sequence number of the first packet.
    :param payload: bytes of a full packet's payload.
    :param opened_at: seconds; what packets' timestamps count from.
    :ivar payload: bytes of a full packet's payload from now on (:meth:`resize`).
    :ivar max_burst: packets that one burst can hold.
    :ivar acknowledged: sequence number of the oldest packet kept.
    :ivar full: whether a producer had better wait for :meth:`turned_low`.
    :ivar next: sequence number of the next new packet.
    :ivar unsent: bytes written and not cut into packets yet.
    """

    __slots__ = (
        "_bursts",
        "_chunk",
        "_chunks",
        "_firsts",
        "_head",
        "_in_flight",
        "_message",
        "_offset",
        "_opened_at",
        "_partial",
        "_peer_id",
        "acknowledged",
        "full",
        "max_burst",
        "next",
        "payload",
        "unsent",
    )

    def __init__(self, peer_id: int, isn: int, payload: int, opened_at: float) -> None:
        """Begin empty."""
        self.resize(payload)
        self.acknowledged = isn
        self.next = isn
        self.unsent = 0
        self.full = False
        self._peer_id = peer_id
        self._opened_at = opened_at
        self._message = FIRST_MESSAGE
        self._chunks: list[bytes] = []
        self._chunk = 0  # index of the first of those that is not all taken
        self._offset = 0  # into the first chunk
        self._firsts: list[int] = []
        self._bursts: list[SentBurst | None] = []
        self._head = 0  # index of the oldest burst kept
        self._in_flight = 0  # payload bytes in bursts kept
        self._partial = 0  # of those, acknowledged already at the front of the oldest

    def resize(self, payload: int) -> None:
        """Cut packets with *payload* bytes from now on; those that have left keep their size."""
        self.payload = payload
        self.max_burst = max(1, min(MAX_BURST_PACKETS, MAX_BURST_BYTES // (payload + HEADER_SIZE)))

    @property
    def unacknowledged(self) -> int:
        """Bytes written and not acknowledged."""
        return self.unsent + self._in_flight - self._partial

    def write(self, data: bytes) -> None:
        """Queue *data* behind what is there."""
        if data:
            self._chunks.append(data)
            self.unsent += len(data)
            if self.unsent >= HIGH_WATER:
                self.full = True

    def turned_low(self) -> bool:
        """:return: whether it was full and is no longer so; once."""
        if not self.full or self.unsent > LOW_WATER:
            return False
        self.full = False
        return True

    def clear(self) -> None:
        """Forget everything queued or kept; sequence numbers stay."""
        self._chunks.clear()
        self._firsts.clear()
        self._bursts.clear()
        self._head = self._offset = self._in_flight = self._partial = self.unsent = 0
        self._chunk = 0
        self.acknowledged = self.next

    def cut(self, packets: int, now: float) -> SentBurst:
        """Make a burst of the next *packets* packets, or fewer if there are not so many bytes.

        There must be something unsent, and *packets* be 1 .. :attr:`max_burst`.
        """
        size = self.payload
        want = packets * size
        if want > self.unsent:
            want = self.unsent
            packets = -(-want // size)
        source = self._chunks[self._chunk]
        at = self._offset
        if len(source) - at > want:
            self._offset = at + want
            self.unsent -= want
        else:
            source, at = self._take(want)
        burst = SentBurst(self.next, packets, source, at, want, size, self._message, now)
        self._message = next_message(self._message)
        self._firsts.append(self.next)
        self._bursts.append(burst)
        self._in_flight += want
        self.next += packets
        return burst

    def cut_small(self, now: float) -> tuple[SentBurst, bytes] | None:
        """Make a packet of all that is unsent, and lay it out, if it fits in one and little is on its way."""
        want = self.unsent
        if want > self.payload or self.full or self._in_flight > LITTLE:
            return None
        number, message = self.next, self._message
        source, at = self._take(want)
        burst = SentBurst(number, 1, source, at, want, self.payload, message, now)
        self._message = next_message(message)
        self._firsts.append(number)
        self._bursts.append(burst)
        self._in_flight += want
        self.next = number + 1
        timestamp = int((now - self._opened_at) * 1e6) & 0xFFFF_FFFF
        header = HEADER.pack(number & SEQUENCE_MASK, _ONLY | message, timestamp, self._peer_id)
        return burst, header + source[at : at + want]

    def unparted(self, count: int, free: int) -> int:
        """Give how many packets to send now, rather than *count*, of which the last begins a probing pair.

        :param free: packets that there is room for.
        """
        if count > 1 and count >= self.max_burst:
            return count - 1
        return count + 1 if count < free else count

    def packets(self, burst: SentBurst, start: int, stop: int) -> bytes:
        """Lay out packets *start* .. *stop* of a burst that :meth:`cut` gave."""
        timestamp = int((burst.sent_at - self._opened_at) * 1e6) & 0xFFFF_FFFF
        return lay_out(burst, start, stop, timestamp, self._peer_id)

    def _take(self, want: int) -> tuple[bytes, int]:
        """Take *want* bytes off the queue: give a buffer that holds them, and where."""
        self.unsent -= want
        chunks = self._chunks
        taken = self._chunk
        head, at = chunks[taken], self._offset
        left = len(head) - at
        if left == want and len(chunks) == 1:
            chunks.clear()
            self._offset = 0
            return head, at
        if left > want:
            self._offset = at + want
            return head, at
        self._offset = 0
        if left == want:
            self._drop_chunks(taken + 1)
            return head, at
        pieces: list[bytes | memoryview] = [memoryview(head)[at:]]
        missing = want - left
        taken += 1
        while missing:
            head = chunks[taken]
            if len(head) > missing:
                pieces.append(memoryview(head)[:missing])
                self._offset = missing
                break
            pieces.append(head)
            taken += 1
            missing -= len(head)
        self._drop_chunks(taken)
        return b"".join(pieces), 0

    def _drop_chunks(self, stop: int) -> None:
        """Let go of the chunks before *stop*, without moving all others each time: they may be very many."""
        chunks = self._chunks
        if stop == len(chunks):
            chunks.clear()
        elif stop > _COMPACT and stop * 2 > len(chunks):
            del chunks[:stop]
        else:
            chunks[self._chunk : stop] = (b"",) * (stop - self._chunk)
            self._chunk = stop
            return
        self._chunk = 0

    def acknowledge(self, point: int) -> None:
        """Forget everything before *point*, which must not be beyond :attr:`next`."""
        if point <= self.acknowledged:
            return
        self.acknowledged = point
        index = self._head
        bursts = self._bursts
        while index < len(bursts):
            burst = bursts[index]
            assert burst is not None
            if burst.first + burst.count > point:
                break
            self._in_flight -= burst.size
            bursts[index] = None
            index += 1
        self._head = index
        self._partial = 0
        if index < len(bursts):
            oldest = bursts[index]
            assert oldest is not None
            self._partial = max(0, point - oldest.first) * oldest.payload
        if (index > _COMPACT and index * 2 > len(bursts)) or index == len(bursts):
            del bursts[:index], self._firsts[:index]
            self._head = 0

    def find(self, sequence: int) -> SentBurst:
        """Give the burst that holds *sequence*, which must be kept."""
        burst = self._bursts[bisect_right(self._firsts, sequence, self._head) - 1]
        assert burst is not None
        return burst

    def copy(self, first: int, stop: int) -> tuple[Burst, int]:
        """Give packets *first* .. *stop* again, as far as they lie in one burst.

        :returns: the packets and how many they are, 1 or more.
        """
        burst = self.find(first)
        count = min(stop, burst.first + burst.count) - first
        burst.clean = False
        start = first - burst.first
        return Burst(self.packets(burst, start, start + count), burst.payload + HEADER_SIZE), count
