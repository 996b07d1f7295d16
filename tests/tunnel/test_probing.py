"""Tests for :mod:`wavesync.tunnel.probing` and :mod:`~wavesync.tunnel.destinations`, with real servers."""

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorSocket
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.listeners import HOST, Scripted, Speaker, reactor
from tests.tunnel.test_connect_proxy import ProxyCase
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.tunnel.destinations import MAX_ENDPOINTS, Destinations
from wavesync.tunnel.endpoint import way_of
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.probing import Probe, probe_mediator, probe_relay
from wavesync.tunnel.proxies import Proxies
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Way


class _Captive(Scripted):
    """Answers whatever comes with a page."""

    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in</html>"

    def dataReceived(self, data: bytes) -> None:
        """Show the page (IProtocol)."""
        assert self.transport is not None
        self.transport.write(self.page)


class ProbeTests(ProxyCase):
    """A probe fires when a mediator or a relay answers, and at nothing else."""

    def probes(self) -> tuple[Probe, Probe]:
        """A mediator's, and a relay's."""
        return probe_mediator(os.urandom), probe_relay(TunnelURL("http", HOST, 1), os.urandom)

    def test_answered(self) -> Deferred[None]:
        """The real ones are recognized."""

        async def test() -> None:
            mediator = MediatorService(
                MediatorSettings(name=HOST, listen=(f"{HOST}:0",)), IReactorSocket(reactor)
            )
            relay = RelayService(
                RelaySettings(name=HOST, listen=(f"{HOST}:0",), drain_grace=0.1), reactor
            )
            services: tuple[Any, ...] = (mediator, relay)
            for service in services:
                service.startService()
            try:
                for service, probe, other in zip(
                    services, self.probes(), self.probes()[::-1], strict=True
                ):
                    endpoint = HostnameEndpoint(reactor, HOST, service.addresses[0][1])
                    self.assertIsNone(await probe(endpoint))
                    try:
                        await other(endpoint).addTimeout(5.0, reactor)
                    except TunnelError:
                        continue
                    self.fail("one was taken for the other")
            finally:
                for service in services:
                    await service.stopService()

        return self.go(test)

    def test_something_else(self) -> Deferred[None]:
        """A page, garbage, or the end of the connection are no answer; nor is another's STUN."""

        async def test() -> None:
            stun = bytes.fromhex("0101000c2112a442") + b"x" * 12
            stun += bytes.fromhex("002000080001a1470113a943")
            for page, expected in (
                (_Captive.page, Why.CHANGED),
                (b"\x00" * 50, Why.CHANGED),
                (b"HTTP/1.1 200 OK\r\n" + b"x" * 9000, Why.CHANGED),
            ):

                class Says(_Captive):
                    pass

                Says.page = page
                for probe in self.probes():
                    port = self.listeners.listen(lambda: Says(None, []))
                    try:
                        await probe(HostnameEndpoint(reactor, HOST, port)).addTimeout(5.0, reactor)
                    except TunnelError as error:
                        self.assertIs(error.reason, expected)
                        continue
                    self.fail(f"{page!r} was believed")

            class Stun(_Captive):
                page = stun

            port = self.listeners.listen(lambda: Stun(None, []))
            probing = self.probes()[0](HostnameEndpoint(reactor, HOST, port))
            reactor.callLater(0.2, probing.cancel)
            try:
                await probing
            except CancelledError:
                pass
            else:
                self.fail("another's answer was believed")
            for probe in self.probes():

                class Leaves(_Captive):
                    def dataReceived(self, data: bytes) -> None:
                        assert self.transport is not None
                        self.transport.loseConnection()

                port = self.listeners.listen(lambda: Leaves(None, []))
                try:
                    await probe(HostnameEndpoint(reactor, HOST, port))
                except TunnelError as error:
                    self.assertIs(error.reason, Why.CLOSED)
                    continue
                self.fail("nothing was believed")

        return self.go(test)


class _Made(Factory):
    """Makes one protocol."""

    noisy = False

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker

    def buildProtocol(self, addr: Any) -> Speaker:
        """Give it (IProtocolFactory)."""
        return self.speaker


def destinations(**options: Any) -> Destinations:
    """Somebody without a proxy."""
    ladders = Ladders(
        None, clock=reactor.seconds, wall_clock=reactor.seconds, network=lambda: "home"
    )
    return Destinations(reactor, Proxies(None, {}), ladders, os.urandom, **options)


class DestinationsTests(ProxyCase):
    """Mediators and relays are reached by any way."""

    def test_plain(self) -> Deferred[None]:
        """Where the plain port is open it is taken, and left when it brings a page."""

        async def test() -> None:
            port = self.listeners.script(b"answer")
            url = TunnelURL("tcp", HOST, port)
            all_of_them = destinations()
            better: list[Way] = []
            endpoint = all_of_them.mediator("m", [url], [], lasting=True, on_better=better.append)
            speaker = Speaker(b"x\r\n\r\n")
            await endpoint.connect(_Made(speaker))
            self.assertEqual(await speaker.heard, b"answer")
            way = way_of(speaker.transport)
            assert way is not None
            self.assertEqual((way.method, way.url), (RAW, url))
            self.assertEqual(endpoint.in_use, way)
            speaker.transport.abortConnection()  # type: ignore[union-attr]
            all_of_them.close()

        return self.go(test)


class KeptTests(SynchronousTestCase):
    """Endpoints are made once."""

    def test_relay(self) -> None:
        """A relay that is dialled again and again has one endpoint, and not more than some are kept."""
        all_of_them = destinations()
        urls = [TunnelURL("http", "relay.example", port) for port in range(1, MAX_ENDPOINTS + 2)]
        first = all_of_them.relay(urls[0])
        self.assertIs(all_of_them.relay(urls[0]), first)
        self.assertIsNot(all_of_them.relay(urls[0], timeout=3.0), first)
        self.assertEqual(first.ways[0], Way(urls[0], first.ways[0].route, RAW))
        for url in urls:
            all_of_them.relay(url)
        self.assertIsNot(all_of_them.relay(urls[0]), first)
        all_of_them.close()

    def test_methods(self) -> None:
        """Methods can be left out."""
        url = TunnelURL("https", "relay.example", 443)
        found = destinations(methods=("poll",)).relay(url)
        self.assertEqual([way.method for way in found.ways], [RAW, "poll"])
