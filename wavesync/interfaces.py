"""The small vocabulary that every layer shares."""

from typing import NamedTuple, TypeAlias

from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
)
from zope.interface import Interface

__all__ = ["Address", "Burst", "IReactor", "ISparingTransport", "IWaryTransport", "Oversized"]


class IReactor(
    IReactorTime, IReactorTCP, IReactorSocket, IReactorFDSet, IReactorPluggableNameResolver
):
    """The parts of Twisted's reactor that agents and clients use; it has no such name itself."""


class IWaryTransport(Interface):
    """A transport that holds little for a peer until it is told that the peer is known."""

    def trust() -> None:
        """The peer has been authenticated: hold as much for it as for anybody."""


class ISparingTransport(Interface):
    """A transport that sends packets of its own so that a silent connection is not forgotten."""

    def keep_alive_every(seconds: float) -> None:
        """Send them after so many seconds of silence: whoever uses it sends often enough himself."""


Address: TypeAlias = tuple[str, int]
"""A numeric host (``"192.0.2.1"``, ``"2001:db8::1"``, no scope, no brackets) and a port 0..65535."""


class Burst(NamedTuple):
    """Several datagrams for one destination, back to back in one buffer.

    All are *segment_size* bytes long except the last, which may be shorter: the shape that
    ``UDP_SEGMENT`` takes and ``UDP_GRO`` gives, and that a portable carrier cuts into datagrams.

    :ivar data: the datagrams' bytes, 1 .. 65507 in all.
    :ivar segment_size: bytes a datagram, 1 .. 65507.
    """

    data: bytes
    segment_size: int


class Oversized(Burst):
    """Datagrams larger than what is known to pass: they leave one by one, in IP fragments where that takes it."""

    __slots__ = ()
