"""Joining a client's leg with a server's: from then on each gets the other's bytes."""

import functools
from typing import cast

from twisted.internet.interfaces import IReactorTime, ITransport

from wavesync.relay.legs import plain
from wavesync.relay.pair import ILegTransport, IPair
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.portable import PortablePair
from wavesync.relay.shaping import Shaper
from wavesync.relay.sockets import SocketPair
from wavesync.watch import watch_of

__all__ = ["join"]

_plumbing = functools.cache(lambda kernel: Plumbing(kernel=kernel))


def join(
    reactor: IReactorTime,
    client: ITransport,
    server: ITransport,
    *,
    to_server: bytes = b"",
    to_client: bytes = b"",
    shaper: Shaper | None = None,
    kernel: bool = True,
    plumbing: Plumbing | None = None,
) -> IPair:
    """Join two legs.  Their protocols get nothing more from now on, not even the end.

    Half-close passes through: the end of what one side says is told to the other after the last
    byte.  A leg that breaks has both reset.

    :param client: the client's transport, its reading paused, without a producer; what was written
        to it goes first.
    :param server: the server's, likewise.
    :param to_server: bytes of the client that were read already.
    :param to_client: bytes of the server that were read already.
    :param shaper: how fast the pair may be, both directions together.
    :param kernel: whether bytes between two plain legs may stay in the kernel.
    :param plumbing: what plain legs' bytes are moved with; by default what all of this process use.
    """
    connections = plain(client), plain(server)
    watch = watch_of(reactor)
    if watch is not None and all(
        connection is not None and not connection.disconnected for connection in connections
    ):
        return SocketPair(
            watch,
            _plumbing(kernel) if plumbing is None else plumbing,
            client,
            server,
            to_server=to_server,
            to_client=to_client,
            shaper=shaper,
        )
    return PortablePair(
        reactor,
        cast(ILegTransport, client),
        cast(ILegTransport, server),
        to_server=to_server,
        to_client=to_client,
        shaper=shaper,
    )
