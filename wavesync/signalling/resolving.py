"""From a host name to numeric addresses."""

from collections.abc import Sequence
from ipaddress import ip_address

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

__all__ = ["resolve"]


@implementer(IResolutionReceiver)
class _Collector:
    """Gathers what a resolver finds."""

    def __init__(self) -> None:
        self.hosts: dict[str, None] = {}
        self.done: Deferred[Sequence[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The search has begun."""

    def addressResolved(self, address: IAddress) -> None:
        """One address was found."""
        self.hosts[address.host] = None  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        """All were found."""
        self.done.callback(list(self.hosts))


def resolve(reactor: IReactorPluggableNameResolver, host: str) -> Deferred[Sequence[str]]:
    """Find the numeric addresses of *host*, in the resolver's order of preference.

    :returns: fires with the addresses, none when the name is unknown; at once with *host* itself
        when it is numeric.
    """
    try:
        ip_address(host)
    except ValueError:
        collector = _Collector()
        resolver: IHostnameResolver = reactor.nameResolver
        resolver.resolveHostName(collector, host)
        return collector.done
    return succeed([host])
