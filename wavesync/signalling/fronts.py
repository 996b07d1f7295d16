"""Doors of mediators and relays that are not plain TCP: TLS, and proxies that say where somebody comes from."""

from collections.abc import Callable, Collection
from typing import Protocol

from twisted.internet.interfaces import IAddress, IOpenSSLContextFactory, IProtocol, IReactorTime
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory  # it has no public name
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)

from wavesync.signalling.proxied import Network, ProxiedWrapper, comes_from

__all__ = ["ProxiedFactory", "SecuredFactory", "Serving"]


class Serving(Protocol):
    """A server's factory that knows how many it has room for."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """A protocol for one more connection, if there is room (IProtocolFactory)."""

    def room(self) -> bool:
        """Tell whether there may be one more connection; count it if not."""


class SecuredFactory(TLSMemoryBIOFactory):
    """Takes connections over TLS.

    :param certificate: the host's; asked for each connection.
    :param factory: what serves them.
    :param clock: gives the time and timers.
    :param protocol: what TLS is spoken by.
    """

    noisy = False

    def __init__(
        self,
        certificate: IOpenSSLContextFactory,
        factory: Serving,
        clock: IReactorTime,
        protocol: type[BufferingTLSTransport] = BufferingTLSTransport,
    ) -> None:
        super().__init__(
            certificate,
            False,
            factory,  # type: ignore[arg-type]
            clock=clock,
        )
        self.protocol = protocol
        self._serving = factory

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        """A protocol for one more connection, if there is room."""
        return super().buildProtocol(addr) if self._serving.room() else None


class ProxiedFactory(HAProxyWrappingFactory):
    """Takes connections from trusted proxies, which tell where they come from (PROXY protocol).

    :param factory: what serves them.
    :param trusted: the addresses of proxies; a connection from elsewhere is closed.
    :param refused: called for each of those.
    """

    noisy = False
    protocol = ProxiedWrapper  # type: ignore[assignment]

    def __init__(
        self, factory: Serving, trusted: Collection[Network], refused: Callable[[], None]
    ) -> None:
        super().__init__(factory)
        self._serving = factory
        self._trusted = tuple(trusted)
        self._refused = refused

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> ProtocolWrapper | None:
        """A protocol for one more connection; none for somebody who is not a trusted proxy."""
        if comes_from(addr, self._trusted):
            return super().buildProtocol(addr) if self._serving.room() else None
        self._refused()
        return None
