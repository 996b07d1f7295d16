"""The join that works with any two of Twisted's transports: TLS, other platforms, memory.

Each leg is the producer of the other one: Twisted pauses its reading while the other side's buffer
is full.  Small reads keep what a pair holds within :data:`~wavesync.relay.pair.MAX_HELD`.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.relay.legs import attach, bottom, half_close
from wavesync.relay.pair import CLIENT_BROKE, DONE, SERVER_BROKE, ILegTransport, IPair
from wavesync.relay.shaping import Shaper
from wavesync.relay.vitality import seems_dead

__all__ = ["CHUNK", "PortablePair"]

CHUNK = 16 * 1024
"""Bytes read at a time, and waiting to be written before the other leg's reading is paused."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class _Leg(Protocol):
    """One side: hands what it reads to the other side's transport.

    :ivar wire: the side's transport.
    :ivar moved: bytes read.
    :ivar ended: nothing more will be read.
    :ivar lost: the transport is gone.
    """

    other: "_Leg"

    def __init__(self, pair: "PortablePair", wire: ILegTransport, broke: str) -> None:
        self.wire = wire
        self.moved = 0
        self.ended = self.lost = False
        self._pair = pair
        self._broke = broke
        self._blocked = self._finished = False
        self._rest: IDelayedCall | None = None

    def start(self, first: bytes, size: int) -> None:
        """Send the first bytes to this side, and let its buffer pause the other side.

        :param first: bytes for this side.
        :param size: bytes to read at a time.
        """
        wire = self.wire
        beneath = bottom(wire)
        if hasattr(beneath, "bufferSize"):
            beneath.bufferSize = size
        attach(wire, self)
        wire.registerProducer(self.other, True)
        if first:
            wire.write(first)

    def dataReceived(self, data: bytes) -> None:
        """Give it to the other side (IProtocol)."""
        self.moved += len(data)
        wait = self._pair.moved(len(data))
        self.other.wire.write(data)
        if wait > 0.0 and not self._pair.ending:
            if self._rest is None:
                self._rest = self._pair.reactor.callLater(wait, self._rested)
            else:
                self._rest.reset(wait)
            self.wire.pauseProducing()

    def _rested(self) -> None:
        self._rest = None
        self.go_on()

    def go_on(self) -> None:
        """Read, unless something speaks against it."""
        if not (self.ended or self.lost or self._blocked or self._rest is not None):
            self.wire.resumeProducing()

    def pauseProducing(self) -> None:
        """The other side takes no more now (IPushProducer)."""
        self._blocked = True
        if not self.lost:
            self.wire.pauseProducing()

    def resumeProducing(self) -> None:
        """The other side takes bytes again (IPushProducer)."""
        self._blocked = False
        self._pair.moved(0)
        self.go_on()

    def stopProducing(self) -> None:
        """The other side is gone (IPushProducer); its protocol hears of it, unless it was before."""
        self._pair.gone(self.other)

    def readConnectionLost(self) -> None:
        """This side has said all (IHalfCloseableProtocol)."""
        self.ended = True
        self.other.finish()
        self._close_when_through()

    def finish(self) -> None:
        """Tell this side that nothing more comes, once all is written."""
        if not (self.lost or self._finished):
            self.wire.unregisterProducer()
            half_close(self.wire)

    def writeConnectionLost(self) -> None:
        """Everything has been written to this side (IHalfCloseableProtocol)."""
        self._finished = True
        self._close_when_through()

    def _close_when_through(self) -> None:
        if self.ended and self._finished and not self.lost:
            self.wire.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This side is closed (IProtocol)."""
        if self.lost:
            return
        self.lost = True
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._pair.ending:
            pass
        elif reason.check(ConnectionDone) is None:
            self._pair.abort(self._broke)
        elif not self.ended:
            # Its end has answered ours, or TLS 1.2 closes both ways at once.
            self.ended = True
            self.other.finish()
            if not self.other.lost:
                self.other.wire.loseConnection()
        self._pair.check()


@implementer(IPair)
class PortablePair:
    """See :class:`~wavesync.relay.pair.IPair`; :func:`wavesync.relay.joining.join` makes it."""

    def __init__(
        self,
        reactor: IReactorTime,
        client: ILegTransport,
        server: ILegTransport,
        *,
        to_server: bytes,
        to_client: bytes,
        shaper: Shaper | None,
    ) -> None:
        self.reactor = reactor
        self._listeners: tuple[Callable[[str], object], ...] = ()
        self.last_moved = reactor.seconds()
        self.ending = False
        self._reason = DONE
        self._shaper = shaper
        self._fired = self._starting = False
        self._client = _Leg(self, client, CLIENT_BROKE)
        self._server = _Leg(self, server, SERVER_BROKE)
        self._client.other = self._server
        self._server.other = self._client
        self._start(to_client, to_server)

    def _start(self, to_client: bytes, to_server: bytes) -> None:
        self._starting = True
        size = CHUNK if self._shaper is None else min(CHUNK, self._shaper.grain)
        self._client.start(to_client, size)
        self._server.start(to_server, size)
        self._starting = False
        for leg, broke in ((self._client, CLIENT_BROKE), (self._server, SERVER_BROKE)):
            if leg.lost:
                self.abort(broke)
        if not self.ending:
            self._client.go_on()
            self._server.go_on()
        self.check()

    @property
    def up(self) -> int:
        """Bytes taken from the client."""
        return self._client.moved

    @property
    def down(self) -> int:
        """Bytes taken from the server."""
        return self._server.moved

    @property
    def over(self) -> "Deferred[str]":
        """Fires when it is over."""
        waiting: Deferred[str] = Deferred()
        self.notify(waiting.callback)
        return waiting

    def notify(self, listener: Callable[[str], object]) -> None:
        """Tell when it is over: at once, if it is already."""
        if self._fired:
            listener(self._reason)
        else:
            self._listeners = (*self._listeners, listener)

    def dying(self) -> bool:
        """Tell whether a leg seems dead, as far as the kernel can tell."""
        return any(seems_dead(bottom(leg.wire)) for leg in (self._client, self._server))

    def moved(self, n: int) -> float:
        """Bytes have been taken, or given on.

        :return: seconds to rest.
        """
        self.last_moved = now = self.reactor.seconds()
        return self._shaper.take(n, now) if self._shaper is not None and n else 0.0

    def gone(self, leg: _Leg) -> None:
        """A transport stops its producer; when it does so at once, it was closed before."""
        if self._starting:
            leg.lost = True

    def abort(self, reason: str) -> None:
        """Reset both legs."""
        if self.ending or self._fired:
            return
        self.ending = True
        self._reason = reason
        for leg in (self._client, self._server):
            if not leg.lost:
                leg.wire.abortConnection()

    def check(self) -> None:
        """Tell that it is over, if it is."""
        if self._client.lost and self._server.lost and not self._fired:
            self._fired = True
            listeners, self._listeners = self._listeners, ()
            for listener in listeners:
                listener(self._reason)
