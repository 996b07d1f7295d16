"""Which clients' sessions a server serves: counted by client, watched over by path."""

from collections import Counter
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IAddress

from wavesync.identity.verify import Peer
from wavesync.session.guard import Guarded, Guards

__all__ = ["Roll"]


class Served(Guarded, Protocol):
    """What a roll asks of a session."""

    def path_peer(self) -> IAddress:
        """Where the client is."""


_Session = TypeVar("_Session", bound=Served)


class Roll(Generic[_Session]):
    """The sessions with an open service.

    :ivar sessions: whose each is.
    """

    def __init__(self) -> None:
        self.sessions: dict[_Session, Peer] = {}
        self._per_client: Counter[str] = Counter()
        self._guards = Guards()
        self._paths: dict[_Session, Hashable] = {}

    def count(self, peer: Peer) -> int:
        """How many are one client's."""
        return self._per_client[peer.text]

    def begin(self, session: _Session, peer: Peer, *, control: bool) -> None:
        """There is one more.

        :param control: it is a control session, and watches for all on its path: those of the same
            client at the same address.
        """
        self.sessions[session] = peer
        self._per_client[peer.text] += 1
        there = session.path_peer()
        path = peer.text, type(there), getattr(there, "host", ""), getattr(there, "port", 0)
        self._paths[session] = path
        guard = self._guards.get(path)
        if control:
            guard.hold(session)
        else:
            guard.join(session)

    def end(self, session: _Session, *, silent: bool = False) -> None:
        """There is one less, if this was one.

        :param silent: nothing came from the client any more.
        """
        peer = self.sessions.pop(session, None)
        if peer is None:
            return
        self._per_client[peer.text] -= 1
        if not self._per_client[peer.text]:
            del self._per_client[peer.text]
        path = self._paths.pop(session)
        guard = self._guards.get(path)
        guard.leave(session)
        guard.release(session, silent=silent)
        self._guards.tidy(path)
