"""Servers and clients on real sockets, byte by byte as docs/relay has it, for tests of the relay."""

from itertools import count
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.signalling.provers import NOW, client, prover, server
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.relay.presence import IPresence
from wavesync.relay.service import RelayService
from wavesync.relay.settings import Limits, RelaySettings
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_answers import AnswerReader, RelayAnswer
from wavesync.signalling.relay_lines import Idle, Line, LineReader, Move, Open, Ping, Pong, Ready
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = [
    "NAME",
    "Leg",
    "ParkedServer",
    "RelayCase",
    "Site",
    "Visit",
    "connect_request",
    "park_request",
    "reactor",
    "until",
    "url",
]

NAME = "relay.example"

reactor: Any = _reactor

_ids = count(1)


def url(name: str = NAME) -> Relay:
    """The relay as requests name it, whatever address it really has."""
    return Relay(name, 3356, False)


def _id() -> str:
    return f"{next(_ids):032x}"


def park_request(
    credentials: Credentials,
    *,
    target: Target | None = None,
    revocations: int = 0,
    prove: Prover | None = None,
) -> bytes:
    """A server's request to park one connection."""
    target = credentials.target if target is None else target
    prove = prover(credentials, audience=NAME) if prove is None else prove
    request = RelayRequest(RequestKind.PARK, target, _id(), revocations=revocations)
    return request.encode(url(prove.audience), prove)


def connect_request(
    credentials: Credentials, target: Target, *, connection: str = "", prove: Prover | None = None
) -> bytes:
    """A client's request for a server."""
    prove = prover(credentials, audience=NAME) if prove is None else prove
    request = RelayRequest(RequestKind.CONNECT, target, connection or _id())
    return request.encode(url(prove.audience), prove)


async def until(what: Any, seconds: float = 20.0) -> None:
    """Wait until *what* gives something true.

    :raises AssertionError: it does not, for so long.
    """
    end = reactor.seconds() + seconds
    while not what():
        assert reactor.seconds() < end, "it did not come to that"
        await deferLater(reactor, 0.01)


class Leg(Protocol):
    """A connection that asks for something, and then gets raw bytes.

    :ivar answers: what was answered.
    :ivar data: raw bytes behind the answer.
    :ivar lost: fires when it is closed.
    :ivar closed: whether it is.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answer: RelayAnswer | None = None
        self.answered: Deferred[RelayAnswer | None] = Deferred()
        self.data = b""
        self.lost: Deferred[None] = Deferred()
        self.closed = False
        self._reader = AnswerReader()

    @property
    def wire(self) -> Any:
        """The transport."""
        return self.transport

    def connectionMade(self) -> None:
        """Ask."""
        self.wire.setTcpNoDelay(True)
        self.wire.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        """The answer, then whatever comes."""
        if self.answer is None:
            self.answer = self._reader.feed(data)
            if self.answer is None:
                return
            data = self._reader.rest if self.answer.status == 101 else b""
            self.answered.callback(self.answer)
        if data:
            self.raw(data)

    def raw(self, data: bytes) -> None:
        """What comes behind the answer."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.closed = True
        if self.answer is None:
            self.answered.callback(None)
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class Visit(Leg):
    """A client's.

    :ivar ended: the server has said all.
    """

    ended = False

    def readConnectionLost(self) -> None:
        """The server has said all."""
        self.ended = True
        self.wire.loseConnection()

    def writeConnectionLost(self) -> None:
        """Not of interest."""


@implementer(IHalfCloseableProtocol)
class ParkedServer(Leg):
    """A server's parked connection.

    :ivar lines: all that came.
    :ivar opened: the client, once there is one.
    """

    def __init__(self, request: bytes, site: "Site") -> None:
        super().__init__(request)
        self.site = site
        self.lines: list[Line] = []
        self.opened: Open | None = None
        self._lines = LineReader()

    def raw(self, data: bytes) -> None:
        """Lines, then a client's bytes."""
        if self.opened is not None:
            self.site.received(self, data)
            return
        for line in self._lines.feed(data):
            self.lines.append(line)
            match line:
                case Ping() if self.site.alive:
                    self.wire.write(Pong().encode())
                case Idle(wanted, _):
                    self.site.wants(wanted)
                case Move():
                    self.site.moved += 1
                case Open():
                    self.opened = line
                    self.site.opens += 1
                    self.site.refill()
                    if self.site.alive:
                        self.wire.write(Ready().encode())
                        if self._lines.rest:
                            self.site.received(self, self._lines.rest)
                case _:
                    raise AssertionError(line)

    def readConnectionLost(self) -> None:
        """The client has said all."""
        self.wire.write(self.site.farewell)
        self.wire.loseConnection()

    def writeConnectionLost(self) -> None:
        """Not of interest."""


class Site:
    """A server: keeps connections parked, and sends back what clients say.

    :ivar legs: all its connections, in order.
    :ivar wanted: idle connections that it keeps.
    :ivar alive: it answers.
    :ivar farewell: what it says when a client has said all.
    :ivar refills: it replaces what is taken, and parks what is wanted.
    """

    def __init__(self, case: "RelayCase", credentials: Credentials, wanted: int = 0) -> None:
        self.case = case
        self.credentials = credentials
        self.legs: list[ParkedServer] = []
        self.wanted = wanted
        self.alive = True
        self.refills = False
        self.moved = 0
        self.opens = 0
        self.farewell = b""

    @property
    def idle(self) -> list[ParkedServer]:
        """Connections that are parked, or about to be."""
        return [leg for leg in self.legs if leg.opened is None and not leg.closed]

    async def park(self, many: int = 1, **more: Any) -> list[ParkedServer]:
        """Park connections, and wait until they are."""
        legs = [await self.dial(**more) for _ in range(many)]
        for leg in legs:
            await leg.answered
        return legs

    def dial(self, **more: Any) -> Deferred[ParkedServer]:
        """Begin to park one."""
        leg = ParkedServer(park_request(self.credentials, **more), self)
        self.legs.append(leg)
        return self.case.connect(leg)

    def wants(self, wanted: int) -> None:
        """The relay wants so many."""
        self.wanted = wanted
        self.refill()

    def refill(self) -> None:
        """Park as many as are wanted."""
        while self.refills and len(self.idle) < self.wanted:
            self.dial().addCallback(self._parked)

    def _parked(self, leg: ParkedServer) -> None:
        def answered(answer: RelayAnswer | None) -> RelayAnswer | None:
            if answer is not None and answer.parking is not None:
                self.wants(answer.parking.wanted)
            return answer

        leg.answered.addCallback(answered)

    def received(self, leg: ParkedServer, data: bytes) -> None:
        """A client says something."""
        leg.data += data
        leg.wire.write(data)


class RelayCase(TestCase):
    """Runs a relay on loopback, at a free port, with the date of the tests' credentials.

    :cvar settings: but for the name and where it listens.
    :cvar limits: likewise.
    :cvar reactor: what the relay runs on.
    :cvar date: seconds since the epoch.
    """

    timeout = 60
    settings: dict[str, Any] = {}
    limits = Limits()
    reactor: Any = reactor
    date = NOW

    def setUp(self) -> None:
        """Start it."""
        self.service = self.relay()

    def relay(self, presence: IPresence | None = None, **settings: Any) -> RelayService:
        """Start a relay; it is stopped when the test ends."""
        chosen = RelaySettings(
            **{
                "name": NAME,
                "listen": ("127.0.0.1:0",),
                "limits": self.limits,
                "drain_grace": 0.0,
                **self.settings,
                **settings,
            }
        )
        service = RelayService(
            chosen, self.reactor, wall_clock=lambda: self.date, presence=presence
        )
        service.startService()

        async def stop() -> None:
            if service.running:
                await service.stopService()

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return service

    def connect(self, protocol: Any, service: RelayService | None = None) -> Deferred[Any]:
        """Connect to the relay; fires with the protocol, which is closed when the test ends."""
        address = (self.service if service is None else service).addresses[0]

        def close() -> Any:
            if not protocol.closed:
                protocol.transport.abortConnection()
            return protocol.lost

        def connected(protocol: Any) -> Any:
            self.addCleanup(close)
            return protocol

        endpoint = HostnameEndpoint(reactor, *address)
        dialled: Deferred[Any] = connectProtocol(endpoint, protocol)
        return dialled.addCallback(connected)

    async def visit(
        self, target: Target, first: bytes = b"", *, credentials: Credentials | None = None
    ) -> Visit:
        """Ask for a server; gives the connection, which may not be answered yet."""
        request = connect_request(client() if credentials is None else credentials, target)
        visit: Visit = await self.connect(Visit(request + first))
        return visit

    def site(self, wanted: int = 0, number: int = 1) -> Site:
        """A server."""
        return Site(self, server(number), wanted)
