"""A way to a byte stream: where to, by which road, by which method."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from wavesync.tunnel.place import METHODS
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.urls import TunnelURL

__all__ = [
    "LASTING",
    "MAX_WAYS",
    "RAW",
    "Road",
    "Route",
    "Way",
    "ways_of",
]

MAX_WAYS = 64
"""Ways to one destination that are kept in mind; those that cost most are left out."""

RAW = "raw"
"""The method without a tunnel: the stream is the connection's own."""

LASTING = "poll"
"""The method that does without connections that last."""

_COST = {RAW: 0.0, "upgrade": 10.0, "websocket": 20.0, "get-post": 30.0, "two": 40.0, "poll": 60.0}


class Route(enum.Enum):
    """How the connections of a way are made."""

    DIRECT = "direct"
    """To the host itself."""

    CONNECT = "connect"
    """Through an HTTP proxy that is asked to CONNECT."""

    ABSOLUTE = "absolute"
    """To an HTTP proxy, which passes requests on that name the whole URL."""


_ROUTES = tuple(Route)
_ROUTE_WORDS = {
    Route.DIRECT: "directly",
    Route.CONNECT: "through the proxy's CONNECT",
    Route.ABSOLUTE: "through the proxy",
}


class Road(NamedTuple):
    """What the ways share whose connections are made alike: if one cannot be made, none can."""

    url: TunnelURL
    route: Route


@dataclass(frozen=True, slots=True)
class Way:
    """One way.

    :ivar url: where to.
    :ivar route: how connections are made.
    :ivar method: :data:`RAW`, or one of :data:`METHODS`.
    """

    url: TunnelURL
    route: Route
    method: str

    @property
    def road(self) -> Road:
        """What it shares with others."""
        return Road(self.url, self.route)

    @property
    def cost(self) -> float:
        """How much is to be said against it before anything is known, in the ladder's seconds."""
        return _COST[self.method]

    @property
    def by_detour(self) -> bool:
        """Whether it is anything but a plain connection to the host itself."""
        return self.method != RAW or self.route is not Route.DIRECT

    @property
    def order(self) -> tuple[float, int]:
        """Sorts ways of which nothing is known."""
        return self.cost, _ROUTES.index(self.route)

    @property
    def key(self) -> str:
        """What it is called in files and reports."""
        return f"{self.method} {self.route.value} {self.url}"

    def __str__(self) -> str:
        what = "plain" if self.method == RAW else f"tunnel {self.method}"
        return f"{what} to {self.url} {_ROUTE_WORDS[self.route]}"


def ways_of(
    raw: Iterable[TunnelURL],
    tunnels: Iterable[TunnelURL],
    proxy: Callable[[TunnelURL], Proxy | None],
    methods: Iterable[str] = METHODS,
) -> tuple[Way, ...]:
    """List all ways to one destination, those first that cost least.

    Where there is a proxy, it is used *and* passed by: which of both works is found out.

    :param raw: where the stream can be had as it is; over TLS where the scheme is ``https``.
    :param tunnels: where tunnels are served.
    :param proxy: tells which proxy leads to a URL.
    :param methods: the methods that tunnels may use.
    :returns: at most :data:`MAX_WAYS`.
    """
    found: dict[Way, None] = {}
    for url in raw:
        for route in (Route.DIRECT, Route.CONNECT) if proxy(url) else (Route.DIRECT,):
            found[Way(url, route, RAW)] = None
    wanted = tuple(methods)
    for url in tunnels:
        routes = _ROUTES if proxy(url) else (Route.DIRECT,)
        for route in routes:
            # What goes through TLS is nothing that a proxy could pass on by itself.
            if route is Route.ABSOLUTE and url.tls:
                continue
            for method in wanted:
                found[Way(url, route, method)] = None
    return tuple(sorted(found, key=lambda way: way.order)[:MAX_WAYS])
