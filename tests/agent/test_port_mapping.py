"""Tests for :mod:`wavesync.agent.port_mapping`."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from tests.cli.support import Site, reactor
from tests.portmap.routers import EXTERNAL, GATEWAY, Router
from wavesync.agent.metrics import AgentMetrics
from wavesync.agent.port_mapping import OFF, PortMapping
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.interfaces import Address
from wavesync.portmap.service import PortMapper
from wavesync.portmap.words import Reason
from wavesync.signalling.messages import Bind
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.message import decode


class PortMappingTests(TestCase):
    """An agent behind a router that maps ports."""

    timeout = 30

    def setUp(self) -> None:
        """Start a mediator and the router."""
        self.site = Site(Path(self.mktemp()).absolute())
        self.clock = Clock()
        self.router = Router(self.clock, "PCP")
        self.mapper = PortMapper(
            self.clock,
            lambda: None,
            gateways=lambda: [GATEWAY],
            methods=self.router.methods,
            fraction=lambda: 0.0,
        )

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop the mediator."""
        return self.site.mediator.stopService()

    def agent(self, **settings: Any) -> AgentService:
        """An agent behind the router."""
        return AgentService(
            reactor,
            self.site.server_credentials,
            {},
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True, **settings),
            mapper=self.mapper,
        )

    def figures(self, agent: AgentService) -> dict[str, float]:
        """What is shown of port mapping."""
        return {
            "/".join(sample.labels.values()): sample.value
            for metric in AgentMetrics(agent).collect()
            for sample in metric.samples
            if sample.name in ("wavesync_agent_port_mapping", "wavesync_agent_forwarded_ports")
        }

    def test_published(self) -> Deferred[None]:
        """Both ports are mapped while it runs, told to the mediator after the configured addresses,
        and given back when it stops."""

        async def test() -> None:
            agent = self.agent(public_addresses=("203.0.113.1:7001",))
            self.assertEqual(self.figures(agent)["no-gateway"], 1)
            agent.startService()
            assert agent.port is not None
            tcp: Address = (EXTERNAL, agent.tcp_port)
            udp: Address = (EXTERNAL, agent.port.address[1])
            listed = agent.addresses()
            self.assertEqual(listed[0][:2], (("203.0.113.1", 7001), tcp))
            self.assertEqual(listed[1][0], udp)
            self.assertIn(("127.0.0.1", agent.tcp_port), listed[0])
            await agent.links[0].when_registered().addTimeout(10, reactor)
            registration = self.site.mediator.mediator.registry.choose(self.site.target)
            assert registration is not None
            while not registration.signed_addresses:
                await deferLater(reactor, 0.01)
            bind = Bind.decode(decode(registration.signed_addresses), allow_loopback=True)
            self.assertEqual((bind.tcp[1], bind.udp[0]), (tcp, udp))
            figures = self.figures(agent)
            self.assertEqual(
                [figures[each] for each in ("mapped", "tcp", "udp", OFF)], [1, 1, 1, 0]
            )
            await agent.stopService()
            self.assertEqual(self.router.mappings, {})

        return Deferred.fromCoroutine(test())

    def test_fresh_port(self) -> Deferred[None]:
        """A fresh UDP port is mapped, and told in place of the old one; that one is mapped for as long
        as it is open: clients that were told of it may be on their way."""

        async def test() -> None:
            agent = self.agent()
            agent.startService()
            assert agent.ports is not None and agent.port is not None
            old = agent.port.address[1]
            agent.ports.unheard()
            self.clock.advance(0)
            new = agent.port.address[1]
            self.assertNotEqual(new, old)
            both = {(6, agent.tcp_port), (17, new), (17, old)}
            self.assertEqual(set(self.router.mappings), both)
            self.assertEqual(agent.addresses()[1][0], (EXTERNAL, new))
            self.assertNotIn((EXTERNAL, old), agent.addresses()[1])
            assert agent.ports._look is not None
            agent.ports._look.reset(0)  # nobody uses it
            while len(list(agent.ports)) > 1:
                await deferLater(reactor, 0.01)
            self.clock.advance(0)
            self.assertEqual(set(self.router.mappings), {(6, agent.tcp_port), (17, new)})
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_same_address(self) -> Deferred[None]:
        """An address that is configured and mapped is told once."""

        async def test() -> None:
            agent = self.agent(public_addresses=(f"{EXTERNAL}:7001",))
            self.router._map = lambda *args: 7001  # type: ignore[method-assign]
            agent.startService()
            self.assertEqual(agent.addresses()[0].count((EXTERNAL, 7001)), 1)
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_refused(self) -> Deferred[None]:
        """A router that does not want to is shown in the figures, and all goes on without."""

        async def test() -> None:
            self.router.refuses = 2
            agent = self.agent()
            agent.startService()
            self.clock.pump([0.25] * 20)
            self.assertEqual(agent.port_mapping.state, Reason.REFUSED)
            self.assertEqual(self.figures(agent)["refused"], 1)
            self.assertIn("not allowed", agent.port_mapping.standing[0].why)
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_switched_off(self) -> None:
        """Nothing is asked where settings say so, or where everything is on one host; by default
        routers are asked."""
        for settings, off in (
            (AgentSettings(port_mapping=False), True),
            (AgentSettings(allow_loopback=True), True),
            (AgentSettings(), False),
        ):
            mapping = PortMapping(reactor, settings, lambda: None, tuple)
            self.assertEqual(mapping.state == OFF, off)
            self.assertEqual((mapping.addresses, mapping.standing), (((), ()), []))
        mapping = PortMapping(reactor, AgentSettings(port_mapping=False), lambda: None, tuple)
        mapping.start(1, 2)
        mapping.moved([3, 2])
        self.successResultOf(mapping.stop())
