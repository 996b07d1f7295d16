"""The way to a server on the same network: it is searched for, and connected to over TCP.

No mediator is needed.  What a search finds proves nothing: the server is verified as over every path.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from wavesync.client.paths import TCPPath
from wavesync.client.race import LAN, Unfound
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.lan.sockets import GROUP, PORT
from wavesync.session.client import ClientSession

__all__ = ["Finder", "LANPath", "LANSearch"]


class Finder(Protocol):
    """What searches (:class:`wavesync.lan.discovery.Discovery`)."""

    def search(self, server: str | None, found: Callable[[str, Address], None]) -> Deferred[int]:
        """Search for a server, or for any; fires with the number of interfaces that were asked on."""


class LANPath(TCPPath):
    """TCP to an address on a network of this host, which may be a link-local one with its scope."""

    kind = LAN

    def open(self) -> Deferred[ClientSession]:
        """Connect, and verify the server."""
        return super().open().addCallback(self._verified)

    def _verified(self, session: ClientSession) -> ClientSession:
        # A socket does not tell the scope.
        session.path_address = self.addresses[0]
        return session


class LANSearch:
    """A search as part of a race: what it finds enters by itself, so that it never wins.

    :param target: who is wanted.
    :param found: is told the server that answered, and where it accepts.
    """

    kind = LAN
    on_heard: Callable[[], None] | None = None

    def __init__(
        self, finder: Finder, target: Target, found: Callable[[Target, Address], None]
    ) -> None:
        self.addresses: list[Address] = [(GROUP, PORT)]
        self._finder = finder
        self._target = target
        self._found = found
        self._answers = 0

    def open(self) -> Deferred[ClientSession]:
        """Search; fails when it is over, with what came of it."""
        return self._finder.search(self._target.server, self._answered).addCallback(self._ended)

    def _answered(self, server: str, address: Address) -> None:
        self._answers += 1
        self._found(Target(self._target.system, server), address)

    def _ended(self, links: int) -> ClientSession:
        if self._answers:
            raise Unfound("what answered was tried by itself")
        if not links:
            raise Unfound("this host is on no network")
        who = "the server" if self._target.server else "a server of the system"
        raise Unfound(f"{who} does not answer on this network")
