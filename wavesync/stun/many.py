"""Many datagrams by one system call: recvmmsg(2) and sendmmsg(2), which Python does not have.

Most of what a small datagram costs is the way into the kernel and what Python makes of each one; a
batch of plain Binding requests is answered here in a dozen steps for all of them together, each in
the place where it was received.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final

from wavesync.interfaces import Address
from wavesync.mmsg import Message, Piece, libc
from wavesync.stun.quick import ANSWER_HEAD, ATTRIBUTE_HEAD, PLAIN_HEAD, PLAIN_SIZE

__all__ = ["BATCH", "SLOT", "Batch", "batches_work"]

BATCH: Final = 64
"""Datagrams of one call."""

SLOT: Final = 2048
"""Bytes kept of each: more than anybody looks at, so that it shows what is too long."""

_NAME = 32  # bytes for a sockaddr_in (16) or a sockaddr_in6 (28)
_NAME_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28}
_ANSWER_SIZE = len(ANSWER_HEAD) + 12 + len(ATTRIBUTE_HEAD) + 8
_WORDS, _HALVES = SLOT // 8, SLOT // 4
_HOSTS = [struct.Struct("4x4s24x" * count) for count in range(BATCH + 1)]
_COOKIE = PLAIN_HEAD[4:]
# What turns the head of a sockaddr_in into XOR-MAPPED-ADDRESS: its family's number into 0 and 1,
# port and address by the magic cookie.
_FAMILY = struct.pack("=H", socket.AF_INET)
_XOR = bytes((_FAMILY[0], _FAMILY[1] ^ 1)) + _COOKIE[:2] + _COOKIE
_MASKS = [int.from_bytes(_XOR * count, "little") for count in range(BATCH + 1)]
_PLAIN_HEADS = PLAIN_HEAD * BATCH
_PLAIN_SIZES = struct.pack("=I", PLAIN_SIZE) * BATCH
_ANSWER_HEADS = memoryview(ANSWER_HEAD * BATCH).cast("Q")
_ATTRIBUTE_HEADS = memoryview(ATTRIBUTE_HEAD * BATCH).cast("I")


_MESSAGE = ctypes.sizeof(Message)
_SIZE_AT = Message.size.offset // 4
_SIZE_STEP = _MESSAGE // 4


def batches_work() -> bool:
    """Tell whether this platform has such calls."""
    return libc is not None


class Batch:
    """Room for :data:`BATCH` datagrams of one socket, received together.

    :param udp: the socket; it must not block, and be bound to IPv4 or IPv6.
    """

    __slots__ = (
        "_answers",
        "_data",
        "_descriptor",
        "_halves",
        "_in",
        "_ipv4",
        "_kept",
        "_name_words",
        "_names",
        "_out",
        "_sizes",
        "_words",
    )

    def __init__(self, udp: socket.socket) -> None:
        self._descriptor = udp.fileno()
        self._ipv4 = udp.family == socket.AF_INET
        data, names = bytearray(BATCH * SLOT), bytearray(BATCH * _NAME)
        first = ctypes.addressof(ctypes.c_char.from_buffer(data))
        first_name = ctypes.addressof(ctypes.c_char.from_buffer(names))
        received, answers = (Message * BATCH)(), (Message * BATCH)()
        pieces = (Piece * (2 * BATCH))()
        for i in range(BATCH):
            for at, message, size in (
                (i, received[i], SLOT),
                (BATCH + i, answers[i], _ANSWER_SIZE),
            ):
                pieces[at] = Piece(first + i * SLOT, size)
                message.header.name = first_name + i * _NAME
                message.header.name_size = _NAME_SIZES[socket.AddressFamily(udp.family)]
                message.header.pieces = ctypes.addressof(pieces) + at * ctypes.sizeof(Piece)
                message.header.piece_count = 1
        self._data = memoryview(data)
        self._words = self._data.cast("Q")
        self._halves = self._data.cast("I")
        self._names = memoryview(names)
        self._name_words = self._names.cast("Q")
        self._sizes = memoryview(received).cast("B").cast("I")
        self._in = ctypes.addressof(received)
        self._out = ctypes.addressof(answers)
        # The kernel gets addresses only: what is there must stay.
        self._kept = (data, names, received, answers, pieces)

    def receive(self) -> int:
        """Take what has come.

        :returns: how many datagrams; 0 when there are none.
        :raises OSError: the kernel does not do it.
        """
        assert libc is not None
        count: int = libc.recvmmsg(self._descriptor, self._in, BATCH, socket.MSG_DONTWAIT, None)
        if count >= 0:
            return count
        problem = ctypes.get_errno()
        if problem in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
            return 0
        raise OSError(problem, os.strerror(problem))

    def datagram(self, index: int) -> bytes:
        """:return: one of those received."""
        size = min(self._sizes[_SIZE_AT + index * _SIZE_STEP], SLOT)
        return bytes(self._data[index * SLOT : index * SLOT + size])

    def source(self, index: int) -> tuple[Address, int]:
        """:return: where that one came from, and for IPv6 the scope of that."""
        name = self._names[index * _NAME : (index + 1) * _NAME]
        port = int.from_bytes(name[2:4], "big")
        if self._ipv4:
            return (socket.inet_ntop(socket.AF_INET, name[4:8]), port), 0
        scope = int.from_bytes(name[24:28], sys.byteorder)
        return (socket.inet_ntop(socket.AF_INET6, name[8:24]), port), scope

    def plain(self, count: int) -> bool:
        """Tell whether all of the first *count* are Binding requests without attributes, over IPv4."""
        return (
            self._ipv4
            and self._words[0 : count * _WORDS : _WORDS].tobytes() == _PLAIN_HEADS[: count * 8]
            and self._sizes[_SIZE_AT : count * _SIZE_STEP : _SIZE_STEP].tobytes()
            == _PLAIN_SIZES[: count * 4]
        )

    def hosts(self, count: int) -> tuple[bytes, ...]:
        """:return: the IPv4 addresses of the first *count*, four bytes each."""
        return _HOSTS[count].unpack_from(self._names)

    def answer(self, count: int) -> int:
        """Answer the first *count*, which are :meth:`plain`, in place.

        :returns: how many answers the host could not send.
        """
        names = int.from_bytes(self._name_words[0 : count * 4 : 4].tobytes(), "little")
        values = memoryview((names ^ _MASKS[count]).to_bytes(count * 8, "little")).cast("Q")
        end = count * _WORDS
        self._words[0:end:_WORDS] = _ANSWER_HEADS[:count]
        self._words[3:end:_WORDS] = values
        self._halves[5 : count * _HALVES : _HALVES] = _ATTRIBUTE_HEADS[:count]
        return self._send(count)

    def _send(self, count: int) -> int:
        assert libc is not None
        done = lost = 0
        while done < count:
            sent: int = libc.sendmmsg(
                self._descriptor, self._out + done * _MESSAGE, count - done, socket.MSG_DONTWAIT
            )
            if sent > 0:
                done += sent
            elif ctypes.get_errno() in (errno.EAGAIN, errno.EWOULDBLOCK):
                return lost + count - done
            elif ctypes.get_errno() != errno.EINTR:
                done, lost = done + 1, lost + 1  # the first of those cannot be sent, others may
        return lost
