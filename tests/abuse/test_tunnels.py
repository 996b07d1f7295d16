"""Ports for tunnels, of a mediator and a relay, against those who never want one, or never let go."""

import os
from collections.abc import Iterable
from itertools import cycle

from twisted.internet.defer import Deferred

from tests.abuse.bad_tunnels import refused_words, stalled_words
from tests.abuse.measures import sizes
from tests.abuse.test_streams import StreamCase
from tests.abuse.world import HOST
from tests.client.site import TunnelsOnly
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS
from wavesync.interfaces import Address
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.place import METHODS
from wavesync.tunnel.poll_past import MAX_REMEMBERED
from wavesync.tunnel.proxies import Proxies, ProxySettings
from wavesync.tunnel.server import TunnelServer

_COUNT = 104
"""Connections of each storm: some of every kind that :mod:`tests.abuse.bad_tunnels` knows."""

_WAIT = 100.0
"""Seconds within which the server ends whatever stalls: a poll is held, then its connection waits."""


class TunnelTests(StreamCase):
    """Good clients reach both through tunnels of every method meanwhile; nothing stays.

    :cvar count: connections of each storm.
    """

    count = _COUNT

    def prepare(self) -> None:
        """Start a relay."""
        settings = RelaySettings(name=HOST, listen=(f"{HOST}:0",), drain_grace=0.0)
        self.relay = RelayService(settings, self.reactor, wall_clock=self.reactor.seconds)
        self.relay.startService()
        self.addCleanup(lambda: self.relay.stopService())
        self.relays = (f"http://{HOST}:{self.relay.addresses[0][1]}",)
        self.methods = cycle(METHODS)

    @property
    def http(self) -> Address:
        """The mediator's HTTP port."""
        return self.mediator.http_addresses[0]

    async def good_connect(self, paths: Iterable[str] = PATHS) -> None:
        """A client has a payload echoed that knows tunnels alone, by the next method."""
        ladders = Ladders(
            None,
            clock=self.reactor.seconds,
            wall_clock=self.reactor.seconds,
            network=lambda: "here",
        )
        connector = open_connector(
            self.reactor,
            self.client,
            mediators=(f"http://{HOST}:{self.http[1]}",),
            paths=("relay",),
            allow_loopback=True,
            wall_clock=self.reactor.seconds,
            destinations=TunnelsOnly(
                self.reactor,
                Proxies(ProxySettings(), {}),
                ladders,
                os.urandom,
                trust_root=None,
                methods=(next(self.methods),),
            ),
        )
        try:
            await self.echo(connector)
        finally:
            await connector.close()

    def servers(self) -> dict[str, TunnelServer]:
        """Both, by name."""
        return {
            "mediator": self.mediator.tunnels.server,
            "relay": self.relay.connections.tunnels,
        }

    def tables(self) -> dict[str, int]:
        """Whatever tunnels need, too."""
        found = super().tables()
        for name, server in self.servers().items():
            polls = server._poll
            found |= sizes(f"{name} tunnels", server, server._guests, polls)
            found[f"{name} half-made"] = len(server._half)
            for which in ("_idle", "_new", "_slow"):
                found[f"{name} polls {which}"] = len(getattr(polls, which))
            found[f"{name} guests"] = len(server._guests)
            found[f"{name} open"] = sum(server.statistics.open.values())
        found["mediator HTTP heads"] = len(self.mediator.tunnels.front.heads)
        found["relay heads"] = len(self.relay.connections.heads)
        return {
            **found,
            **sizes("mediator HTTP", self.mediator.tunnels.front),
            **sizes("relay", self.relay.connections),
        }

    def caches(self) -> dict[str, tuple[int, int]]:
        """What is known of polls that are over, too."""
        found = super().caches()
        for name, server in self.servers().items():
            found[f"{name} past polls"] = len(server._poll._past._reasons), MAX_REMEMBERED
        return found

    def test_storms(self) -> Deferred[None]:
        """Half-made tunnels, no hello, ids in use, polls that never come back, slow heads."""
        refused, stalled = refused_words(self.random), stalled_words(self.random)

        def relay() -> Address:
            return self.relay.addresses[0]

        storms = {
            "refused by the mediator": self.calling(refused, lambda: self.http),
            "stalled at the mediator": self.calling(stalled, lambda: self.http, wait=_WAIT),
            "refused by the relay": self.calling(refused, relay),
            "stalled at the relay": self.calling(stalled, relay, wait=_WAIT),
        }

        async def check() -> None:
            await self.measured(storms, count=self.count, proven=True)
            for server in self.servers().values():
                # Whatever a server defends itself with, it has.
                reasons = {reason for reason, number in server.statistics.refused.items() if number}
                self.assertLessEqual(
                    {"hello", "hello-time", "id", "id-in-use", "no-get", "unknown"}, reasons
                )
                self.assertTrue(all(server.statistics.opened[each] for each in METHODS))

        return Deferred.fromCoroutine(check())
