"""The client's end of a tunnel of short polls (docs/tunnel.rst, "poll")."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)

from wavesync.tunnel.place import Place
from wavesync.tunnel.poll_tunnel import PollTunnel

__all__ = ["open_poll"]


def open_poll(
    reactor: IReactorTime,
    place: Place,
    dial: IStreamClientEndpoint,
    factory: IProtocolFactory,
    *,
    timeout: float,
    random: Callable[[int], bytes],
) -> Deferred[IProtocol]:
    """Open a tunnel of short polls; see :func:`wavesync.tunnel.methods.open_tunnel`."""
    return PollTunnel(reactor, place, dial, factory, timeout, random).result
