"""The bytes on their way out: queued as written, then kept as ready-made bursts until acknowledged.

A burst is one flat ``bytes`` of up to 44 packets, header and payload, made by one cached struct.
It is what goes to the carrier, what is kept, and what a retransmission is a slice of; there is no
object, list entry or copy a packet.  A retransmitted packet keeps its first timestamp: neither
libudt 4.11 nor we read the timestamp of a data packet (round trips are measured by ACK and ACK2).

Each burst is numbered as one message (first, middle .., last), as if it were one ``send()``.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from wavesync.interfaces import Burst
from wavesync.udt.packet import HEADER_SIZE, MAX_BURST_BYTES, MAX_BURST_PACKETS, Position
from wavesync.udt.sequence import FIRST_MESSAGE, MODULUS, next_message, to_wire

__all__ = ["HIGH_WATER", "LOW_WATER", "SendBuffer", "SentBurst"]

_FIRST = Position.FIRST << 30
_LAST = Position.LAST << 30
_ONLY = Position.ONLY << 30
_COMPACT = 1024


HIGH_WATER = 2 << 20
"""Unsent bytes at which :attr:`SendBuffer.full` turns true."""

LOW_WATER = 512 << 10
"""Unsent bytes at which it turns false again."""


@lru_cache(maxsize=256)
def _cutter(payload: int, count: int) -> Struct:
    """Give the struct that cuts *count* payloads out of a buffer."""
    return Struct(f"{payload}s" * count)


@lru_cache(maxsize=256)
def _packer(payload: int, count: int, last: int) -> Struct:
    """Give the struct that lays out *count* packets, the last with *last* payload bytes."""
    return Struct("!" + f"IIII{payload}s" * (count - 1) + f"IIII{last}s")


class SentBurst:
    """One burst that has been sent, with what its acknowledgement will tell.

    :ivar first: sequence number of its first packet (extended).
    :ivar count: packets, 1 .. 44.
    :ivar data: all packets back to back.
    :ivar payload: bytes of payload in each but the last.
    :ivar sent_at: seconds.
    :ivar delivered: packets known to have arrived when it was sent.
    :ivar app_limited: whether there was nothing more to send then.
    :ivar clean: whether it may be used to measure (nothing of it was sent twice).
    """

    __slots__ = (
        "app_limited",
        "clean",
        "count",
        "data",
        "delivered",
        "first",
        "payload",
        "sent_at",
    )

    def __init__(self, first: int, count: int, data: bytes, payload: int, now: float) -> None:
        """Note a burst made at *now*; the sender fills in the rest."""
        self.first = first
        self.count = count
        self.data = data
        self.payload = payload
        self.sent_at = now
        self.delivered = 0
        self.app_limited = False
        self.clean = True


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
        want = min(packets * size, self.unsent)
        full, rest = divmod(want, size)
        source, at = self._take(want)
        payloads: list[bytes] = list(_cutter(size, full).unpack_from(source, at))
        if rest:
            payloads.append(source[at + full * size : at + want])
        count = len(payloads)
        data = _packer(size, count, rest or size).pack(*self._words(payloads, now))
        burst = SentBurst(self.next, count, data, size, now)
        self._firsts.append(self.next)
        self._bursts.append(burst)
        self._in_flight += want
        self.next += count
        return burst

    def _take(self, want: int) -> tuple[bytes, int]:
        """Take *want* bytes off the queue: give a buffer that holds them, and where."""
        self.unsent -= want
        chunks = self._chunks
        taken = self._chunk
        head, at = chunks[taken], self._offset
        left = len(head) - at
        if left > want:
            self._offset = at + want
            return head, at
        self._offset = 0
        if left == want:
            self._drop_chunks(taken + 1)
            return head, at
        pieces = [head[at:]]
        missing = want - left
        taken += 1
        while missing:
            head = chunks[taken]
            if len(head) > missing:
                pieces.append(head[:missing])
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

    def _words(self, payloads: list[bytes], now: float) -> list[object]:
        """Give header words and payloads in the order of the layout."""
        count = len(payloads)
        first = to_wire(self.next)
        numbers: Sequence[int] = range(first, first + count)
        if first + count > MODULUS:
            numbers = [to_wire(number) for number in numbers]
        message = self._message
        self._message = next_message(message)
        timestamp = int((now - self._opened_at) * 1e6) & 0xFFFF_FFFF
        words: list[object] = [message, message, timestamp, self._peer_id, b""] * count
        words[0::5] = numbers
        words[4::5] = payloads
        if count == 1:
            words[1] = _ONLY | message
        else:
            words[1] = _FIRST | message
            words[-4] = _LAST | message
        return words

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
            self._in_flight -= len(burst.data) - burst.count * HEADER_SIZE
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
        segment = burst.payload + HEADER_SIZE
        start = (first - burst.first) * segment
        return Burst(burst.data[start : start + count * segment], segment), count
