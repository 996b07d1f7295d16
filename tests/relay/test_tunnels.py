"""Relays and mediators whose servers come through tunnels over HTTP: limits, and the end."""

from twisted.internet.defer import Deferred

from tests.agent.support import LogListener
from tests.client.site import HOST, SiteCase, reactor
from tests.relay.world import until
from wavesync.agent.service import AgentService
from wavesync.mediator.service import MediatorService
from wavesync.relay.service import RelayService
from wavesync.relay.settings import Limits, Tunnels


class TunnelTests(SiteCase):
    """A relay and a mediator with an agent that comes through tunnels alone."""

    def start(self, method: str, **relay: object) -> AgentService:
        """Run all three."""
        self.start_both(relay=relay)
        at = [self.mediator.http_addresses[0][1], self.relay.addresses[0][1]]
        mediator, parked = (f"http://{HOST}:{port}" for port in at)
        ways = self.destinations(methods=(method,), tunnels_only=True)
        return self.start_agent([mediator], [parked], ways)

    async def ended(self, service: RelayService | MediatorService) -> float:
        """Stop a service; give the seconds that it takes."""
        began = reactor.seconds()
        self.services.remove(service)
        await service.stopService()
        return float(reactor.seconds() - began)

    def check_end(self, method: str) -> Deferred[None]:
        """Stop both while the agent is there."""

        async def test() -> None:
            agent = self.start(method)
            await agent.links[0].when_registered().addTimeout(30, reactor)
            (parking,) = agent.relays.parkings.values()
            await until(lambda: parking.idle == 7)
            log = LogListener("wavesync.agent")
            self.addCleanup(log.stop)
            took = await self.ended(self.relay), await self.ended(self.mediator)
            await until(lambda: parking.hopeless and not agent.links[0].registered)
            # They were told, and have not merely lost the connections.
            self.assertTrue(any("good-bye: shutting-down" in said for said in log.said), log.said)
            self.assertLess(max(took), 8.0)  # a relay leaves pairs 30 s
            self.assertEqual(len(self.relay.connections), 0)
            self.assertEqual(len(self.mediator.tunnels.front), 0)

        return Deferred.fromCoroutine(test())

    def test_end(self) -> Deferred[None]:
        """Both stop in good order, and leave no connection."""
        return self.check_end("two")

    def test_end_of_polls(self) -> Deferred[None]:
        """So they do where nothing but short requests comes."""
        return self.check_end("poll")

    def test_limits(self) -> Deferred[None]:
        """Tunnels count within the limits, and whoever finds no room is told so."""

        async def test() -> None:
            agent = self.start("upgrade", tunnels=Tunnels(tunnels_per_host=3))
            (parking,) = agent.relays.parkings.values()
            tunnels = self.relay.connections.tunnels
            await until(lambda: tunnels.statistics.refused["tunnels-of-host"])
            self.assertLessEqual(parking.idle, 3)
            self.assertLessEqual(tunnels.statistics.open["upgrade"], 3)

        return Deferred.fromCoroutine(test())

    def test_connections(self) -> Deferred[None]:
        """What comes out of a tunnel is one of the relay's connections, as is what carries it."""

        async def test() -> None:
            agent = self.start("upgrade", limits=Limits(connections=9))
            (parking,) = agent.relays.parkings.values()
            await until(lambda: self.relay.house.statistics.refused["connections"])
            self.assertLessEqual(len(self.relay.connections), 9)
            self.assertLessEqual(parking.idle, 4)

        return Deferred.fromCoroutine(test())
