"""Tests for wavesync.doctor.examine and what it is made of, on real sockets of loopback."""

import socket
from typing import Any

import ifaddr
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorSocket
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from wavesync.doctor.examine import STEPS, Examination, examine
from wavesync.doctor.findings import Dependence, Findings
from wavesync.doctor.surroundings import MAX_INTERFACES, look_at_interfaces
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.tunnel.proxies import Proxy

reactor: Any = global_reactor
HOST, BESIDE = "127.0.0.1", "127.0.0.2"
LIMIT = 5.0
"""Seconds that everything together may take."""


class Answering(Protocol):
    """Answers any request with the same words, or never."""

    words = b""

    def dataReceived(self, data: bytes) -> None:
        """A request came."""
        assert self.transport is not None
        if self.words:
            self.transport.write(self.words)


class ExamineTests(TestCase):
    """What is found where everybody is on this host."""

    timeout = 60

    def listen(self, words: bytes = b"") -> int:
        """Listen for TCP, and answer so; give the port."""
        factory = Factory.forProtocol(type("Answers", (Answering,), {"words": words}))
        port = reactor.listenTCP(0, factory, interface=HOST)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def examined(
        self, *mediators: Mediator, proxy: Proxy | None = None, relays: tuple[Relay, ...] = ()
    ) -> Deferred[Findings]:
        """Examine, without routers."""
        self.steps: list[str] = []
        wanted = Examination(
            mediators=mediators,
            relays=relays,
            proxy=lambda url: proxy,
            map_ports=False,
            progress=self.steps.append,
        )
        return Deferred.fromCoroutine(examine(reactor, wanted))

    def test_mediator(self) -> Deferred[None]:
        """A mediator with two addresses shows all that there is, over UDP, TCP and HTTP."""
        settings = MediatorSettings(
            name=HOST,
            listen=(f"{HOST}:0",),
            alternate=(f"{BESIDE}:0",),
            http_listen=(f"{HOST}:0",),
        )
        service = MediatorService(settings, IReactorSocket(reactor))
        service.startService()
        self.addCleanup(service.stopService)
        port = service.addresses[0][1]
        mediator = Mediator(HOST, port, port, service.http_addresses[0][1])

        async def test() -> None:
            found = await self.examined(mediator)
            (place,) = found.mediators
            for trial in (place.udp, place.tcp, place.http):
                assert trial is not None
                self.assertTrue(trial.works, trial)
                assert trial.ms is not None
            assert place.clock_error is not None and found.ipv4 is not None
            self.assertLess(abs(place.clock_error), 1.0)
            ipv4 = found.ipv4
            self.assertEqual((ipv4.udp, ipv4.tcp, ipv4.big_udp), (True, True, True))
            self.assertEqual((ipv4.translated, ipv4.mapped), (False, HOST))
            self.assertIs(ipv4.mapping, Dependence.ENDPOINT_INDEPENDENT)
            self.assertIs(ipv4.filtering, Dependence.ENDPOINT_INDEPENDENT)
            self.assertLess(found.took, LIMIT)
            self.assertEqual(set(self.steps), set(STEPS) - {"routers"})

        return Deferred.fromCoroutine(test())

    def test_silence(self) -> Deferred[None]:
        """Mediators, relays and proxies that take everything and say nothing hold nobody up."""
        silent = self.listen()
        mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        mute.bind((HOST, 0))
        self.addCleanup(mute.close)

        async def test() -> None:
            found = await self.examined(
                Mediator(HOST, mute.getsockname()[1], silent, silent),
                proxy=Proxy(HOST, silent),
                relays=(Relay(HOST, silent, False),),
            )
            self.assertLess(found.took, LIMIT)
            for place in (*found.mediators, *found.relays):
                self.assertIs(place.works, False)
            assert found.ipv4 is not None and found.proxy is not None
            self.assertEqual((found.ipv4.udp, found.ipv4.mapping), (False, None))
            self.assertIsNot(found.proxy.reached, None)

        return Deferred.fromCoroutine(test())

    def test_proxies(self) -> Deferred[None]:
        """A proxy that asks for a password is told from one that is not there; neither is its password told."""
        asking = self.listen(
            b"HTTP/1.1 407 no\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
        )
        mediator = Mediator(HOST, None, 1, None)

        async def test() -> None:
            found = await self.examined(mediator, proxy=Proxy(HOST, asking, "u", "secret-word"))
            assert found.proxy is not None
            self.assertEqual((found.proxy.reached, found.proxy.wants_password), (True, True))
            self.assertNotIn("secret-word", repr(found))
            found = await self.examined(mediator, proxy=Proxy(HOST, 1))
            assert found.proxy is not None
            self.assertIs(found.proxy.reached, False)
            self.assertIn("refused", found.proxy.why)

        return Deferred.fromCoroutine(test())


class InterfaceTests(TestCase):
    """What a host tells of its own interfaces."""

    def test_interfaces(self) -> Deferred[None]:
        """Loopback and containers are no local networks; an address that is not there has no multicast."""
        ips = [ifaddr.IP("192.0.2.77", 24, "x"), ifaddr.IP(("fe80::1", 0, 1), 64, "x")]
        many = [ifaddr.Adapter(f"eth{number}", f"eth{number}", ips) for number in range(20)]
        adapters = [
            ifaddr.Adapter("lo", "lo", [ifaddr.IP(HOST, 8, "lo")]),
            ifaddr.Adapter("docker0", "docker0", ips),
            *many,
        ]

        async def test() -> None:
            found = await look_at_interfaces(reactor, lambda: adapters)
            self.assertEqual(len(found), MAX_INTERFACES)
            self.assertEqual(found[0].name, "eth0")
            self.assertEqual(found[0].networks, ("192.0.2.77/24",))
            self.assertIsNone(found[0].multicast)

        return Deferred.fromCoroutine(test())
