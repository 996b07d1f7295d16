"""Tunnels in memory: a server of them, clients, and connections that can be looked at."""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.session.support import PathEnd, Recorder
from wavesync.testing.time import run_for
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.methods import METHODS, Place, open_tunnel
from wavesync.tunnel.place import PATH
from wavesync.tunnel.server import TunnelServer

__all__ = [
    "HELLO",
    "PLACE",
    "SIZE",
    "STREAMS",
    "Gusher",
    "RawClient",
    "StreamEnd",
    "World",
    "request",
]

STREAMS = tuple(method for method in METHODS if method != "poll")
"""The methods that this world carries."""

PLACE = Place("mediator.example:3355", False)
HELLO = b"WST1" + bytes(range(12))
SIZE = 10**12
CLIENT = "192.0.2.7"
SERVER = IPv4Address("TCP", "198.51.100.1", 3355)


def request(
    verb: str, method: str, tunnel: str = "ab" * 16, *fields: str, version: str = "1.1"
) -> bytes:
    """A request written by hand."""
    lines = [f"{verb} {PATH}{method} HTTP/{version}", "Host: mediator.example:3355"]
    lines += [f"Wavesync-Tunnel: {tunnel}", *fields]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


class StreamEnd(PathEnd):
    """One end of a TCP connection in memory; its end waits until what came before is read."""

    ended = told = False
    change: Callable[[bytes], bytes] | None = None
    """What something on the way makes of all that is written."""

    def __init__(self, name: str, host: IAddress, peer: IAddress) -> None:
        super().__init__(name)
        self._host = host
        self._peer = peer

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._host

    def getPeer(self) -> IAddress:
        """The other one's."""
        return self._peer

    def write(self, data: bytes) -> None:
        """Send."""
        super().write(data if self.change is None else self.change(data))

    def abortConnection(self) -> None:
        """Close now; Twisted's TLS does not bear that once the connection is gone."""
        assert not self.told
        super().abortConnection()

    def lose(self, reason: Exception) -> None:
        """The connection of this end is gone."""
        self.told = self.told or (not self.lost and self.protocol is not None)
        super().lose(reason)

    def step(self, limit: int) -> bool:
        """Carry bytes to the other end; whether anything happened."""
        if self.ended and not self.lost and self.reading:
            self.lose(ConnectionDone())
            return True
        if self.buffer or not self.closed or self.producer is not None or self.lost:
            return super().step(limit) if self.buffer else False
        self.lose(ConnectionDone())
        self.other.ended = True  # type: ignore[attr-defined]
        return True


class RawClient(Recorder):
    """A client that says what the test has it say."""

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)


@implementer(IPushProducer)
class Gusher(Recorder):
    """Writes as long as it may, up to a limit.

    :ivar written: bytes.
    """

    def __init__(self, most: int = 10_000_000) -> None:
        super().__init__()
        self.most = most
        self.written = 0
        self.paused = False

    def start(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, True)
        if not self.paused:
            self.resumeProducing()

    def pauseProducing(self) -> None:
        """Stop for now (IPushProducer)."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Write (IPushProducer)."""
        self.paused = False
        while not self.paused and self.written < self.most:
            self.transport.write(bytes([self.written // 8192 % 251]) * 8192)
            self.written += 8192
        if self.written >= self.most:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """It is over (IPushProducer)."""


class World:
    """A server and its clients.

    :param limit: bytes that a connection carries at a time.
    :ivar guests: the protocols of the server's tunnels, in order.
    :ivar paths: both ends of each connection.
    :ivar make: makes the protocol for each of the server's tunnels.
    """

    def __init__(self, limits: TunnelLimits | None = None, limit: int = 65536) -> None:
        self.clock = Clock()
        self.limit = limit
        self.guests: list[Recorder] = []
        self.paths: list[tuple[StreamEnd, StreamEnd]] = []
        self.make: Callable[[], Recorder | None] = Recorder
        self.told: list[IAddress | None] = []
        self.random = Random(7).randbytes
        world = self

        class Guests(Factory):
            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> Any:
                world.told.append(addr)
                made = world.make()
                if made is not None:
                    world.guests.append(made)
                return made

        self.server = TunnelServer(Guests(), self.clock, limits=limits)
        self.front = FrontFactory(self.server, self.clock)

    def join(self, client: IProtocol, server: IProtocol | None, host: str = CLIENT) -> None:
        """Connect two protocols; a server's that is None closes at once."""
        port = 40_000 + len(self.paths)
        there = (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
        ends = StreamEnd("client", there, SERVER), StreamEnd("server", SERVER, there)
        ends[0].other, ends[1].other = ends[1], ends[0]
        self.paths.append(ends)
        accepted = Recorder() if server is None else server
        ends[0].protocol, ends[1].protocol = client, accepted
        accepted.makeConnection(ends[1])
        client.makeConnection(ends[0])
        if server is None:
            ends[1].loseConnection()

    def raw(self, data: bytes = b"", host: str = CLIENT) -> RawClient:
        """A client that has connected, and said something."""
        client = RawClient()
        self.join(client, self.front.buildProtocol(None), host)
        if data:
            client.say(data)
        self.pump()
        return client

    def dial(
        self, answering: Callable[[], IProtocol | None] | None = None
    ) -> IStreamClientEndpoint:
        """The way to the server, or to another one.

        :param answering: makes the other one's protocols.
        """
        return _Dial(self, answering)

    def open(
        self,
        method: str,
        protocol: IProtocol | None = None,
        *,
        dial: IStreamClientEndpoint | None = None,
        place: Place = PLACE,
        timeout: float = 5.0,
    ) -> Deferred[IProtocol]:
        """Begin to open a tunnel."""
        made = Recorder() if protocol is None else protocol

        class One(Factory):
            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> Any:
                return made

        factory: IProtocolFactory = One()
        return open_tunnel(
            self.clock,
            method,
            place,
            self.dial() if dial is None else dial,
            factory,
            timeout=timeout,
            random=self.random,
        )

    def pump(self) -> None:
        """Carry bytes and run what is due at once until nothing moves."""
        for _ in range(300_000):
            self.clock.advance(0)
            moved = False
            for ends in list(self.paths):
                for end in ends:
                    if end.protocol is not None:
                        moved = end.step(self.limit) or moved
            due = any(
                call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()
            )
            if not moved and not due:
                return
        raise AssertionError("the world does not come to rest")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.pump()
        run_for(self.clock, seconds)
        self.pump()


@implementer(IStreamClientEndpoint)
class _Dial:
    def __init__(self, world: World, answering: Callable[[], IProtocol | None] | None) -> None:
        self._world = world
        self._answering = answering

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        client = protocolFactory.buildProtocol(SERVER)
        assert client is not None
        if self._answering is None:
            server: IProtocol | None = self._world.front.buildProtocol(None)
        else:
            server = self._answering()
        self._world.join(client, server)
        return succeed(client)
