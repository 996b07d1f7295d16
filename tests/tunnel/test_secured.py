"""Tests for :mod:`wavesync.tunnel.secured`: who answers instead of the host, in words."""

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from tests.signalling.authority import Authority
from tests.tunnel.listeners import HOST, Scripted, Speaker, reactor
from tests.tunnel.test_connect_proxy import OK, ProxyCase
from wavesync.tunnel.errors import Why
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.secured import MAX_NAME, SecuredEndpoint, Trust
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import Road, Route


def roots(authority: Authority) -> Trust:
    """Trust this authority and no other."""
    return Trust(trustRootFromCertificates([Certificate.loadPEM(authority.certificate)]))


class SecuredTests(ProxyCase):
    """TLS stands before anything is sent; where it does not, the sentence says who is in the way."""

    def setUp(self) -> None:
        self.authority = Authority("Our CA")

    def secured(
        self,
        port: int,
        host: str = "relay.example",
        *,
        trust: Trust | None = None,
        timeout: float = 5.0,
    ) -> SecuredEndpoint:
        """The endpoint of a host that is at a port of loopback in truth."""
        return SecuredEndpoint(
            reactor,
            HostnameEndpoint(reactor, HOST, port),
            host,
            timeout=timeout,
            trust=trust if trust is not None else roots(self.authority),
        )

    async def refused(
        self, port: int, host: str = "relay.example", trust: Trust | None = None
    ) -> str:
        """Connect in vain because of TLS; why."""
        error = await self.error(self.secured(port, host, trust=trust))
        self.assertIs(error.reason, Why.TLS)
        self.assertTrue(str(error).isprintable())
        return str(error)

    def test_good(self) -> Deferred[None]:
        """A certificate for the host, by name or by address, from somebody who is trusted."""

        async def test() -> None:
            pem = self.authority.certify("relay.example", "*.wild.example", HOST)
            for host in ("relay.example", "a.wild.example", HOST):
                port = self.listeners.script(b"answer", pem)
                heard = await self.listeners.say(self.secured(port, host), b"x\r\n\r\n")
                self.assertEqual(heard, b"answer")

        return self.go(test)

    def test_intercepted(self) -> Deferred[None]:
        """A proxy that breaks TLS open is named as it calls itself."""

        async def test() -> None:
            pem = Authority("Corp Proxy CA").certify("relay.example")
            for trust in (None, roots(self.authority)):
                why = await self.refused(self.listeners.script(b"answer", pem), trust=trust)
                self.assertEqual(
                    why,
                    "the certificate for relay.example was signed by 'Corp Proxy CA', which this host does"
                    " not trust: somebody intercepts TLS here, unless that is your own authority",
                )
            self.assertEqual(self.listeners.heads, [])

        return self.go(test)

    def test_other_host(self) -> Deferred[None]:
        """A certificate for another host."""

        async def test() -> None:
            names = [f"host{number}.example" for number in range(9)]
            port = self.listeners.script(b"answer", self.authority.certify(*names))
            why = await self.refused(port)
            self.assertIn(
                "relay.example shows a certificate that is not for it but for 'host0.example',"
                " 'host1.example', 'host2.example' and others, signed by 'Our CA'",
                why,
            )
            port = self.listeners.script(b"answer", self.authority.certify("relay.example"))
            self.assertIn(f"{HOST} shows a certificate", await self.refused(port, HOST))

        return self.go(test)

    def test_out_of_time(self) -> Deferred[None]:
        """A certificate of yesterday or tomorrow, or a clock that is wrong."""

        async def test() -> None:
            for days, words in (
                ((-9, -2), "has expired on 20"),
                ((2, 9), "is not valid before 20"),
            ):
                pem = self.authority.certify("relay.example", days=days)
                why = await self.refused(self.listeners.script(b"answer", pem))
                self.assertIn(words, why)
                self.assertIn("or this host's clock is wrong", why)

        return self.go(test)

    def test_self_signed(self) -> Deferred[None]:
        """A certificate that nobody has signed but itself, with a name that would disturb a terminal."""

        async def test() -> None:
            own = Authority("\x1b[31m" + "x" * (64 - 5))
            why = await self.refused(self.listeners.script(b"answer", own.as_host))
            self.assertIn("was signed by nobody but itself", why)
            pem = own.certify("relay.example")
            why = await self.refused(self.listeners.script(b"answer", pem))
            self.assertIn("'?[31mxxx", why)
            self.assertLess(len(why), MAX_NAME + 200)

        return self.go(test)

    def test_no_tls(self) -> Deferred[None]:
        """What answers speaks something else, or nothing, or leaves."""

        async def test() -> None:
            for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"):

                class Blurts(Scripted):
                    def dataReceived(self, data: bytes, said: bytes = said) -> None:
                        assert self.transport is not None
                        self.transport.write(said)

                port = self.listeners.listen(lambda: Blurts(None, []))
                self.assertIn("does not speak TLS", await self.refused(port))

            class Leaves(Scripted):
                def dataReceived(self, data: bytes) -> None:
                    assert self.transport is not None
                    self.transport.loseConnection()

            port = self.listeners.listen(lambda: Leaves(None, []))
            error = await self.error(self.secured(port))
            self.assertIs(error.reason, Why.CLOSED)
            self.assertIn("relay.example closed the connection", str(error))
            port = self.listeners.script(None)
            began = reactor.seconds()
            error = await self.error(self.secured(port, timeout=0.1))
            self.assertLess(reactor.seconds() - began, 5.0)
            self.assertIs(error.reason, Why.SILENT)
            self.assertIn("relay.example", str(error))

        return self.go(test)

    def test_given_up(self) -> Deferred[None]:
        """Whoever gives up while TLS is agreed upon is free at once."""

        async def test() -> None:
            port = self.listeners.script(None)
            connecting = self.secured(port).connect(Factory.forProtocol(Speaker))
            reactor.callLater(0.1, connecting.cancel)
            try:
                await connecting
            except CancelledError:
                return
            self.fail("it was not cancelled")

        return self.go(test)

    def test_through_proxies(self) -> Deferred[None]:
        """TLS to the proxy, and within its connection to the host."""

        async def test() -> None:
            class Nested(Scripted):
                """A proxy whose connections all lead to one port."""

                def dataReceived(self, data: bytes) -> None:
                    if self._done:
                        self.beyond.transport.write(data)  # type: ignore[attr-defined]
                        return
                    self._done = True
                    self.transport.pauseProducing()  # type: ignore[union-attr]
                    near = self

                    class Beyond(Speaker):
                        def connectionMade(self) -> None:
                            near.beyond = self  # type: ignore[attr-defined]
                            near.transport.write(OK)  # type: ignore[union-attr]
                            near.transport.resumeProducing()  # type: ignore[union-attr]

                        def dataReceived(self, data: bytes) -> None:
                            near.transport.write(data)  # type: ignore[union-attr]

                        def connectionLost(self, reason: Any = None) -> None:
                            pass

                    HostnameEndpoint(reactor, HOST, relay).connect(Factory.forProtocol(Beyond))

            pem = self.authority.certify("relay.example", HOST)
            relay = self.listeners.script(b"answer", pem)
            proxy = self.listeners.listen(lambda: Nested(None, []), pem)
            url = TunnelURL("https", "relay.example", 443)
            roads = Roads(
                reactor,
                proxy=lambda _: Proxy(HOST, proxy, tls=True),
                random=os.urandom,
                trust=roots(self.authority),
            )
            road = Road(url, Route.CONNECT)
            dial = roads.dial(road, timeout=5.0)
            self.assertEqual(await self.listeners.say(dial, b"x\r\n\r\n"), b"answer")
            stranger = self.authority.certify("other.example")
            proxy = self.listeners.listen(lambda: Nested(None, []), stranger)
            error = await self.error(roads.dial(road, timeout=5.0))
            self.assertIn(f"{HOST} shows a certificate", str(error))

        return self.go(test)
