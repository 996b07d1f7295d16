"""Tests for wavesync.agent.outward: by which ways an agent gets out."""

import time
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.outward import Outward
from wavesync.agent.settings import AgentSettings
from wavesync.signalling.urls import parse_mediators
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Route, Way

URL = TunnelURL("http", "mediator.test", 80)


class Endpoint:
    """Leads along the way that the test wants."""

    def __init__(self) -> None:
        self.in_use: Way | None = None


class Leading:
    """Makes such endpoints."""

    def __init__(self) -> None:
        self.made: list[Endpoint] = []

    def mediator(self, *_: object, **__: object) -> Endpoint:
        """Make one."""
        self.made.append(Endpoint())
        return self.made[-1]

    def close(self) -> None:
        """Nothing is open."""


class OutwardTests(SynchronousTestCase):
    """Whoever cannot reach a server is told that it is behind a proxy."""

    def proxied(self, *routes: Route | None) -> bool | None:
        """What is said with legs along these roads; None is one that does not stand."""
        leading = Leading()
        reactor: Any = global_reactor
        outward = Outward(reactor, AgentSettings(), cast(Destinations, leading), time.time)
        urls: Sequence[str] = [f"http://m{number}.test" for number in range(len(routes))]
        for mediator, route in zip(parse_mediators(tuple(urls)), routes, strict=True):
            outward.mediator(mediator)
            leading.made[-1].in_use = None if route is None else Way(URL, route, RAW)
        told = outward.proxied
        outward.stop()
        self.assertIsNone(outward.proxied)
        return told

    def test_proxied(self) -> None:
        """It is behind one when no connection to a mediator does without, and nobody knows without any."""
        self.assertIsNone(self.proxied(None))
        self.assertIs(self.proxied(Route.DIRECT), False)
        self.assertIs(self.proxied(Route.CONNECT), True)
        self.assertIs(self.proxied(Route.ABSOLUTE, None), True)
        self.assertIs(self.proxied(Route.CONNECT, Route.DIRECT), False)
