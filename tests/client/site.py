"""A whole system on real sockets whose ends are led to mediator and relay by what a test says."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.relay.world import until
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.signalling.urls import parse_mediators
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.place import METHODS, PATH
from wavesync.tunnel.proxies import Proxies, ProxySettings
from wavesync.tunnel.urls import TunnelURL

__all__ = ["HOST", "Middlebox", "SiteCase", "TunnelsOnly", "reactor"]

HOST = "127.0.0.1"

reactor: Any = _reactor


class TunnelsOnly(Destinations):
    """Reaches relays through tunnels alone."""

    def relay(self, url: TunnelURL, **others: Any) -> AnyWayEndpoint:
        """Make the endpoint of a relay."""
        return self.mediator(str(url), (), (url,), **others)


class SiteCase(TestCase):
    """Runs a mediator, a relay, an agent, and clients."""

    timeout = 90

    def setUp(self) -> None:
        """Nothing runs yet."""
        self.services: list[Any] = []
        self.addCleanup(self.stop_services)

    def stop_services(self) -> Deferred[None]:
        """Stop everything, the newest first."""

        async def stop() -> None:
            while self.services:
                await self.services.pop().stopService()

        return Deferred.fromCoroutine(stop())

    def run_service(self, service: Any) -> Any:
        """Start it; it is stopped with the test."""
        service.startService()
        self.services.append(service)
        return service

    def start_both(
        self, mediator: Mapping[str, Any] | None = None, relay: Mapping[str, Any] | None = None
    ) -> None:
        """Run a relay and a mediator, at free ports.

        :param mediator: further settings.
        :param relay: likewise.
        """
        listen = (f"{HOST}:0",)
        self.relay: RelayService = self.run_service(
            RelayService(RelaySettings(name=HOST, listen=listen, **(relay or {})), reactor)
        )
        settings = {"name": HOST, "listen": listen, "http_listen": listen, **(mediator or {})}
        self.mediator: MediatorService = self.run_service(
            MediatorService(MediatorSettings(**settings), reactor)
        )

    def start_agent(
        self, urls: Sequence[str], relays: Sequence[str], destinations: Destinations
    ) -> AgentService:
        """Run an agent, and make the credentials of a client."""
        self.system = SystemCredentials.create(tuple(urls))
        self.server = self.system.add_server(now=time.time())
        self.client = self.system.add_client("alice", now=time.time())
        settings = AgentSettings(
            allow_loopback=True, lan=False, doctor=False, relays=tuple(relays) or "none"
        )
        agent: AgentService = self.run_service(
            AgentService(
                reactor,
                self.server,
                {"echo": Factory.forProtocol(Echo)},
                parse_mediators(urls),
                settings=settings,
                destinations=destinations,
            )
        )
        return agent

    async def parked(self, agent: AgentService) -> None:
        """Wait until an agent is parked at a relay, and the mediator knows."""

        def told() -> bool:
            registration = self.mediator.mediator.registry.choose(self.server.target)
            return registration is not None and bool(registration.parked)

        await until(lambda: bool(agent.relays.parked))
        await until(told)

    def destinations(
        self,
        *,
        proxy: str = "",
        trust_root: Any = None,
        methods: Sequence[str] = METHODS,
        tunnels_only: bool = False,
    ) -> Destinations:
        """Make what leads to them; nothing is known of any way."""
        ladders = Ladders(None, clock=reactor.seconds, wall_clock=time.time, network=lambda: "here")
        kind = TunnelsOnly if tunnels_only else Destinations
        return kind(
            reactor,
            Proxies(ProxySettings(url=proxy), {}),
            ladders,
            os.urandom,
            trust_root=trust_root,
            methods=methods,
        )

    def connector(self, destinations: Destinations, *, mediators: Sequence[str] = ()) -> Connector:
        """Make a client that takes relays only; it is closed with the test."""
        connector = open_connector(
            reactor,
            self.client,
            mediators=mediators,
            paths=("relay",),
            allow_loopback=True,
            destinations=destinations,
        )
        self.addCleanup(connector.close)
        return connector


class _Behind(Protocol):
    """The connection to what is behind the box."""

    def __init__(self, judge: "_Judge") -> None:
        self._judge = judge

    def connectionMade(self) -> None:
        """Pass on what was said meanwhile."""
        self._judge.passes_on(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass on."""
        self._judge.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self._judge.transport.loseConnection()  # type: ignore[union-attr]


class _Judge(Protocol):
    """Looks at what a client says first; passes tunnels on, and answers all else itself."""

    def __init__(self, box: "Middlebox", behind: Address) -> None:
        self._box = box
        self._place = behind
        self._said = b""
        self._passed = False
        self._behind: _Behind | None = None

    def connectionMade(self) -> None:
        """Be closed with the box."""
        self._box.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Judge, or pass on."""
        if self._behind is not None:
            self._behind.transport.write(data)  # type: ignore[union-attr]
            return
        self._said += data
        if self._passed:
            return
        tunnel = b"\r\n" in self._said and PATH.encode() in self._said
        if self._box.open or (self._box.tunnels and tunnel):
            self._passed = True
            endpoint = HostnameEndpoint(reactor, *self._place)
            connectProtocol(endpoint, _Behind(self)).addErrback(lambda _: None)
        elif len(self._said) >= 20:
            self._box.judged += 1
            assert self.transport is not None
            self.transport.write(self._box.answer)
            self.transport.loseConnection()

    def passes_on(self, behind: _Behind) -> None:
        """The connection onwards stands."""
        self._behind = behind
        behind.transport.write(self._said)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self._box.connections.discard(self)
        if self._behind is not None:
            self._behind.transport.loseConnection()  # type: ignore[union-attr]


class Middlebox(ServerFactory):
    """What stands between a host and all others: a firewall that looks into connections, or a portal.

    :param answer: what it says to whoever is not let through.
    :param tunnels: whether it takes tunnels for web traffic, and lets them pass.
    :ivar open: it lets everything pass from now on.
    :ivar judged: connections that it answered itself.
    """

    noisy = False

    def __init__(self, answer: bytes, *, tunnels: bool) -> None:
        self.answer = answer
        self.tunnels = tunnels
        self.open = False
        self.judged = 0
        self.connections: set[Protocol] = set()
        self._ports: list[Any] = []

    def before(self, behind: Address) -> int:
        """Stand before an address; tells at which port."""
        factory = ServerFactory.forProtocol(lambda: _Judge(self, behind))
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface=HOST)
        self._ports.append(port)
        return int(port.getHost().port)

    def startService(self) -> None:
        """Nothing: it stands where it was put."""

    async def stopService(self) -> None:
        """Go away."""
        for port in self._ports:
            await port.stopListening()
        for each in list(self.connections):
            each.transport.abortConnection()  # type: ignore[union-attr]
