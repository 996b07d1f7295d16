"""Clients and agents that are let out by HTTP only, or by nothing: on real sockets."""

from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from tests.agent.support import LogListener
from tests.client.site import HOST, Middlebox, SiteCase, reactor
from tests.client.world import Talker
from tests.relay.world import until
from tests.signalling.authority import Authority
from wavesync.client.connector import Connector
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed

PORTAL = (
    b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\n"
    b"Content-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nServer: strict/1.0\r\nContent-Type: text/html\r\n"
    b"Content-Length: 13\r\nConnection: close\r\n\r\n<h1>No!</h1>\n"
)


class EchoCase(SiteCase):
    """Clients whose bytes are echoed."""

    async def echo(self, connector: Connector, size: int = 300_000) -> Timeline:
        """Have bytes echoed."""
        talker = Talker(bytes(range(256)) * (size // 256))
        timeline = Timeline(str(self.server.target), reactor.seconds)
        await connector.connect(self.server.target, "echo", talker, timeline=timeline)
        await until(lambda: len(talker.heard) == len(talker.words))
        self.assertEqual(talker.heard, talker.words)
        assert talker.transport is not None
        talker.transport.loseConnection()
        await until(lambda: talker.lost)
        return timeline


class WholeTests(EchoCase):
    """Everything over tunnels."""

    def check_method(self, method: str) -> Deferred[None]:
        """Register, park and connect by one method alone."""

        async def test() -> None:
            self.start_both()
            (_, port), relay = self.mediator.http_addresses[0], self.relay.addresses[0][1]
            ways = self.destinations(methods=(method,), tunnels_only=True)
            agent = self.start_agent([f"http://{HOST}:{port}"], [f"http://{HOST}:{relay}"], ways)
            await self.parked(agent)
            client = self.destinations(methods=(method,), tunnels_only=True)
            timeline = await self.echo(self.connector(client))
            (won,) = [each for each in timeline.candidates if each.result == "won"]
            self.assertEqual((won.kind, won.way), ("relay", f"{HOST}:{relay}, {method}"))
            at_mediator = self.mediator.tunnels.statistics
            at_relay = self.relay.connections.tunnels.statistics
            self.assertGreaterEqual(at_mediator.opened[method], 2)
            self.assertGreaterEqual(at_relay.opened[method], 8)
            self.assertEqual(sum(at_relay.opened.values()), at_relay.opened[method])
            self.assertIsNone(agent.links[0].ends)  # nobody dials a web server

        return Deferred.fromCoroutine(test())

    def test_upgrade(self) -> Deferred[None]:
        """By HTTP's own upgrade."""
        return self.check_method("upgrade")

    def test_websocket(self) -> Deferred[None]:
        """By WebSocket."""
        return self.check_method("websocket")

    def test_get_post(self) -> Deferred[None]:
        """By GET and POST on one connection."""
        return self.check_method("get-post")

    def test_two(self) -> Deferred[None]:
        """By two connections."""
        return self.check_method("two")

    def test_poll(self) -> Deferred[None]:
        """By short polls."""
        return self.check_method("poll")

    def test_tls(self) -> Deferred[None]:
        """By TLS, as if both were web servers."""

        async def test() -> None:
            authority = Authority()
            pem = self.mktemp()
            with open(pem, "wb") as file:
                file.write(authority.certify(HOST))
            trusted = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
            tls = {"certificate": pem, "key": pem}
            self.start_both(
                {"http_listen": (), "https_listen": (f"{HOST}:0",), **tls},
                {"tls_listen": (f"{HOST}:0",), **tls},
            )
            urls = [f"https://{HOST}:{self.mediator.http_addresses[0][1]}"]
            relays = [f"https://{HOST}:{self.relay.addresses[1][1]}"]
            ways = self.destinations(trust_root=trusted)
            agent = self.start_agent(urls, relays, ways)
            await self.parked(agent)
            await self.echo(self.connector(self.destinations(trust_root=trusted)))
            # Who does not trust whoever signed it is told so.
            failed = self.connector(self.destinations())
            with self.assertRaises(ConnectFailed) as caught:
                await failed.connect(self.server.target, "echo", Talker())
            self.assertIn("signed by", str(caught.exception))

        return Deferred.fromCoroutine(test())


class MiddleboxTests(EchoCase):
    """A firewall that lets through what looks like the web."""

    def stand_between(self, answer: bytes, *, tunnels: bool) -> tuple[Middlebox, str, list[str]]:
        """Run all but the agent, with something in between."""
        self.start_both()
        box = self.run_service(Middlebox(answer, tunnels=tunnels))
        raw = box.before(self.mediator.addresses[0])
        http = box.before(self.mediator.http_addresses[0])
        relay = f"http://{HOST}:{box.before(self.relay.addresses[0])}"
        return box, relay, [f"tcp://{HOST}:{raw}", f"http://{HOST}:{http}"]

    def test_garbage(self) -> Deferred[None]:
        """Connections that stand, and bring a page where a mediator or a relay should answer, are
        made again as tunnels: by the agent, and by the client within one connect."""

        async def test() -> None:
            box, relay, urls = self.stand_between(FORBIDDEN, tunnels=True)
            agent = self.start_agent(urls, [relay], self.destinations())
            await agent.links[0].when_registered().addTimeout(30, reactor)
            await self.parked(agent)
            judged = box.judged
            timeline = await self.echo(self.connector(self.destinations()))
            self.assertGreater(box.judged, judged)  # the client has met it, too
            (won,) = [each for each in timeline.candidates if each.result == "won"]
            # The best two are raced.
            self.assertIn(won.way.rpartition(", ")[2], ("upgrade", "websocket"))

        return Deferred.fromCoroutine(test())

    def check_sentence(self, answer: bytes, words: str) -> Deferred[None]:
        """A client that gets nowhere is told why."""

        async def test() -> None:
            box, _, urls = self.stand_between(answer, tunnels=False)
            straight = [f"{HOST}:{self.mediator.addresses[0][1]}"]
            agent = self.start_agent(straight, [], self.destinations())
            await agent.links[0].when_registered().addTimeout(30, reactor)
            connector = self.connector(self.destinations(), mediators=urls)
            with self.assertRaises(ConnectFailed) as caught:
                await connector.connect(self.server.target, "echo", Talker())
            self.assertIn(words, str(caught.exception))
            self.assertGreater(box.judged, 1)

        return Deferred.fromCoroutine(test())

    def test_agent(self) -> Deferred[None]:
        """An agent that gets nowhere says why, too: of the mediator, and of the relay."""

        async def test() -> None:
            log = LogListener("wavesync.agent")
            self.addCleanup(log.stop)
            _, relay, urls = self.stand_between(PORTAL, tunnels=False)
            self.start_agent(urls, [relay], self.destinations())
            words = ("the mediator 127", "the relay http")
            await until(
                lambda: all(
                    any(each in said and "captive portal" in said for said in log.said)
                    for each in words
                )
            )

        return Deferred.fromCoroutine(test())

    def test_portal(self) -> Deferred[None]:
        """A captive portal, which wants somebody to log in first, is called by its name."""
        return self.check_sentence(PORTAL, "captive portal")

    def test_page(self) -> Deferred[None]:
        """A firewall that says no with a page of its own is quoted."""
        return self.check_sentence(FORBIDDEN, "HTTP 403 Forbidden by strict/1.0")
