"""Collaborators for the session tests: identities, a path in memory, recording protocols."""

from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.identity.certificates import (
    make_client_certificate,
    make_server_certificate,
    make_system_certificate,
)
from wavesync.identity.credentials import Credentials
from wavesync.identity.verify import Role

NOW = 1_795_000_000.0
"""The wall clock of the tests: November 2026."""

SERVER_ID = "11" * 16
OTHER_SERVER_ID = "22" * 16


def wall_clock() -> float:
    """Always the same time."""
    return NOW


class System:
    """A system with its key, to make credentials of."""

    def __init__(self, seed: int = 1) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.certificate = make_system_certificate(self.key)

    def server(self, server_id: str = SERVER_ID, now: float = NOW, days: int = 365) -> Credentials:
        """Credentials of a server."""
        key = Ed25519PrivateKey.generate()
        leaf = make_server_certificate(self.key, key.public_key(), server_id, now=now, days=days)
        return Credentials(Role.SERVER, key, leaf, self.certificate)

    def client(self, name: str = "alice", now: float = NOW, days: int = 365) -> Credentials:
        """Credentials of a client."""
        key = Ed25519PrivateKey.generate()
        leaf = make_client_certificate(self.key, key.public_key(), name, now=now, days=days)
        return Credentials(Role.CLIENT, key, leaf, self.certificate)


@implementer(ITransport, IPushProducer)
class PathEnd:
    """One end of a path in memory, with the write buffer and producers of a TCP transport."""

    BUFFER = 65536
    disconnecting = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.protocol: IProtocol | None = None
        self.other: PathEnd
        self.buffer = bytearray()
        self.sent = bytearray()
        self.reading = True
        self.closed = False
        self.lost = False
        self.producer: IPushProducer | None = None
        self.producer_paused = False
        self.peak = 0
        self.half_closed = False

    def write(self, data: bytes) -> None:
        """Buffer bytes, and pause the producer when they are many."""
        if self.closed or self.lost:
            return
        self.buffer += data
        self.sent += data
        self.peak = max(self.peak, len(self.buffer))
        if (
            self.producer is not None
            and len(self.buffer) > self.BUFFER
            and not self.producer_paused
        ):
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Write several."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once the buffer is empty."""
        self.closed = True

    def loseWriteConnection(self) -> None:
        """Note it."""
        self.half_closed = True

    def abortConnection(self) -> None:
        """Close now, as TCP does: the other end sees a reset."""
        self.buffer.clear()
        self.lose(ConnectionAborted())
        self.other.lose(ConnectionLost())

    def getPeer(self) -> IAddress:
        """An address of documentation."""
        return IPv4Address("TCP", "192.0.2.2", 2)

    def getHost(self) -> IAddress:
        """An address of documentation."""
        return IPv4Address("TCP", "192.0.2.1", 1)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Take a push producer."""
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget it."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Deliver nothing."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Deliver again."""
        self.reading = True

    def stopProducing(self) -> None:
        """As TCP does."""
        self.loseConnection()

    def lose(self, reason: Exception) -> None:
        """The connection of this end is gone."""
        if not self.lost and self.protocol is not None:
            self.lost = True
            if self.producer is not None:
                self.producer.stopProducing()
                self.producer = None
            self.protocol.connectionLost(Failure(reason))

    def step(self, limit: int) -> bool:
        """Carry bytes to the other end; whether anything happened."""
        if self.buffer and not self.other.lost and self.other.reading:
            data = bytes(self.buffer[:limit])
            del self.buffer[:limit]
            if not self.buffer and self.producer_paused:
                self.producer_paused = False
                if self.producer is not None:
                    self.producer.resumeProducing()
            assert self.other.protocol is not None
            self.other.protocol.dataReceived(data)
            return True
        if self.closed and not self.lost and (not self.buffer or self.other.lost):
            self.lose(ConnectionDone())
            if self.other.reading:
                self.other.lose(ConnectionDone())
            return True
        return False


ADDRESS = IPv4Address("TCP", "192.0.2.1", 1)
"""Whom a factory is told of."""


def build(factory: IProtocolFactory) -> IProtocol:
    """One protocol of a factory."""
    protocol = factory.buildProtocol(ADDRESS)
    assert protocol is not None
    return protocol


class Path:
    """A path in memory between a client's and a server's protocol."""

    def __init__(self, clock: Clock, limit: int = 65536) -> None:
        self.clock = clock
        self.limit = limit
        self.client, self.server = PathEnd("client"), PathEnd("server")
        self.client.other, self.server.other = self.server, self.client
        self.stalled = False

    def connect(self, client: IProtocol, server: IProtocol) -> None:
        """Connect the two protocols."""
        self.client.protocol, self.server.protocol = client, server
        server.makeConnection(self.server)
        client.makeConnection(self.client)
        self.pump()

    def pump(self) -> None:
        """Carry bytes and run what is due at once until nothing moves."""
        for _ in range(100_000):
            self.clock.advance(0)
            if self.stalled:
                return
            moved = self.client.step(self.limit)
            moved = self.server.step(self.limit) or moved
            if not moved and not any(
                call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()
            ):
                return
        raise AssertionError("the path does not come to rest")

    def advance(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass while the path carries bytes."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.pump()


class Recorder(Protocol):
    """A protocol without half-close that notes what it is told."""

    transport: Any

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.received = bytearray()
        self.lost: Failure | None = None
        self.on_data: Callable[[bytes], None] | None = None

    def connectionMade(self) -> None:
        """Send the first bytes."""
        if self.first:
            self.transport.write(self.first)

    def dataReceived(self, data: bytes) -> None:
        """Note bytes."""
        assert self.lost is None
        self.received += data
        if self.on_data is not None:
            self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the reason; it comes once only."""
        assert self.lost is None
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """A protocol with half-close that notes what it is told."""

    read_ended = False
    write_ended = False
    answer = b""

    def readConnectionLost(self) -> None:
        """Note it; answer and end if there is an answer."""
        assert not self.read_ended
        self.read_ended = True
        if self.answer:
            self.transport.write(self.answer)
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Note it."""
        assert not self.write_ended
        self.write_ended = True
