"""Every path at once; the first whose far end is *verified* wins (seed, "Client"; design section 4)."""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wavesync.client.report import Candidate, Timeline, format_address
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address

__all__ = ["PEER_REFLEXIVE", "Path", "Race", "Winner"]

PEER_REFLEXIVE = "peer-reflexive: it was learnt from the server's own packets"
"""Why an address won that nobody had named (RFC 8445 section 4)."""

_Session = TypeVar("_Session")

_TOO_LONG = "somebody is there, but took too long to prove who it is"


class Path(Protocol[_Session]):
    """One way to the server that can be tried.

    :ivar kind: ``lan``, ``tcp``, ``udp`` or ``relay``.
    :ivar addresses: every address this way involves, for the report.
    """

    kind: str
    addresses: list[Address]

    def open(self) -> Deferred[_Session]:
        """Try it.

        :returns: fires when the far end is verified, not when a socket is connected.  Cancelling
            gives up at once and leaves nothing open.
        """


class Winner(Generic[_Session]):
    """The path that won and the verified session over it."""

    __slots__ = ("path", "session")

    def __init__(self, path: Path[_Session], session: _Session) -> None:
        self.path = path
        self.session = session


class Race(Generic[_Session]):
    """Runs paths against each other.

    :param where: tells the address at which a session's far end is, if it has one.
    :ivar result: fires with the :class:`Winner`; fails with :class:`ConnectFailed`, whose sentence
        tells what became of every path, once all have failed and :meth:`no_more` was called.
        Cancelling it ends the race.
    """

    def __init__(
        self, timeline: Timeline, where: Callable[[_Session], Address | None] = lambda _: None
    ) -> None:
        self.result: Deferred[Winner[_Session]] = Deferred(lambda _: self._give_up("given up"))
        self._timeline = timeline
        self._where = where
        self._running: dict[Path[_Session], tuple[Deferred[_Session], list[Candidate]]] = {}
        self._failures: list[tuple[Path[_Session], str]] = []
        self._more = True
        self._over = False

    def enter(self, paths: Iterable[Path[_Session]]) -> None:
        """Start these paths now, all at once, beside those that run already."""
        for path in paths:
            if self._over:
                return
            entries = [self._timeline.candidate(path.kind, address) for address in path.addresses]
            attempt = path.open()
            self._running[path] = (attempt, entries)
            attempt.addCallbacks(
                self._verified, self._failed, callbackArgs=(path,), errbackArgs=(path,)
            )

    def no_more(self) -> None:
        """No further path will enter: the race may be lost now."""
        self._more = False
        self._maybe_lost()

    def expire(self) -> None:
        """The time is up: whatever still runs has failed."""
        if self._over:
            return
        self._more, self._over = False, True
        running, self._running = self._running, {}
        for path, (attempt, entries) in running.items():
            for entry in entries:
                self._timeline.close(entry, "failed", _TOO_LONG)
            self._failures.append((path, _TOO_LONG))
            attempt.cancel()
        self.result.errback(ConnectFailed(self._sentence()))

    def _verified(self, session: _Session, path: Path[_Session]) -> None:
        _, entries = self._running.pop(path)
        self._over = True
        self._tell_winner(path, entries, self._where(session))
        self._give_up("another path was faster")
        self.result.callback(Winner(path, session))

    def _tell_winner(
        self, path: Path[_Session], entries: list[Candidate], place: Address | None
    ) -> None:
        """Of a path with several addresses, only the one that was used has won."""
        why = ""
        if place is not None:
            won = [entry for entry in entries if entry.address == format_address(place)]
            if not won:
                won = [self._timeline.candidate(path.kind, place)]
                if place not in path.addresses:
                    why = PEER_REFLEXIVE
        else:
            won = entries
        for entry in won:
            self._timeline.close(entry, "won", why)
        for entry in entries:
            self._timeline.close(entry, "lost", "another address was heard")

    def _failed(self, failure: Failure, path: Path[_Session]) -> None:
        _, entries = self._running.pop(path, (None, []))
        why = _reason(failure)
        for entry in entries:
            self._timeline.close(entry, "failed", why)
        if not self._over:
            self._failures.append((path, why))
            self._maybe_lost()

    def _maybe_lost(self) -> None:
        if self._over or self._more or self._running:
            return
        self._over = True
        self.result.errback(ConnectFailed(self._sentence()))

    def _give_up(self, why: str) -> None:
        """Cancel what still runs."""
        self._over = True
        running, self._running = self._running, {}
        for attempt, entries in running.values():
            for entry in entries:
                self._timeline.close(entry, "lost", why)
            attempt.cancel()

    def _sentence(self) -> str:
        if not self._failures:
            return "the mediator knows no address of the server that could be tried"
        tried: dict[tuple[str, str], int] = {}
        for path, why in self._failures:
            tried[path.kind, why] = tried.get((path.kind, why), 0) + 1
        told = (
            f"{kind}: {why}" + (f" ({count} addresses)" if count > 1 else "")
            for (kind, why), count in tried.items()
        )
        return "no path works: " + "; ".join(told)


def _reason(failure: Failure) -> str:
    """A few words on why a path failed."""
    if failure.check(CancelledError):
        return "given up"
    return failure.getErrorMessage().rstrip(".") or repr(failure.value)
