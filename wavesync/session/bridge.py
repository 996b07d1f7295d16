"""Joins a session with a local connection, byte for byte, both ways."""

from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["BridgeEnd", "make_bridge", "send_at_once"]


def send_at_once(transport: ITransport) -> None:
    """Switch off Nagle's algorithm where there is TCP below.

    It would hold a small piece back until the one before is acknowledged, which together with
    delayed acknowledgements costs some 40 ms for every answer that is written in two pieces.
    """
    # Asked for by name: TLS over anything says that it provides ITCPTransport.
    set_no_delay = getattr(transport, "setTcpNoDelay", None)
    if set_no_delay is not None:
        set_no_delay(True)


@implementer(IHalfCloseableProtocol)
class BridgeEnd(Protocol):
    """One of two protocols that pass everything on to each other.

    The end that is connected first is paused until the other is.  The end of one direction is
    passed on as such where the other transport can do that (TCP, sessions); elsewhere (TLS) the
    whole connection is closed.  An end that is lost other than by ``ConnectionDone`` aborts the
    other, so that a truncated stream is never taken for a complete one.
    """

    transport: ITransport

    def __init__(self) -> None:
        self.other: BridgeEnd | None = None
        self._connected = False
        self._lost: Failure | None = None

    def connectionMade(self) -> None:
        """Begin, or wait for the other end (IProtocol)."""
        self._connected = True
        send_at_once(self.transport)
        other = self.other
        if other is None or not other._connected:
            cast(IPushProducer, self.transport).pauseProducing()
            return
        if other._lost is not None:
            self._close(other._lost)
            return
        cast(IPushProducer, other.transport).resumeProducing()
        self._feed_from(other)
        other._feed_from(self)

    def _feed_from(self, other: "BridgeEnd") -> None:
        producer = cast(IPushProducer, other.transport)
        cast(IConsumer, self.transport).registerProducer(producer, True)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on (IProtocol)."""
        assert self.other is not None
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """This end's peer sends nothing more (IHalfCloseableProtocol)."""
        other = self.other
        if other is None or other._lost is not None:
            return
        cast(IConsumer, other.transport).unregisterProducer()
        half = getattr(other.transport, "loseWriteConnection", None)
        if half is None or ISSLTransport.providedBy(other.transport):
            other.transport.loseConnection()
        else:
            half()

    def writeConnectionLost(self) -> None:
        """This end's peer has everything (IHalfCloseableProtocol)."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This end is gone (IProtocol)."""
        self._lost = reason
        cast(IConsumer, self.transport).unregisterProducer()
        other = self.other
        if other is not None and other._connected and other._lost is None:
            cast(IConsumer, other.transport).unregisterProducer()
            other._close(reason)

    def _close(self, reason: Failure) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        # A session says why, so that whoever reads of it looks in the right place.
        abort = getattr(self.transport, "break_off", abort)
        if reason.check(ConnectionDone) or abort is None:
            self.transport.loseConnection()
        else:
            abort()


def make_bridge() -> tuple[BridgeEnd, BridgeEnd]:
    """Make the two protocols of a bridge; they are alike."""
    one, two = BridgeEnd(), BridgeEnd()
    one.other, two.other = two, one
    return one, two
