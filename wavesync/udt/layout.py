"""Bursts of data packets: what is kept of one that has left, and how its bytes are laid out.

A burst is laid out when it leaves, and again as far as it is lost; what is kept meanwhile is where
its bytes are in what the application wrote.  Writing 64 KiB of memory that no cache holds, as the packets
of all that is in flight would be, costs more CPU than laying them out.

Each burst is numbered as one message (first, middle .., last), as if it were one ``send()``.
"""

from functools import lru_cache
from struct import Struct

from wavesync.udt.packet import HEADER, Position
from wavesync.udt.sequence import MODULUS, SEQUENCE_MASK

__all__ = ["SentBurst", "lay_out"]

_FIRST = Position.FIRST << 30
_LAST = Position.LAST << 30

_TAIL = Struct("!III")  # of a header, behind the sequence number


@lru_cache(maxsize=256)
def _cutter(payload: int, count: int) -> Struct:
    """Give the struct that cuts *count* payloads out of a buffer."""
    return Struct(f"{payload}s" * count)


@lru_cache(maxsize=256)
def _packer(payload: int, count: int, last: int) -> Struct:
    """Give the struct that lays out *count* packets, the last with *last* payload bytes."""
    return Struct("!" + f"I{_TAIL.size}s{payload}s" * (count - 1) + f"I{_TAIL.size}s{last}s")


class SentBurst:
    """One burst that has been sent, with what its acknowledgement will tell.

    :ivar first: sequence number of its first packet (extended).
    :ivar count: packets, 1 .. 44.
    :ivar source: something written that holds its payload.
    :ivar at: where in it.
    :ivar size: bytes of payload in all.
    :ivar payload: bytes of payload in each but the last.
    :ivar message: its message number.
    :ivar sent_at: seconds.
    :ivar delivered: packets known to have arrived when it was sent.
    :ivar app_limited: whether there was nothing more to send then.
    :ivar clean: whether it may be used to measure (nothing of it was sent twice).
    """

    __slots__ = (
        "app_limited",
        "at",
        "clean",
        "count",
        "delivered",
        "first",
        "message",
        "payload",
        "sent_at",
        "size",
        "source",
    )

    def __init__(
        self,
        first: int,
        count: int,
        source: bytes,
        at: int,
        size: int,
        payload: int,
        message: int,
        now: float,
    ) -> None:
        """Note a burst made at *now*; the sender fills in the rest."""
        self.first = first
        self.count = count
        self.source = source
        self.at = at
        self.size = size
        self.payload = payload
        self.message = message
        self.sent_at = now
        self.delivered = 0
        self.app_limited = False
        self.clean = True


def lay_out(burst: SentBurst, start: int, stop: int, timestamp: int, peer_id: int) -> bytes:
    """Give packets *start* .. *stop* of a burst, header and payload, back to back.

    :param start: 0 for the first.
    :param stop: more than *start*, the burst's count at most.
    :param timestamp: of all of them, 32 bits.
    :param peer_id: destination id of all of them.
    """
    size = burst.payload
    source = burst.source
    at = burst.at + start * size
    end = burst.at + min(stop * size, burst.size)
    count = stop - start
    first = (burst.first + start) & SEQUENCE_MASK
    message = burst.message
    opening = message if start else message | _FIRST
    closing = message if stop < burst.count else message | _LAST
    if count == 1:
        return HEADER.pack(first, opening | closing, timestamp, peer_id) + source[at:end]
    # One C call cuts the payloads, one puts them together with their headers.
    words: list[object] = [0, _TAIL.pack(message, timestamp, peer_id), b""] * count
    words[0::3] = range(first, first + count)
    if first + count > MODULUS:
        words[0::3] = [number & SEQUENCE_MASK for number in range(first, first + count)]
    words[1] = _TAIL.pack(opening, timestamp, peer_id)
    words[-2] = _TAIL.pack(closing, timestamp, peer_id)
    full, rest = divmod(end - at, size)
    if rest:
        words[2:-1:3] = _cutter(size, full).unpack_from(source, at)
        words[-1] = source[end - rest : end]
    else:
        words[2::3] = _cutter(size, full).unpack_from(source, at)
    return _packer(size, count, rest or size).pack(*words)
