"""How datagrams come out of a UDP socket many at a time: ``recvmmsg`` with ``UDP_GRO``.

The kernel merges datagrams of one source and size (up to 64 KiB) where it can, and one call takes
several of these, or up to 64 datagrams that came unmerged.  Each has a slot in one arena that all
carriers of the process share: what is in it has been copied by the time the next one reads.
"""

import ctypes
import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from struct import Struct
from typing import Protocol

from wavesync.interfaces import Address
from wavesync.mmsg import Header, Message, Piece, libc
from wavesync.udt.inlets import MAX_DATAGRAM, Arrival
from wavesync.udt.scanning import Cuts

__all__ = ["MAX_CALLS", "MERGED", "SLOTS", "Arena", "BatchInlet", "Receive", "batch_inlet"]

SLOTS = 64
"""Datagrams that one call takes while they come unmerged."""

MERGED = 8
"""Slots that one call fills while datagrams come merged: they stay in the processor's cache."""

MAX_CALLS = 3
"""Calls in one turn, so that timers and others get theirs."""

_ONCE_LARGE = 8 << 20
"""Bytes asked for and given back once: from then on glibc takes what is smaller from memory that it
keeps (malloc(3), "M_MMAP_THRESHOLD"; 16 MiB at most).  Bursts come and go by the thousand, and memory that
is given back to the system after each of them costs as much CPU as all the rest of receiving."""

_SLOT = 65536
_STRIDE = _SLOT + 1536 + 64  # slots one power of two apart would share the cache's lines
_WORTH_CUTTING = 512  # bytes; of smaller datagrams there would be too many views to keep
_NAME = 28  # struct sockaddr_in6, the longest
_IPV4_NAME = 16  # struct sockaddr_in
_NOTHING = bytes(_NAME - _IPV4_NAME)
_FAMILY = Struct("=H")
_IPV4 = _FAMILY.pack(socket.AF_INET)
_SOL_UDP = 17
_UDP_GRO = 104

_AGAIN = (errno.ECONNREFUSED, errno.EINTR)


class Receive(Protocol):
    """``recvmmsg`` as ctypes gives it."""

    def __call__(
        self, descriptor: int, messages: object, slots: int, flags: int, timeout: None, /
    ) -> int:
        """:return: how many messages came; -1 for an error, which ctypes keeps."""


class Arena:
    """The memory that ``recvmmsg`` fills: slots, the sources' addresses, the sizes of what was merged.

    :ivar messages: what ``recvmmsg`` is given.
    :ivar busy: somebody reads from it.
    """

    def __init__(self) -> None:
        self.busy = False
        self._memory = bytearray(SLOTS * _STRIDE)  # the system gives a page when it is first used
        self._view = memoryview(self._memory)
        control = socket.CMSG_SPACE(ctypes.sizeof(ctypes.c_int))
        self._names = ctypes.create_string_buffer(SLOTS * _NAME)
        self._controls = ctypes.create_string_buffer(SLOTS * control)
        self._pieces = (Piece * SLOTS)()
        self.messages = (Message * SLOTS)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for slot in range(SLOTS):
            message = self.messages[slot].header
            piece = self._pieces[slot]
            piece.base, piece.size = start + slot * _STRIDE, _SLOT
            message.name = ctypes.addressof(self._names) + slot * _NAME
            message.name_size = _NAME
            message.pieces = ctypes.addressof(piece)
            message.piece_count = 1
            message.control = ctypes.addressof(self._controls) + slot * control
            message.control_size = control
        self._blank = bytes(self.messages)
        self._used = 0
        headers = self._headers = memoryview(self.messages).cast("B")
        step = ctypes.sizeof(Message) // 4
        self._sizes = headers.cast("I")[Message.size.offset // 4 :: step]
        step = ctypes.sizeof(Message) // ctypes.sizeof(ctypes.c_size_t)
        offset = Header.control_size.offset // ctypes.sizeof(ctypes.c_size_t)
        self._control_sizes = headers.cast("P")[offset::step]
        integers = memoryview(self._controls).cast("B").cast("i")
        self._segments = integers[socket.CMSG_LEN(0) // 4 :: control // 4]
        self._name_bytes = memoryview(self._names).cast("B")
        # Views are cut once for each slot and size that comes.
        self._cut = lru_cache(maxsize=8)(self._cut_all)
        self._cuts = lru_cache(maxsize=8 * MERGED)(self._cut_packets)
        self._full = lru_cache(maxsize=8 * MERGED)(self._full_burst)

    def prepare(self, slots: int) -> None:
        """Undo what the last call wrote into the headers that are used next."""
        used = self._used
        if used:
            end = used * ctypes.sizeof(Message)
            self._headers[:end] = self._blank[:end]
        self._used = slots

    def sizes(self, count: int) -> list[int]:
        """:return: the bytes in the first *count* slots."""
        return self._sizes[:count].tolist()

    def segments(self, count: int) -> list[int]:
        """:return: the datagrams' size in each of the first *count* slots; 0 for one as it came."""
        present = self._control_sizes[:count].tolist()
        if not any(present):
            return []
        segments = self._segments[:count].tolist()
        return [size if there else 0 for size, there in zip(segments, present, strict=True)]

    def data(self, slot: int, size: int) -> memoryview:
        """:return: what is in a slot."""
        start = slot * _STRIDE
        return self._view[start : start + size]

    def joined(self, first: int, stop: int, size: int, last: int) -> bytes | memoryview:
        """:return: the contents of several slots: *size* bytes of each, *last* of the last."""
        if stop == first + 1:
            return self.data(first, size)
        views = self._cut(size)
        if last == size:
            return b"".join(views[first:stop])
        return b"".join((*views[first : stop - 1], self.data(stop - 1, last)))

    def burst(self, slot: int, size: int, segment: int, name: bytes) -> Arrival:
        """Give what is in a slot.

        :param size: bytes there.
        :param segment: of the datagrams that were merged.
        :param name: who sent it, see :meth:`name`.
        """
        if segment < _WORTH_CUTTING or segment % 4:
            return Arrival(self.data(slot, size), segment, _address(name))
        if size % segment:
            cuts = self._cuts(slot, segment)
            return Arrival(self.data(slot, size), segment, _address(name), cuts)
        return self._full(slot, size, segment, name)

    def _full_burst(self, slot: int, size: int, segment: int, name: bytes) -> Arrival:
        """The same for datagrams all of one size; most bursts are alike."""
        cuts = self._cuts(slot, segment)
        return Arrival(self.data(slot, size), segment, _address(name), cuts)

    def _cut_packets(self, slot: int, segment: int) -> Cuts:
        return Cuts(self.data(slot, _SLOT), segment)

    def _cut_all(self, size: int) -> tuple[memoryview, ...]:
        return tuple(self.data(slot, size) for slot in range(SLOTS))

    def names(self, count: int) -> list[bytes]:
        """:return: who sent what is in the first *count* slots, as the kernel says it."""
        names = self._name_bytes[: count * _NAME].tobytes()
        first = names[:_NAME]
        if names == first * count:
            return [first] * count
        # Behind an IPv4 name stands what a longer one has left there.
        for at in range(0, len(names), _NAME):
            if names[at : at + _FAMILY.size] == _IPV4:
                self._name_bytes[at + _IPV4_NAME : at + _NAME] = _NOTHING
        names = self._name_bytes[: count * _NAME].tobytes()
        return [names[at : at + _NAME] for at in range(0, len(names), _NAME)]


@lru_cache(maxsize=1024)
def _address(name: bytes) -> Address:
    """Read a ``sockaddr_in`` or ``sockaddr_in6``, as ``recvfrom`` does."""
    family = int.from_bytes(name[:2], sys.byteorder)
    port = int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, name[4:8]), port
    host = socket.inet_ntop(socket.AF_INET6, name[8:24])
    scope = int.from_bytes(name[24:28], sys.byteorder)
    if scope:
        try:
            host += "%" + socket.if_indextoname(scope)
        except OSError:
            host += f"%{scope}"
    return host, port


class BatchInlet:
    """See the module.

    :param sock: the socket.
    :param receive: ``recvmmsg``.
    :param arena: where to; one of its own is made if somebody reads from it.
    :ivar alone: only one datagram came the last time.
    """

    def __init__(self, sock: socket.socket, receive: Receive, arena: Arena) -> None:
        self.dropped = 0
        self._socket = sock
        self._receive = receive
        self._arena = arena
        self._slots = MERGED
        self.alone = False

    def arrivals(self) -> Iterator[Arrival]:
        """See :class:`~wavesync.udt.inlets.Inlet`; what :data:`MAX_CALLS` calls bring."""
        arena = self._arena if not self._arena.busy else Arena()
        arena.busy = True
        try:
            for _call in range(MAX_CALLS):
                slots = self._slots
                arena.prepare(slots)
                count = self._receive(
                    self._socket.fileno(), arena.messages, slots, socket.MSG_DONTWAIT, None
                )
                if count > 0:
                    yield from self._bursts(arena, count)
                    if count < slots:
                        return
                elif ctypes.get_errno() not in _AGAIN:
                    return
        finally:
            arena.busy = False

    def _bursts(self, arena: Arena, count: int) -> Iterator[Arrival]:
        """Give what one call has brought: bursts as they are, others put together."""
        sizes = arena.sizes(count)
        segments = arena.segments(count)
        self._slots = MERGED if segments else SLOTS
        self.alone = count == 1 and not segments
        names = arena.names(count)
        first = 0
        while first < count:
            size = last = sizes[first]
            stop = first + 1
            if segments and 0 < segments[first] < size:
                if segments[first] <= MAX_DATAGRAM:
                    yield arena.burst(first, size, segments[first], names[first])
                else:
                    self.dropped += -(-size // segments[first])
                first = stop
                continue
            if not 0 < size <= MAX_DATAGRAM:
                self.dropped += size > 0
                first = stop
                continue
            while stop < count and 0 < sizes[stop] <= last == size:
                if segments and segments[stop]:
                    break
                if names[stop] != names[first]:
                    break
                last = sizes[stop]
                stop += 1
            source = _address(names[first])
            yield Arrival(arena.joined(first, stop, size, last), size, source)
            first = stop


class _Shared:
    """What all inlets of the process share, made when it is first wanted."""

    arena: Arena | None = None


def batch_inlet(sock: socket.socket) -> BatchInlet | None:
    """Make an inlet, and let the kernel merge datagrams for it if it can.

    :return: ``None`` where there is no ``recvmmsg``.
    """
    if libc is None:
        return None
    receive: Receive = libc.recvmmsg
    with suppress(OSError):  # an old kernel: they come unmerged
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    if _Shared.arena is None:
        bytearray(_ONCE_LARGE)
        _Shared.arena = Arena()
    return BatchInlet(sock, receive, _Shared.arena)
