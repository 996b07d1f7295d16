"""Tests for :mod:`wavesync.portmap.sockets` and ``fetching``, with sockets on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wavesync.interfaces import Address
from wavesync.portmap.asking import Asker
from wavesync.portmap.fetching import MAX_HEAD, TIMEOUT, RouterHTTP
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.markup import MAX_SIZE
from wavesync.portmap.service import methods_for
from wavesync.portmap.sockets import (
    MAX_DATAGRAM,
    SocketDatagrams,
    hear_announcements,
    link_to,
    open_search,
)
from wavesync.portmap.words import PortMapError, Reason

reactor: Any = _reactor

_LOOPBACK = Gateway("lo", "127.0.0.1", "127.0.0.1", "127.0.0.0/8")


def udp() -> socket.socket:
    """A UDP socket on loopback."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


class DatagramTests(TestCase):
    """Datagrams to a router and back."""

    timeout = 20

    def test_link(self) -> Deferred[None]:
        """The router is heard; somebody else, though he sends to the very port, is not."""

        async def test() -> None:
            with udp() as router, udp() as stranger:
                got: Deferred[tuple[bytes, Address]] = Deferred()
                link = link_to(
                    reactor,
                    _LOOPBACK,
                    router.getsockname()[1],
                    lambda data, source: got.callback((data, source)),
                    lambda: None,
                )
                link.send(b"?")
                data, source = router.recvfrom(100)
                self.assertEqual(data, b"?")
                stranger.sendto(b"lies", source)
                await deferLater(reactor, 0.05)
                router.sendto(b"x" * (MAX_DATAGRAM + 1), source)
                answer, said = await got
                self.assertEqual(len(answer), MAX_DATAGRAM)
                self.assertEqual(said, router.getsockname())
                link.close()
                link.close()
                link.send(b"nobody hears that")

        return Deferred.fromCoroutine(test())

    def test_nobody(self) -> Deferred[None]:
        """Where nobody listens, that is known at once: asking takes no seconds."""

        async def test() -> None:
            with udp() as closed:
                port = closed.getsockname()[1]

            def open_link(*callbacks: Any) -> Any:
                return link_to(reactor, _LOOPBACK, port, *callbacks)

            asker = Asker(reactor, open_link, "it")
            began = reactor.seconds()
            with self.assertRaises(PortMapError):
                await asker.ask(b"?", lambda data: data)
            self.assertLess(reactor.seconds() - began, 1.0)

        return Deferred.fromCoroutine(test())

    def test_no_such_address(self) -> None:
        """An address that this host has not, or has no more, is an error in words."""
        gone = Gateway("eth9", "127.0.0.1", "192.0.2.77", "192.0.2.0/24")
        here: Callable[..., None] = lambda *args: None  # noqa: E731
        error = self.assertRaises(PortMapError, link_to, reactor, gone, 9, here, here)
        self.assertEqual(error.reason, Reason.NO_ANSWER)
        self.assertRaises(PortMapError, open_search, reactor, gone.own, here)

    def test_announcements(self) -> None:
        """Two programs on one host hear announcements; what they open is closed again."""
        first = hear_announcements(reactor, lambda host: None)
        second = hear_announcements(reactor, lambda host: None)
        self.assertEqual(len(first), len(second))
        for each in (*first, *second):
            each.close()

    def test_who_announces(self) -> Deferred[None]:
        """Who sends an announcement is told, whatever is in it."""

        async def test() -> None:
            with udp() as here, udp() as router:
                heard: Deferred[bytes] = Deferred()
                port = here.getsockname()[1]
                datagrams = SocketDatagrams(
                    reactor, here.dup(), lambda data, source: heard.callback(data)
                )
                router.sendto(b"I am back", ("127.0.0.1", port))
                self.assertEqual(await heard, b"I am back")
                datagrams.close()

        return Deferred.fromCoroutine(test())

    def test_search(self) -> Deferred[None]:
        """A search hears whoever answers it."""

        async def test() -> None:
            with udp() as device:
                got: Deferred[Address] = Deferred()
                search = open_search(
                    reactor, "127.0.0.1", lambda data, source: got.callback(source)
                )
                search.send(b"who?", device.getsockname())
                device.sendto(b"me", device.recvfrom(100)[1])
                self.assertEqual(await got, device.getsockname())
                search.close()

        return Deferred.fromCoroutine(test())

    def test_methods(self) -> None:
        """A router is spoken to by all three; without its address by UPnP; over IPv6 by PCP."""
        for gateway, names in (
            (_LOOPBACK, ["PCP", "NAT-PMP", "UPnP"]),
            (Gateway("en0", "", "192.168.1.5", "192.168.1.0/24"), ["UPnP"]),
            (Gateway("eth0", "fe80::1", "2600::5", "2600::/64"), ["PCP"]),
        ):
            methods = methods_for(reactor, gateway)
            self.assertEqual([method.name for method in methods], names)
            for method in methods:
                method.close()


class _Server(Protocol):
    """Says one thing to whoever comes."""

    def dataReceived(self, data: bytes) -> None:
        factory = cast(WebServer, self.factory)
        factory.asked += data
        assert self.transport is not None
        if b"\r\n\r\n" in factory.asked and factory.says is not None:
            self.transport.write(factory.says)
            if factory.closes:
                self.transport.loseConnection()


class WebServer(Factory):
    """A router's web server."""

    protocol = _Server

    def __init__(self) -> None:
        self.asked = b""
        self.says: bytes | None = b""
        self.closes = True


class FetchTests(TestCase):
    """Requests to a router's web server."""

    timeout = 30

    def setUp(self) -> None:
        """Start it."""
        self.server = WebServer()
        self.port: IListeningPort = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/a?b"
        self.http = RouterHTTP(reactor, "127.0.0.1")

    async def stop(self) -> None:
        """Stop it."""
        await maybeDeferred(self.port.stopListening)
        await deferLater(reactor, 0.02)

    def test_page(self) -> Deferred[None]:
        """A page comes, with a length, in chunks, or to the end of the connection; HTTP/1.0 too."""

        async def test() -> None:
            for says in (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\nhello",
                b"HTTP/1.0 200 OK\r\n\r\nhello",
            ):
                self.server.says = says
                page = await self.http(self.url)
                self.assertEqual((page.status, page.body), (200, b"hello"))
            self.server.asked, self.server.closes = b"", False
            self.server.says = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
            page = await self.http(self.url, {"SOAPAction": '"x"'}, b"<a/>")
            self.assertEqual((page.status, page.body), (500, b"no"))
            self.assertTrue(self.server.asked.startswith(b"POST /a?b HTTP/1.1\r\n"))
            for line in (
                b"Content-Length: 4\r\n",
                b'SOAPAction: "x"\r\n',
                b"Connection: close\r\n",
            ):
                self.assertIn(line, self.server.asked)
            self.assertTrue(self.server.asked.endswith(b"\r\n\r\n<a/>"))
            await self.stop()

        return Deferred.fromCoroutine(test())

    def test_size(self) -> Deferred[None]:
        """64 KiB are taken, a byte more is not; nor is a head without end."""

        async def test() -> None:
            for size, good in ((MAX_SIZE, True), (MAX_SIZE + 1, False)):
                self.server.says = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size
                if good:
                    self.assertEqual(len((await self.http(self.url)).body), size)
                else:
                    with self.assertRaises(PortMapError):
                        await self.http(self.url)
            self.server.says = b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 * MAX_HEAD)
            self.server.closes = False
            with self.assertRaises(PortMapError):
                await self.http(self.url)
            await self.stop()

        return Deferred.fromCoroutine(test())

    def test_nonsense(self) -> Deferred[None]:
        """What is no HTTP, ends too early, or is nothing, is an error in words."""

        async def test() -> None:
            for says in (
                b"SSH-2.0-OpenSSH\r\n",
                b"",
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
                b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            ):
                self.server.says = says
                with self.assertRaises(PortMapError) as caught:
                    await self.http(self.url)
                self.assertEqual(caught.exception.reason, Reason.MALFORMED)
            await self.stop()

        return Deferred.fromCoroutine(test())

    def test_redirect(self) -> Deferred[None]:
        """A redirect is an answer like others: nobody follows it."""

        async def test() -> None:
            self.server.says = (
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
            )
            self.assertEqual((await self.http(self.url)).status, 302)
            await self.stop()

        return Deferred.fromCoroutine(test())

    def test_nobody(self) -> Deferred[None]:
        """A web server that is gone is an error in words."""

        async def test() -> None:
            await self.stop()
            with self.assertRaises(PortMapError) as caught:
                await self.http(self.url)
            self.assertIn("cannot be reached", str(caught.exception))

        return Deferred.fromCoroutine(test())

    def test_close(self) -> Deferred[None]:
        """What is under way ends when nobody waits for it any more."""

        async def test() -> None:
            self.server.says = None
            asked = self.http(self.url)
            failed = self.assertFailure(asked, PortMapError)
            await deferLater(reactor, 0.05)
            self.http.close()
            await failed
            await self.stop()

        return Deferred.fromCoroutine(test())


class FetchTimeTests(SynchronousTestCase):
    """A web server that takes its time."""

    def test_silent(self) -> None:
        """Who does not even take the connection, or says nothing, is waited for 5 s."""
        for connected in (False, True):
            clock = MemoryReactorClock()
            asked = RouterHTTP(cast(Any, clock), "192.168.1.5")("http://192.168.1.1:5000/x")
            (dialled,) = clock.tcpClients
            self.assertEqual(dialled[:2], ("192.168.1.1", 5000))
            self.assertEqual(dialled[4], ("192.168.1.5", 0))
            if connected:
                protocol = dialled[2].buildProtocol(None)
                assert protocol is not None
                protocol.makeConnection(StringTransport())
            clock.advance(TIMEOUT - 0.1)
            self.assertNoResult(asked)
            clock.advance(0.2)
            error = self.failureResultOf(asked, PortMapError).value
            self.assertEqual(error.reason, Reason.NO_ANSWER)
