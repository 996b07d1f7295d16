"""The bytes on their way in: bursts parsed at once, held while a gap is open, given out in order.

:func:`parse_burst` finds with a few C calls that a burst holds consecutive data packets for us;
anything else goes packet by packet.  The buffer keeps *runs* (consecutive packets as one
``bytes``), never single packets where they came together.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import TypeAlias

from wavesync.udt.packet import HEADER_SIZE
from wavesync.udt.ranges import RangeSet
from wavesync.udt.sequence import MODULUS

__all__ = [
    "EARLY_WINDOW",
    "Payloads",
    "ReceiveBuffer",
    "one_destination",
    "parse_burst",
    "split_burst",
]

EARLY_WINDOW = 64
"""Packets held of a peer of whom nobody knows yet who it is (93 kB): its side of a TLS handshake and
what comes right behind, out of order.  With 8192 a few hundred strangers could fill gigabytes."""

LARGE = 8
"""Packets in a run, on the average, from which on runs are given out as they are: joining them would
copy every byte once more."""

Payloads: TypeAlias = Sequence[memoryview] | None
"""Views of what is behind the headers of a burst's packets, if somebody has them."""

_TWO = Struct("!I8xI")
_SWAP = sys.byteorder == "little"


@lru_cache(maxsize=256)
def _stripper(payload: int, count: int) -> Struct:
    """Give the struct that takes *count* payloads out from between their headers."""
    return Struct(f"{HEADER_SIZE}x{payload}s" * count)


@lru_cache(maxsize=64)
def _numbers(count: int) -> Struct:
    """Give the struct of *count* words."""
    return Struct(f"!{count}I")


def parse_burst(
    data: bytes | memoryview,
    segment_size: int,
    local_id: int,
    payloads: Payloads = None,
) -> tuple[int, int, bytes] | None:
    """Parse a burst of consecutive data packets for *local_id*, all but the last full.

    :param payloads: of each full packet in *data*, or more: cutting them out takes most of the time.
    :returns: the first sequence number (wire), the number of packets, and their payloads joined;
        None when the burst is anything else, or the numbers wrap within it.
    """
    size = len(data)
    count, rest = divmod(size, segment_size)
    if not count or segment_size < HEADER_SIZE or 0 < rest < HEADER_SIZE:
        return None
    first, destination = _TWO.unpack_from(data)
    total = count + (rest > 0)
    if destination != local_id or first + total > MODULUS:
        return None
    view = memoryview(data)
    if count > 1:
        if segment_size % 4:
            return None
        words = view[: count * segment_size].cast("I")
        step = segment_size // 4
        if not _all_equal(words[3::step], local_id):
            return None
        if words[::step].tobytes() != _numbers(count).pack(*range(first, first + count)):
            return None
    payload = segment_size - HEADER_SIZE
    if not rest:
        if count == 1:
            return first, 1, bytes(view[HEADER_SIZE:])
        if payloads is not None:
            return first, count, b"".join(payloads[:count])
        return first, count, b"".join(_stripper(payload, count).unpack(view))
    if _TWO.unpack_from(view, count * segment_size) != (first + count, local_id):
        return None
    pieces: Iterable[bytes | memoryview]
    if payloads is not None:
        pieces = payloads[:count]
    else:
        pieces = _stripper(payload, count).unpack_from(view)
    return first, total, b"".join((*pieces, view[count * segment_size + HEADER_SIZE :]))


def split_burst(data: memoryview, segment_size: int) -> list[tuple[int, int]]:
    """Cut a burst where its packets are not consecutive.

    :returns: from which byte to which; a part of several packets may yet be anything.
    """
    size = len(data)
    if segment_size < HEADER_SIZE or segment_size % 4:
        return [(at, min(at + segment_size, size)) for at in range(0, size, segment_size)]
    count = size // segment_size
    numbers = array("I", data[: count * segment_size].cast("I")[:: segment_size // 4])
    if _SWAP:
        numbers.byteswap()
    parts = []
    begin = 0
    for index in range(1, count):
        if numbers[index] != numbers[index - 1] + 1:
            parts.append((begin * segment_size, index * segment_size))
            begin = index
    if begin < count:
        parts.append((begin * segment_size, count * segment_size))
    if size % segment_size:
        parts.append((count * segment_size, size))
    return parts


def one_destination(data: bytes | memoryview, segment_size: int) -> bool:
    """:return: whether all packets of a burst carry the same destination id; the last may be shorter."""
    first = data[12:HEADER_SIZE]
    whole = len(data) // segment_size * segment_size
    if whole < len(data) and data[whole + 12 : whole + HEADER_SIZE] != first:
        return False
    if segment_size % 4:
        return all(
            data[start + 12 : start + HEADER_SIZE] == first
            for start in range(segment_size, whole, segment_size)
        )
    words = memoryview(data)[:whole].cast("I")[3 :: segment_size // 4]
    return _all_equal(words, int.from_bytes(first, "big"))


def _all_equal(words: memoryview, expected: int) -> bool:
    """Tell whether all of the big-endian *words* are *expected*."""
    return words.tobytes() == expected.to_bytes(4, "big") * len(words)


class ReceiveBuffer:
    """Puts runs of packets in order, within a window.

    :param isn: extended sequence number of the first packet.
    :param window: packets that may be held, in order and unread or waiting for a gap to close.
    :ivar expected: first packet not received; everything before has been (the ACK point).
    :ivar highest: one more than the highest packet received.
    :ivar missing: the packets between the two that have not been received.
    :ivar held: packets received in order and not taken by the reader.
    """

    __slots__ = ("_ready", "_runs", "_window", "expected", "held", "highest", "missing")

    def __init__(self, isn: int, window: int) -> None:
        """Begin empty."""
        self._window = window
        self._runs: dict[int, tuple[int, bytes]] = {}  # first -> count, payload; beyond a gap
        self._ready: list[bytes] = []
        self.expected = isn
        self.highest = isn
        self.missing = RangeSet()
        self.held = 0

    @property
    def free(self) -> int:
        """Packets, counted from :attr:`expected`, that there is room for."""
        return max(0, self._window - self.held)

    def widen(self, window: int) -> None:
        """Hold up to *window* packets from now on; never fewer than before."""
        self._window = max(self._window, window)

    @property
    def waiting(self) -> int:
        """Packets held behind a gap."""
        return self.highest - self.expected - self.missing.count

    def append(self, payload: bytes) -> bool:
        """Take the packet that is expected, unless it closes a gap or there is no room for it."""
        if self.missing.count or self.held >= self._window:
            return False
        self.expected = self.highest = self.expected + 1
        self.held += 1
        self._ready.append(payload)
        return True

    def accept(self, first: int, count: int, payload: bytes, size: int) -> int:
        """Take a run of packets, as far as it is new and there is room for it.

        :param first: sequence number (extended).
        :param count: packets.
        :param payload: their payloads, joined.
        :param size: payload bytes of each but the last.
        :returns: how many packets were new; ``missing`` and ``highest`` tell of new gaps.
        """
        if first == self.highest and not self.missing.count:
            room = self.free
            if count > room:
                if room <= 0:
                    return 0
                count, payload = room, payload[: room * size]
            self.highest = self.expected = first + count
            self.held += count
            if payload:
                self._ready.append(payload)
            return count
        stop = min(first + count, self.expected + self.free)
        if stop <= first:
            return 0
        parts = self.missing.overlap(first, stop)
        beyond = max(first, self.highest)
        if beyond < stop:
            parts.append((beyond, stop))
            self.missing.add(self.highest, beyond)
            self.highest = stop
        new = 0
        for low, high in parts:
            self.missing.remove(low, high)
            end = len(payload) if high == first + count else (high - first) * size
            self._runs[low] = (high - low, payload[(low - first) * size : end])
            new += high - low
        if new:
            self._advance()
        return new

    def _advance(self) -> None:
        """Move what has become contiguous to the reader's side."""
        runs = self._runs
        while (run := runs.pop(self.expected, None)) is not None:
            count, payload = run
            self.expected += count
            self.held += count
            if payload:
                self._ready.append(payload)

    def take(self) -> list[bytes]:
        """Give the reader all bytes that are in order: in one piece, or in several large ones."""
        held, self.held = self.held, 0
        ready, self._ready = self._ready, []
        if len(ready) > 1 and held < LARGE * len(ready):
            return [b"".join(ready)]
        return ready

    def clear(self) -> None:
        """Forget what waits behind a gap: it will never be filled."""
        self._runs.clear()
        self.missing = RangeSet()
        self.highest = self.expected
