"""A mediator's HTTP ports: settings, proxies in front, and whoever wants something else."""

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.sockets import AUDIENCE, MediatorCase, reactor
from tests.testing.test_proxy import Client
from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings, Proxied
from wavesync.tunnel.limits import TunnelLimits

HERE = ("127.0.0.1:0",)
GET = b"GET / HTTP/1.1\r\nHost: mediator.example\r\n\r\n"


class SettingsTests(SynchronousTestCase):
    """Where it listens."""

    def test_auto(self) -> None:
        """Beside every address with the default port, unless settings say where."""
        for listen, found in (
            (("*:3345",), ("*:3355",)),
            (("192.0.2.1:3345", "[2001:db8::1]:3345"), ("192.0.2.1:3355", "[2001:db8::1]:3355")),
            (("192.0.2.1:53", "192.0.2.1:3345"), ("192.0.2.1:3355",)),
            (HERE, ()),
        ):
            self.assertEqual(MediatorSettings(listen=listen).http_addresses, found)
        self.assertEqual(MediatorSettings(http_listen=("*:80",)).http_addresses, ("*:80",))
        self.assertEqual(MediatorSettings(http_listen=()).http_addresses, ())

    def test_mistakes(self) -> None:
        """Each is told in words."""
        for words, settings in (
            ('must be "auto" or a list', {"http_listen": "*:80"}),
            ("'80' is no address", {"http_listen": ("80",)}),
            ("needs certificate and key", {"https_listen": ("*:443",)}),
        ):
            error = self.assertRaises(ValueError, MediatorSettings, **settings)
            self.assertIn(words, str(error))
        self.assertRaises(ValueError, TunnelLimits, tunnels=0)


class TunnelPortTests(MediatorCase):
    """Real sockets."""

    def setUp(self) -> None:
        """A mediator with an HTTP port, and one for a proxy on this host."""
        settings = MediatorSettings(
            name=AUDIENCE,
            listen=HERE,
            http_listen=HERE,
            http_proxied=(Proxied(listen=HERE[0]), Proxied(listen=HERE[0], trusted=("192.0.2.9",))),
            tunnels=TunnelLimits(connections_per_host=1),
        )
        self.service = MediatorService(settings, reactor)
        self.service.startService()
        self.addCleanup(self.stop)

    async def say(self, address: Address, said: bytes) -> Client:
        """Connect and say something."""
        client = Client(said)
        await connectProtocol(HostnameEndpoint(reactor, *address), client)
        return client

    def test_others(self) -> Deferred[None]:
        """Who wants a page gets a sentence, and is counted."""

        async def test() -> None:
            client = await self.say(self.service.http_addresses[0], GET)
            answer = await client.lost
            self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), answer)
            self.assertIn(b"a port for wavesync's tunnels", answer)
            self.assertEqual(self.service.tunnels.statistics.refused["path"], 1)
            self.assertEqual(len(self.service.tunnels.front), 0)

        return Deferred.fromCoroutine(test())

    def test_proxied(self) -> Deferred[None]:
        """Behind a proxy sources are those whom it names; nobody else has the word."""

        async def test() -> None:
            _, behind, others = self.service.http_addresses
            refused = self.service.tunnels.statistics.refused
            waiting = []
            for number in (7, 8):
                told = f"PROXY TCP4 198.51.100.{number} 192.0.2.80 4711 80\r\n".encode()
                waiting.append(await self.say(behind, told + b"GET /"))
            one_more = await self.say(behind, told + b"GET /")
            self.assertEqual(await one_more.lost, b"")
            self.assertEqual(refused["connections-of-host"], 1)
            stranger = await self.say(others, told + GET)
            self.assertEqual(await stranger.lost, b"")
            self.assertEqual(refused["untrusted-proxy"], 1)
            for client in waiting:
                self.assertFalse(client.lost.called)
            await self.stop()  # ends them, too
            for client in waiting:
                self.assertEqual(await client.lost, b"")

        return Deferred.fromCoroutine(test())
