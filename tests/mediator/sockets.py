"""Real sockets that speak to a running mediator, for tests."""

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message, decode

__all__ = ["AUDIENCE", "Datagrams", "MediatorCase", "Stream"]

AUDIENCE = "mediator.example"

reactor: Any = _reactor


class Inbox:
    """Messages that came, and somebody who waits for the next."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._waiting: list[Deferred[Message]] = []

    def put(self, message: Message) -> None:
        """A message came."""
        if self._waiting:
            self._waiting.pop(0).callback(message)
        else:
            self.messages.append(message)

    def next(self) -> Deferred[Message]:
        """The next message."""
        waiting: Deferred[Message] = Deferred()
        if self.messages:
            waiting.callback(self.messages.pop(0))
        else:
            self._waiting.append(waiting)
        return waiting


class Datagrams(DatagramProtocol):
    """A UDP socket that sends to one address."""

    def __init__(self, to: Address) -> None:
        self.to = to
        self.inbox = Inbox()

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Keep what came."""
        self.inbox.put(decode(datagram))

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        assert self.transport is not None
        self.transport.write(data, self.to)

    def ask(self, data: bytes) -> Deferred[Message]:
        """Send one datagram; fires with the next that comes."""
        self.send(data)
        return self.inbox.next()


class Stream(Protocol):
    """A TCP connection."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.lost: Deferred[None] = Deferred()
        self._decoder = StreamDecoder()

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        for message in self._decoder.feed(data):
            self.inbox.put(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.lost.callback(None)

    def send(self, data: bytes) -> None:
        """Write."""
        assert self.transport is not None
        self.transport.write(data)

    def ask(self, data: bytes) -> Deferred[Message]:
        """Write; fires with the next message that comes."""
        self.send(data)
        return self.inbox.next()

    def close(self) -> Deferred[None]:
        """Close, and wait until it is."""
        assert self.transport is not None
        self.transport.loseConnection()
        return self.lost


class MediatorCase(TestCase):
    """Runs a mediator on loopback, at a free port.

    :cvar listen: where.
    """

    timeout = 60
    listen: tuple[str, ...] = ("127.0.0.1:0",)
    limits = Limits()

    def setUp(self) -> None:
        """Start it."""
        settings = MediatorSettings(name=AUDIENCE, listen=self.listen, limits=self.limits)
        self.service = MediatorService(settings, reactor)
        self.service.startService()
        self.addCleanup(self.stop)

    async def _stop(self) -> None:
        if self.service.running:
            await self.service.stopService()

    def stop(self) -> Deferred[None]:
        """Stop it, if it runs."""
        return Deferred.fromCoroutine(self._stop())

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.service.addresses[0]

    def datagrams(self, interface: str = "127.0.0.1") -> Datagrams:
        """Open a UDP socket; it is closed when the test ends."""
        protocol = Datagrams(self.address)
        port = reactor.listenUDP(0, protocol, interface=interface, maxPacketSize=65536)
        self.addCleanup(port.stopListening)
        return protocol

    async def stream(self) -> Stream:
        """Connect over TCP; the connection is closed when the test ends."""
        host, port = self.address
        endpoint = HostnameEndpoint(reactor, host, port)
        stream = await endpoint.connect(Factory.forProtocol(Stream))
        assert isinstance(stream, Stream)
        self.addCleanup(stream.close)
        return stream
