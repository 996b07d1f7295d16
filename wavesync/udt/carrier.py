"""What carries datagrams for a :class:`wavesync.udt.port.Port`: a UDP socket on the reactor.

The unit is the burst (:class:`wavesync.interfaces.Burst`).  This portable carrier cuts bursts into
datagrams to send them, and puts datagrams of one source and size together when they arrive in one
turn of the reactor, so that what is above works on bursts whatever the carrier.
"""

import errno
import ipaddress
import socket
import sys
from collections import deque
from typing import NamedTuple, Protocol

from twisted.internet import error
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from wavesync.interfaces import Address, Burst

__all__ = [
    "BUFFER_SIZE",
    "MAX_DATAGRAM",
    "MAX_QUEUED",
    "MAX_TURN",
    "Arrival",
    "BurstAssembler",
    "ICarrier",
    "Receiver",
    "SocketCarrier",
    "numeric",
    "slices",
]

MAX_TURN = 64
"""Datagrams taken from the socket in one turn, so that timers and others get theirs."""
MAX_DATAGRAM = 2048
"""Bytes of the longest datagram that is taken; longer ones are dropped and counted."""
MAX_QUEUED = 1024
"""Datagrams kept while the kernel takes none; more are dropped and counted."""
BUFFER_SIZE = 4 * 1024 * 1024
"""Bytes asked for each of the socket's two kernel buffers."""


class Arrival(NamedTuple):
    """Datagrams from one source, back to back; all of *segment_size* bytes, the last maybe shorter."""

    data: bytes
    segment_size: int
    source: Address


class Receiver(Protocol):
    """What a carrier hands its datagrams to."""

    def bursts_received(self, arrivals: list[Arrival]) -> None:
        """Take all that came in one turn."""

    def carrier_ready(self) -> None:
        """A carrier that was congested takes bursts again."""


class ICarrier(Interface):
    """Something that carries datagrams of one address family."""

    address = Attribute("The local :class:`Address`.")
    congested = Attribute("Whether bursts had better wait for ``carrier_ready``.")

    def start(receiver: Receiver) -> None:
        """Begin to receive.

        :param receiver: gets the datagrams, in batches.
        """

    def send(burst: Burst, destination: Address) -> None:
        """Send, or drop and count; never raises for what the network does.

        :param burst: one or more datagrams.
        :param destination: a numeric address of this carrier's family.
        """

    def stop() -> None:
        """Stop receiving and give the address back.  Idempotent."""


def numeric(address: Address) -> Address:
    """:return: the address with its host in the one form that carriers report.

    :raises ValueError: the host is not numeric.
    """
    return ipaddress.ip_address(address[0]).compressed, address[1]


def slices(burst: Burst) -> list[bytes]:
    """:return: the burst's datagrams."""
    data, size = burst
    if len(data) <= size:
        return [data]
    return [data[i : i + size] for i in range(0, len(data), size)]


class BurstAssembler:
    """Puts datagrams that came one after the other into bursts."""

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._pieces: list[bytes] = []
        self._source: Address = ("", 0)
        self._size = 0

    def add(self, data: bytes, source: Address) -> None:
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
        if self._pieces:
            self._arrivals.append(Arrival(b"".join(self._pieces), self._size, self._source))
            self._pieces = []


# Linux's names, which the socket module lacks: never fragment, and let us find the size (ip(7)).
_SIZE_OPTIONS = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),  # IPV6_MTU_DISCOVER
}
_PROBE = 3  # IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE

_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
_AGAIN = (errno.ECONNREFUSED, errno.EINTR)


@implementer(ICarrier, IReadDescriptor, IWriteDescriptor)
class SocketCarrier:
    """A non-blocking UDP socket of its own.

    :param reactor: watches the socket.
    :param interface: numeric local address; ``""`` and ``"0.0.0.0"`` mean every IPv4 one,
        ``"::"`` every IPv6 one (IPv6 only).
    :param port: local port, 0 for any.
    :raises twisted.internet.error.CannotListenError: the address cannot be had.
    :ivar dropped: datagrams that were not sent, or not taken, since the start.
    """

    log = Logger()
    _told_clamped = False

    def __init__(self, reactor: IReactorFDSet, port: int = 0, interface: str = "") -> None:
        self._reactor = reactor
        self.dropped = 0
        self.congested = False
        self._receiver: Receiver | None = None
        self._queue: deque[tuple[bytes, Address]] = deque()
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if sys.platform == "linux":
                self._socket.setsockopt(*_SIZE_OPTIONS[family], _PROBE)
            self._socket.bind((interface, port))
        except OSError as problem:
            self._socket.close()
            raise error.CannotListenError(interface, port, problem) from None
        self._size_buffers()
        self.address: Address = self._socket.getsockname()[:2]

    def _size_buffers(self) -> None:
        for option, name in (
            (socket.SO_RCVBUF, "net.core.rmem_max"),
            (socket.SO_SNDBUF, "net.core.wmem_max"),
        ):
            self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
            # Linux reports twice what it gives.
            given = self._socket.getsockopt(socket.SOL_SOCKET, option) // 2
            if given < BUFFER_SIZE and not SocketCarrier._told_clamped:
                SocketCarrier._told_clamped = True
                self.log.info(
                    "UDP socket buffers are limited to {given} bytes; {wanted} need {name} raised.",
                    given=given,
                    wanted=BUFFER_SIZE,
                    name=name,
                )

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        self._receiver = receiver
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Close the socket; what waits to be sent is dropped."""
        if self._socket.fileno() == -1:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._queue.clear()
        self._receiver = None
        self._socket.close()

    def send(self, burst: Burst, destination: Address) -> None:
        """Send each datagram of the burst, or queue it while the kernel takes none."""
        for piece in slices(burst):
            if self._queue or not self._sent(piece, destination):
                self._enqueue(piece, destination)

    def _sent(self, datagram: bytes, destination: Address) -> bool:
        """:return: whether the datagram is dealt with; if not, the kernel takes none now."""
        for _attempt in range(3):
            try:
                self._socket.sendto(datagram, destination)
            except OSError as problem:
                if problem.errno in _WOULD_BLOCK:
                    return False
                if problem.errno in _AGAIN:
                    # An ICMP error of an earlier datagram; this one was not sent.
                    continue
                # Too long for the path, no route, a closed socket: as good as lost on the way.
                break
            return True
        self.dropped += 1
        return True

    def _enqueue(self, datagram: bytes, destination: Address) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            return
        if not self._queue:
            self.congested = True
            self._reactor.addWriter(self)
        self._queue.append((datagram, destination))

    def doRead(self) -> None:
        """Take what has arrived, at most :data:`MAX_TURN` datagrams."""
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
        arrivals = assembler.take()
        if arrivals and self._receiver is not None:
            self._receiver.bursts_received(arrivals)

    def doWrite(self) -> None:
        """Send what waits."""
        while self._queue:
            if not self._sent(*self._queue[0]):
                return
            self._queue.popleft()
        self.congested = False
        self._reactor.removeWriter(self)
        if self._receiver is not None:
            self._receiver.carrier_ready()

    def fileno(self) -> int:
        """:return: the socket's descriptor, -1 once closed."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives the descriptor up."""
        self.stop()

    def logPrefix(self) -> str:
        """:return: how log lines of this reader begin."""
        return "UDT"
