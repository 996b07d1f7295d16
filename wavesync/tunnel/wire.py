"""One HTTP connection's two halves: the socket's side, and what the connection is for."""

from typing import Protocol

from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.interfaces import Address

__all__ = ["Role", "Wire"]


class Wire(Protocol):
    """The socket's side of a connection, at either end.

    A relay's connections (:class:`wavesync.relay.role.Wire`) are such wires, too.
    """

    @property
    def source(self) -> Address:
        """From where the peer comes, as a trusted proxy in front says where there is one."""

    @property
    def stream(self) -> ITransport:
        """The transport: for its addresses, and as the consumer that a producer is registered with.

        Whoever registers one takes it off before :meth:`finish`.
        """

    def write(self, data: bytes) -> None:
        """Send."""

    def finish(self, data: bytes) -> None:
        """Send, and close once it has left; the role hears no more."""

    def abort(self) -> None:
        """Close at once; the role hears no more."""

    def pause(self) -> None:
        """Read nothing more for now."""

    def resume(self) -> None:
        """Read on."""


class Role(Protocol):
    """What a connection is for."""

    def received(self, data: bytes) -> None:
        """The peer sent this."""

    def lost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: ``ConnectionDone`` where the peer ended it in order."""
