"""Endpoints of mediators and relays by any way, each made once for as long as a process lives."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from wavesync.interfaces import IReactor
from wavesync.tunnel.endpoint import CONNECT_TIMEOUT, WAY_TIMEOUT, AnyWayEndpoint
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.place import METHODS
from wavesync.tunnel.probing import Probe, probe_mediator, probe_relay
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.roads import Dialling, Roads
from wavesync.tunnel.secured import Trust
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Route, Way, ways_of

__all__ = ["MAX_ENDPOINTS", "Destinations"]

MAX_ENDPOINTS = 64
"""Endpoints that are kept; the one that was asked for the longest ago looks for better ways no more."""


class Destinations:
    """Makes them; what is learned of a destination is common to all who go there.

    :param proxy: tells which proxy leads to a URL (:class:`wavesync.tunnel.proxies.Proxies`).
    :param ladders: what is known of ways.
    :param random: gives that many unpredictable bytes.
    :param trust_root: who may have signed certificates of hosts and proxies; whom the system trusts
        when None.
    :param methods: the methods that tunnels may use.
    """

    def __init__(
        self,
        reactor: IReactor,
        proxy: Callable[[TunnelURL], Proxy | None],
        ladders: Ladders,
        random: Callable[[int], bytes],
        *,
        trust_root: Any = None,
        methods: Sequence[str] = METHODS,
    ) -> None:
        self.ladders = ladders
        self._reactor = reactor
        self._proxy = proxy
        self._random = random
        self._trust = Trust(trust_root)
        self._methods = methods
        self._endpoints: dict[Hashable, AnyWayEndpoint] = {}

    def mediator(
        self,
        name: str,
        raw: Sequence[TunnelURL],
        tunnels: Sequence[TunnelURL],
        *,
        dialling: Dialling | None = None,
        lasting: bool = False,
        timeout: float = CONNECT_TIMEOUT,
        way_timeout: float = WAY_TIMEOUT,
        on_better: Callable[[Way], None] | None = None,
    ) -> AnyWayEndpoint:
        """Make the endpoint of a mediator: what comes through it is STUN.

        :param name: the mediator's, for people.
        :param raw: its TCP ports.
        :param tunnels: its HTTP ports.
        :param dialling: makes direct endpoints, where the local port matters.
        :param lasting: a server's leg is meant to last.
        :param timeout: seconds for a connection by any way.
        :param way_timeout: seconds that one way has.
        :param on_better: see :class:`~wavesync.tunnel.endpoint.AnyWayEndpoint`.
        """
        probe = probe_mediator(self._random)
        made = self._make(
            name, raw, tunnels, dialling, lasting, timeout, way_timeout, probe, on_better
        )
        return self._keep(made, made)

    def relay(
        self,
        url: TunnelURL,
        *,
        timeout: float = CONNECT_TIMEOUT,
        way_timeout: float = WAY_TIMEOUT,
        on_better: Callable[[Way], None] | None = None,
    ) -> AnyWayEndpoint:
        """Give the endpoint of a relay, which takes tunnels where it takes its own requests.

        :param url: the relay's: ``http`` or ``https``.
        :returns: the same one as long as it is asked for with the same words.
        """
        key = url, timeout, way_timeout, on_better
        found = self._endpoints.pop(key, None)
        if found is None:
            probe = probe_relay(url, self._random)
            found = self._make(
                str(url), [url], [url], None, False, timeout, way_timeout, probe, on_better
            )
        return self._keep(key, found)

    def proxied(self, url: TunnelURL) -> bool:
        """Tell whether a proxy leads to a URL."""
        return self._proxy(url) is not None

    def text(self, way: Way) -> str:
        """Say in a few words, for a report, where a way leads, and how."""
        words = way.url.authority
        proxy = None if way.route is Route.DIRECT else self._proxy(way.url)
        if proxy is not None:
            how = " by CONNECT" if way.route is Route.CONNECT else ""
            words += f" through proxy {proxy.authority}{how}"
        return words if way.method == RAW else f"{words}, {way.method}"

    def close(self) -> None:
        """Look for better ways no more, and write down what was learned."""
        endpoints, self._endpoints = self._endpoints, {}
        for endpoint in endpoints.values():
            endpoint.close()
        self.ladders.save()

    def _make(
        self,
        name: str,
        raw: Sequence[TunnelURL],
        tunnels: Sequence[TunnelURL],
        dialling: Dialling | None,
        lasting: bool,
        timeout: float,
        way_timeout: float,
        probe: Probe,
        on_better: Callable[[Way], None] | None,
    ) -> AnyWayEndpoint:
        roads = Roads(
            self._reactor,
            proxy=self._proxy,
            random=self._random,
            dialling=dialling,
            trust=self._trust,
        )
        return AnyWayEndpoint(
            self._reactor,
            name,
            ways_of(raw, tunnels, self._proxy, self._methods),
            roads,
            self.ladders,
            random=self._fraction,
            timeout=timeout,
            way_timeout=way_timeout,
            lasting=lasting,
            probe=probe,
            on_better=on_better,
        )

    def _keep(self, key: Hashable, endpoint: AnyWayEndpoint) -> AnyWayEndpoint:
        self._endpoints[key] = endpoint  # the newest is the last
        if len(self._endpoints) > MAX_ENDPOINTS:
            self._endpoints.pop(next(iter(self._endpoints))).close()
        return endpoint

    def _fraction(self) -> float:
        return int.from_bytes(self._random(4), "big") / 2**32
