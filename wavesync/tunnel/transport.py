"""The transport that a protocol gets over a tunnel, whatever carries it."""

from collections.abc import Iterable
from typing import Protocol, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.pulled import Pulled

__all__ = ["Carrier", "TunnelTransport"]


class Carrier(Protocol):
    """What carries a tunnel's bytes: a method's connections.

    It tells the transport what comes: :meth:`TunnelTransport.received`, ``full``, ``free``, and in the
    end, once, ``lost``; never from within one of the calls below.
    """

    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """Send what was written, then end; ``lost`` follows."""

    def abort(self) -> None:
        """End at once; ``lost`` follows."""

    def pause(self) -> None:
        """Bring nothing more for now; a little that was under way may still come."""

    def resume(self) -> None:
        """Bring more."""


@implementer(ITransport, IConsumer, IPushProducer)
class TunnelTransport:
    """A tunnel's byte stream, as its protocol sees it.

    Between two ends there is no half-close: either side's end is both sides' end, after the bytes
    before it have arrived.

    :param carrier: what carries the bytes.
    :param clock: gives timers.
    :param host: our own address.
    :param peer: the other end's; that of a proxy in between, where nobody tells a better one.
    :ivar protocol: who gets what comes.
    :ivar disconnecting: :meth:`loseConnection` was called.
    """

    def __init__(
        self, carrier: Carrier, clock: IReactorTime, host: IAddress, peer: IAddress
    ) -> None:
        self.protocol: IProtocol | None = None
        self.disconnecting = False
        self._connected = True
        self._carrier = carrier
        self._clock = clock
        self._host = host
        self._peer = peer
        self._producer: IPushProducer | None = None
        self._full = self._paused = self._aborted = False
        self._held: list[bytes] = []
        self._reason: Failure | None = None

    def attach(self, protocol: IProtocol) -> None:
        """Connect the protocol."""
        self.protocol = protocol
        protocol.makeConnection(self)

    # ITransport, and what TCP's transports have besides.

    def write(self, data: bytes) -> None:
        """Send bytes (ITransport)."""
        if not isinstance(data, bytes):
            raise TypeError("only bytes can be written")
        if data and self._open and (not self.disconnecting or self._producer is not None):
            self._carrier.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces of bytes (ITransport)."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once everything written has left; waits for a registered producer to finish."""
        if not self.disconnecting:
            self.disconnecting = True
            if self._producer is None and self._open:
                self._carrier.close()

    def abortConnection(self) -> None:
        """Close at once."""
        self.disconnecting = self._aborted = True
        if self._open:
            self._held.clear()
            self._carrier.abort()
        elif self._reason is not None:
            self._held.clear()
            self._clock.callLater(0, self._finish)

    def getPeer(self) -> IAddress:
        """The other end (ITransport)."""
        return self._peer

    def getHost(self) -> IAddress:
        """Our own end (ITransport)."""
        return self._host

    def getTcpNoDelay(self) -> bool:
        """Tell that small pieces leave at once: they do."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: small pieces leave at once."""

    def getTcpKeepAlive(self) -> bool:
        """Tell that the kernel does not probe: what it could reach is the next proxy only."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing."""

    # IConsumer.

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Take a producer that is paused while the tunnel takes no bytes (IConsumer)."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self._open:
            producer.stopProducing()
            return
        if streaming:
            self._producer = cast(IPushProducer, producer)
        else:
            self._producer = Pulled(cast(IPullProducer, producer), self._clock)
        if self._full:
            self._producer.pauseProducing()
        elif not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer (IConsumer)."""
        producer, self._producer = self._producer, None
        if isinstance(producer, Pulled):
            producer.pauseProducing()
        if producer is not None and self.disconnecting and self._open:
            self._carrier.close()

    # IPushProducer.

    def pauseProducing(self) -> None:
        """Deliver nothing until :meth:`resumeProducing` (IPushProducer)."""
        if not self._paused:
            self._paused = True
            if self._open:
                self._carrier.pause()

    def resumeProducing(self) -> None:
        """Deliver again, first what was held (IPushProducer)."""
        if self._paused:
            self._paused = False
            if self._held or self._reason is not None:
                self._clock.callLater(0, self._deliver)
            elif self._open:
                self._carrier.resume()

    def stopProducing(self) -> None:
        """The consumer of our bytes went away (IPushProducer)."""
        self.loseConnection()

    # What the carrier tells.

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._open or self._aborted or not data:
            return
        if self._paused or self._held:
            self._held.append(data)
        else:
            assert self.protocol is not None
            self.protocol.dataReceived(data)

    def full(self) -> None:
        """No more bytes are taken for now."""
        if not self._full:
            self._full = True
            if self._producer is not None:
                self._producer.pauseProducing()

    def free(self) -> None:
        """Bytes are taken again."""
        if self._full:
            self._full = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def lost(self, reason: Failure) -> None:
        """It is over; what was held is delivered before, if the end came in order."""
        if not self._open:
            return
        self._reason = reason
        if reason.check(ConnectionDone) is None or self.disconnecting:
            self._held.clear()
        if not self._held:
            self._finish()

    @property
    def _open(self) -> bool:
        return self._connected and self._reason is None

    def _deliver(self) -> None:
        """Give the protocol what was held for it, unless it is paused again."""
        while self._held and not self._paused and self._connected:
            assert self.protocol is not None
            self.protocol.dataReceived(self._held.pop(0))
        if not self._held and not self._paused:
            if self._reason is not None:
                self._finish()
            elif self._connected:
                self._carrier.resume()

    def _finish(self) -> None:
        if not self._connected or self._reason is None:
            return
        self._connected = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self.protocol is not None:
            self.protocol.connectionLost(self._reason)
