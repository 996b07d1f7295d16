"""Who is told what becomes of a server's sessions, for a record of each connect."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wavesync.session.server import ServerSession

__all__ = ["Unwatched", "Watcher"]


class Watcher(Protocol):
    """Is told of every session for which a service was asked.

    None of these may raise, and each must be quick: it is called while a client waits.
    """

    def asked(self, session: "ServerSession", service: str, connection: str) -> None:
        """A client asks for a service.

        :param connection: the connection id that it tells; empty for none.
        """

    def opened(self, session: "ServerSession") -> None:
        """The service is there."""

    def refused(self, session: "ServerSession", sentence: str) -> None:
        """It is not."""

    def answered(self, session: "ServerSession") -> None:
        """The service has said its first word."""

    def ended(self, session: "ServerSession", why: str) -> None:
        """The session is over; called again where its path outlived it."""


class Unwatched:
    """Nobody is interested."""

    def asked(self, session: "ServerSession", service: str, connection: str) -> None:
        """Do nothing."""

    def opened(self, session: "ServerSession") -> None:
        """Do nothing."""

    def refused(self, session: "ServerSession", sentence: str) -> None:
        """Do nothing."""

    def answered(self, session: "ServerSession") -> None:
        """Do nothing."""

    def ended(self, session: "ServerSession", why: str) -> None:
        """Do nothing."""
