"""How datagrams come out of a UDP socket, one call each: the way that works everywhere.

:mod:`wavesync.udt.batches` has the fast one.
"""

import errno
import socket
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from wavesync.interfaces import Address
from wavesync.udt.scanning import Cuts

__all__ = ["MAX_DATAGRAM", "MAX_TURN", "Arrival", "BurstAssembler", "Inlet", "PlainInlet"]

MAX_TURN = 64
"""Datagrams taken from the socket in one turn, so that timers and others get theirs."""

MAX_DATAGRAM = 2048
"""Bytes of the longest datagram that is taken; longer ones are dropped and counted."""

_AGAIN = (errno.ECONNREFUSED, errno.EINTR)


class Arrival(NamedTuple):
    """Datagrams from one source, back to back; all of *segment_size* bytes, the last maybe shorter.

    A carrier may use the memory behind *data* again as soon as the next arrival is asked for.
    """

    data: bytes | memoryview
    segment_size: int
    source: Address
    cuts: Cuts | None = None
    """Views of the memory that *data* is in, if the carrier has them."""


class Inlet(Protocol):
    """A way in."""

    @property
    def dropped(self) -> int:
        """Datagrams that were not taken."""

    def arrivals(self) -> Iterable[Arrival]:
        """Give what has come, up to what one turn may bring."""


class BurstAssembler:
    """Puts datagrams that came one after the other into bursts."""

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._pieces: list[bytes | memoryview] = []
        self._source: Address = ("", 0)
        self._size = 0

    def add(self, data: bytes | memoryview, source: Address) -> None:
        """Take the next datagram; an empty one is dropped."""
        size = len(data)
        if self._pieces and source == self._source and 0 < size <= self._size:
            self._pieces.append(data)
            if size < self._size:
                self._flush()
            return
        self._flush()
        if size:
            self._pieces.append(data)
            self._source = source
            self._size = size

    def take(self) -> list[Arrival]:
        """:return: the bursts so far."""
        self._flush()
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def _flush(self) -> None:
        pieces = self._pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._arrivals.append(Arrival(data, self._size, self._source))
            self._pieces = []


class PlainInlet:
    """``recvfrom`` for each datagram.

    :param sock: the socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.dropped = 0
        self._socket = sock

    def arrivals(self) -> Iterator[Arrival]:
        """See :class:`Inlet`; at most :data:`MAX_TURN` datagrams."""
        assembler = BurstAssembler()
        receive = self._socket.recvfrom
        for _turn in range(MAX_TURN):
            try:
                data, source = receive(MAX_DATAGRAM + 1)
            except OSError as problem:
                if problem.errno in _AGAIN:
                    continue
                break
            if len(data) > MAX_DATAGRAM:
                self.dropped += 1
            else:
                assembler.add(data, source[:2])
        yield from assembler.take()
