"""The server's end of tunnels of short polls (docs/tunnel.rst, "poll")."""

from typing import Protocol

import h11
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from wavesync.interfaces import Address
from wavesync.tunnel.wire import Role, Wire

__all__ = ["Guests", "PollServer"]


class Guests(Protocol):
    """Counts tunnels of every method, within the limits of all of them."""

    def enter(self, source: Address) -> tuple[int, str] | None:
        """One more tunnel comes from there, its hello has come.

        :returns: an HTTP status and a sentence when it is refused, None when it is counted.
        """

    def leave(self, source: Address) -> None:
        """One that was counted is over."""


class PollServer:
    """All tunnels of short polls.

    :param factory: makes the protocol for each tunnel.
    :param clock: gives the time and timers.
    :param guests: counts the tunnels.
    """

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime, guests: Guests) -> None:
        self._factory = factory
        self._clock = clock
        self._guests = guests

    def __len__(self) -> int:
        """Count the tunnels that are open."""
        return 0

    def welcome(self, request: h11.Request, wire: Wire, rest: bytes) -> Role | None:
        """Take a connection whose first request is a poll; further ones follow on it.

        :param rest: what came behind the request's head.
        :returns: what the connection is for; None when it was refused and finished.
        """
        wire.finish(b"")
        return None

    def close(self) -> None:
        """End every tunnel and every connection at once."""
