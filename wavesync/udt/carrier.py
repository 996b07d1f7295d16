"""What carries datagrams for a :class:`wavesync.udt.port.Port`: a UDP socket on the reactor.

The unit is the burst (:class:`wavesync.interfaces.Burst`).  On Linux bursts pass through the kernel
whole (:mod:`wavesync.udt.outlets`, :mod:`wavesync.udt.batches`).  Elsewhere they are cut into
datagrams to send them, and datagrams of one source and size are put together when they arrive in one
turn of the reactor, so that what is above works on bursts whatever the carrier.
"""

import errno
import ipaddress
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet import error
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from wavesync.interfaces import Address, Burst
from wavesync.udt.inlets import MAX_DATAGRAM, MAX_TURN, Arrival, BurstAssembler, Inlet, PlainInlet
from wavesync.udt.outlets import (
    Outlet,
    PlainOutlet,
    SegmentingOutlet,
    TooLarge,
    can_segment,
)
from wavesync.udt.sockets import BUFFER_SIZE, open_socket, room
from wavesync.udt.sparse import sparse_inlet
from wavesync.watch import READS, WRITES, leading

__all__ = [
    "AUTO",
    "BUFFER_SIZE",
    "GSO",
    "MAX_DATAGRAM",
    "MAX_QUEUED",
    "MAX_TURN",
    "MODES",
    "PLAIN",
    "Arrival",
    "BurstAssembler",
    "ICarrier",
    "Receiver",
    "SocketCarrier",
    "numeric",
    "slices",
    "ways",
]

AUTO = "auto"
"""Send and receive whole bursts where the system can, single datagrams where it cannot."""
GSO = "gso"
"""The same, but refuse to start where the system cannot at all."""
PLAIN = "plain"
"""Single datagrams."""
MODES = (AUTO, GSO, PLAIN)
"""How datagrams pass between a carrier and the kernel."""

MAX_QUEUED = 1024
"""Datagrams kept while the kernel takes none; more are dropped and counted."""


class Receiver(Protocol):
    """What a carrier hands its datagrams to."""

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Take all that came in one turn, one after the other."""

    def carrier_ready(self) -> None:
        """A carrier that was congested takes bursts again."""

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """A datagram is too large for the way, as far as this host knows it.

        :return: whether it must be sent all the same, in fragments.
        """


class ICarrier(Interface):
    """Something that carries datagrams of one address family."""

    address = Attribute("The local :class:`Address`.")
    room = Attribute("Full packets that the system keeps for us until we read them.")
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


def ways(
    sock: socket.socket,
    mode: str,
    probe: Callable[[socket.socket], bool] = can_segment,
    too_large: TooLarge = lambda *what: False,
) -> tuple[Outlet, Inlet]:
    """Choose how datagrams pass between a socket and its carrier.

    :param mode: one of :data:`MODES`.
    :param probe: tells whether the kernel cuts up bursts.
    :param too_large: see :class:`~wavesync.udt.outlets.PlainOutlet`.
    :raises OSError: *mode* is :data:`GSO` and it does not.
    :raises ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"{mode!r} is no way to carry UDP: auto, gso or plain")
    plain = PlainOutlet(sock, too_large)
    outlet: Outlet = plain
    if mode == PLAIN:
        return outlet, PlainInlet(sock)
    if probe(sock):
        outlet = SegmentingOutlet(sock, plain)
    elif mode == GSO:
        raise OSError(errno.ENOPROTOOPT, "this system cannot send UDP in bursts (udp = gso)")
    return outlet, sparse_inlet(sock) or PlainInlet(sock)


@implementer(ICarrier, IReadDescriptor, IWriteDescriptor)
class SocketCarrier:
    """A non-blocking UDP socket of its own.

    :param reactor: watches the socket, or the :class:`~wavesync.watch.Watch` in which it waits.
    :param interface: numeric local address; ``""`` and ``"0.0.0.0"`` mean every IPv4 one,
        ``"::"`` every IPv6 one (IPv6 only).
    :param port: local port, 0 for any.
    :param mode: one of :data:`MODES`.
    :raises twisted.internet.error.CannotListenError: the address cannot be had, or the mode.
    """

    fileno: Callable[[], int]
    """Gives the socket's descriptor, -1 once closed."""

    def __init__(
        self, reactor: IReactorFDSet, port: int = 0, interface: str = "", mode: str = AUTO
    ) -> None:
        self._reactor = reactor
        self._watch = leading(reactor)
        self._wanted = 0
        self._dropped = 0
        self._receiver: Receiver | None = None
        self._queue: deque[tuple[Burst, Address, int]] = deque()  # and bytes that have left
        self._queued = 0  # datagrams, about
        self.congested = False
        self._socket = open_socket(port, interface)
        self.fileno = self._socket.fileno
        self.address: Address = self._socket.getsockname()[:2]
        self.room = room(self._socket)
        try:
            self._outlet, self._inlet = ways(self._socket, mode, too_large=self._too_large)
        except OSError as problem:
            self._socket.close()
            raise error.CannotListenError(interface, self.address[1], problem) from None

    @property
    def dropped(self) -> int:
        """Datagrams that were not sent, or not taken, since the start."""
        return self._dropped + self._outlet.dropped + self._inlet.dropped

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        self._receiver = receiver
        self._want(READS)

    def stop(self) -> None:
        """Close the socket; what waits to be sent is dropped."""
        if self._socket.fileno() == -1:
            return
        self._want(0)
        self._queue.clear()
        self._receiver = None
        self._socket.close()

    def send(self, burst: Burst, destination: Address) -> None:
        """Send the burst, or queue what the kernel does not take now."""
        done = 0 if self._queue else self._outlet.send(burst, destination)
        if done < len(burst.data):
            self._enqueue(burst, destination, done)

    def _too_large(self, datagram: bytes, destination: Address) -> bool:
        return self._receiver is not None and self._receiver.too_large(datagram, destination)

    def _enqueue(self, burst: Burst, destination: Address, done: int) -> None:
        data, size = burst
        waiting = -(-(len(data) - done) // size)
        room = MAX_QUEUED - self._queued
        if waiting > room:
            self._dropped += waiting - room
            if not room:
                return
            waiting, burst = room, type(burst)(data[: done + room * size], size)
        if not self._queue:
            self.congested = True
            self._want(READS | WRITES)
        self._queue.append((burst, destination, done))
        self._queued += waiting

    def _want(self, events: int) -> None:
        """Have the reactor, or who waits in its place, tell of these from now on."""
        before, self._wanted = self._wanted, events
        if self._watch is not None:
            if events != before:
                self._watch.change(self.fileno(), self, before, events)
            return
        for event, add, remove in (
            (READS, self._reactor.addReader, self._reactor.removeReader),
            (WRITES, self._reactor.addWriter, self._reactor.removeWriter),
        ):
            if (events ^ before) & event:
                (add if events & event else remove)(self)

    def ready(self, events: int) -> None:
        """Read, and write what waits (:class:`wavesync.watch.Watched`)."""
        if events & ~WRITES:
            self.doRead()
        if events & self._wanted & WRITES:
            self.doWrite()

    def fail(self, failure: Failure) -> None:
        """What had to be done could not be: give the descriptor up."""
        self.connectionLost(failure)

    def doRead(self) -> None:
        """Take what has arrived, as much as one turn may bring."""
        if self._receiver is not None:
            self._receiver.bursts_received(self._inlet.arrivals())

    def doWrite(self) -> None:
        """Send what waits."""
        while self._queue:
            burst, destination, done = self._queue[0]
            now_done = self._outlet.send(burst, destination, done)
            self._queued -= -(-(now_done - done) // burst.segment_size)
            if now_done < len(burst.data):
                self._queue[0] = burst, destination, now_done
                return
            self._queue.popleft()
        self.congested = False
        self._want(READS)
        if self._receiver is not None:
            self._receiver.carrier_ready()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives the descriptor up."""
        self.stop()

    def logPrefix(self) -> str:
        """:return: how log lines of this reader begin."""
        return "UDT"
