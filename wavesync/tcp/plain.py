"""A TCP connection that somebody made to us: Twisted's transport, smaller and with shorter ways.

It is what :class:`twisted.internet.tcp.Server` is to a protocol, but for TLS in place (``startTLS``); it
takes a third of the memory, sends at once what the kernel takes at once, and can give its socket away
(:meth:`PlainConnection.release`).
"""

import socket
import struct
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.watch import READS, WRITES, Watch, Watched

__all__ = ["BUFFER_SIZE", "RESET", "Name", "PlainConnection", "address_of"]

BUFFER_SIZE = 65_536
"""Bytes read at a time, and waiting to be written before a producer is paused, unless said otherwise."""

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes closing a reset: lingering on, for no time."""

Name: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What the kernel calls an end of a connection, IPv4 or IPv6."""

_LITTLE = 2048  # bytes of a write that is put with others


def _rest(data: bytes | memoryview, sent: int) -> bytes | memoryview:
    """Cut off what has been sent; a copy of what is long would take longer each time."""
    left = memoryview(data)[sent:]
    return left if len(left) > BUFFER_SIZE else bytes(left)


def address_of(name: Name) -> IPv4Address | IPv6Address:
    """:return: the same as Twisted has it."""
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class PlainConnection:
    """See the module.

    :param watch: tells when there is something to do.
    :param made: the connected socket, which does not block; it is ours from now on.
    :param peer: the other end.
    :ivar name: the other end, as the kernel calls it.
    :ivar protocol: who gets what comes; set by whoever makes the connection.
    :ivar bufferSize: bytes to read at a time, and that may wait before a producer is paused.
    """

    __slots__ = (
        "_aborting",
        "_events",
        "_halved",
        "_halving",
        "_paused",
        "_pushes",
        "_queue",
        "_waiting",
        "_watch",
        "bufferSize",
        "connected",
        "disconnected",
        "disconnecting",
        "name",
        "producer",
        "protocol",
        "socket",
    )

    TLS = False

    def __init__(self, watch: Watch, made: socket.socket, peer: Name) -> None:
        self.protocol: IProtocol | None = None
        self.producer: IProducer | None = None
        self.socket = made
        self.bufferSize = BUFFER_SIZE
        self.connected = True
        self.disconnected = self.disconnecting = False
        self._watch = watch
        self.name = peer
        self._events = 0
        self._queue: deque[bytes | memoryview] | None = None  # what was written and not yet sent
        self._waiting = 0  # its bytes
        self._pushes = self._paused = False  # the producer
        self._halving = self._halved = self._aborting = False

    def begin(self, protocol: IProtocol) -> None:
        """Introduce a protocol, and read."""
        self.protocol = protocol
        self._want(READS)
        protocol.makeConnection(self)

    # What the watch tells.

    def ready(self, events: int) -> None:
        """There is something to read, or to be written, or wrong (Watched)."""
        wanted = self._events
        if wanted & READS and events & ~WRITES:
            self._read()
        if self._events & wanted & WRITES and events & ~READS:
            self._send()

    def fail(self, failure: Failure) -> None:
        """The protocol has failed at something (Watched)."""
        self.connectionLost(failure)

    def _read(self) -> None:
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return
        except OSError as error:
            self.connectionLost(Failure(ConnectionLost(error.strerror)))
            return
        if data:
            assert self.protocol is not None
            self.protocol.dataReceived(data)
        else:
            self._ended()

    def _ended(self) -> None:
        """The other end has said all."""
        self.pauseProducing()
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is None:
            self.connectionLost(connectionDone)
        else:
            half_closeable.readConnectionLost()

    def _send(self) -> None:
        """The kernel takes bytes again."""
        queue = self._queue
        while queue:
            data = queue[0]
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self.connectionLost(Failure(ConnectionLost(error.strerror)))
                return
            self._waiting -= sent
            if sent < len(data):
                queue[0] = _rest(data, sent)
                return
            queue.popleft()
        self._queue = None
        self._want(self._events & ~WRITES)
        if self.producer is not None and (self._paused or not self._pushes):
            self._paused = False
            self.producer.resumeProducing()  # type: ignore[attr-defined]
        elif self.disconnecting:
            self.connectionLost(connectionDone)
        elif self._halving:
            self._halve()

    def _want(self, events: int) -> None:
        if events != self._events:
            before, self._events = self._events, events
            self._watch.change(self.socket.fileno(), self, before, events)

    # ITransport and IConsumer.

    def write(self, data: bytes) -> None:
        """Send, as far as possible at once (ITransport)."""
        if not self.connected or self._halving or not data:
            return
        if self._queue is not None:
            last = self._queue[-1] if self._queue else b""
            if isinstance(last, bytes) and 0 < len(last) < _LITTLE > len(data):
                self._queue[-1] = last + data  # many of a few bytes would take a lot of memory
            else:
                self._queue.append(data)
            self._waiting += len(data)
        else:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # what is wrong, if anything is, shows when it is tried again
            if sent == len(data):
                return
            self._queue = deque((_rest(data, sent),))
            self._waiting = len(data) - sent
            self._want(self._events | WRITES)
        if self.producer is not None and self._pushes and self._waiting > self.bufferSize:
            self._paused = True
            self.producer.pauseProducing()  # type: ignore[attr-defined]

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several (ITransport)."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once all is written (ITransport)."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            # It closes in a turn of its own: whoever asked for it may have something to do yet.
            self._want(WRITES)

    def loseWriteConnection(self) -> None:
        """Say that nothing more comes, once all is written (IHalfCloseable)."""
        if self.connected and not self._halving:
            self._halving = True
            self._want(self._events | WRITES)

    def _halve(self) -> None:
        if self._halved:
            return
        self._halved = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.connectionLost(Failure(ConnectionLost(error.strerror)))
            return
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            half_closeable.writeConnectionLost()

    def abortConnection(self) -> None:
        """Reset the connection (ITCPTransport)."""
        if self.connected and not self._aborting:
            self._aborting = self.disconnecting = True
            self._queue = None
            self._want(0)
            self._watch.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close, and tell whoever is concerned; Twisted's transports call it by this name."""
        if not self.connected:
            return
        self.release()
        if self._aborting:
            with suppress(OSError):  # it is gone already
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()
        producer, self.producer = self.producer, None
        protocol, self.protocol = self.protocol, None
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(reason)

    def release(self, successor: Watched | None = None) -> int:
        """Give :attr:`socket` away: whoever takes it reads, writes and closes it from now on.

        The protocol and the producer hear nothing any more.  What was written and has not left is to
        be taken before, from :attr:`unsent`.

        :param successor: told of the socket's events instead.
        :return: of which: 0 for none.
        """
        events, self._events = self._events, 0
        if events and successor is None:
            self._watch.forget(self.socket.fileno())
        elif events and successor is not None:
            self._watch.replace(self.socket.fileno(), successor)
        self.connected = False
        self.disconnected = True
        self._queue = None
        return events

    @property
    def unsent(self) -> bytes:
        """What was written and has not left."""
        return b"".join(self._queue or ())

    # IConsumer.

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Have a producer follow what the kernel takes (IConsumer)."""
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self._pushes, self._paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()  # type: ignore[attr-defined]

    def unregisterProducer(self) -> None:
        """Forget it (IConsumer)."""
        self.producer = None
        if self.connected and (self.disconnecting or self._halving > self._halved):
            self._want(self._events | WRITES)

    # IPushProducer.

    def pauseProducing(self) -> None:
        """Read nothing for now (IPushProducer)."""
        if self.connected:
            self._want(self._events & ~READS)

    def resumeProducing(self) -> None:
        """Read on (IPushProducer)."""
        if self.connected and not self.disconnecting:
            self._want(self._events | READS)

    def stopProducing(self) -> None:
        """Close (IPushProducer)."""
        self.loseConnection()

    # What the connection is.

    def getHandle(self) -> socket.socket:
        """:return: the socket (ISystemHandle)."""
        return self.socket

    def getHost(self) -> IPv4Address | IPv6Address:
        """:return: our end (ITransport)."""
        return address_of(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """:return: the other end (ITransport)."""
        return address_of(self.name)

    def getTcpNoDelay(self) -> bool:
        """:return: whether small writes leave at once (ITCPTransport)."""
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Have small writes leave at once (ITCPTransport)."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """:return: whether the kernel probes the other end (ITCPTransport)."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the kernel probe the other end (ITCPTransport)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
