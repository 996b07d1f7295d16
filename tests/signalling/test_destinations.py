"""Tests for :mod:`wavesync.signalling.destinations`, and for legs that did not come straight."""

from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.leg import Leg
from wavesync.tunnel.ladder_store import ladders_path
from wavesync.tunnel.proxies import Proxies, ProxySettings
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.watch import Watch
from wavesync.tunnel.way import RAW, Route, Way

RELAY = TunnelURL("https", "relay.example", 443)
PROXY = Proxies(ProxySettings(url="http://10.0.0.1:3128"), {})

reactor: Any = _reactor


class DestinationsTests(SynchronousTestCase):
    """What leads to mediators and relays."""

    def test_text(self) -> None:
        """A report says where a way leads, through which proxy, and by which tunnel."""
        destinations = open_destinations(reactor, PROXY)
        for route, method, words in (
            (Route.DIRECT, RAW, "relay.example:443"),
            (Route.DIRECT, "two", "relay.example:443, two"),
            (Route.CONNECT, RAW, "relay.example:443 through proxy 10.0.0.1:3128 by CONNECT"),
            (Route.ABSOLUTE, "poll", "relay.example:443 through proxy 10.0.0.1:3128, poll"),
        ):
            self.assertEqual(destinations.text(Way(RELAY, route, method)), words)
        self.assertTrue(destinations.proxied(RELAY))
        self.assertFalse(open_destinations(reactor, Proxies(environ={})).proxied(RELAY))

    def test_kept(self) -> None:
        """What was learned is there again after a restart."""
        directory = Path(self.mktemp())
        directory.mkdir()
        destinations = open_destinations(reactor, PROXY, directory=directory)
        endpoint = destinations.relay(RELAY)
        poll = endpoint.ways[-1]
        endpoint.ladder().worked(poll, reactor.seconds(), 0.1)
        destinations.close()
        self.assertTrue(ladders_path(directory).exists())
        again = open_destinations(reactor, PROXY, directory=directory)
        self.assertEqual(again.relay(RELAY).ladder().proven, poll)


class _Nobody:
    """Is told nothing."""

    def works(self, watch: Watch) -> None: ...

    def fails(self, watch: Watch, why: str) -> None: ...

    def opened(self, watch: Watch) -> None: ...

    def cut(self, watch: Watch, lasted: float) -> None: ...

    def ended(self, watch: Watch, lasted: float, by_peer: bool) -> None: ...


class LegTests(SynchronousTestCase):
    """A server's or client's leg over one way or another."""

    def leg(self, route: Route, method: str) -> Leg:
        """A leg that stands."""
        leg = Leg(Clock(), lambda leg: None, lambda message: None, lambda leg, why: None)
        way = Way(TunnelURL("http", "mediator.example", 3355), route, method)
        watch = Watch(Clock(), way, leg, _Nobody(), 0.1)
        host, peer = IPv4Address("TCP", "10.0.0.2", 5), IPv4Address("TCP", "192.0.2.1", 6)
        watch.makeConnection(StringTransport(hostAddress=host, peerAddress=peer))
        self.addCleanup(watch.connectionLost, Failure(ConnectionError()))
        return leg

    def test_ends(self) -> None:
        """Only those of a plain, direct connection are addresses that somebody could dial."""
        self.assertEqual(self.leg(Route.DIRECT, RAW).ends, (("10.0.0.2", 5), ("192.0.2.1", 6)))
        for route, method in (
            (Route.DIRECT, "upgrade"),
            (Route.CONNECT, RAW),
            (Route.ABSOLUTE, "poll"),
        ):
            self.assertIsNone(self.leg(route, method).ends)

    def test_mediator_host(self) -> None:
        """Where UDP may go: to the other end, unless that is a proxy."""
        for route, method, host in (
            (Route.DIRECT, RAW, "192.0.2.1"),
            (Route.DIRECT, "upgrade", "192.0.2.1"),
            (Route.CONNECT, RAW, None),
            (Route.ABSOLUTE, "poll", None),
        ):
            self.assertEqual(self.leg(route, method).mediator_host, host)
