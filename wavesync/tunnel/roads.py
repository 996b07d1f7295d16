"""Makes the connections of a way: to the host or to a proxy, by CONNECT, with TLS; and opens the way."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.errors import WavesyncError
from wavesync.interfaces import IReactor
from wavesync.tunnel.connect_proxy import ConnectEndpoint
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.methods import open_tunnel
from wavesync.tunnel.place import Place
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.secured import SecuredEndpoint, Trust
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Road, Route, Way

__all__ = ["NEXT_HOST_DELAY", "Dialling", "Opener", "Roads"]

NEXT_HOST_DELAY = 0.25
"""Seconds after which the next address of a name is tried as well (RFC 8305 section 5)."""


class Dialling(Protocol):
    """Makes an endpoint that leads to a host and port directly, for :class:`Roads`."""

    def __call__(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        """Make it.

        :param timeout: seconds for a connection to stand, finding the addresses included.
        """


class Opener(Protocol):
    """Opens ways: :class:`Roads`, or what stands for it in a test."""

    def open(
        self,
        way: Way,
        factory: IProtocolFactory,
        *,
        timeout: float,
        arrived: Callable[[], None],
    ) -> Deferred[IProtocol]:
        """Open a way.

        :param factory: makes the protocol; asked once the way is open.
        :param timeout: seconds for all of it.
        :param arrived: called, maybe more than once, when a connection stands.
        :returns: fires with the protocol, which is connected; cancelling it gives up.
        """

    def dial(self, road: Road, *, timeout: float) -> IStreamClientEndpoint:
        """Make the endpoint of a road's connections."""

    def describe(self, way: Way) -> str:
        """Say in a few words where a way leads along, for reports."""


class Roads:
    """Opens ways on real sockets.

    :param proxy: tells which proxy leads to a URL.
    :param random: gives that many unpredictable bytes.
    :param dialling: makes direct endpoints; ordinary ones when None.
    :param trust: who may have signed certificates of hosts and proxies; whom the system trusts when
        None.
    """

    def __init__(
        self,
        reactor: IReactor,
        *,
        proxy: Callable[[TunnelURL], Proxy | None],
        random: Callable[[int], bytes],
        dialling: Dialling | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._random = random
        self._dialling = dialling if dialling is not None else self._ordinary
        self._trust = trust if trust is not None else Trust()

    def open(
        self,
        way: Way,
        factory: IProtocolFactory,
        *,
        timeout: float,
        arrived: Callable[[], None],
    ) -> Deferred[IProtocol]:
        """Open a way (:class:`Opener`)."""
        dial = _Arriving(self.dial(way.road, timeout=timeout), arrived)
        if way.method == RAW:
            return dial.connect(factory)
        return open_tunnel(
            self._reactor,
            way.method,
            self.place(way.road),
            dial,
            factory,
            timeout=timeout,
            random=self._random,
        )

    def dial(self, road: Road, *, timeout: float) -> IStreamClientEndpoint:
        """Make the endpoint of a road's connections (:class:`Opener`)."""
        url, proxy = road.url, None
        if road.route is Route.DIRECT:
            endpoint = self._direct(url.host, url.port, timeout, url.authority)
        else:
            proxy = self._proxy_to(url)
            endpoint = self._direct(proxy.host, proxy.port, timeout, f"the proxy {proxy.authority}")
            if proxy.tls:
                endpoint = self._secured(endpoint, proxy.host, timeout)
        if road.route is Route.CONNECT and proxy is not None:
            endpoint = ConnectEndpoint(
                self._reactor, proxy, endpoint, url.authority, timeout=timeout
            )
        if url.tls and road.route is not Route.ABSOLUTE:
            endpoint = self._secured(endpoint, url.host, timeout)
        return endpoint

    def describe(self, way: Way) -> str:
        """Say where a way leads along (:class:`Opener`): ``relay.example:443 through proxy corp:3128, poll``.

        A user's name and password are not in it.
        """
        words = way.url.authority
        if way.route is not Route.DIRECT:
            words += f" through proxy {self._proxy_to(way.url).authority}"
        return words if way.method == RAW else f"{words}, {way.method}"

    def place(self, road: Road) -> Place:
        """Say how requests on a road are written."""
        if road.route is not Route.ABSOLUTE:
            return Place(road.url.authority, road.url.tls)
        proxy = self._proxy_to(road.url)
        return Place(road.url.authority, False, str(road.url), proxy.headers)

    def _proxy_to(self, url: TunnelURL) -> Proxy:
        proxy = self._proxy(url)
        if proxy is None:
            raise ValueError(f"no proxy leads to {url}")
        return proxy

    def _direct(self, host: str, port: int, timeout: float, name: str) -> IStreamClientEndpoint:
        return _Explaining(self._dialling(host, port, timeout), name)

    def _secured(
        self, endpoint: IStreamClientEndpoint, host: str, timeout: float
    ) -> IStreamClientEndpoint:
        return SecuredEndpoint(self._reactor, endpoint, host, timeout=timeout, trust=self._trust)

    def _ordinary(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        return HostnameEndpoint(
            self._reactor, host, port, timeout=timeout, attemptDelay=NEXT_HOST_DELAY
        )


@implementer(IStreamClientEndpoint)
class _Arriving:
    """Tells when a connection stands."""

    def __init__(self, endpoint: IStreamClientEndpoint, arrived: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._arrived = arrived

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint)."""
        return self._endpoint.connect(protocolFactory).addCallback(self._stands)

    def _stands(self, protocol: IProtocol) -> IProtocol:
        self._arrived()
        return protocol


@implementer(IStreamClientEndpoint)
class _Explaining:
    """Says in a sentence why there is no connection."""

    def __init__(self, endpoint: IStreamClientEndpoint, name: str) -> None:
        self._endpoint = endpoint
        self._name = name

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint)."""
        return self._endpoint.connect(protocolFactory).addErrback(self._explain)

    def _explain(self, failure: Failure) -> Failure:
        if failure.check(TunnelError, CancelledError, ConnectingCancelledError):
            return failure
        if failure.check(TimeoutError):
            why = "no answer comes"
        elif failure.check(ConnectionRefusedError):
            why = "the connection is refused"
        elif failure.check(DNSLookupError):
            why = "the name cannot be resolved"
        elif failure.check(ConnectError, WavesyncError, OSError):
            why = failure.getErrorMessage().rstrip(".")
        else:
            return failure
        return Failure(TunnelError(f"{self._name} cannot be reached: {why}", Why.UNREACHABLE))
