"""A connection's two halves: the socket's side, and what the connection is for."""

from typing import Protocol

from twisted.internet.interfaces import ITransport

from wavesync.interfaces import Address

__all__ = ["Role", "Wire"]


class Wire(Protocol):
    """The socket's side, as a role sees it.

    :ivar source: from where the peer comes, as the proxy in front says where there is one.
    """

    @property
    def source(self) -> Address:
        """From where the peer comes."""

    @property
    def stream(self) -> ITransport:
        """The transport, for a join."""

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

    def hand_over(self) -> None:
        """The transport is joined with another: the role hears no more, and is not closed."""

    def gone(self) -> None:
        """The transport that was handed over is closed."""


class Role(Protocol):
    """What a connection is for, once its first request is known."""

    def received(self, data: bytes) -> None:
        """The peer sent this."""

    def lost(self) -> None:
        """The connection is gone."""
