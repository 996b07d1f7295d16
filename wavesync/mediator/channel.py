"""What a leg needs of the connection that it is on."""

from typing import Protocol

__all__ = ["Channel"]


class Channel(Protocol):
    """The connection's socket."""

    def send(self, data: bytes) -> None:
        """Write; nothing happens when it is closed, or when the peer takes nothing any more."""

    def close(self) -> None:
        """Close once everything written has left."""

    def abort(self) -> None:
        """Close at once."""
