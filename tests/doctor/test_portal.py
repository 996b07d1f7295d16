"""Tests for wavesync.doctor.portal, on real sockets of loopback."""

import os
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from wavesync.doctor.examine import Examination, examine
from wavesync.doctor.portal import PATIENCE, look_for_portal
from wavesync.signalling.urls import Mediator
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.urls import TunnelURL

reactor: Any = global_reactor
HOST = "127.0.0.1"
ANYWHERE = "0.0.0.0"
"""This host, by an address that is not one for itself."""

REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://portal.test/\r\nContent-Length: 0\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
REFUSAL = b"HTTP/1.1 503 Sorry\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"


class PortalTests(TestCase):
    """Who has to log in first is told so, and nobody else is."""

    timeout = 30

    def listen(self, words: bytes) -> TunnelURL:
        """Answer any request so; nothing stands for silence."""
        self.asked = 0
        case = self

        class Answering(Protocol):
            def dataReceived(self, data: bytes) -> None:
                case.asked += bool(words)
                assert self.transport is not None
                self.transport.write(words)

        factory = Factory.forProtocol(Answering)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface=HOST)
        self.addCleanup(port.stopListening)
        return TunnelURL("http", HOST, port.getHost().port)

    def look(self, where: TunnelURL, *, reached: bool = False) -> Deferred[str]:
        """Look for a portal when all mediators have been tried."""
        roads = Roads(reactor, proxy=lambda url: None, random=os.urandom)
        tried: Deferred[None] = Deferred()
        tried.callback(None)
        looking = look_for_portal(reactor, roads, tried, lambda: reached, where)
        return Deferred.fromCoroutine(looking)

    def test_portal(self) -> Deferred[None]:
        """A redirect and a page are a portal's; an error, and nobody, are none's."""

        async def test() -> None:
            for words, status in ((REDIRECT, "HTTP 302 Found"), (PAGE, "HTTP 200 OK")):
                said = await self.look(self.listen(words))
                self.assertIn("captive portal", said)
                self.assertIn(status, said)
            self.assertEqual(await self.look(self.listen(REFUSAL)), "")
            self.assertEqual(await self.look(TunnelURL("http", HOST, 1)), "")

        return Deferred.fromCoroutine(test())

    def test_not_needed(self) -> Deferred[None]:
        """Nobody is asked where a mediator has answered."""

        async def test() -> None:
            self.assertEqual(await self.look(self.listen(REDIRECT), reached=True), "")
            self.assertEqual(self.asked, 0)

        return Deferred.fromCoroutine(test())

    def examined(self, host: str, where: TunnelURL) -> Deferred[str]:
        """What an examination says where a mediator is silent."""
        silent = self.silent.port
        wanted = Examination(
            mediators=[Mediator(host, None, silent, silent)],
            proxy=lambda url: None,
            map_ports=False,
            nobody=where,
        )
        found = Deferred.fromCoroutine(examine(reactor, wanted))
        return found.addCallback(lambda findings: findings.portal)

    def test_examination(self) -> Deferred[None]:
        """A portal that swallows what is sent to a mediator is found by its page, in time; on this very
        host there is none."""
        self.silent = self.listen(b"")
        where = self.listen(REDIRECT)

        async def test() -> None:
            began = reactor.seconds()
            portal = self.examined(ANYWHERE, where)
            here = self.examined(HOST, where)
            self.assertIn("HTTP 302 Found", await portal)
            self.assertEqual(await here, "")
            self.assertEqual(self.asked, 1)
            self.assertGreater(reactor.seconds() - began, PATIENCE)

        return Deferred.fromCoroutine(test())
