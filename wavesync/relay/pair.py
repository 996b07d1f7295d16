"""A pair: a client's leg and a server's leg whose bytes go to each other."""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from zope.interface import Attribute, Interface

__all__ = [
    "CLIENT_BROKE",
    "DONE",
    "MAX_HELD",
    "MAX_HELD_ONE_WAY",
    "SERVER_BROKE",
    "ILegTransport",
    "IPair",
]

MAX_HELD: Final = 256 * 1024
"""Bytes that a pair holds at most, in user space and in pipes together."""
MAX_HELD_ONE_WAY: Final = MAX_HELD // 2
"""The part of it for one direction: a direction that is stuck must not stop the other."""

DONE: Final = "done"
"""Both ends have closed, and all bytes went through."""
CLIENT_BROKE: Final = "client-broke"
"""The client's leg was reset or timed out."""
SERVER_BROKE: Final = "server-broke"
"""The server's leg was reset or timed out."""


class ILegTransport(ITransport, IConsumer, IPushProducer):
    """What every stream transport of Twisted is; it has no such name itself."""

    def abortConnection() -> None:
        """Reset the connection."""


class IPair(Interface):
    """Two legs that are joined, from :func:`wavesync.relay.joining.join`."""

    up = Attribute("Bytes taken from the client so far.")
    down = Attribute("Bytes taken from the server so far.")
    last_moved = Attribute("When bytes were last taken or given on, in the reactor's seconds.")
    over: "Deferred[str]" = Attribute(
        "One that fires when both legs are closed, with the reason in one word: ``done``, "
        "``client-broke``, ``server-broke``, or what :meth:`abort` was told."
    )

    def notify(listener: Callable[[str], object]) -> None:
        """Call *listener* when both legs are closed, with that reason; at once if they are already."""

    def dying() -> bool:
        """Tell whether a leg seems dead (:func:`wavesync.relay.vitality.socket_seems_dead`)."""

    def abort(reason: str) -> None:
        """Reset both legs; what is under way is lost.  Does nothing once the pair is over."""
