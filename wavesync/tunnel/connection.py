"""One HTTP connection as a wire, at either end."""

from typing import cast

from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.numeric import canonical
from wavesync.tunnel.wire import Role

__all__ = ["CLOSE_LIFE", "NOWHERE", "Connection", "address_of"]

CLOSE_LIFE = 5.0
"""Seconds that a peer has to take the last bytes of a connection that is being closed."""

NOWHERE: Address = ("", 0)
"""The source of what has none, such as memory."""


class _Transport(ITCPTransport, IPushProducer):
    """What Twisted's stream transports are."""


def address_of(transport: ITransport) -> Address:
    """Tell where the other end of a connection is; :data:`NOWHERE` for what is no network."""
    peer = transport.getPeer()
    try:
        return canonical((peer.host, peer.port))  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return NOWHERE


class Connection(Protocol):
    """A connection (:class:`wavesync.tunnel.wire.Wire`).

    :param clock: gives timers.
    :ivar role: what it is for; None before that is known, and once it is of no interest any more.
    :ivar source: from where the peer comes.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.role: Role | None = None
        self.source = NOWHERE
        self._clock = clock
        self._closing: IDelayedCall | None = None
        self._silent = self._gone = False

    @property
    def _tcp(self) -> _Transport:
        assert self.transport is not None
        return cast(_Transport, self.transport)

    # IProtocol.

    def connectionMade(self) -> None:
        """Have small pieces leave at once (IProtocol)."""
        delay_less = getattr(self.transport, "setTcpNoDelay", None)
        if delay_less is not None:
            delay_less(True)

    def dataReceived(self, data: bytes) -> None:
        """Give it to whom the connection is for (IProtocol)."""
        if self.role is not None:
            self.role.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whom the connection is for (IProtocol)."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._gone = True
        role = self.role
        self._silence()
        if role is not None:
            role.lost(reason)

    # Wire.

    @property
    def stream(self) -> ITransport:
        """The transport."""
        return self._tcp

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._silent:
            self._tcp.write(data)

    def finish(self, data: bytes) -> None:
        """Send, and close once it has left, or after :data:`CLOSE_LIFE` anyway."""
        if self._silent:
            return
        self._silence()
        self._tcp.resumeProducing()  # TLS closes when it has read the peer's end
        if data:
            self._tcp.write(data)
        self._closing = self._clock.callLater(CLOSE_LIFE, self._cut)
        self._tcp.loseConnection()

    def abort(self) -> None:
        """Close at once, even if it is being closed already."""
        self._silence()
        if not self._gone:  # Twisted's TLS does not bear to be aborted once it is lost
            self._tcp.abortConnection()

    def pause(self) -> None:
        """Read nothing more for now."""
        if not self._silent:
            self._tcp.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if not self._silent:
            self._tcp.resumeProducing()

    def _cut(self) -> None:
        self._closing = None
        self._tcp.abortConnection()

    def _silence(self) -> None:
        self._silent = True
        self.role = None
