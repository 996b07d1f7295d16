"""Opens a tunnel by one method."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)

from wavesync.tunnel.client_methods import BEGIN
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.opening import Opening
from wavesync.tunnel.place import METHODS, Place
from wavesync.tunnel.poll_client import open_poll

__all__ = ["METHODS", "Place", "TunnelError", "Why", "open_tunnel"]


def open_tunnel(
    reactor: IReactorTime,
    method: str,
    place: Place,
    dial: IStreamClientEndpoint,
    factory: IProtocolFactory,
    *,
    timeout: float,
    random: Callable[[int], bytes],
) -> Deferred[IProtocol]:
    """Open a tunnel.

    :param reactor: gives the time and timers.
    :param method: one of :data:`METHODS`.
    :param place: where to.
    :param dial: connects to the place, or to the proxy that requests go to; asked once for every
        connection that the method needs.  It does TLS and CONNECT where they are wanted.  A
        :class:`TunnelError` of its own, when connecting or as the reason of ``connectionLost``, is
        handed on as it is.
    :param factory: makes the protocol; asked once bytes have come back through the tunnel.
    :param timeout: seconds for all of it.
    :param random: gives that many unpredictable bytes.
    :returns: fires with the protocol, which is connected; fails with :class:`TunnelError`.
        Cancelling it gives up.
    """
    if method == "poll":
        return open_poll(reactor, place, dial, factory, timeout=timeout, random=random)
    begin = BEGIN[method]
    opening = Opening(reactor, place, dial, factory, timeout, random)
    begin(opening)
    return opening.result
