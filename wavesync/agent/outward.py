"""The agent's ways out: to mediators and relays, by whatever passes."""

from collections.abc import Callable
from functools import partial

from wavesync.agent.link import Link
from wavesync.agent.settings import AgentSettings
from wavesync.interfaces import IReactor
from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.leg_endpoint import LegEndpoint
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.proxies import Proxies
from wavesync.tunnel.way import Route, Way

__all__ = ["CONNECT_TIMEOUT", "Outward"]

CONNECT_TIMEOUT = 6.0
"""Seconds for a connection to a mediator to stand, by one way."""


class Outward:
    """Makes the endpoints, and tells whoever uses one of a better way.

    :param settings: name the proxy.
    :param destinations: makes endpoints; made as the settings say when None.
    :param wall_clock: seconds since the epoch.
    :ivar on_better_relay: told of a better way to a relay.
    """

    def __init__(
        self,
        reactor: IReactor,
        settings: AgentSettings,
        destinations: Destinations | None,
        wall_clock: Callable[[], float],
    ) -> None:
        if destinations is None:
            destinations = open_destinations(
                reactor, Proxies(settings.proxy), wall_clock=wall_clock
            )
        self.destinations = destinations
        self.on_better_relay: Callable[[Way], None] = lambda way: None
        self._reactor = reactor
        self._links: dict[Mediator, Link] = {}
        self._endpoints: dict[Mediator, AnyWayEndpoint] = {}

    @property
    def proxied(self) -> bool | None:
        """Whether mediators are reached through an HTTP proxy only; None without a connection to any."""
        ways = [each.in_use for each in self._endpoints.values()]
        routes = {way.route for way in ways if way is not None}
        return Route.DIRECT not in routes if routes else None

    def mediator(self, mediator: Mediator) -> AnyWayEndpoint:
        """Make the endpoint of a server's leg."""

        def better(way: Way) -> None:
            if mediator in self._links:
                self._links[mediator].better(way)

        endpoint = self._endpoints[mediator] = self.destinations.mediator(
            str(mediator),
            mediator.raw,
            mediator.tunnels,
            dialling=partial(_leg_endpoint, self._reactor),
            lasting=True,
            way_timeout=CONNECT_TIMEOUT,
            on_better=better,
        )
        return endpoint

    def relay(self, relay: Relay) -> AnyWayEndpoint:
        """Make the endpoint of a relay."""
        return self.destinations.relay(relay.url, on_better=self._better_relay)

    def _better_relay(self, way: Way) -> None:
        self.on_better_relay(way)

    def uses(self, link: Link) -> None:
        """This link has the endpoint of its mediator."""
        self._links[link.mediator] = link

    def stop(self) -> None:
        """Look for better ways no more."""
        self._links.clear()
        self._endpoints.clear()
        self.destinations.close()


def _leg_endpoint(reactor: IReactor, host: str, port: int, timeout: float) -> LegEndpoint:
    return LegEndpoint(reactor, host, port, timeout=timeout)
