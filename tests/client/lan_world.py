"""A network in memory that a client shares with servers, beside the world of :mod:`tests.client.world`."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from tests.client.relay_world import StreamEnd
from tests.client.world import World
from tests.signalling.provers import server
from wavesync.interfaces import Address
from wavesync.lan.asking import SEARCH_TIME

__all__ = ["HERE", "MemoryLAN"]

HERE: Address = ("10.0.0.5", 7001)
"""Where the server accepts on the network that it shares with the client."""


class MemoryLAN:
    """Finds what the test says, and carries TCP.

    :param world: what it is beside.
    :ivar answers: seconds after which somebody answers a search: the server's id, and its address.
    :ivar searches: whom was searched for.
    :ivar cancelled: searches that were ended early.
    :ivar links: interfaces that are asked on.
    :ivar delay: seconds that bytes take.
    :ivar ends: both ends of each connection.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[float, str, Address]] = [(0.002, server().server or "", HERE)]
        self.searches: list[str | None] = []
        self.cancelled = 0
        self.links = 1
        self.delay = 0.0005
        self.ends: list[tuple[StreamEnd, IProtocol]] = []
        self._world: World | None = None

    def world(self, **options: Any) -> World:
        """Make a world whose client is on this network, and whose server accepts at :data:`HERE`."""
        self._world = world = World(finder=self, **options)
        self.serve(HERE, world.sessions)
        return world

    def serve(self, address: Address, sessions: IProtocolFactory) -> None:
        """Somebody accepts there."""
        assert self._world is not None
        self._world.reactor.served[address] = lambda factory: self._join(factory, sessions, address)

    def search(self, wanted: str | None, found: Callable[[str, Address], None]) -> Deferred[int]:
        """Search (:class:`wavesync.client.lan_path.Finder`)."""
        assert self._world is not None
        clock = self._world.reactor
        self.searches.append(wanted)

        def stop(_: Deferred[int]) -> None:
            self.cancelled += 1
            for call in calls:
                if call.active():
                    call.cancel()

        done: Deferred[int] = Deferred(stop)
        calls = [clock.callLater(after, found, *what) for after, *what in self.answers]
        calls.append(clock.callLater(SEARCH_TIME, done.callback, self.links))
        return done

    def crash(self) -> None:
        """End all connections."""
        for _, protocol in self.ends:
            self._lose(protocol)()

    def _join(self, factory: IProtocolFactory, sessions: IProtocolFactory, at: Address) -> None:
        assert self._world is not None
        clock = self._world.reactor
        address = IPv4Address("TCP", *at)
        client, session = factory.buildProtocol(address), sessions.buildProtocol(address)
        if client is None or session is None:
            return
        ours, theirs = (StreamEnd(clock, self.delay, at[0]) for _ in range(2))
        for end, other in ((ours, session), (theirs, client)):
            end.take, end.gone = self._to(other), self._lose(other)
        self.ends += [(ours, client), (theirs, session)]
        client.makeConnection(ours)
        session.makeConnection(theirs)

    def _to(self, protocol: IProtocol) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            if not self._end(protocol).lost:
                protocol.dataReceived(data)

        return take

    def _lose(self, protocol: IProtocol) -> Callable[[], None]:
        def lose() -> None:
            end = self._end(protocol)
            if not end.lost:
                end.lost = True
                protocol.connectionLost(Failure(ConnectionDone()))
                end.loseConnection()

        return lose

    def _end(self, protocol: IProtocol) -> StreamEnd:
        return next(end for end, each in self.ends if each is protocol)
