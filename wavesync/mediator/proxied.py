"""The mediator's TCP connections through trusted proxies: each begins when it is known where it comes from."""

from collections.abc import Collection
from contextlib import suppress
from typing import cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.python.failure import Failure

from wavesync.mediator.stream import LegFactory
from wavesync.signalling.proxied import Network, ProxiedWrapper, comes_from

__all__ = ["HEADER_LIFE", "ProxiedLegs"]

HEADER_LIFE = 10.0
"""Seconds that a proxy has to say where a connection comes from."""


class _Later(Protocol):
    """A connection of which that is not known yet; then what it turns out to be."""

    def __init__(self, legs: LegFactory) -> None:
        self._legs = legs
        self._leg: IProtocol | None = None
        self._end: IDelayedCall | None = None

    @property
    def _wire(self) -> ProxiedWrapper:
        return cast(ProxiedWrapper, self.transport)

    def connectionMade(self) -> None:
        """Wait, but not for long."""
        self._end = self._legs.clock.callLater(HEADER_LIFE, self._give_up)

    def begin(self) -> None:
        """The proxy has told where it comes from.  Idempotent."""
        if self._end is None:
            return
        self._end.cancel()
        self._end = None
        with suppress(ValueError):  # from nowhere
            self._leg = self._legs.buildProtocol(self._wire.getPeer())
        if self._leg is None:
            self._wire.abortConnection()
        else:
            self._leg.makeConnection(cast(ITransport, self._wire))

    def dataReceived(self, data: bytes) -> None:
        """What comes behind the header (IProtocol)."""
        self.begin()
        if self._leg is not None:
            self._leg.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over (IProtocol)."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._leg is not None:
            self._leg.connectionLost(reason)

    def leave(self) -> None:
        """The mediator is shutting down: end it, unless it has begun."""
        if self._end is not None:
            self._wire.abortConnection()

    def _give_up(self) -> None:
        self._end = None
        self._wire.abortConnection()


class _LaterFactory(ServerFactory):
    noisy = False

    def __init__(self, legs: LegFactory) -> None:
        self._legs = legs

    def buildProtocol(self, addr: IAddress | None) -> _Later:
        return _Later(self._legs)


class _Proxied(ProxiedWrapper):
    def dataReceived(self, data: bytes) -> None:
        """The header, then what the leg gets (IProtocol)."""
        super().dataReceived(data)
        if self.told:
            self.later.begin()

    @property
    def later(self) -> _Later:
        """The connection."""
        return cast(_Later, self.wrappedProtocol)


class ProxiedLegs(HAProxyWrappingFactory):
    """Takes connections from trusted proxies.

    :param legs: makes their protocols.
    :param trusted: the addresses of proxies; a connection from elsewhere is closed.
    """

    noisy = False
    protocol = _Proxied  # type: ignore[assignment]

    def __init__(self, legs: LegFactory, trusted: Collection[Network]) -> None:
        super().__init__(_LaterFactory(legs))
        self._clock: IReactorTime = legs.clock
        self._mediator = legs.mediator
        self._trusted = tuple(trusted)

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> _Proxied | None:
        """A protocol for one more connection; none for somebody who is not a trusted proxy."""
        if comes_from(addr, self._trusted):
            return cast(_Proxied, super().buildProtocol(addr))
        host = getattr(addr, "host", "somebody")
        self._mediator.drop(host, "not a trusted proxy", self._clock.seconds())
        return None

    def leave(self) -> None:
        """The mediator is shutting down: end those that have not begun."""
        for each in list(self.protocols):
            cast(_Proxied, each).later.leave()
