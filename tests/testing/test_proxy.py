"""Tests for :mod:`wavesync.testing.proxy`, on real sockets."""

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from wavesync.testing.proxy import MAX_BODY, BufferingProxy

HOST = "127.0.0.1"

reactor: Any = _reactor


class Echo(Resource):
    """Answers with what it got, and with as many bytes more as it is told."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        """Answer."""
        assert request.content is not None
        self.seen = request.requestHeaders
        return bytes(request.content.read()) + bytes(int(request.args.get(b"more", [b"0"])[0]))


class Client(Protocol):
    """Says something, and keeps all that comes until the end."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.heard = b""
        self.lost: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Say it."""
        self.transport.write(self.said)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That is all."""
        self.lost.callback(self.heard)


class BufferingProxyTests(TestCase):
    """What it lets through, and what not."""

    timeout = 30

    def setUp(self) -> None:
        """A web server behind it, which only it knows."""
        self.page = Echo()
        site = Site(self.page)
        site.noisy = False
        self.port = reactor.listenTCP(0, site, interface=HOST)
        self.proxy = BufferingProxy(
            reactor, HOST, {("web.test", 80): (HOST, self.port.getHost().port)}
        )
        self.addCleanup(self.stop)

    def stop(self) -> Deferred[None]:
        """Stop both."""

        async def stop() -> None:
            await self.proxy.close()
            await self.port.stopListening()

        return Deferred.fromCoroutine(stop())

    async def say(self, *pieces: bytes) -> bytes:
        """Say something to the proxy; give all that it answers."""
        client = Client(b"".join(pieces))
        await connectProtocol(HostnameEndpoint(reactor, *self.proxy.address), client)
        return await client.lost

    def post(self, size: int, more: int = 0, body: bytes | None = None) -> tuple[bytes, bytes]:
        """A request with a body of so many bytes."""
        head = (
            f"POST http://web.test/?more={more} HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n"
            f"Upgrade: x\r\nProxy-Authorization: Basic secret\r\nContent-Length: {size}\r\n\r\n"
        )
        return head.encode(), bytes(size) if body is None else body

    def test_passes(self) -> Deferred[None]:
        """Requests whose bodies are whole go on, without what is for the proxy alone."""

        async def test() -> None:
            answer = await self.say(*self.post(5, 3, b"hello"))
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\nhello\0\0\0"), answer)
            self.assertFalse(self.page.seen.hasHeader("Proxy-Authorization"))
            self.assertFalse(self.page.seen.hasHeader("Upgrade"))
            self.assertEqual(dict(self.proxy.passed), {"/": 1})

        return Deferred.fromCoroutine(test())

    def test_limits(self) -> Deferred[None]:
        """The longest bodies pass, one byte more does not, either way; nor does one without end."""

        async def test() -> None:
            answers = [
                await self.say(*self.post(MAX_BODY)),
                await self.say(*self.post(0, MAX_BODY)),
                await self.say(self.post(MAX_BODY + 1)[0]),
                await self.say(*self.post(0, MAX_BODY + 1)),
                await self.say(self.post(10**12, body=b"")[0]),
            ]
            self.assertEqual([answer[9:12] for answer in answers], [b"200", b"200", *[b"413"] * 3])

        return Deferred.fromCoroutine(test())

    def test_held(self) -> Deferred[None]:
        """A body that is not whole goes nowhere."""

        async def test() -> None:
            head, body = self.post(5)
            client = Client(head + body[:4])
            await connectProtocol(HostnameEndpoint(reactor, *self.proxy.address), client)
            await self.say(*self.post(5))
            self.assertEqual((client.heard, dict(self.proxy.passed)), (b"", {"/": 1}))
            client.transport.write(body[4:])  # type: ignore[union-attr]
            self.assertTrue((await client.lost).startswith(b"HTTP/1.1 200 "))

        return Deferred.fromCoroutine(test())

    def test_refused(self) -> Deferred[None]:
        """Tunnels, requests that are for no proxy, garbage, and hosts that are not there."""

        async def test() -> None:
            for said, status in (
                (b"CONNECT web.test:80 HTTP/1.1\r\nHost: web.test\r\n\r\n", b"403"),
                (b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n", b"400"),
                (b"\x16\x03\x01 garbage\r\n\r\n", b"400"),
                (b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n", b"502"),
            ):
                answer = await self.say(said)
                self.assertEqual(answer[9:12], status, answer)
                self.assertIn(b"text/html", answer)

        return Deferred.fromCoroutine(test())
