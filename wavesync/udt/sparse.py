"""How datagrams come out of a UDP socket while they come one by one: one call for each, and no more.

To be ready for 64 datagrams costs several times as much as taking one, and to ask again, only to
hear that there is no other, costs nearly as much as a datagram: the reactor will tell.  So while one
comes at a time, one is taken at a time.
"""

import socket
from collections.abc import Iterable
from struct import Struct

from wavesync.udt.batches import BatchInlet, batch_inlet
from wavesync.udt.inlets import MAX_DATAGRAM, Arrival

__all__ = ["LOOK_EVERY", "SMALL", "SparseInlet", "sparse_inlet"]

LOOK_EVERY = 16
"""Datagrams taken one at a time, until it is tried whether others wait."""

SMALL = 512
"""Bytes; a larger datagram seldom comes alone: it is tried at once."""

_SEGMENT = Struct("=i")  # what the kernel says of datagrams that it has merged
_BUFFER = bytearray(65536)
"""Of all inlets: what is read into it is copied at once."""


class SparseInlet:
    """See the module.

    :param sock: the socket.
    :param batches: takes what comes together.
    """

    def __init__(self, sock: socket.socket, batches: BatchInlet) -> None:
        self._batches = batches
        self._read = sock.recvmsg_into
        self._buffers = [_BUFFER]
        self._view = memoryview(_BUFFER)
        self._room = socket.CMSG_SPACE(_SEGMENT.size)
        self._left = 0  # datagrams to take one at a time
        self._missed = 0

    @property
    def dropped(self) -> int:
        """Datagrams that were not taken."""
        return self._missed + self._batches.dropped

    def arrivals(self) -> Iterable[Arrival]:
        """See :class:`~wavesync.udt.inlets.Inlet`."""
        if self._left <= 0:
            if not self._batches.alone:
                return self._batches.arrivals()
            self._batches.alone = False  # until it says so again
            self._left = LOOK_EVERY
        try:
            size, control, _, source = self._read(self._buffers, self._room)
        except OSError:
            return ()  # nothing, or an ICMP error of something sent earlier: the reactor knows what is left
        self._left -= 1
        if control or size > SMALL:
            self._left = 0
        segment = _SEGMENT.unpack_from(control[0][2])[0] if control else size
        if not 0 < segment <= MAX_DATAGRAM:
            self._missed += -(-size // segment) if segment else 0
            return ()
        data = bytes(self._view[:size])
        return (tuple.__new__(Arrival, (data, segment, source[:2], None)),)


def sparse_inlet(sock: socket.socket) -> SparseInlet | None:
    """Make an inlet, and let the kernel merge datagrams for it if it can.

    :return: ``None`` where there is no ``recvmmsg``.
    """
    batches = batch_inlet(sock)
    return None if batches is None else SparseInlet(sock, batches)
