"""A relay in memory, beside the world of :mod:`tests.client.world`."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.client.world import World
from tests.signalling.provers import client
from wavesync.client.relay_path import Relaying
from wavesync.identity.ids import Target
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_urls import Relay, parse_relay
from wavesync.signalling.relay_wire import RequestReader

__all__ = ["RELAY", "MemoryRelay", "StreamEnd", "relayed_world"]

RELAY = parse_relay("http://192.0.2.9:3356")


@implementer(ITransport)
class StreamEnd:
    """One end of a stream in memory; bytes take a while."""

    disconnecting = False
    broken = lost = False

    def __init__(self, clock: IReactorTime, delay: float, address: str) -> None:
        self.take: Callable[[bytes], None] = lambda data: None
        self.gone: Callable[[], None] = lambda: None
        self._clock = clock
        self._delay = delay
        self._address = IPv4Address("TCP", address, 3356)
        self._closed = False

    def write(self, data: bytes) -> None:
        """It arrives later."""
        if not self._closed:
            self._clock.callLater(self._delay, self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if not self.broken:
            self.take(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """The same."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """The other end learns of it later."""
        if not self._closed:
            self._closed = True
            self._clock.callLater(self._delay, lambda: self.gone())

    abortConnection = loseConnection

    def getPeer(self) -> IPv4Address:
        """Where the other end is."""
        return self._address

    getHost = getPeer

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """There is always room."""

    def unregisterProducer(self) -> None:
        """There always was."""

    def pauseProducing(self) -> None:
        """Nothing stops."""

    def resumeProducing(self) -> None:
        """Nothing did."""


class MemoryRelay:
    """Joins clients with one server's sessions, a virtual way away.

    :param delay: seconds from client to relay, and from relay to server.
    :ivar asked: what clients asked for.
    :ivar up: whether it can be connected to.
    :ivar answer: what it answers with.
    :ivar has: whether the server has parked there; else the answer is 404.
    :ivar silent: whether it takes requests and never answers.
    :ivar ends: both ends of each connection, and what hears of it.
    :ivar elsewhere: URLs of relays that do not have it, whatever :attr:`has` says.
    """

    def __init__(self, world: World, delay: float = 0.01) -> None:
        self.asked: list[Target | None] = []
        self.dialled: list[Relay] = []
        self.up = self.has = True
        self.silent = False
        self.elsewhere: set[str] = set()
        self._world = world
        self._delay = delay
        self.ends: list[tuple[StreamEnd, IProtocol]] = []

    @property
    def standing(self) -> int:
        """How many connections of clients and of the server there are."""
        return sum(not end.lost for end, _ in self.ends)

    def dial(self, relay: Relay) -> IStreamClientEndpoint:
        """Make the endpoint of a relay."""
        return _Endpoint(self, relay)

    def connect(self, which: Relay, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """A client connects: one round trip."""
        connecting: Deferred[IProtocol] = Deferred()
        has = str(which) not in self.elsewhere
        self._world.reactor.callLater(2 * self._delay, self._stand, connecting, factory, has)
        return connecting

    def crash(self) -> None:
        """End all connections, and take no more."""
        self.up = False
        ends, self.ends = self.ends, []
        for end, protocol in ends:
            end.broken = True
            if not end.lost:
                end.lost = True
                protocol.connectionLost(Failure(ConnectionDone()))

    def _stand(self, connecting: Deferred[IProtocol], factory: IProtocolFactory, has: bool) -> None:
        if connecting.called:
            return
        if not self.up:
            connecting.errback(ConnectionRefusedError())
            return
        clock = self._world.reactor
        leg = factory.buildProtocol(IPv4Address("TCP", RELAY.host, RELAY.port))
        assert leg is not None
        ours = StreamEnd(clock, self._delay, RELAY.host)
        reader = RequestReader()
        self.ends.append((ours, leg))

        def end(of: StreamEnd, protocol: IProtocol) -> Callable[[], None]:
            def lose() -> None:
                if not of.lost:
                    of.lost = of.broken = True
                    protocol.connectionLost(Failure(ConnectionDone()))

            return lose

        def tell(data: bytes) -> None:
            if not ours.lost:
                leg.dataReceived(data)

        def first(data: bytes) -> None:
            request = reader.feed(data)
            if request is None:
                return
            self.asked.append(request.target)
            if self.silent:
                ours.take = lambda _: None
                return
            found = has and self.has
            answer = RelayAnswer(101 if found else 404)
            clock.callLater(self._delay, tell, answer.encode())
            if not found:
                clock.callLater(self._delay, end(ours, leg))
                ours.take = lambda _: None
                return
            session = self._world.sessions.buildProtocol(IPv4Address("TCP", RELAY.host, 1))
            assert session is not None
            theirs = StreamEnd(clock, 2 * self._delay, RELAY.host)
            self.ends.append((theirs, session))
            theirs.take, theirs.gone = tell, end(ours, leg)
            ours.gone = end(theirs, session)

            def pass_on(more: bytes) -> None:
                clock.callLater(self._delay, deliver, more)

            def deliver(more: bytes) -> None:
                if not theirs.lost:
                    session.dataReceived(more)

            ours.take = pass_on
            session.makeConnection(theirs)
            if reader.rest:
                pass_on(reader.rest)

        ours.take = first
        leg.makeConnection(ours)
        connecting.callback(leg)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Leads to the relay."""

    def __init__(self, relay: MemoryRelay, which: Relay) -> None:
        self._relay, self._which = relay, which

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self._relay.dialled.append(self._which)
        return self._relay.connect(self._which, protocolFactory)


def relayed_world(*, delay: float = 0.01, **options: Any) -> tuple[World, MemoryRelay]:
    """A world whose server is at a relay, which the client knows how to dial."""
    relays: list[MemoryRelay] = []

    def make(world: World) -> Relaying:
        relay = MemoryRelay(world, delay)
        relays.append(relay)
        return Relaying(
            world.reactor,
            client(),
            relay.dial,
            wall_clock=world.wall_clock,
        )

    world = World(relaying=make, relays=(RELAY,), **options)
    return world, relays[0]
