"""Tests for :mod:`wavesync.agent.change_over`, on real sockets: a better way is taken without a gap."""

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from tests.client.site import HOST, Middlebox, SiteCase, reactor
from tests.relay.world import until
from wavesync.identity.ids import Target
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.way import RAW, Way

PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"


class ChangeOverTests(SiteCase):
    """An agent that has registered and parked through tunnels, and learns that it need not."""

    def start_behind(self) -> tuple[Middlebox, list[str], str]:
        """Run mediator and relay behind a firewall that lets tunnels pass only."""
        self.start_both()
        box: Middlebox = self.run_service(Middlebox(PAGE, tunnels=True))
        urls = [
            f"tcp://{HOST}:{box.before(self.mediator.addresses[0])}",
            f"http://{HOST}:{box.before(self.mediator.http_addresses[0])}",
        ]
        return box, urls, f"http://{HOST}:{box.before(self.relay.addresses[0])}"

    def registered(self, server: Target) -> bool:
        """Whether the mediator knows it."""
        return self.mediator.mediator.registry.choose(server) is not None

    def test_no_gap(self) -> Deferred[None]:
        """The server is registered all the time, and nothing goes through tunnels in the end."""

        async def test() -> None:
            box, urls, relay = self.start_behind()
            agent = self.start_agent(urls, [relay], self.destinations())
            (link,) = agent.links
            await link.when_registered().addTimeout(30, reactor)
            (parking,) = agent.relays.parkings.values()
            await until(lambda: parking.idle == 7)
            at_mediator = self.mediator.tunnels.statistics.open
            at_relay = self.relay.connections.tunnels.statistics.open
            self.assertEqual((sum(at_mediator.values()), sum(at_relay.values())), (1, 7))
            first = self.mediator.mediator.registry.choose(self.server.target)

            away: list[float] = []

            def look() -> None:
                if not self.registered(self.server.target):
                    away.append(reactor.seconds())

            looking = LoopingCall(look)
            looking.start(0)
            box.open = True
            for endpoint in (link._endpoint, parking._endpoint):
                assert isinstance(endpoint, AnyWayEndpoint)
                raw: Way = next(way for way in endpoint.ways if way.method == RAW)
                # As whoever tries ways again in the background would have it.
                endpoint.ladder().worked(raw, reactor.seconds(), 0.01)
                if endpoint is link._endpoint:
                    link.better(raw)
                else:
                    agent.relays.better(raw)
            await until(lambda: not sum(at_mediator.values()) and not sum(at_relay.values()))
            await until(lambda: link.registered and parking.idle == 7)
            looking.stop()
            self.assertEqual(away, [])
            self.assertIsNotNone(link.ends)
            last = self.mediator.mediator.registry.choose(self.server.target)
            self.assertIsNot(first, last)
            self.assertEqual(self.mediator.mediator.statistics.superseded, 1)

        return Deferred.fromCoroutine(test())

    def test_not_better_after_all(self) -> Deferred[None]:
        """Where the better way is closed again meanwhile, all stays as it was."""

        async def test() -> None:
            _, urls, relay = self.start_behind()
            agent = self.start_agent(urls, [relay], self.destinations())
            (link,) = agent.links
            await link.when_registered().addTimeout(30, reactor)
            first = self.mediator.mediator.registry.choose(self.server.target)
            assert isinstance(link._endpoint, AnyWayEndpoint)
            link.better(Way(link._endpoint.ways[0].url, link._endpoint.ways[0].route, "nothing"))
            await until(lambda: link._change._connecting is None)
            self.assertTrue(link.registered)
            self.assertIs(self.mediator.mediator.registry.choose(self.server.target), first)

        return Deferred.fromCoroutine(test())
