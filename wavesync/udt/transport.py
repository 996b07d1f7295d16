"""What an application protocol sees of a UDT connection: an ordinary Twisted transport."""

from collections.abc import Iterable
from typing import Protocol as TypingProtocol
from typing import cast

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address, ISparingTransport, IWaryTransport
from wavesync.udt.connection import (
    Closed,
    CloseReason,
    Connection,
    DataReceived,
    Event,
    SendBufferLow,
)

__all__ = ["UDTTransport", "udt_address"]


def udt_address(address: Address) -> IPv4Address | IPv6Address:
    """:return: the Twisted address of a numeric host and port."""
    return (IPv6Address if ":" in address[0] else IPv4Address)("UDP", *address)


class Owner(TypingProtocol):
    """What a transport asks of the link it belongs to."""

    @property
    def remote(self) -> Address:
        """Where the peer is now."""

    @property
    def local(self) -> Address:
        """Where we are."""

    def touch(self) -> None:
        """Something is to be sent or delivered: give the connection its turn soon."""

    def wrote(self) -> None:
        """Something is to be sent."""


_REASONS: dict[CloseReason, type[error.ConnectionClosed]] = {
    CloseReason.LOCAL: error.ConnectionDone,
    CloseReason.PEER: error.ConnectionDone,
    CloseReason.ABORTED: error.ConnectionAborted,
    CloseReason.TIMEOUT: error.ConnectionLost,
}


@implementer(ITransport, IConsumer, IPushProducer, ISparingTransport, IWaryTransport)
class UDTTransport:
    """A stream over one UDT connection.

    UDT knows no half-close: :meth:`loseConnection` on either side ends both directions, after what
    this side wrote has been acknowledged.  ``connectionLost`` gets ``ConnectionDone`` when either
    side closed, ``ConnectionAborted`` after :meth:`abortConnection`, ``ConnectionLost`` when the
    peer fell silent.

    :param owner: the link that the connection belongs to.
    :param connection: the connection.
    :ivar connected: whether ``connectionLost`` is still to come.
    :ivar disconnecting: whether :meth:`loseConnection` was called.
    """

    log = Logger()

    __slots__ = (
        "_connection",
        "_discarding",
        "_events",
        "_owner",
        "_producer",
        "_producer_paused",
        "_protocol",
        "_reading_paused",
        "_reason",
        "_streaming",
        "connected",
        "disconnecting",
    )

    def __init__(self, owner: Owner, connection: Connection) -> None:
        self._owner = owner
        self._connection = connection
        self._protocol: IProtocol | None = None
        self._events: list[Event] = []  # a few at most
        self._reading_paused = False
        self._discarding = False
        self._producer: IPushProducer | None = None
        self._streaming = False
        self._producer_paused = False
        self._reason: Failure | None = None
        self.connected = True
        self.disconnecting = False

    def attach(self, protocol: IProtocol) -> None:
        """Connect the application's protocol; once."""
        self._protocol = protocol
        try:
            protocol.makeConnection(self)
        except Exception as problem:
            self._failed(problem)

    # What the link calls.

    def deliver(self, events: Iterable[Event]) -> None:
        """Hand what happened to the protocol, in order, as far as it is not paused."""
        for event in events:
            if isinstance(event, Closed) and event.reason is not CloseReason.PEER:
                # Over for a reason that does not wait for a paused reader.
                self._events.clear()
            self._events.append(event)
        if self._events:
            self._hand_on()
        if self._producer is not None:
            self._pull()

    def receive(self, pieces: Iterable[bytes]) -> None:
        """Hand data to the protocol, or keep them behind what waits for it to go on."""
        protocol = self._protocol
        for data in pieces:
            if self._events or self._reading_paused or self._discarding or protocol is None:
                self._events.append(DataReceived(data))
            elif self.connected:
                try:
                    protocol.dataReceived(data)
                except Exception as problem:
                    self._failed(problem)

    def _hand_on(self) -> None:
        """Give the protocol what waits, up to what it does not want now."""
        while self._events and self.connected:
            event = self._events[0]
            if isinstance(event, DataReceived) and self._reading_paused:
                break
            del self._events[0]
            match event:
                case DataReceived(data):
                    if not self._discarding:
                        self._call_protocol(data)
                case SendBufferLow():
                    self._resume_producer()
                case Closed(reason):
                    self._lose(Failure(_REASONS[reason](reason.value)))

    def fail(self, problem: BaseException) -> None:
        """End the connection at once for a reason of our own."""
        self._reason = Failure(problem)
        self._abort()

    @property
    def waiting(self) -> bool:
        """Whether events wait for :meth:`resumeProducing`."""
        return bool(self._events)

    def _call_protocol(self, data: bytes) -> None:
        assert self._protocol is not None
        try:
            self._protocol.dataReceived(data)
        except Exception as problem:
            self._failed(problem)

    def _failed(self, problem: Exception) -> None:
        """End the connection, as the reactor does for TCP: the application's mistake ends only that."""
        self.log.failure("An application protocol failed; its connection is aborted.")
        self.fail(problem)

    def _lose(self, reason: Failure) -> None:
        self.connected = False
        self._events.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            try:
                protocol.connectionLost(self._reason or reason)
            except Exception:
                self.log.failure("An application protocol failed to take the end of a connection.")

    # ITransport

    def write(self, data: bytes) -> None:
        """Queue bytes; they leave in this turn of the reactor or the next."""
        if not self.connected or not data:
            return
        self._connection.write(bytes(data))
        self._owner.wrote()
        if self._producer is not None and self._streaming and not self._connection.writable:
            self._pause_producer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue the pieces as one."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once everything written has been acknowledged (and the producer is done)."""
        if self.disconnecting or not self.connected:
            return
        self.disconnecting = True
        if self._producer is None:
            self._close()

    def abortConnection(self) -> None:
        """Close at once; what the peer has not acknowledged is lost."""
        if self.connected:
            self.disconnecting = True
            self._abort()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """:return: where the peer is now (a rendezvous may yet choose another path)."""
        return udt_address(self._owner.remote)

    def getHost(self) -> IPv4Address | IPv6Address:
        """:return: the local address of the UDP port."""
        return udt_address(self._owner.local)

    def _close(self) -> None:
        self._connection.close()
        self._discard_if_paused()
        self._owner.touch()

    def _abort(self) -> None:
        self._connection.abort()
        self._discard_if_paused()
        self._owner.touch()

    def _discard_if_paused(self) -> None:
        """Let a paused reader that closes be told the end; the data before it are not wanted."""
        if self._reading_paused:
            self._discarding = True
            self._reading_paused = False
            self._connection.resume_reading()

    def trust(self) -> None:
        """The peer has been authenticated: hold as much for it as was offered (IWaryTransport)."""
        self._connection.trust()

    def keep_alive_every(self, seconds: float) -> None:
        """Send a keep-alive after so many seconds of our own silence (ISparingTransport)."""
        self._connection.keep_alive_interval = seconds
        self._owner.touch()

    # IPushProducer: what comes from the peer

    def pauseProducing(self) -> None:
        """Deliver no more; the peer is told so when our buffer fills."""
        if self.connected and not (self._reading_paused or self._discarding):
            self._reading_paused = True
            self._connection.pause_reading()

    def resumeProducing(self) -> None:
        """Deliver again."""
        if self.connected and self._reading_paused:
            self._reading_paused = False
            self._connection.resume_reading()
            self._owner.touch()

    def stopProducing(self) -> None:
        """The consumer wants no more: close."""
        self.loseConnection()

    # IConsumer: what goes to the peer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let *producer* write; it is paused while too much waits to be sent.

        :raises RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered already; unregister it first")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = cast(IPushProducer, producer)
        self._streaming = streaming
        self._producer_paused = False
        if not streaming:
            self._owner.touch()
        elif not self._connection.writable:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """The producer has written all; a :meth:`loseConnection` that waited goes on."""
        self._producer = None
        if self.disconnecting and self.connected:
            self._close()

    def _pause_producer(self) -> None:
        if self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _resume_producer(self) -> None:
        if self._producer is not None and self._streaming and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    def _pull(self) -> None:
        """Ask a pull producer for more, once a turn, while there is room."""
        if self._producer is not None and not self._streaming and self._connection.writable:
            self._producer.resumeProducing()
            if self._producer is not None:
                self._owner.touch()
