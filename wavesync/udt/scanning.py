"""Looking at all headers of a burst at once, with a few C calls, and taking out what is between them.

Most bursts are consecutive data packets for one connection (:func:`consecutive`).  Others are cut where
they are not (:func:`split_burst`).
"""

import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from wavesync.udt.packet import HEADER_SIZE
from wavesync.udt.sequence import MODULUS

__all__ = ["Cuts", "Run", "consecutive", "split_burst", "strip"]

Run = tuple[int, int, int]
"""Sequence number of the first packet (wire), how many, and their destination id."""

_TWO = Struct("!I8xI")
_SWAP = sys.byteorder == "little"


class Cuts:
    """Views of a buffer in which bursts of one packet size come and go; they are cut only once.

    :param memory: begins where bursts do.
    :param segment_size: a multiple of 4, more than a header.
    :ivar numbers: the sequence number of each packet that has room there, as it is on the wire.
    :ivar destinations: their destination ids.
    :ivar payloads: what is behind their headers.
    """

    __slots__ = ("destinations", "numbers", "payloads")

    def __init__(self, memory: memoryview, segment_size: int) -> None:
        """Cut as many packets as there may be."""
        words = memory[: len(memory) // segment_size * segment_size].cast("I")
        self.numbers = words[:: segment_size // 4]
        self.destinations = words[3 :: segment_size // 4]
        self.payloads = [
            memory[at + HEADER_SIZE : at + segment_size]
            for at in range(0, len(memory) - segment_size + 1, segment_size)
        ]


@lru_cache(maxsize=128)
def _ones(count: int) -> int:
    """Give *count* words 1 as one number; multiplied by a word, it has that many times."""
    return int.from_bytes(b"\0\0\0\1" * count, "big")


@lru_cache(maxsize=128)
def _steps(count: int) -> int:
    """Give the words 0, 1, 2 .. as one number."""
    return int.from_bytes(Struct(f"!{count}I").pack(*range(count)), "big")


@lru_cache(maxsize=256)
def _stripper(payload: int, count: int) -> Struct:
    """Give the struct that takes *count* payloads out from between their headers."""
    return Struct(f"{HEADER_SIZE}x{payload}s" * count)


def consecutive(
    data: bytes | memoryview, segment_size: int, cuts: Cuts | None = None
) -> Run | None:
    """Look at a burst: all but the last packet are of *segment_size* bytes.

    :param cuts: of the memory that *data* is in, if somebody has them.
    :returns: None unless all are data packets with consecutive numbers and one destination; when
        the numbers wrap among them, too.
    """
    count, rest = divmod(len(data), segment_size)
    if not count or segment_size < HEADER_SIZE or segment_size % 4 or 0 < rest < HEADER_SIZE:
        return None
    first, destination = _TWO.unpack_from(data)
    if first + count >= MODULUS:
        return None
    if count > 1:
        if cuts is not None:
            numbers, destinations = cuts.numbers[:count], cuts.destinations[:count]
        else:
            words = memoryview(data)[: count * segment_size].cast("I")
            numbers, destinations = words[:: segment_size // 4], words[3 :: segment_size // 4]
        # One long number is compared: to make a word for each packet takes five times as long.
        if int.from_bytes(numbers.tobytes(), "big") != first * _ones(count) + _steps(count):
            return None
        if destinations.tobytes() != destination.to_bytes(4, "big") * count:
            return None
    if not rest:
        return first, count, destination
    if _TWO.unpack_from(data, count * segment_size) != (first + count, destination):
        return None
    return first, count + 1, destination


def strip(data: bytes | memoryview, segment_size: int, cuts: Cuts | None = None) -> bytes:
    """Give the payloads of a burst, joined; parameters as for :func:`consecutive`, which took it."""
    count, rest = divmod(len(data), segment_size)
    whole: Sequence[bytes | memoryview]
    if cuts is not None:
        whole = cuts.payloads[:count]
    else:
        whole = _stripper(segment_size - HEADER_SIZE, count).unpack_from(data)
    if rest:
        return b"".join((*whole, data[count * segment_size + HEADER_SIZE :]))
    return b"".join(whole)


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
