"""A client's ways out: to mediators and relays, by whatever passes."""

from collections.abc import Sequence

from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.watch import way_of
from wavesync.tunnel.way import Route

__all__ = ["DIRECT_LIMIT", "PROXIED_LIMIT", "Outward", "is_indirect"]

DIRECT_LIMIT = 2.8
"""Seconds for a connection where no proxy is in between, by any way (as
:data:`wavesync.client.attempt.CONNECT_LIMIT`)."""

PROXIED_LIMIT = 15.0
"""The same where one is: what it lets through may have to be found out first."""


class Outward:
    """Makes the endpoints.

    :param destinations: makes endpoints by any way; closed with this.
    :param mediators: those that may be asked.
    :ivar proxied: whether a proxy leads to any of them.
    :ivar limit: seconds that a connection gets.
    """

    def __init__(self, destinations: Destinations, mediators: Sequence[Mediator]) -> None:
        self._destinations = destinations
        self.proxied = any(
            self._destinations.proxied(url)
            for each in mediators
            for url in (*each.raw, *each.tunnels)
        )
        self.limit = PROXIED_LIMIT if self.proxied else DIRECT_LIMIT
        self._mediators = {
            each: destinations.mediator(
                str(each), each.raw, each.tunnels, timeout=self.limit, way_timeout=self._way_limit
            )
            for each in dict.fromkeys(mediators)
            if each.streams
        }

    @property
    def _way_limit(self) -> float:
        return self.limit / 2 if self.proxied else self.limit

    def mediator(self, mediator: Mediator) -> AnyWayEndpoint | None:
        """Give the endpoint of a mediator; None where it is named for UDP only."""
        return self._mediators.get(mediator)

    def relay(self, relay: Relay) -> AnyWayEndpoint:
        """Give the endpoint of a relay."""
        return self._destinations.relay(relay.url, timeout=self.limit, way_timeout=self._way_limit)

    def text(self, transport: object) -> str:
        """Say by which way a connection was made; empty where nobody has chosen one."""
        way = way_of(transport)
        return "" if way is None else self._destinations.text(way)

    def close(self) -> None:
        """Look for better ways no more, and keep what was learned."""
        self._destinations.close()


def is_indirect(transport: object) -> bool:
    """Tell whether a proxy is in between: the other end does not see this host's own address."""
    way = way_of(transport)
    return way is not None and way.route is not Route.DIRECT
