"""Tests for :mod:`wavesync.relay` with TLS, and behind proxies that speak the PROXY protocol."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater

from tests.relay.world import RelayCase, Visit, connect_request, reactor, until
from tests.signalling.authority import Authority
from tests.signalling.provers import client
from wavesync.relay.settings import Limits, Proxied
from wavesync.signalling.relay_answers import RelayAnswer

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

CONFIG = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen plain
    bind 127.0.0.1:{plain}
    server relay 127.0.0.1:{relay} send-proxy
listen secured
    bind 127.0.0.1:{secured} ssl crt {certificate}
    server relay 127.0.0.1:{relay} send-proxy-v2
listen web
    mode http
    timeout tunnel 60s
    bind 127.0.0.1:{web}
    server relay 127.0.0.1:{relay} send-proxy-v2
"""


class FrontCase(RelayCase):
    """A relay that is reached in another way than by plain TCP."""

    def setUp(self) -> None:
        """Make a certificate; the relay is started by each test."""
        self.authority = Authority()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.certificate = self.directory / "relay.pem"
        self.certificate.write_bytes(self.authority.certify("relay.example"))

    async def connect_tls(self, protocol: Any, port: int) -> None:
        """Connect by TLS, checking the certificate."""
        trusted = Certificate.loadPEM(self.authority.certificate)
        options = optionsForClientTLS("relay.example", trustRoot=trusted)
        endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", port))
        await connectProtocol(endpoint, protocol)

        def close() -> Any:
            if not protocol.closed:
                protocol.transport.abortConnection()
            return protocol.lost

        self.addCleanup(close)


class TLSTests(FrontCase):
    """A relay with a certificate of its own."""

    def test_both_ways(self) -> Deferred[None]:
        """A client by TLS and a server by plain TCP are joined, all bytes come through."""

        async def test() -> None:
            self.service = self.relay(
                tls_listen=("127.0.0.1:0",),
                certificate=str(self.certificate),
                key=str(self.certificate),
            )
            site = self.site()
            await site.park()
            first = b"hello" * 1000
            request = connect_request(client(), site.credentials.target)
            visit = Visit(request + first)
            await self.connect_tls(visit, self.service.addresses[1][1])
            self.assertEqual(await visit.answered, RelayAnswer(101))
            visit.wire.write(b"x" * 500_000)
            await until(lambda: len(visit.data) == 505_000)
            self.assertTrue(visit.data.startswith(first))
            visit.wire.loseConnection()
            await until(lambda: len(self.service.connections) == 0)

        return Deferred.fromCoroutine(test())

    def test_goes_early(self) -> Deferred[None]:
        """Whoever leaves before he has said what he wants is forgotten at once."""

        async def test() -> None:
            self.service = self.relay(
                tls_listen=("127.0.0.1:0",),
                certificate=str(self.certificate),
                key=str(self.certificate),
                limits=Limits(head_time=0.3),
            )
            visit = Visit(b"GET /")
            await self.connect_tls(visit, self.service.addresses[1][1])
            visit.wire.abortConnection()
            await visit.lost
            await until(lambda: len(self.service.connections) == 0)
            self.assertEqual(len(self.service.connections.heads), 0)
            await deferLater(reactor, 0.4)  # no timer stumbles over it
            self.assertEqual(self.service.house.statistics.refused["head-time"], 0)

        return Deferred.fromCoroutine(test())


class ProxyTests(FrontCase):
    """A relay behind HAProxy, or something like it."""

    async def start(self) -> tuple[int, int, int]:
        """Start a relay and HAProxy; give HAProxy's ports: TCP, TLS, HTTP."""
        self.service = self.relay(listen=("127.0.0.1:0",), proxied=(Proxied(listen="127.0.0.1:0"),))
        assert HAPROXY is not None
        relay = self.service.addresses[1][1]
        for _ in range(20):
            with (
                socket.create_server(("127.0.0.1", 0)) as first,
                socket.create_server(("127.0.0.1", 0)) as second,
                socket.create_server(("127.0.0.1", 0)) as third,
            ):
                plain, secured, web = (each.getsockname()[1] for each in (first, second, third))
            config = self.directory / "haproxy.cfg"
            names = {"plain": plain, "secured": secured, "web": web, "relay": relay}
            config.write_text(CONFIG.format(certificate=self.certificate, **names))
            process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(config)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(500):
                if process.poll() is not None or await self.listens(secured):
                    break
                await deferLater(reactor, 0.02)
            if process.poll() is None:
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
                return plain, secured, web
        raise AssertionError("haproxy does not start")

    async def listens(self, port: int) -> bool:
        """Tell whether somebody listens there."""
        probe = Visit(b"")
        try:
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), probe)
        except Exception:
            return False
        probe.wire.abortConnection()
        await probe.lost
        return True

    @skipIf(HAPROXY is None, "haproxy is not installed")
    def test_haproxy(self) -> Deferred[None]:
        """Clients come through a real HAProxy, as TCP, TLS and HTTP; the server hears where they are."""

        async def test() -> None:
            plain, secured, web = await self.start()
            site = self.site()
            await site.park(3)
            for port, dial in ((plain, None), (secured, self.connect_tls), (web, None)):
                visit = Visit(connect_request(client(), site.credentials.target) + b"hello")
                if dial is None:
                    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
                    await connectProtocol(endpoint, visit)
                else:
                    await dial(visit, port)
                self.assertEqual(await visit.answered, RelayAnswer(101))
                await until(lambda visit=visit: visit.data == b"hello")
                here = visit.wire.getHost()
                sources = [leg.opened.source for leg in site.legs if leg.opened is not None]
                self.assertIn((here.host, here.port), sources)
                visit.wire.abortConnection()
                await visit.lost
            await until(lambda: len(self.service.connections) == 0)

        return Deferred.fromCoroutine(test())

    def test_word(self) -> Deferred[None]:
        """A proxy's word counts for limits; one that makes no sense is not heard."""

        async def test() -> None:
            self.service = self.relay(
                proxied=(Proxied(listen="127.0.0.1:0"),), listen=("127.0.0.1:0",)
            )
            port = self.service.addresses[1][1]
            site = self.site()
            await site.park()
            request = connect_request(client(), site.credentials.target)
            for words in (
                b"PROXY TCP4 nowhere 127.0.0.1 1 2\r\n",
                b"PROXY TCP4 192.0.2.1 127.0.0.1 one 2\r\n",
                b"PROXY\r\n",
                b"",
            ):
                visit = Visit(words + request)
                await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), visit)
                await visit.lost
                self.assertIsNone(visit.answer)
            words = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 3356\r\n"
            visit = Visit(words + request)
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), visit)
            self.assertEqual(await visit.answered, RelayAnswer(101))
            (leg,) = site.legs
            assert leg.opened is not None
            self.assertEqual(leg.opened.source, ("2001:db8::7", 4711))
            visit.wire.abortConnection()
            await visit.lost

        return Deferred.fromCoroutine(test())

    def test_untrusted(self) -> Deferred[None]:
        """Somebody who is not the proxy cannot say to come from elsewhere."""

        async def test() -> None:
            proxied = Proxied(listen="127.0.0.1:0", trusted=("192.0.2.0/24",))
            self.service = self.relay(proxied=(proxied,))
            port = self.service.addresses[1][1]
            visit = Visit(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n")
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), visit)
            await visit.lost
            self.assertIsNone(visit.answer)
            refused = self.service.house.statistics.refused
            self.assertEqual(dict(refused), {"untrusted-proxy": 1})

        return Deferred.fromCoroutine(test())
