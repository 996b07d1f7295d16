"""A Binding server by itself, over UDP and TCP: thin shells around :mod:`wavesync.stun.binding`.

The mediator answers Binding requests on its own ports; these are for tests, for the loopback
demonstration and for whoever wants a plain STUN server.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.protocols.policies import TimeoutMixin
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.stun.binding import answer_binding, binding_response
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.framing import StreamDecoder, StreamError
from wavesync.stun.message import is_stun

__all__ = [
    "BURST",
    "IDLE_TIMEOUT",
    "MAX_STREAMS",
    "RATE",
    "BindingDatagrams",
    "BindingFactory",
    "BindingStream",
]

RATE = 20.0
"""Requests a second that one source may send on average."""

BURST = 60.0
"""Requests that one source may send at once."""

MAX_STREAMS = 256
"""Most TCP connections at one time; one more is closed at once."""

IDLE_TIMEOUT = 60.0
"""Seconds after which a connection on which nothing came is closed."""


class BindingDatagrams(DatagramProtocol):
    """Answers Binding requests over UDP.

    :param clock: tells the time to the buckets.
    :param buckets: how often each source may ask.
    """

    transport: Any
    noisy = False

    def __init__(self, clock: IReactorTime, buckets: SourceBuckets | None = None) -> None:
        self._clock = clock
        self._buckets = SourceBuckets(RATE, BURST) if buckets is None else buckets

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Answer *datagram*, or drop it as early as can be."""
        host, port = addr[:2]
        if not is_stun(datagram) or not self._buckets.allow(host, self._clock.seconds()):
            return
        answer = binding_response(datagram, (host, port))
        if answer is not None:
            self.transport.write(answer, addr)


@implementer(IPushProducer)
class BindingStream(Protocol, TimeoutMixin):
    """Answers Binding requests on one TCP connection.

    Anything that is not STUN, more requests than the source may send, or silence ends the
    connection.  While the peer does not take its answers, nothing more is read from it.

    :param factory: counts the connections and holds buckets and clock.
    :param source: the peer's address.
    """

    transport: Any

    def __init__(self, factory: "BindingFactory", source: Address) -> None:
        self._factory = factory
        self._source = source
        self._decoder = StreamDecoder()

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """How :class:`TimeoutMixin` waits."""
        return self._factory.clock.callLater(period, func)

    def connectionMade(self) -> None:
        """Count the connection in, or close it where there are too many."""
        if not self._factory.admit(self):
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)
        self.setTimeout(IDLE_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        """Answer the requests that *data* completes."""
        self.resetTimeout()
        try:
            messages = self._decoder.feed(data)
        except StreamError:
            self.transport.abortConnection()
            return
        now = self._factory.clock.seconds()
        for message in messages:
            if not self._factory.buckets.allow(self._source[0], now):
                self.transport.abortConnection()
                return
            answer = answer_binding(message, self._source)
            if answer is not None:
                self.transport.write(answer)

    def pauseProducing(self) -> None:
        """Read no more requests: the answers are not taken."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Nothing to stop: answers come only from requests."""

    def timeoutConnection(self) -> None:
        """Close a connection on which nothing came."""
        self.transport.abortConnection()

    def connectionLost(self, reason: object = None) -> None:
        """Count the connection out."""
        self.setTimeout(None)
        self._factory.forget(self)


class BindingFactory(Factory):
    """Makes a :class:`BindingStream` for each TCP connection, :data:`MAX_STREAMS` at most.

    :param clock: tells the time, and times silence.
    :param buckets: how often each source may ask.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        buckets: SourceBuckets | None = None,
        *,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self.clock = clock
        self.buckets = SourceBuckets(RATE, BURST) if buckets is None else buckets
        self._max_streams = max_streams
        self._streams: set[BindingStream] = set()

    def buildProtocol(self, addr: IAddress | None) -> BindingStream | None:
        """A protocol for the connection from *addr*; None for what is not TCP."""
        if not isinstance(addr, IPv4Address | IPv6Address):
            return None
        return BindingStream(self, (addr.host, addr.port))

    def admit(self, stream: BindingStream) -> bool:
        """Count *stream* in unless there are too many."""
        if len(self._streams) >= self._max_streams:
            return False
        self._streams.add(stream)
        return True

    def forget(self, stream: BindingStream) -> None:
        """Count *stream* out."""
        self._streams.discard(stream)
