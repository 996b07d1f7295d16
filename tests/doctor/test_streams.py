"""Tests for wavesync.doctor.streams that need no sockets; the others are in test_examine."""

from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.streams import TIMEOUT, Outside, try_relay
from wavesync.tunnel.urls import TunnelURL


class Nowhere:
    """Roads on which nothing arrives: what is sent is dropped."""

    def dial(self, *_: object, **__: object) -> "Nowhere":
        """Give the endpoint."""
        return self

    def connect(self, factory: object) -> Deferred[Any]:
        """Wait until it is given up, as Twisted's endpoints do."""
        address = HostnameAddress(b"relay.test", 3356)
        return Deferred(lambda waiting: waiting.errback(ConnectingCancelledError(address)))


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
