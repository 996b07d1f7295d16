"""Tests for wavesync.doctor.streams that need no sockets; the others are in test_examine."""

from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.streams import TIMEOUT, Outside, try_relay
from wavesync.errors import ConnectFailed
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import Route, Way


class Nowhere:
    """Roads on which nothing arrives: what is sent is dropped."""

    def dial(self, *_: object, **__: object) -> "Nowhere":
        """Give the endpoint."""
        return self

    def connect(self, factory: object) -> Deferred[Any]:
        """Wait until it is given up, as Twisted's endpoints do."""
        address = HostnameAddress(b"relay.test", 3356)
        return Deferred(lambda waiting: waiting.errback(ConnectingCancelledError(address)))


class Refusing(Nowhere):
    """Roads with a proxy that refuses to connect, and passes short requests on."""

    def connect(self, factory: object) -> Deferred[Any]:
        """Refuse."""
        return fail(ConnectFailed("the proxy refuses to connect (403)"))

    def open(self, way: Way, factory: object, **_: object) -> Deferred[Any]:
        """Open short polls only."""
        if (way.route, way.method) == (Route.ABSOLUTE, "poll"):
            return succeed(None)
        return fail(ConnectFailed("the request was refused"))


class StreamsTests(SynchronousTestCase):
    """Why a place is not reached, in words for people."""

    def test_dropped(self) -> None:
        """A relay to which nothing passes does not answer; it is not "HostnameAddress"."""
        clock: Any = Clock()
        roads: Any = Nowhere()
        trying = try_relay(
            clock, Outside(roads, lambda url: None), TunnelURL("http", "relay.test", 3356)
        )
        tried = Deferred.fromCoroutine(trying)
        self.assertNoResult(tried)
        clock.advance(TIMEOUT)
        trial, proxied = self.successResultOf(tried)
        self.assertEqual((trial.works, trial.why, proxied), (False, "no answer comes", None))

    def test_proxy_without_connect(self) -> None:
        """A relay that is reached by tunnels only, through a proxy that does not connect, is reached."""
        clock: Any = Clock()
        roads: Any = Refusing()
        proxy = Proxy("proxy.test", 3128)
        for scheme, works in (("http", True), ("https", False)):
            url = TunnelURL(scheme, "relay.test", 3356)
            trying = try_relay(clock, Outside(roads, lambda url: proxy), url)
            direct, proxied = self.successResultOf(Deferred.fromCoroutine(trying))
            assert proxied is not None
            self.assertEqual((direct.works, proxied.works), (False, works), scheme)
