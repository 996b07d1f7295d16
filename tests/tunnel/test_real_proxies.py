"""Ways through real proxies: tinyproxy and Squid, with and without a password, willing and not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo

from tests.tunnel.listeners import HOST, Speaker, reactor
from tests.tunnel.proxy_processes import PASSWORD, USER, ProxyProcess, Squid, Tinyproxy
from tests.tunnel.test_connect_proxy import ProxyCase
from wavesync.tunnel.endpoint import AnyWayEndpoint, way_of
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.proxies import Proxies, ProxySettings
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.server import TunnelServer
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import Road, Route, Way, ways_of

NOWHERE = TunnelURL("tcp", HOST, 1)


class RealProxyTests(ProxyCase):
    """One byte stream, whatever the proxy allows; where it allows none, a sentence says what to do."""

    timeout = 60

    def proxied(self, process: ProxyProcess, password: str = "") -> Proxies:
        """A user's settings for a proxy, with the password in a file."""
        url = f"http://{HOST}:{process.port}"
        if not password:
            return Proxies(ProxySettings(url=url), {})
        path = Path(self.mktemp())
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        return Proxies(ProxySettings(url=url, username=USER, password_file=str(path)), {})

    def serve(self) -> tuple[TunnelURL, TunnelURL]:
        """An echo, without a tunnel and with."""
        echo = Factory.forProtocol(Echo)
        self.server = TunnelServer(echo, reactor)
        raw = TunnelURL("tcp", HOST, self.listeners.serve(echo))
        front = self.listeners.serve(FrontFactory(self.server, reactor))
        return raw, TunnelURL("http", HOST, front)

    def roads(self, proxies: Proxies) -> Roads:
        """Open ways for a user."""
        return Roads(reactor, proxy=proxies, random=os.urandom)

    async def why(self, proxies: Proxies, url: TunnelURL) -> TunnelError:
        """Ask a proxy to connect, in vain."""
        dial = self.roads(proxies).dial(Road(url, Route.CONNECT), timeout=20.0)
        return await self.error(dial)

    async def logged(self, process: ProxyProcess, words: str) -> None:
        """Wait until a proxy has written this down."""
        for _ in range(100):
            if words in process.log:
                return
            await deferLater(reactor, 0.05)
        self.fail(f"{words} is not in {process.log}")

    def test_connect(self) -> Deferred[None]:
        """Both connect where they may; what they say where they cannot is understood."""

        async def test() -> None:
            raw, _ = self.serve()
            makes: tuple[Callable[[], ProxyProcess], ...] = (Tinyproxy, Squid)
            for make in makes:
                with make() as process:
                    proxies = self.proxied(process)
                    dial = self.roads(proxies).dial(Road(raw, Route.CONNECT), timeout=20.0)
                    self.assertEqual(await self.listeners.say(dial, b"x" * 200), b"x" * 200)
                    await self.logged(process, f"CONNECT {raw.authority}")
                    error = await self.why(proxies, NOWHERE)
                    self.assertIs(error.reason, Why.UNREACHABLE, str(error))
                    self.assertIn(f"cannot connect to {NOWHERE.authority} (50", str(error))

        return self.go(test)

    def test_password(self) -> Deferred[None]:
        """Without a password, with a wrong one, with the right one."""

        async def test() -> None:
            raw, _ = self.serve()
            for process in (Tinyproxy(password=True), Squid(password=True)):
                with process:
                    error = await self.why(self.proxied(process), raw)
                    self.assertIs(error.reason, Why.PROXY_PASSWORD)
                    self.assertIn("wants a user name and a password (407)", str(error))
                    error = await self.why(self.proxied(process, "wrong"), raw)
                    self.assertIs(error.reason, Why.PROXY_PASSWORD)
                    self.assertIn("does not accept the user name and the password", str(error))
                    proxies = self.proxied(process, PASSWORD)
                    dial = self.roads(proxies).dial(Road(raw, Route.CONNECT), timeout=20.0)
                    self.assertEqual(await self.listeners.say(dial), b"hello")

        return self.go(test)

    def test_refused(self) -> Deferred[None]:
        """A proxy that connects to port 443 only, or not at all, says so, with a page of HTML."""

        async def test() -> None:
            raw, _ = self.serve()
            for process in (Tinyproxy(connect_ports=[443]), Squid(connect=False)):
                with process:
                    error = await self.why(self.proxied(process), raw)
                    self.assertIs(error.reason, Why.REFUSED)
                    self.assertEqual(error.status, 403)
                    self.assertIn(f"refuses to connect to {raw.authority} (403)", str(error))

        return self.go(test)

    def test_any_way(self) -> Deferred[None]:
        """Through a Squid that does not connect a tunnel is found at once, and after a restart known.

        What is sent directly gets nowhere here, as behind a firewall.
        """

        def beyond(way: Way) -> bool:
            return way.route is not Route.DIRECT

        async def test() -> None:
            raw, front = self.serve()
            path = Path(self.mktemp())
            with Squid(connect=False) as process:
                proxies = self.proxied(process)
                found = []
                for _ in range(2):
                    ladders = Ladders(
                        path,
                        clock=reactor.seconds,
                        wall_clock=reactor.seconds,
                        network=lambda: "office",
                    )
                    endpoint = AnyWayEndpoint(
                        reactor,
                        str(front),
                        filter(beyond, ways_of([raw], [front], proxies)),
                        self.roads(proxies),
                        ladders,
                        random=lambda: 0.5,
                    )
                    speaker = Speaker(b"x" * 200)
                    await endpoint.connect(Factory.forProtocol(lambda s=speaker: s))  # type: ignore[misc]
                    self.assertEqual(await speaker.heard, b"x" * 200)
                    found.append((way_of(speaker.transport), process.log.count("CONNECT")))
                    cast(Any, speaker.transport).loseConnection()
                    for _ in range(200):
                        if speaker.lost:
                            break
                        await deferLater(reactor, 0.05)
                    endpoint.close()
            (first, asked), (second, asked_again) = found
            assert first is not None
            self.assertEqual(first, second)
            self.assertIs(first.route, Route.ABSOLUTE)
            self.assertEqual(first.method, "poll")  # Squid breaks long uploads off
            self.assertEqual(asked, 2)  # once for each port
            self.assertEqual(asked_again, asked)

        return self.go(test)

    def test_nothing_works(self) -> Deferred[None]:
        """Where the proxy wants a password for everything, that is what the sentence says."""

        async def test() -> None:
            raw, front = self.serve()
            with Squid(password=True) as process:
                proxies = self.proxied(process, "wrong")
                ways = [
                    way for way in ways_of([raw], [front], proxies) if way.route.value != "direct"
                ]
                ladders = Ladders(
                    None,
                    clock=reactor.seconds,
                    wall_clock=reactor.seconds,
                    network=lambda: "office",
                )
                endpoint = AnyWayEndpoint(
                    reactor, str(front), ways, self.roads(proxies), ladders, random=lambda: 0.5
                )
                error = await self.error(endpoint)
                self.assertIs(error.reason, Why.PROXY_PASSWORD)
                self.assertIn("does not accept the user name and the password (407)", str(error))
                self.assertNotIn("wrong", str(error))
                # Not all are tried; how many are before the first answer depends on the machine.
                self.assertLess(process.log.count("407"), len(ways))

        return self.go(test)
