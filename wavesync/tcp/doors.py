"""Listening where anybody may come, and thousands at a time.

Twisted's own listener builds all of a connection as soon as it is there, as many as come: in a flood the
kernel's queue runs over meanwhile, and whoever is turned away there tries again only after seconds.
Here connections are taken from the kernel at once, which costs little, wait for their turn, one of
each source after the other, and those that are too many are closed unseen.
"""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
    IReadDescriptor,
)
from twisted.internet.tcp import Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.stun.buckets import source_key
from wavesync.tcp.plain import RESET, Name, PlainConnection, address_of
from wavesync.tcp.queueing import Queue
from wavesync.watch import Watch

__all__ = ["MAX_ACCEPTS", "MAX_SERVED", "MAX_WAITING", "PAUSE", "TELL_EVERY", "Door"]

MAX_ACCEPTS = 1024
"""Connections taken from the kernel in one turn of the reactor: some 10 us each."""

MAX_SERVED = 32
"""Connections that get a protocol in one turn of the reactor: up to a millisecond each, with what
they say at once."""

MAX_WAITING = 1024
"""Connections that wait for theirs unless said otherwise: each is an open file."""

PAUSE = 0.1
"""Seconds without listening when the system has no room for another connection."""

TELL_EVERY = 60.0
"""Seconds between lines in the log about that."""

_Coming: TypeAlias = tuple[socket.socket, Name]
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@implementer(IReadDescriptor)
class Door:
    """Takes the connections of one listening socket.

    :param reactor: sockets and time.
    :param listening: a socket that listens and does not block; it is copied.
    :param factory: makes the protocols.
    :param refused: called for each connection that was one too many, with the host that it is from.
    :param waiting: connections that may wait for their protocols.
    :param watch: has connections be :class:`~wavesync.tcp.plain.PlainConnection`; Twisted's without.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        listening: socket.socket,
        factory: IProtocolFactory,
        refused: Callable[[str], None],
        waiting: int = MAX_WAITING,
        *,
        watch: Watch | None = None,
    ) -> None:
        self._reactor = reactor
        self._sockets = IReactorSocket(reactor)
        self._clock = IReactorTime(reactor)
        self._factory = factory
        self._refused = refused
        self._watch = watch
        self._nameless: bool = getattr(factory, "nameless", False)
        self._queue: Queue[_Coming] = Queue(waiting)
        self._turn: IDelayedCall | None = None
        self._pause: IDelayedCall | None = None
        self._tell_at = self._clock.seconds()
        self._socket: socket.socket | None = listening.dup()
        self._family = socket.AddressFamily(listening.family)
        self._reserve = listening.dup()
        factory.doStart()
        reactor.addReader(self)

    def stopListening(self) -> None:
        """Listen no more; who waits is sent away.  Idempotent."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        self._reactor.removeReader(self)
        listening.close()
        self._reserve.close()
        for call in (self._turn, self._pause):
            if call is not None:
                call.cancel()
        self._turn = self._pause = None
        while (coming := self._queue.take()) is not None:
            _reset(coming[0])
        self._factory.doStop()

    def fileno(self) -> int:
        """The socket's descriptor, -1 when there is none (IFileDescriptor)."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log (ILoggingContext)."""
        return "wavesync door"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor watches it no more (IFileDescriptor)."""
        self.stopListening()

    def doRead(self) -> None:
        """Somebody is there (IReadDescriptor)."""
        assert self._socket is not None
        for _ in range(MAX_ACCEPTS):
            try:
                made, address = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _FULL:
                    self._overfull(error)
                    break
                continue  # gone again, or forbidden by a filter
            too_many = self._queue.put(source_key(address[0]), (made, address))
            if too_many is not None:
                self._refuse(*too_many)
        if self._watch is not None and self._turn is None:
            self._serve()
        else:
            self._serve_later()

    def _refuse(self, made: socket.socket, name: Name) -> None:
        _reset(made)
        self._refused(name[0])

    def _serve_later(self) -> None:
        if self._socket is not None and len(self._queue) and self._turn is None:
            self._turn = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._turn = None
        try:
            for _ in range(MAX_SERVED):
                coming = self._queue.take()
                if coming is None:
                    break
                if self._watch is None:
                    self._adopt(coming[0])
                else:
                    self._begin(self._watch, *coming)
        finally:
            self._serve_later()

    def _begin(self, watch: Watch, made: socket.socket, name: Name) -> None:
        """Make a connection of ours of it."""
        made.setblocking(False)
        # Whoever does not ask is not told: it takes longer than the protocol.
        address = None if self._nameless else address_of(name)
        protocol = self._factory.buildProtocol(address)  # type: ignore[arg-type]
        if protocol is None:
            made.close()
        else:
            PlainConnection(watch, made, name).begin(protocol)

    def _adopt(self, made: socket.socket) -> None:
        """Make Twisted's connection of it."""
        made.setblocking(False)
        try:
            peer = made.getpeername()
        except OSError:
            made.close()  # gone again
            return
        if self._family == socket.AF_INET:
            self._connected(made, peer)
            return
        with made:  # scopes and the like are Twisted's to understand; it works on a copy
            try:
                self._sockets.adoptStreamConnection(
                    made.fileno(),
                    self._family,
                    self._factory,  # type: ignore[arg-type]
                )
            except OSError as error:
                if error.errno not in (*_FULL, errno.ENOTCONN):  # it may be gone by now, too
                    raise

    def _connected(self, made: socket.socket, peer: tuple[str, int]) -> None:
        """As the reactor adopts a connection, without a copy of the socket and questions to it."""
        protocol = self._factory.buildProtocol(IPv4Address("TCP", *peer))
        if protocol is None:
            made.close()
            return
        transport = Server(made, protocol, peer, None, peer[1], self._reactor)  # type: ignore[arg-type]
        transport.repstr = f"<{protocol.__class__.__name__} from {peer[0]}:{peer[1]}>"
        protocol.makeConnection(transport)

    def _overfull(self, error: OSError) -> None:
        """There is no room for another connection: close those that are there, and rest."""
        assert self._socket is not None
        if self._clock.seconds() >= self._tell_at:
            self._tell_at = self._clock.seconds() + TELL_EVERY
            why = os.strerror(error.errno or 0)
            self.log.warn("connections are closed, the system has no room: {why}", why=why)
        self._reserve.close()
        with suppress(OSError):  # until nobody else is there
            for _ in range(MAX_ACCEPTS):
                made, address = self._socket.accept()
                self._refuse(made, address)
        with suppress(OSError):  # without it connections stay in the kernel next time
            self._reserve = self._socket.dup()
        self._reactor.removeReader(self)
        self._pause = self._clock.callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._reactor.addReader(self)


def _reset(made: socket.socket) -> None:
    with made:  # whoever is refused leaves no trace
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
