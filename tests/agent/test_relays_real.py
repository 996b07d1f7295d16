"""An agent parked at real relays, and clients that come that way, all on loopback."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.cli.support import Site, reactor
from tests.client.world import Talker
from tests.signalling.authority import Authority
from wavesync.agent.parking import MIN_IDLE
from wavesync.agent.relays import Relays
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_path import Relaying, RelayPath
from wavesync.identity.crl import make_crl
from wavesync.identity.ids import new_id
from wavesync.identity.revocations import Revocations
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.messages import Bind
from wavesync.signalling.relay_endpoint import relay_endpoint
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.message import decode

HOST = "127.0.0.1"
BURST = 30


async def until(what: Any, seconds: float = 20.0) -> None:
    """Wait until *what* gives something true."""
    end = reactor.seconds() + seconds
    while not what():
        assert reactor.seconds() < end, "it did not come to that"
        await deferLater(reactor, 0.01)


class RealCase(TestCase):
    """A mediator, and relays as the test starts them."""

    timeout = 60

    def setUp(self) -> None:
        """Start the mediator."""
        self.site = Site(Path(self.mktemp()).absolute())
        self.services: list[Any] = [self.site.mediator]

    def tearDown(self) -> Deferred[Any]:  # type: ignore[override]
        """Stop everything, the newest first."""
        return gatherResults([each.stopService() for each in reversed(self.services)])

    def relay(self, port: int = 0, **settings: Any) -> tuple[RelayService, Relay]:
        """Start a relay."""
        settings.setdefault("listen", (f"{HOST}:{port}",))
        service = RelayService(RelaySettings(name=HOST, drain_grace=0.2, **settings), reactor)
        service.startService()
        self.services.append(service)
        tls = "tls_listen" in settings
        return service, Relay(HOST, service.addresses[-1][1], tls)

    async def stop(self, service: RelayService) -> None:
        """Stop one of them."""
        self.services.remove(service)
        await service.stopService()

    async def session(self, relay: Relay) -> ClientSession:
        """Come through a relay."""
        credentials, target = self.site.client_credentials, self.site.target
        relaying = Relaying(
            reactor, credentials, partial(relay_endpoint, reactor), wall_clock=time.time
        )
        path = RelayPath(
            relaying,
            target,
            [RelayOption(relay)],
            new_id(),
            lambda: connect_session(credentials, target, reactor),
        )
        return await path.open()

    async def echo(self, relay: Relay) -> Talker:
        """Come through a relay and hear the echo of what is said."""
        session = await self.session(relay)
        talker = Talker()
        await session.open("echo", talker)
        await until(lambda: talker.heard == b"hello")
        return talker


class AgentTests(RealCase):
    """The whole agent."""

    async def agent(self, *relays: Relay) -> AgentService:
        """Start an agent that knows these relays and is registered."""
        agent = AgentService(
            reactor,
            self.site.server_credentials,
            {"echo": Factory.forProtocol(Echo)},
            parse_mediators((self.site.url,)),
            settings=AgentSettings(
                allow_loopback=True, relays=tuple(str(relay) for relay in relays)
            ),
        )
        agent.startService()
        self.services.append(agent)
        await agent.links[0].when_registered().addTimeout(20, reactor)
        return agent

    def told(self, agent: AgentService) -> list[Relay]:
        """Where clients are told that the server has parked."""
        registration = self.site.mediator.mediator.registry.choose(self.site.target)
        if registration is None or not registration.signed_addresses:
            return []
        bind = Bind.decode(decode(registration.signed_addresses), allow_loopback=True)
        return [each.relay for each in bind.relays]

    def test_parked(self) -> Deferred[None]:
        """Seven are parked, clients come that way and say something, and seven are parked again."""

        async def test() -> None:
            service, relay = self.relay()
            agent = await self.agent(relay)
            pool = service.house.pool
            await until(lambda: len(pool.idle_of(self.site.target)) == MIN_IDLE)
            await until(lambda: self.told(agent) == [relay])
            talker = await self.echo(relay)
            await until(lambda: len(pool.idle_of(self.site.target)) == MIN_IDLE)
            ((session, peer),) = agent._sessions.serving.items()
            self.assertEqual((session.path_kind, peer.name), ("relay", "alice"))
            await agent.stopService()
            await until(lambda: not pool.parked)
            await until(lambda: talker.lost)
            self.services.remove(agent)

        return Deferred.fromCoroutine(test())

    def test_burst(self) -> Deferred[None]:
        """A burst of clients is served, though only seven connections are there for them."""

        async def test() -> None:
            _, relay = self.relay()
            agent = await self.agent(relay)
            await until(lambda: agent.relays.parkings[relay].idle == MIN_IDLE)
            began = reactor.seconds()
            await gatherResults([Deferred.fromCoroutine(self.echo(relay)) for _ in range(BURST)])
            took = reactor.seconds() - began
            self.assertEqual(len(agent._sessions.serving), BURST)
            self.assertLess(took, 15)
            await until(lambda: agent.relays.parkings[relay].idle >= MIN_IDLE)

        return Deferred.fromCoroutine(test())

    def test_two(self) -> Deferred[None]:
        """When one of two relays goes away, clients are told of the other alone."""

        async def test() -> None:
            first, one = self.relay()
            _, two = self.relay()
            agent = await self.agent(one, two)
            await until(lambda: set(self.told(agent)) == {one, two})
            await self.stop(first)
            await until(lambda: self.told(agent) == [two])
            await self.echo(two)

        return Deferred.fromCoroutine(test())


class RelaysTests(RealCase):
    """Parking alone, without a mediator, and without waits that are drawn by chance."""

    def parked(self, relay: Relay, trust_root: Any = None, clock_error: float = 0.0) -> Relays:
        """Park at a relay."""
        credentials = self.site.server_credentials
        services = NamedServices({"echo": Factory.forProtocol(Echo)})
        self.revocations = Revocations(credentials.system_key_bytes)
        relays = Relays(
            reactor,
            credentials,
            partial(relay_endpoint, reactor, trust_root=trust_root),
            ServerSessionFactory(credentials, services, reactor),
            lambda: None,
            own=(relay,),
            wall_clock=lambda: time.time() + clock_error,
            revocations=self.revocations,
            chance=lambda: 0.0,
        )
        relays.start()
        self.addCleanup(relays.stop)
        return relays

    def test_restart(self) -> Deferred[None]:
        """After a relay's restart the agent is back by itself."""

        async def test() -> None:
            service, relay = self.relay()
            relays = self.parked(relay)
            await until(lambda: relays.parkings[relay].idle == MIN_IDLE)
            service.connections.abort_all()
            await self.stop(service)
            await until(lambda: relays.parkings[relay].idle == 0)
            service, _ = self.relay(relay.port)
            began = reactor.seconds()
            await until(lambda: relays.parkings[relay].idle == MIN_IDLE, 30)
            self.assertLess(reactor.seconds() - began, 20)
            relays.stop()

        return Deferred.fromCoroutine(test())

    def test_wrong_clock(self) -> Deferred[None]:
        """An agent whose clock is two days off signs over the relay's nonce, and has parked."""

        async def test() -> None:
            _, relay = self.relay()
            relays = self.parked(relay, clock_error=2 * 86400)
            await until(lambda: relays.parkings[relay].idle == MIN_IDLE)
            relays.stop()

        return Deferred.fromCoroutine(test())

    def test_tls(self) -> Deferred[None]:
        """The same over TLS, with the relay's own certificate."""

        async def test() -> None:
            authority = Authority()
            pem = Path(self.mktemp()).absolute()
            pem.write_bytes(authority.certify(HOST))
            service, relay = self.relay(
                listen=(), tls_listen=(f"{HOST}:0",), certificate=str(pem), key=str(pem)
            )
            roots = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
            relays = self.parked(relay, roots)
            await until(lambda: relays.parkings[relay].idle == MIN_IDLE)
            self.assertGreater(relays.parkings[relay].round_trip, 0)
            relays.stop()
            await until(lambda: not service.house.pool.parked)

        return Deferred.fromCoroutine(test())

    def test_revocations(self) -> Deferred[None]:
        """The relay learns from the agent who was revoked."""

        async def test() -> None:
            service, relay = self.relay()
            relays = self.parked(relay)
            await until(lambda: relays.parkings[relay].idle == MIN_IDLE)
            serial = self.site.client_credentials.leaf.serial
            crl = make_crl(
                self.site.system.private_key, {serial: time.time()}, number=3, now=time.time()
            )
            self.revocations.offer(crl.der)
            relays.revocations_changed()
            await until(lambda: service.house.lists.number(self.site.system.system) == 3)
            relays.stop()

        return Deferred.fromCoroutine(test())
