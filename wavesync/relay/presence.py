"""Which servers are at which relay, so that one relay can send a client to another."""

from twisted.internet.defer import Deferred, succeed
from zope.interface import Attribute, Interface, implementer

from wavesync.identity.ids import Target
from wavesync.signalling.relay_urls import Relay

__all__ = ["Board", "IPresence", "MemoryPresence", "NotKnown"]


class NotKnown(Exception):
    """It cannot be known just now; whose fault that is has been logged."""


class IPresence(Interface):
    """What one relay knows of the others."""

    reachable = Attribute("Whether it can be known just now where else servers are.")
    shown = Attribute("How many of this relay's servers the others can find just now.")

    def start() -> None:
        """This relay listens: others may send clients here."""

    def arrived(server: Target) -> None:
        """A server has parked its first connection here."""

    def left(server: Target) -> None:
        """A server has had no connection here for a while."""

    def find(server: Target) -> Deferred[Relay | None]:
        """Look for another relay that has *server*.

        :returns: fires with its URL, or ``None`` where none has; fails with :class:`NotKnown` where it
            cannot be known just now.
        """

    def stop() -> Deferred[None]:
        """This relay is going: nobody is sent here any more.

        It may be started again later.

        :returns: fires when that is known; does not fail.
        """


class Board:
    """Shared by the relays of one process.

    :ivar where: the relays at which each server is, the latest last.
    """

    def __init__(self) -> None:
        self.where: dict[Target, dict[Relay, None]] = {}


@implementer(IPresence)
class MemoryPresence:
    """Presence within one process.

    Whoever has no other relay knows all that there is to know.

    :param board: shared with other relays; one's own by default, on which nobody else is.
    :param relay: this relay's URL; None where no other may send clients here.
    """

    def __init__(self, board: Board | None = None, relay: Relay | None = None) -> None:
        self._board = Board() if board is None else board
        self._relay = relay
        self._here: dict[Target, None] = {}

    reachable = True

    @property
    def shown(self) -> int:
        """See :class:`IPresence`."""
        return len(self._here)

    def start(self) -> None:
        """See :class:`IPresence`."""

    def arrived(self, server: Target) -> None:
        """See :class:`IPresence`."""
        if self._relay is not None:
            self._here[server] = None
            relays = self._board.where.setdefault(server, {})
            relays.pop(self._relay, None)
            relays[self._relay] = None

    def left(self, server: Target) -> None:
        """See :class:`IPresence`."""
        if self._here.pop(server, server) is None and self._relay is not None:
            relays = self._board.where[server]
            del relays[self._relay]
            if not relays:
                del self._board.where[server]

    def find(self, server: Target) -> Deferred[Relay | None]:
        """See :class:`IPresence`."""
        relays = [each for each in self._board.where.get(server, ()) if each != self._relay]
        return succeed(relays[-1] if relays else None)

    def stop(self) -> Deferred[None]:
        """See :class:`IPresence`."""
        for server in list(self._here):
            self.left(server)
        return succeed(None)
