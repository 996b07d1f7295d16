"""The join of two plain TCP legs: descriptors of our own on the reactor, in place of Twisted's."""

import socket
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IPullProducer,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    ITransport,
    IWriteDescriptor,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.relay.flow import Flow
from wavesync.relay.legs import attach, emptied, plain
from wavesync.relay.pair import CLIENT_BROKE, DONE, SERVER_BROKE, IPair
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.shaping import Shaper

__all__ = ["IJoinReactor", "Side", "SocketPair"]


class IJoinReactor(IReactorFDSet, IReactorTime):
    """The parts of Twisted's reactor that a join uses; it has no such name itself."""


@implementer(IReadDescriptor, IWriteDescriptor, IProtocol, IPullProducer)
class Side:
    """One leg: first the protocol of Twisted's transport, until that has written all; then a
    descriptor in its place.

    :ivar fd: the descriptor, -1 while it is Twisted's.
    :ivar socket: what Twisted's transport wraps.
    :ivar broke: the word for the pair's end when this side breaks.
    :ivar lost: the transport is closed.
    """

    __slots__ = (
        "_pair",
        "_reading",
        "_registering",
        "_transport",
        "_writing",
        "broke",
        "fd",
        "inward",
        "lost",
        "outward",
        "socket",
    )

    inward: Flow
    outward: Flow

    def __init__(self, pair: "SocketPair", transport: Connection, broke: str) -> None:
        self.fd = -1
        self.broke = broke
        self.lost = False
        self.socket: socket.socket = transport.getHandle()
        self._pair = pair
        self._transport = transport
        self._reading = self._writing = self._registering = False

    # While Twisted writes what it has:

    def take(self) -> None:
        """Let Twisted's transport write all that it has, then tell the pair."""
        if emptied(self._transport):
            self._adopt()
            return
        self._registering = True
        self._transport.registerProducer(self, False)
        self._registering = False
        if self._transport.doWrite() is not None:
            self._transport.startWriting()  # it is broken, as the reactor will find

    def resumeProducing(self) -> None:
        """Twisted has written all it had (IPullProducer)."""
        if self._registering:
            return
        self._transport.unregisterProducer()
        self._adopt()

    def _adopt(self) -> None:
        self._transport.stopReading()
        self._transport.stopWriting()
        self.fd = self.socket.fileno()
        self._pair.taken()

    def stopProducing(self) -> None:
        """The connection is gone (IPullProducer): :meth:`connectionLost` follows."""

    def makeConnection(self, transport: ITransport) -> None:
        """Nothing: it has been one for long (IProtocol)."""

    def connectionMade(self) -> None:
        """Nothing: it has been one for long (IProtocol)."""

    def dataReceived(self, data: bytes) -> None:
        """Nothing: Twisted's reading is off (IProtocol)."""

    # While the descriptor is ours:

    @property
    def reads(self) -> bool:
        """Whether its bytes are wanted now."""
        return self._reading

    def read_on(self) -> None:
        """Have the reactor tell when there is something to read."""
        if not self._reading:
            self._reading = True
            self._pair.reactor.addReader(self)

    def read_off(self) -> None:
        """Read nothing for the time being."""
        if self._reading:
            self._reading = False
            self._pair.reactor.removeReader(self)

    def write_on(self) -> None:
        """Have the reactor tell when the socket takes bytes."""
        if not self._writing:
            self._writing = True
            self._pair.reactor.addWriter(self)

    def write_off(self) -> None:
        """Write nothing for the time being."""
        if self._writing:
            self._writing = False
            self._pair.reactor.removeWriter(self)

    def doRead(self) -> None:
        """There is something to read (IReadDescriptor)."""
        if self._reading:
            self.inward.pull()

    def doWrite(self) -> None:
        """The socket takes bytes (IWriteDescriptor).

        The reactor tells of both in one breath, and reading may have ended the pair.
        """
        if self._writing:
            self.outward.push()

    def fileno(self) -> int:
        """:return: the descriptor."""
        return self.fd

    def logPrefix(self) -> str:
        """:return: how log lines of this descriptor begin."""
        return "join"

    # The end, of both:

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor, or Twisted's transport, has lost the connection."""
        if self.fd < 0:
            self.lost = True
        self._pair.lost(self)

    def leave(self, *, abort: bool) -> None:
        """Give the descriptor back to Twisted's transport, to be closed there."""
        self.read_off()
        self.write_off()
        self.fd = -1
        if self.lost:
            return
        if abort:
            self._transport.abortConnection()
        elif emptied(self._transport):
            # Twisted would have a look whether there is something to write, two turns long.
            self._transport.connectionLost(connectionDone)
        else:
            self._transport.loseConnection()


@implementer(IPair)
class SocketPair:
    """See :class:`~wavesync.relay.pair.IPair`; :func:`wavesync.relay.joining.join` makes it.

    :ivar plumbing: what bytes are moved with.
    :ivar shaper: how fast.
    """

    __slots__ = (
        "_client",
        "_down",
        "_ended",
        "_fired",
        "_reason",
        "_server",
        "_up",
        "last_moved",
        "over",
        "plumbing",
        "reactor",
        "shaper",
    )

    def __init__(
        self,
        reactor: IJoinReactor,
        plumbing: Plumbing,
        client: ITransport,
        server: ITransport,
        *,
        to_server: bytes,
        to_client: bytes,
        shaper: Shaper | None,
    ) -> None:
        self.reactor = reactor
        self.plumbing = plumbing
        self.shaper = shaper
        self.over: Deferred[str] = Deferred()
        self.last_moved = reactor.seconds()
        self._reason = DONE
        self._ended = self._fired = False
        self._client = self._side(client, CLIENT_BROKE)
        self._server = self._side(server, SERVER_BROKE)
        self._up = Flow(self, self._client, self._server, to_server)
        self._down = Flow(self, self._server, self._client, to_client)
        self._client.inward = self._server.outward = self._up
        self._server.inward = self._client.outward = self._down
        self._client.take()
        self._server.take()

    def _side(self, leg: ITransport, broke: str) -> Side:
        connection = plain(leg)
        assert connection is not None, "whoever asks for this join has looked"
        side = Side(self, connection, broke)
        attach(leg, cast(IProtocol, side))
        return side

    @property
    def up(self) -> int:
        """Bytes taken from the client."""
        return self._up.moved

    @property
    def down(self) -> int:
        """Bytes taken from the server."""
        return self._down.moved

    @property
    def held(self) -> int:
        """Bytes taken from one side and not yet given to the other."""
        return self._up.held + self._down.held

    def taken(self) -> None:
        """A side's descriptor is ours; when both are, bytes begin to flow."""
        if self._client.fd >= 0 and self._server.fd >= 0:
            self._up.push()
            if not self._ended:
                self._down.push()

    def touch(self) -> float:
        """Bytes have been moved.

        :return: the time.
        """
        self.last_moved = now = self.reactor.seconds()
        return now

    def burst(self) -> int:
        """:return: how many bytes a flow may move at a time."""
        return self.plumbing.burst(self.last_moved)

    def check(self) -> None:
        """End, if both directions have."""
        if self._up.ended and self._down.ended:
            self._end(DONE, abort=False)

    def abort(self, reason: str) -> None:
        """Reset both legs."""
        self._end(reason, abort=True)

    def _end(self, reason: str, *, abort: bool) -> None:
        if self._ended:
            return
        self._ended = True
        self._reason = reason
        self._up.drop()
        self._down.drop()
        self._client.leave(abort=abort)
        self._server.leave(abort=abort)
        self._fire()

    def lost(self, side: Side) -> None:
        """A side is gone: closed by us, or broken."""
        if not self._ended:
            self.abort(side.broke)
        self._fire()

    def _fire(self) -> None:
        if self._client.lost and self._server.lost and not self._fired:
            self._fired = True
            self.over.callback(self._reason)
