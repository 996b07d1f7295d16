"""A mediator's TCP behind trusted proxies: made-up ones, and a real nginx set up as ``etc/nginx.conf`` shows it."""

import time
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.client.world import Talker
from tests.mediator.sockets import Stream, reactor
from tests.mediator.test_stream import StreamCase, Transport
from tests.relay.nginx import HOST, NGINX, Nginx
from tests.relay.world import until
from tests.signalling.authority import Authority
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.opening import open_connector
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.mediator.proxied import HEADER_LIFE, ProxiedLegs
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings, Proxied
from wavesync.signalling.messages import keep_alive_request
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.attributes import XOR_MAPPED_ADDRESS, decode_xor_address
from wavesync.stun.message import Message

PROXY = "192.0.2.80"
TOLD = b"PROXY TCP4 198.51.100.7 192.0.2.80 4711 80\r\n"
TCP = 80
"""The mediator's port in the sample."""


def seen(answer: Message) -> Address:
    """Where the mediator sees a peer."""
    return decode_xor_address(answer.get(XOR_MAPPED_ADDRESS) or b"", answer.transaction_id)


class ProxiedTests(StreamCase):
    """What a proxy says, and what it does not."""

    limits = Limits(legs_per_host=2)

    def setUp(self) -> None:
        """A mediator that trusts one proxy."""
        super().setUp()
        proxied = Proxied(listen="127.0.0.1:0", trusted=(PROXY,))
        self.proxied = ProxiedLegs(self.factory, proxied.networks)
        self.open: list[Any] = []

    def come(self, *pieces: bytes) -> Transport:
        """Come through the proxy, and say something."""
        protocol: Any = self.proxied.buildProtocol(IPv4Address("TCP", PROXY, 999))
        transport = Transport(peerAddress=IPv4Address("TCP", PROXY, 999))
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
        self.open.append(protocol)
        return transport

    def tearDown(self) -> None:
        """When all are gone nothing is left of them."""
        while self.open:
            self.open.pop().connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((len(self.factory), dict(self.proxied.protocols)), (0, {}))

    def test_told(self) -> None:
        """A connection comes from where the proxy says, in whatever pieces it says so."""
        request = keep_alive_request(bytes(12))
        for pieces in (
            [TOLD, request],
            [TOLD + request],
            [TOLD[:20], TOLD[20:] + request[:5], request[5:]],
        ):
            (answer,) = self.sent(self.come(*pieces))
            self.assertEqual(seen(answer), ("198.51.100.7", 4711))
            self.clock.advance(HEADER_LIFE)  # nothing happens then
            self.tearDown()

    def test_itself(self) -> None:
        """A proxy that looks whether the mediator is there speaks for itself."""
        local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"  # version 2, command LOCAL
        transport = self.come(local, keep_alive_request(bytes(12)))
        (answer,) = self.sent(transport)
        self.assertEqual(seen(answer), (PROXY, 999))

    def test_counted(self) -> None:
        """Limits of sources are for those whom the proxy names, before they have said anything."""
        self.assertEqual([self.come(TOLD).aborted for _ in range(3)], [False, False, True])
        self.assertFalse(self.come(TOLD.replace(b"100.7", b"100.8")).aborted)
        self.assertEqual(len(self.factory), 3)

    def test_silent(self) -> None:
        """A proxy that says nothing for so long is not waited for."""
        transport = self.come()
        self.clock.advance(HEADER_LIFE - 0.1)
        self.assertFalse(transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(transport.aborted)

    def test_nonsense(self) -> None:
        """A connection of which no sense can be made is closed, and is nobody's."""
        for said in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 one 2\r\n",
            b"PROXY TCP4 nowhere 127.0.0.1 1 2\r\n" + keep_alive_request(bytes(12)),
        ):
            transport = self.come(said)
            self.assertTrue(transport.aborted or transport.disconnecting, said)
            self.assertEqual((transport.value(), len(self.factory)), (b"", 0))

    def test_untrusted(self) -> None:
        """Somebody who is not the proxy cannot say to come from elsewhere."""
        for host in ("192.0.2.81", "198.51.100.7"):
            self.assertIsNone(self.proxied.buildProtocol(IPv4Address("TCP", host, 1)))
        self.assertEqual(self.mediator.statistics.dropped, 2)

    def test_leaves(self) -> None:
        """A mediator that stops leaves nobody waiting."""
        waiting, begun = self.come(), self.come(TOLD)
        self.proxied.leave()
        self.assertEqual((waiting.aborted, begun.aborted), (True, False))


class NginxTests(TestCase):
    """An agent and a client that reach the mediator through nginx only."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing runs yet."""
        self.services: list[Any] = []

    def tearDown(self) -> Deferred[Any]:  # type: ignore[override]
        """Stop everything, the newest first."""
        return gatherResults([each.stopService() for each in reversed(self.services)])

    def run_service(self, service: Any) -> None:
        """Start it; it is stopped with the test."""
        service.startService()
        self.services.append(service)

    @skipIf(NGINX is None, "nginx is not installed")
    def test_nginx(self) -> Deferred[None]:
        """Both find each other; the mediator knows where they are."""

        async def test() -> None:
            proxied = (Proxied(listen=f"{HOST}:0"),)
            settings = MediatorSettings(name=HOST, listen=(f"{HOST}:0",), proxied=proxied)
            mediator = MediatorService(settings, reactor)
            self.run_service(mediator)
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            pem = directory / "any.pem"
            pem.write_bytes(Authority().certify(HOST))
            ((_, behind),) = mediator.proxied
            nginx = Nginx(directory, {3346: behind}, pem)
            nginx.start()
            self.addCleanup(nginx.stop)
            endpoint = HostnameEndpoint(reactor, HOST, nginx.ports[TCP])
            stream: Any = await endpoint.connect(Factory.forProtocol(Stream))
            here = stream.transport.getHost()
            answer = await stream.ask(keep_alive_request(bytes(12)))
            self.assertEqual(seen(answer), (here.host, here.port))
            await stream.close()

            url = f"tcp://{HOST}:{nginx.ports[TCP]}"
            system = SystemCredentials.create((url,))
            now = time.time()
            server, client = system.add_server(now=now), system.add_client("alice", now=now)
            agent = AgentService(
                reactor,
                server,
                {"echo": Factory.forProtocol(Echo)},
                parse_mediators((url,)),
                settings=AgentSettings(allow_loopback=True, lan=False),
            )
            self.run_service(agent)
            await agent.links[0].when_registered().addTimeout(20, reactor)
            connector = open_connector(reactor, client, allow_loopback=True)
            talker = Talker()
            await connector.connect(server.target, "echo", talker)
            await until(lambda: talker.heard == b"hello")
            assert talker.transport is not None
            talker.transport.loseConnection()
            await until(lambda: talker.lost and not agent.sessions.serving)
            await connector.close()

        return Deferred.fromCoroutine(test())
