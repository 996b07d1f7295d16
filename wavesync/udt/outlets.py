"""How bursts leave a UDP socket: whole, cut up by the kernel (``UDP_SEGMENT``), or one by one.

The cost of sending is that of the call and of the way through the kernel, whatever is sent: a burst
of 44 datagrams that leaves whole costs little more than one datagram.  Where the kernel refuses it,
the burst goes the next best way at once, so nothing of it is lost.
"""

import errno
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct
from typing import Protocol, TypeAlias

from twisted.logger import Logger

from wavesync.interfaces import Address, Burst, Oversized
from wavesync.udt.packet import MAX_BURST_BYTES, MAX_BURST_PACKETS
from wavesync.udt.sockets import fragmenting

__all__ = [
    "MAX_PATHS",
    "PATIENCE",
    "Outlet",
    "PlainOutlet",
    "SegmentingOutlet",
    "TooLarge",
    "can_segment",
]

MAX_PATHS = 256
"""Destinations remembered to which the kernel cuts up no bursts; the oldest is tried again first."""

PATIENCE = 10_000
"""Bursts that go one datagram at a time before it is tried again: the path may be another now."""

_SOL_UDP = 17
_UDP_SEGMENT = 103
_SIZE = Struct("=H")

_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
_AGAIN = (errno.ECONNREFUSED, errno.EINTR)
_UNABLE = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)
"""The kernel cannot do it at all ..."""
_NOT_HERE = (errno.EIO, errno.EINVAL, errno.EMSGSIZE)
"""... or not on this way: no checksums by the device, packets too large for it, too many of them."""

_ATTEMPTS = 3


TooLarge: TypeAlias = Callable[[bytes, Address], bool]


class Outlet(Protocol):
    """A way out."""

    @property
    def dropped(self) -> int:
        """Datagrams that could not be sent."""

    def send(self, burst: Burst, destination: Address, done: int = 0) -> int:
        """Send what the kernel takes now; what cannot be sent at all is dropped and counted.

        :param burst: one or more datagrams.
        :param destination: a numeric address of the socket's family.
        :param done: bytes of the burst that are dealt with already.
        :returns: bytes that are dealt with; less than all when the kernel takes no more now.
        """


class PlainOutlet:
    """One datagram at a time.

    :param sock: the socket.
    :param too_large: given a datagram too large for the way, and its destination; tells whether it is to be
        sent all the same, in fragments.
    :ivar oversized: datagrams that were too large.
    """

    def __init__(self, sock: socket.socket, too_large: TooLarge = lambda *what: False) -> None:
        self.dropped = 0
        self.oversized = 0
        self._socket = sock
        self._too_large = too_large

    def send(self, burst: Burst, destination: Address, done: int = 0) -> int:
        """See :class:`Outlet`."""
        data, size = burst
        sent = self._sent_in_fragments if type(burst) is Oversized else self._sent
        if not done and len(data) <= size:
            return len(data) if sent(data, destination) else 0
        for start in range(done, len(data), size):
            if not sent(data[start : start + size], destination):
                return start
        return len(data)

    def _sent(self, datagram: bytes, destination: Address) -> bool:
        """:return: whether the datagram is dealt with; if not, the kernel takes none now."""
        for _attempt in range(_ATTEMPTS):
            try:
                self._socket.sendto(datagram, destination)
            except OSError as problem:
                if problem.errno in _WOULD_BLOCK:
                    return False
                if problem.errno in _AGAIN:
                    # An ICMP error of an earlier datagram; this one was not sent.
                    continue
                if problem.errno == errno.EMSGSIZE:
                    self.oversized += 1
                    if self._too_large(datagram, destination):
                        return self._sent_in_fragments(datagram, destination)
                # Too long for the path, no route, a closed socket: as good as lost on the way.
                break
            return True
        self.dropped += 1
        return True

    def _sent_in_fragments(self, datagram: bytes, destination: Address) -> bool:
        """The same, by way of IP's fragments."""
        try:
            with fragmenting(self._socket):
                self._socket.sendto(datagram, destination)
        except OSError as problem:
            if problem.errno in _WOULD_BLOCK:
                return False
            self.dropped += 1
        return True


class SegmentingOutlet:
    """Whole bursts, which the kernel cuts up; one datagram at a time where it cannot.

    :param sock: the socket; :func:`can_segment` was true of it.
    :param plain: the other way.
    """

    log = Logger()

    def __init__(self, sock: socket.socket, plain: PlainOutlet) -> None:
        self._socket = sock
        self._plain = plain
        self._dropped = 0
        self._unable = False
        self._told = False
        self._paths: OrderedDict[str, int] = OrderedDict()  # host -> bursts until the next try
        # What is the same for all bursts of one packet size: the most that one call takes, what it is told.
        self._size = 0
        self._most = 0
        self._control: tuple[tuple[int, int, bytes], ...] = ()

    @property
    def dropped(self) -> int:
        """Datagrams that could not be sent."""
        return self._dropped + self._plain.dropped

    def send(self, burst: Burst, destination: Address, done: int = 0) -> int:
        """See :class:`Outlet`."""
        data, size = burst
        if len(data) <= size and not done and type(burst) is Burst:
            try:
                return self._socket.sendto(data, destination)
            except OSError:
                return self._plain.send(burst, destination)  # which knows what to make of it
        if len(data) - done <= size or self._unable or type(burst) is Oversized:
            return self._plain.send(burst, destination, done)
        if self._paths and not self._may(destination[0]):
            return self._plain.send(burst, destination, done)
        if size != self._size:
            self._size = size
            self._most = max(1, min(MAX_BURST_PACKETS, MAX_BURST_BYTES // size)) * size
            self._control = ((_SOL_UDP, _UDP_SEGMENT, _SIZE.pack(size)),)
        most = self._most
        if not done and len(data) <= most:
            try:
                return self._socket.sendmsg((data,), self._control, 0, destination)
            except OSError as problem:
                return self._refused(data, size, destination, problem)
        while done < len(data):
            part = data[done : done + most]
            try:
                taken = self._socket.sendmsg((part,), self._control, 0, destination)
            except OSError as problem:
                taken = self._refused(part, size, destination, problem)
            done += taken
            if taken < len(part):
                break
        return done

    def _refused(self, data: bytes, size: int, destination: Address, problem: OSError) -> int:
        """Do what can be done about a burst that the kernel has refused to take whole."""
        for attempt in range(1, _ATTEMPTS + 1):
            number = problem.errno
            if number in _UNABLE or number in _NOT_HERE:
                oversized = self._plain.oversized
                done = self._plain.send(Burst(data, size), destination)
                if self._plain.oversized == oversized:  # it was not the datagrams' size
                    self._give_up(destination[0], problem)
                return done
            if number not in _AGAIN or attempt == _ATTEMPTS:
                break
            try:
                return self._socket.sendmsg((data,), self._control, 0, destination)
            except OSError as another:
                problem = another
        if problem.errno in _WOULD_BLOCK:
            return 0
        self._dropped += -(-len(data) // size)
        return len(data)

    def _may(self, host: str) -> bool:
        """Tell whether to try it with this destination (again)."""
        left = self._paths.get(host)
        if left is None:
            return True
        if left <= 0:
            del self._paths[host]
            return True
        self._paths[host] = left - 1
        return False

    def _give_up(self, host: str, problem: OSError) -> None:
        """Send one by one from now on: everywhere, or to this destination."""
        if problem.errno in _UNABLE:
            self._unable = True
        else:
            self._paths[host] = PATIENCE
            if len(self._paths) > MAX_PATHS:
                self._paths.popitem(last=False)
        if not self._told:
            self._told = True
            self.log.info(
                "UDP bursts cannot be sent whole to {host} ({problem}); they are sent one "
                "datagram at a time, which costs more CPU. Nothing is lost.",
                host=host,
                problem=problem.strerror,
            )


def can_segment(sock: socket.socket) -> bool:
    """:return: whether the kernel knows ``UDP_SEGMENT``."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)
    except OSError:
        return False
    return True
