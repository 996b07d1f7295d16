"""Tests for :mod:`wavesync.tunnel.connect_proxy` and :mod:`wavesync.tunnel.roads`, with scripted proxies."""

import base64
import os
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import provider

from tests.tunnel.listeners import HOST, Listeners, Speaker, reactor
from wavesync.tunnel.connect_proxy import ConnectEndpoint
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Road, Route, Way

TARGET = TunnelURL("tcp", "mediator.example", 3345)
SECRET = "correct-horse"
ENCODED = base64.b64encode(f"alice:{SECRET}".encode()).decode()
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"

_Test = Callable[[], Coroutine[Deferred[Any], Any, None]]


def answer(status: str, *headers: str, body: str = "") -> bytes:
    """A proxy's answer."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


class ProxyCase(TestCase):
    """Listeners that are closed in the end."""

    timeout = 20

    def go(self, test: _Test) -> Deferred[None]:
        """Run a test, then close everything."""
        self.listeners = Listeners()

        async def whole() -> None:
            try:
                await test()
            finally:
                await self.listeners.close()

        return Deferred.fromCoroutine(whole())

    def through(
        self, port: int, *, timeout: float = 5.0, login: bool = False
    ) -> IStreamClientEndpoint:
        """The endpoint through a proxy at a port."""
        proxy = Proxy(HOST, port, "alice", SECRET) if login else Proxy(HOST, port)
        dial = HostnameEndpoint(reactor, HOST, port)
        return ConnectEndpoint(reactor, proxy, dial, TARGET.authority, timeout=timeout)

    async def error(self, endpoint: IStreamClientEndpoint) -> TunnelError:
        """Connect in vain."""
        try:
            heard = await self.listeners.say(endpoint)
        except TunnelError as error:
            return error
        raise AssertionError(f"connected, and heard {heard!r}")


class ConnectTests(ProxyCase):
    """A proxy is asked for a connection; what it says instead of one is understood."""

    def test_connected(self) -> Deferred[None]:
        """The request is as it has to be, and bytes pass both ways, also those right behind the answer."""

        async def test() -> None:
            for said in (
                OK,
                b"HTTP/1.0 200 OK\r\nVia: tinyproxy\r\n\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
            ):
                port = self.listeners.script(said)
                self.assertEqual(await self.listeners.say(self.through(port)), b"hello")
            port = self.listeners.script(OK + b"first")
            self.assertEqual(await self.listeners.say(self.through(port)), b"first")
            head = self.listeners.heads[0].decode().split("\r\n")
            self.assertEqual(head[0], "CONNECT mediator.example:3345 HTTP/1.1")
            self.assertIn("Host: mediator.example:3345", head)
            self.assertNotIn("Authorization", "".join(head))

        return self.go(test)

    def test_password(self) -> Deferred[None]:
        """User and password are sent to a proxy that has them set."""

        async def test() -> None:
            port = self.listeners.script(OK)
            await self.listeners.say(self.through(port, login=True))
            self.assertIn(f"Proxy-Authorization: Basic {ENCODED}", self.listeners.heads[0].decode())

        return self.go(test)

    def test_refused(self) -> Deferred[None]:
        """Each refusal has its code and its sentence, which names who refuses what."""

        async def test() -> None:
            basic = 'Proxy-Authenticate: Basic realm="x"'
            page = "Content-Type: text/html"
            for said, reason, status, words in (
                (
                    answer("407 No", basic),
                    Why.PROXY_PASSWORD,
                    407,
                    "wants a user name and a password",
                ),
                (answer("407 No"), Why.PROXY_PASSWORD, 407, "wants a user name and a password"),
                (
                    answer("407 No", "Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM"),
                    Why.PROXY_PASSWORD,
                    407,
                    "wants a login by Negotiate or NTLM",
                ),
                (
                    answer("403 No", page, body="<html>"),
                    Why.REFUSED,
                    403,
                    "refuses to connect to mediator.example:3345 (403)",
                ),
                (answer("405 No"), Why.REFUSED, 405, "refuses"),
                (answer("501 No"), Why.REFUSED, 501, "refuses"),
                (
                    answer("502 No", page, body="<html>"),
                    Why.UNREACHABLE,
                    502,
                    "cannot connect to mediator.example:3345",
                ),
                (answer("503 No"), Why.UNREACHABLE, 503, "no such host"),
                (answer("504 No"), Why.UNREACHABLE, 504, "cannot connect"),
                (answer("429 No"), Why.BUSY, 429, "no room"),
                (
                    answer("302 Go", "Location: http://login/"),
                    Why.PAGE,
                    302,
                    "log in to this network",
                ),
                (answer("511 Log in", page), Why.PAGE, 511, "log in to this network"),
                (b"SSH-2.0-OpenSSH\r\n\r\n", Why.NOT_HTTP, None, "is no HTTP proxy"),
                (b"\x15\x03\x01\x00\x02\x02\x46" * 9, Why.NOT_HTTP, None, "is no HTTP proxy"),
                (
                    answer("200 OK")[:-30] + b"X: " + b"x" * 9000,
                    Why.NOT_HTTP,
                    None,
                    "is no HTTP proxy",
                ),
                (b"HTTP/1.1 100 Go\r\n\r\n" * 9, Why.NOT_HTTP, None, "is no HTTP proxy"),
                (b"", Why.CLOSED, None, "without an answer"),
            ):
                port = self.listeners.script(said)
                error = await self.error(self.through(port))
                self.assertEqual((error.reason, error.status), (reason, status), said)
                self.assertIn(words, str(error))
                self.assertIn(f"{HOST}:{port}", str(error))

        return self.go(test)

    def test_wrong_password(self) -> Deferred[None]:
        """One that is not accepted is told apart from none; it is not shown."""

        async def test() -> None:
            port = self.listeners.script(answer("407 No", "Proxy-Authenticate: Basic realm=x"))
            error = await self.error(self.through(port, login=True))
            self.assertIn("does not accept the user name and the password (407)", str(error))
            error = await self.error(
                self.through(self.listeners.script(answer("401 No")), login=True)
            )
            self.assertIn("does not accept the user name and the password (401)", str(error))
            self.assertIs(error.reason, Why.PROXY_PASSWORD)
            self.assertNotIn(SECRET, repr(error))

        return self.go(test)

    def test_strange_scheme(self) -> Deferred[None]:
        """What a proxy calls its logins is shown only as far as it is a word."""

        async def test() -> None:
            port = self.listeners.script(
                answer(
                    "407 No", "Proxy-Authenticate: \x1b[31mred", f"Proxy-Authenticate: {'a' * 99} x"
                )
            )
            error = await self.error(self.through(port))
            self.assertTrue(str(error).isprintable())
            self.assertLess(len(str(error)), 150)

        return self.go(test)

    def test_silent(self) -> Deferred[None]:
        """A proxy that says nothing is waited for for a while; whoever gives up is free at once."""

        async def test() -> None:
            port = self.listeners.script(None)
            error = await self.error(self.through(port, timeout=0.1))
            self.assertIs(error.reason, Why.SILENT)
            connecting = self.through(port).connect(Factory.forProtocol(Speaker))
            reactor.callLater(0.05, connecting.cancel)
            try:
                await connecting
            except CancelledError:
                return
            self.fail("it was not cancelled")

        return self.go(test)


class RoadsTests(ProxyCase):
    """Ways are opened on real sockets: to the host, or through the proxy."""

    def roads(self, proxy: Proxy | None = None) -> Roads:
        """What opens them."""
        return Roads(reactor, proxy=lambda url: proxy, random=os.urandom)

    def test_direct(self) -> Deferred[None]:
        """Without a proxy the host itself is dialled."""

        async def test() -> None:
            port = self.listeners.script(b"answer")
            road = Road(TunnelURL("tcp", HOST, port), Route.DIRECT)
            dial = self.roads().dial(road, timeout=5.0)
            self.assertEqual(await self.listeners.say(dial, b"x\r\n\r\n"), b"answer")

        return self.go(test)

    def test_arrived(self) -> Deferred[None]:
        """It is told when a connection stands, and the plain way is open then."""

        async def test() -> None:
            proxy = Proxy(HOST, self.listeners.script(OK))
            arrived: list[bool] = []
            speaker = Speaker()
            way = Way(TARGET, Route.CONNECT, RAW)
            await self.roads(proxy).open(
                way,
                Factory.forProtocol(lambda: speaker),
                timeout=5.0,
                arrived=lambda: arrived.append(True),
            )
            self.assertEqual(arrived, [True])
            self.assertEqual(await speaker.heard, b"hello")
            speaker.transport.abortConnection()  # type: ignore[union-attr]

        return self.go(test)

    def test_place(self) -> None:
        """A proxy that passes requests on gets the whole URL and the password; the host gets neither."""
        proxy = Proxy("corp", 3128, "alice", SECRET)
        url = TunnelURL("http", "mediator.example", 3355)
        place = self.roads(proxy).place(Road(url, Route.ABSOLUTE))
        self.assertEqual(place.prefix, "http://mediator.example:3355")
        self.assertEqual(dict(place.headers), {"Proxy-Authorization": f"Basic {ENCODED}"})
        for route in (Route.DIRECT, Route.CONNECT):
            place = self.roads(proxy).place(Road(url, route))
            self.assertEqual((place.prefix, place.headers), ("", ()))
        self.assertNotIn(SECRET, repr(place))
        secured = TunnelURL("https", "relay.example", 443)
        place = self.roads(proxy).place(Road(secured, Route.CONNECT))
        self.assertEqual((place.tls, place.prefix, place.headers), (True, "", ()))

    def test_described(self) -> None:
        """A report tells which way was taken, and no name or password."""
        roads = self.roads(Proxy("corp", 3128, "alice", SECRET))
        url = TunnelURL("https", "relay.example", 443)
        for way, words in (
            (Way(url, Route.DIRECT, RAW), "relay.example:443"),
            (Way(url, Route.CONNECT, RAW), "relay.example:443 through proxy corp:3128"),
            (Way(url, Route.CONNECT, "poll"), "relay.example:443 through proxy corp:3128, poll"),
            (Way(url, Route.DIRECT, "two"), "relay.example:443, two"),
        ):
            self.assertEqual(roads.describe(way), words)

    def test_no_proxy(self) -> None:
        """A way through a proxy needs one."""
        road = Road(TARGET, Route.CONNECT)
        self.assertRaises(ValueError, self.roads().dial, road, timeout=1.0)

    def test_unreachable(self) -> Deferred[None]:
        """Who cannot be reached, and why, is said in a sentence."""

        async def test() -> None:
            closed = self.listeners.script(OK)
            await self.listeners.close()
            roads, proxied = self.roads(), self.roads(Proxy(HOST, closed))
            for dial, words in (
                (
                    roads.dial(Road(TunnelURL("tcp", HOST, closed), Route.DIRECT), timeout=5.0),
                    f"{HOST}:{closed} cannot be reached: the connection is refused",
                ),
                (
                    proxied.dial(Road(TARGET, Route.CONNECT), timeout=5.0),
                    f"the proxy {HOST}:{closed} cannot be reached: the connection is refused",
                ),
                (
                    roads.dial(
                        Road(TunnelURL("tcp", "no-such-host.invalid", 1), Route.DIRECT), timeout=9.0
                    ),
                    "no-such-host.invalid:1 cannot be reached: the name cannot be resolved",
                ),
            ):
                error = await self.error(dial)
                self.assertIs(error.reason, Why.UNREACHABLE)
                self.assertIn(words, str(error))

        return self.go(test)

    def test_no_secret_in_log(self) -> Deferred[None]:
        """Whatever goes wrong, the password is in no log, sentence or representation."""
        logged: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            logged.append(f"{formatEvent(event)} {event!r}")

        async def test() -> None:
            globalLogPublisher.addObserver(observe)
            try:
                for said in (answer("407 No"), answer("403 No"), b"garbage\r\n\r\n", b"", OK):
                    proxy = Proxy(HOST, self.listeners.script(said), "alice", SECRET)
                    roads = self.roads(proxy)
                    try:
                        heard = await self.listeners.say(
                            roads.dial(Road(TARGET, Route.CONNECT), timeout=5.0)
                        )
                        logged.append(repr(heard))
                    except TunnelError as error:
                        logged.append(f"{error} {error!r} {vars(error)}")
                    logged.append(f"{roads!r} {proxy!r} {proxy}")
            finally:
                globalLogPublisher.removeObserver(observe)
            self.assertIn(ENCODED, self.listeners.heads[0].decode())
            for text in logged:
                self.assertNotIn(SECRET, text)
                self.assertNotIn(ENCODED, text)

        return self.go(test)
