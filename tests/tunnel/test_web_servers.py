"""Tunnels behind real web servers, nginx as ``etc/nginx.conf`` has it and HAProxy, that end TLS."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

from tests.relay.nginx import HOST, NGINX, Nginx
from tests.signalling.authority import Authority
from tests.tunnel.listeners import reactor
from tests.tunnel.test_connect_proxy import ProxyCase
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.errors import TunnelError
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.place import METHODS
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.secured import Trust
from wavesync.tunnel.server import TunnelServer
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import Route, Way, ways_of

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

_NAME = "localhost"
_WEB, _WEB_TLS, _BEHIND = 8080, 8443, 3359
_TIMEOUT = 3.0
_SETTLES = 0.3  # seconds until dials that were given up are gone
_LOAD = os.urandom(300_000)
_BARE = ("proxy_request_buffering", "proxy_buffering", "client_max_body_size", "proxy_set_header")
_CONFIG = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 10m
listen web
    bind 127.0.0.1:{plain}
    bind 127.0.0.1:{tls} ssl crt {certificate} alpn http/1.1
    server tunnels 127.0.0.1:{behind}
"""


class _Bare(Nginx):
    """The same without what tunnels want of it, as somebody sets it up who has not read that."""

    def _settings(self) -> str:
        lines = super()._settings().splitlines()
        return "\n".join(each for each in lines if not each.strip().startswith(_BARE))


class _Told(Protocol):
    """Sends all at once, and waits for all of it to come back."""

    def __init__(self) -> None:
        self.whole: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self._left = _LOAD

    async def end(self) -> None:
        """Close the tunnel, and see it closed."""
        transport: Any = self.transport
        transport.loseConnection()
        await self.lost

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(_LOAD)

    def dataReceived(self, data: bytes) -> None:
        if self._left.startswith(data):
            self._left = self._left[len(data) :]
            if not self._left:
                self.whole.callback(None)
        else:
            self.whole.errback(AssertionError("other bytes came"))


class WebServerTests(ProxyCase):
    """What works behind a web server depends on its settings; something always does."""

    timeout = 60

    def serve(self) -> int:
        """Serve an echo in tunnels; tell the port."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.authority = Authority()
        self.certificate = self.directory / "web.pem"
        self.certificate.write_bytes(self.authority.certify(_NAME))
        self.tunnels = TunnelServer(Factory.forProtocol(Echo), reactor)
        self.front = FrontFactory(self.tunnels, reactor)
        return self.listeners.serve(self.front)

    def go_and_end(self, test: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> Deferred[None]:
        """Run a test, then end what is half-made at the server."""

        async def whole() -> None:
            await test()
            self.tunnels.abort_all()
            self.front.abort_all()
            await self.front.when_empty()
            await deferLater(reactor, _SETTLES)

        return self.go(whole)

    def nginx(self, kind: type[Nginx], behind: int) -> tuple[TunnelURL, TunnelURL]:
        """Start it; give its URLs."""
        nginx = kind(self.directory / kind.__name__, {_BEHIND: behind}, self.certificate)
        nginx.start()
        self.addCleanup(nginx.stop)
        return _urls(nginx.ports[_WEB], nginx.ports[_WEB_TLS])

    def haproxy(self, behind: int) -> tuple[TunnelURL, TunnelURL]:
        """The same."""
        with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
            plain, tls = (each.getsockname()[1] for each in (one, other))
        config = self.directory / "haproxy.cfg"
        config.write_text(
            _CONFIG.format(plain=plain, tls=tls, certificate=self.certificate, behind=behind)
        )
        assert HAPROXY is not None
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        limit = time.monotonic() + 10.0
        while True:
            try:
                socket.create_connection((HOST, tls), 1.0).close()
                return _urls(plain, tls)
            except OSError:
                assert time.monotonic() < limit and process.poll() is None
                time.sleep(0.02)

    @property
    def roads(self) -> Roads:
        """Open ways as a client that trusts the web server's certificate."""
        authority = Certificate.loadPEM(self.authority.certificate)
        trust = Trust(trustRootFromCertificates([authority]))
        return Roads(reactor, proxy=lambda url: None, random=os.urandom, trust=trust)

    async def methods(self, url: TunnelURL) -> Mapping[str, str]:
        """Try all methods, one beside the other; give those that do not work, and why."""
        roads, failed = self.roads, {}

        async def tried(method: str) -> None:
            told = _Told()
            opening = roads.open(
                Way(url, Route.DIRECT, method),
                Factory.forProtocol(lambda: told),
                timeout=_TIMEOUT,
                arrived=lambda: None,
            )
            try:
                await opening
            except TunnelError as error:
                failed[method] = str(error)
                return
            await told.whole
            await told.end()

        await gatherResults([Deferred.fromCoroutine(tried(each)) for each in METHODS])
        return failed

    async def useless(self, *urls: TunnelURL) -> Sequence[Sequence[str]]:
        """Try all methods at several URLs, one beside the other; give those that do not work at each."""
        tried = [Deferred.fromCoroutine(self.methods(url)) for url in urls]
        return [sorted(each) for each in await gatherResults(tried)]

    async def taken(self, urls: Sequence[TunnelURL], methods: Sequence[str]) -> str:
        """Connect by whatever works; tell the method."""
        network = Ladders(
            None, clock=reactor.seconds, wall_clock=reactor.seconds, network=lambda: "home"
        )
        endpoint = AnyWayEndpoint(
            reactor,
            "web",
            ways_of([], urls, lambda url: None, methods),
            self.roads,
            network,
            random=lambda: 0.5,
            way_timeout=_TIMEOUT,
        )
        told = _Told()
        await endpoint.connect(Factory.forProtocol(lambda: told))
        await told.whole
        used = endpoint.in_use
        endpoint.close()
        await told.end()
        assert used is not None
        return used.method

    @skipIf(NGINX is None, "nginx is not installed")
    def test_nginx(self) -> Deferred[None]:
        """As the sample has it all works but one connection for two bodies, plain and over TLS."""

        async def test() -> None:
            plain, secured = self.nginx(Nginx, self.serve())
            self.assertEqual(await self.useless(plain, secured), [["get-post"]] * 2)
            self.assertEqual(await self.taken([secured], ["two"]), "two")

        return self.go_and_end(test)

    @skipIf(NGINX is None, "nginx is not installed")
    def test_bare_nginx(self) -> Deferred[None]:
        """As nginx comes short polls are what works, and are found."""

        async def test() -> None:
            _, url = self.nginx(_Bare, self.serve())
            failed = await self.methods(url)
            self.assertEqual(set(failed), set(METHODS) - {"poll"})
            self.assertIn("413", failed["two"])
            self.assertEqual(await self.taken([url], ["get-post", "two", "poll"]), "poll")

        return self.go_and_end(test)

    @skipIf(HAPROXY is None, "haproxy is not installed")
    def test_haproxy(self) -> Deferred[None]:
        """HAProxy needs no settings for it."""

        async def test() -> None:
            urls = self.haproxy(self.serve())
            self.assertEqual(await self.useless(*urls), [["get-post"]] * 2)

        return self.go_and_end(test)


def _urls(plain: int, tls: int) -> tuple[TunnelURL, TunnelURL]:
    return TunnelURL("http", _NAME, plain), TunnelURL("https", _NAME, tls)
