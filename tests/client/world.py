"""A client, a server and a mediator on a network in memory, on virtual time."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocolFactory,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.wire import Echo
from zope.interface import implementer

from tests.signalling.provers import NOW, client, prover, server
from wavesync.client.connector import Connector
from wavesync.client.relay_path import Relaying
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import Address
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.messages import Bind, Connect, ConnectAnswer, ConnectionResult, Refusal
from wavesync.signalling.numbers import Method
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, StunError, decode
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.port import Port

__all__ = ["MemoryReactor", "Talker", "World"]

MEDIATOR_HOST, SERVER_HOST, CLIENT_HOST = "192.0.2.1", "198.51.100.1", "203.0.113.1"


@implementer(IHostResolution)
class _Resolution:
    """A search that is over."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Too late."""


@implementer(IHostnameResolver)
class _Resolver:
    """Knows the names that it is told."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look a name up, at once."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        hosts = self.known.get(hostName, [hostName] if hostName[0].isdigit() else [])
        for host in hosts:
            address: IAddress = IPv4Address("TCP", host, portNumber)
            resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return resolution


class MemoryReactor(MemoryReactorClock):
    """Virtual time, no sockets, and names.

    :ivar names: what names resolve to.
    :ivar served: who takes TCP connections at a host and port, with the factory of the other end; at
        all others nothing ever comes of them.
    """

    def __init__(self) -> None:
        super().__init__()
        resolver = _Resolver()
        self.names = resolver.known
        self.nameResolver = resolver
        self.served: dict[Address, Callable[[IProtocolFactory], None]] = {}

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> Any:
        """Connect, a moment later."""
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)
        if (host, port) in self.served:
            self.callLater(0.01, self.served[host, port], factory)
        return connector


class Talker(Protocol):
    """Says something and keeps what comes back."""

    def __init__(self, words: bytes = b"hello") -> None:
        self.words = words
        self.heard = b""
        self.lost = False

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self.words)

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        """Note it."""
        self.lost = True


class World:
    """Three hosts, 10 ms apart.

    :param mediator_tcp: TCP port of the mediator, at which nobody answers.
    :ivar requests: the ``connect`` requests that the mediator got.
    :ivar results: the ``connectionResult`` indications that it got.
    :ivar answering: whether the mediator answers.
    :ivar punching: whether the server punches when it is told.
    :ivar refusal: what the mediator answers with instead, if it is set.
    :ivar start_delay: what the client is told of when the server begins to punch, seconds.
    :ivar told_after: seconds after which the server is told.
    :ivar relays: where the server says that it has parked.
    :ivar news: number and bytes of the revocation list that the mediator hands out.
    """

    def __init__(
        self,
        *,
        tcp: tuple[Address, ...] = (),
        own: Sequence[Address] | None = None,
        start_delay: float = 0.0,
        told_after: float = 0.0,
        mediator_tcp: int | None = None,
        relays: Sequence[Relay] = (),
        relaying: "Callable[[World], Relaying] | None" = None,
        **options: Any,
    ) -> None:
        self.reactor = MemoryReactor()
        self.relays = tuple(relays)
        if relaying is not None:
            options["relaying"] = relaying(self)
        self.start_delay = start_delay
        self.told_after = told_after
        self._own = own
        self._mediator_tcp = mediator_tcp
        self.network = Network(self.reactor, delay=0.01, random=Random(1))
        self.mediator_port = Port(
            self.reactor,
            self.network.host(MEDIATOR_HOST).carrier(3345),
            stun_handler=self._mediator_received,
        )
        self.server_port = Port(self.reactor, self.network.host(SERVER_HOST).carrier(4100))
        self.client_port = Port(self.reactor, self.network.host(CLIENT_HOST).carrier(5100))
        self.tcp = tcp
        self.requests: list[Connect] = []
        self.results: list[ConnectionResult] = []
        self.answering = self.punching = True
        self.news = 0, b""
        self.refusal: Refusal | None = None
        self.token = 100
        self.sessions = ServerSessionFactory(
            server(),
            NamedServices({"echo": Factory.forProtocol(Echo)}),
            self.reactor,
            wall_clock=self.wall_clock,
        )
        self.server_port.listen(self.sessions)
        self.connector = self.make_connector(**options)

    def wall_clock(self) -> float:
        """Everybody's clock."""
        return NOW + float(self.reactor.seconds())

    def make_connector(self, credentials: Credentials | None = None, **options: Any) -> Connector:
        """A client's connector on the client's port."""
        connector = Connector(
            self.reactor,  # type: ignore[arg-type]
            client() if credentials is None else credentials,
            [Mediator(MEDIATOR_HOST, 3345, self._mediator_tcp)],
            port=self.client_port,
            own_addresses=lambda: [self.client_port.address] if self._own is None else self._own,
            wall_clock=self.wall_clock,
            **options,
        )
        self.client_port.stun_handler = connector.stun_received
        return connector

    def run(self, seconds: float) -> None:
        """Let time pass."""
        run_for(self.reactor, seconds)

    def open(self, service: str = "echo", words: bytes = b"hello") -> tuple[Talker, Deferred[Any]]:
        """Begin to connect."""
        talker = Talker(words)
        return talker, self.connector.connect(server().target, service, talker)

    def shut(self) -> list[Any]:
        """Close everything; the calls that are left in the reactor."""
        self.connector.close()
        self.run(2)
        for port in (self.client_port, self.server_port, self.mediator_port):
            port.close()
        self.run(15)
        return list(self.reactor.getDelayedCalls())

    def _mediator_received(self, data: bytes, source: Address) -> None:
        try:
            message = decode(data)
        except StunError:
            return
        if message.method == Method.CONNECTION_RESULT:
            self.results.append(ConnectionResult.decode(message))
        elif message.method == Method.CONNECT:
            self._introduce(message, source)

    def _punch(self, source: Address, token: int) -> None:
        meeting = self.server_port.rendezvous([source], self.sessions, token=token, timeout=5)
        meeting.connected.addErrback(lambda _: None)

    def _introduce(self, message: Message, source: Address) -> None:
        connect = Connect.decode(message)
        self.requests.append(connect)
        if not self.answering:
            return
        if self.refusal is not None:
            data = self.refusal.encode(message.method, message.transaction_id)
            self.mediator_port.send_stun(data, source)
            return
        self.token += 1
        if self.punching and self.told_after:
            self.reactor.callLater(self.told_after, self._punch, source, self.token)
        elif self.punching:
            self._punch(source, self.token)
        parked = tuple(ParkedAt(relay) for relay in self.relays)
        signed = Bind(1, self.tcp, (), parked).encode(
            b"b" * 12, prover(server(), now=self.wall_clock(), audience=MEDIATOR_HOST)
        )
        answer = ConnectAnswer(
            connect.connection_id,
            server().target,
            signed,
            (self.server_port.address,),
            self.token,
            self.start_delay,
            source,
            *self.news,
        )
        self.mediator_port.send_stun(answer.encode(message.transaction_id), source)
