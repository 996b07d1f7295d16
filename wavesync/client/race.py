"""Every path at once; the first whose far end is *verified* wins (seed, "Client"; design section 4).

A relay is a path like any other, but a session over it is taken only by the rule of
:mod:`wavesync.client.adoption`; once it is, the race goes on for a better path for later.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from wavesync.client.adoption import Adoption
from wavesync.client.report import Candidate, Timeline, format_address
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address

__all__ = ["LAN", "PEER_REFLEXIVE", "RELAY", "Path", "Race", "Unfound", "Winner"]

PEER_REFLEXIVE = "peer-reflexive: it was learnt from the server's own packets"
"""Why an address won that nobody had named (RFC 8445 section 4)."""

RELAY = "relay"
"""The kind of path that gives way to direct ones."""

LAN = "lan"
"""The kind of path for which no mediator is needed, nor believed."""

_Session = TypeVar("_Session")

_TOO_LONG = "somebody is there, but took too long to prove who it is"
_LOST = "the relay gave the session up"
_OTHER_RELAY = "another relay was faster"
_LATER = "the relay was taken first; the next connections go here"


class Unfound(ConnectFailed):
    """A search found nothing: told where nothing else failed, and in the report."""


class Path(Protocol[_Session]):
    """One way to the server that can be tried.

    :ivar kind: ``lan``, ``tcp``, ``udp`` or ``relay``.
    :ivar addresses: every address this way involves, for the report.
    :ivar on_heard: set by the race before :meth:`open`; called when something answers at all.
    """

    kind: str
    addresses: list[Address]
    on_heard: Callable[[], None] | None

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


class _Runner(Generic[_Session]):
    """One path that is being tried."""

    __slots__ = ("attempt", "entries", "heard_at")

    def __init__(self, entries: list[Candidate]) -> None:
        self.attempt: Deferred[_Session] = Deferred()
        self.entries = entries
        self.heard_at: float | None = None


class Race(Generic[_Session]):
    """Runs paths against each other.

    :param where: tells the address at which a session's far end is, if it has one.
    :param clock: for relays that wait for direct paths; without one they are taken at once.
    :param hold: seconds for which a relay waits in any case, while direct paths are being tried.
    :ivar result: fires with the :class:`Winner`; fails with :class:`ConnectFailed`, whose sentence
        tells what became of every path, once all have failed and :meth:`no_more` was called.
        Cancelling it ends the race.
    :ivar winner: who has won.
    :ivar ended: nothing is tried any more.
    :ivar given_up: it ended because nobody was interested any more.
    :ivar over: fires after that, when nothing is tried any more: with the direct path that was verified
        after a relay had won, or ``None``.
    """

    def __init__(
        self,
        timeline: Timeline,
        where: Callable[[_Session], Address | None] = lambda _: None,
        *,
        clock: IReactorTime | None = None,
        hold: float = 0.0,
    ) -> None:
        self.result: Deferred[Winner[_Session]] = Deferred(lambda _: self.end())
        self.over: Deferred[Winner[_Session] | None] = Deferred()
        self._timeline = timeline
        self._where = where
        self._clock = clock
        self._now = timeline.clock
        self._adoption = Adoption(self._now() + hold if clock is not None else 0.0)
        self._waiting: tuple[Path[_Session], _Session, list[Candidate]] | None = None
        self._taking: IDelayedCall | None = None
        self._running: dict[Path[_Session], _Runner[_Session]] = {}
        self._failures: list[tuple[Path[_Session], str]] = []
        self._unfound: list[tuple[Path[_Session], str]] = []
        self._more = True
        self._question: Callable[[_Session], Deferred[_Session]] | None = None
        self.winner: Winner[_Session] | None = None
        self.ended = False
        self.given_up = False

    def enter(self, paths: Iterable[Path[_Session]]) -> None:
        """Start these paths now, all at once, beside those that run already."""
        for path in paths:
            if self.ended or (self.winner is not None and path.kind == RELAY):
                continue
            entries = [self._timeline.candidate(path.kind, address) for address in path.addresses]
            runner = self._running[path] = _Runner(entries)
            path.on_heard = partial(self._heard, path)
            if path.kind != RELAY:
                self._adoption.began(path, self._now())
            runner.attempt = path.open()
            runner.attempt.addCallbacks(
                self._verified, self._failed, callbackArgs=(path,), errbackArgs=(path,)
            )

    def no_more(self) -> None:
        """No further path will enter: the race may be lost now."""
        self._more = False
        self._settle()

    def refuse(self, why: str) -> None:
        """It must not be: unless somebody has won already, all paths fail, verified or not.

        All but those on this network: what a mediator thinks of the client does not count there.
        """
        if self.winner is not None or self.ended:
            return
        waiting, self._waiting = self._waiting, None
        self._stop_timer()
        if waiting is not None:
            path, session, entries = waiting
            for entry in entries:
                self._timeline.close(entry, "failed", why)
            self._failures.append((path, why))
            _let_go(session)
        self.expire(why, spared=LAN)

    def question(self, ask: Callable[[_Session], Deferred[_Session]]) -> None:
        """From now on nobody wins before *ask* has cleared the verified session; no path will enter any more.

        :param ask: fires with the session, or fails and closes it; cancelling it closes it, too.
        """
        if self.winner is not None or self.ended:
            return
        self._question = ask
        waiting, self._waiting = self._waiting, None
        self._stop_timer()
        if waiting is not None:
            path, session, entries = waiting
            self._running[path] = _Runner(entries)
            self._verified(session, path)
        self.no_more()

    def expire(self, why: str = _TOO_LONG, *, spared: str = "") -> None:
        """The time is up: whatever still runs has failed.

        :param spared: the kind of path for which it is not.
        """
        if self.ended:
            return
        self._more = False
        running = {path: each for path, each in self._running.items() if path.kind != spared}
        self._running = {path: each for path, each in self._running.items() if path.kind == spared}
        for path, runner in running.items():
            for entry in runner.entries:
                self._timeline.close(entry, "failed", why)
            self._failures.append((path, why))
            runner.attempt.cancel()
        self._settle()

    def end(self) -> None:
        """Nobody is interested any more: give up what still runs."""
        if not self.ended:
            self.given_up = True
            self._finish("given up", None)

    def _heard(self, path: Path[_Session]) -> None:
        runner = self._running.get(path)
        if runner is None or runner.heard_at is not None:
            return
        runner.heard_at = self._now()
        if path.kind != RELAY:
            self._adoption.heard(path, runner.heard_at)
            self._settle()

    def _verified(self, session: _Session, path: Path[_Session]) -> None:
        if self._question is None or self.winner is not None:
            self._cleared(session, path)
            return
        asked = self._running[path].attempt = self._question(session)
        asked.addCallbacks(self._cleared, self._failed, callbackArgs=(path,), errbackArgs=(path,))

    def _cleared(self, session: _Session, path: Path[_Session]) -> None:
        runner = self._running.pop(path)
        if path.kind == RELAY and self.winner is None and self._clock is not None:
            if self._waiting is not None:
                for entry in runner.entries:
                    self._timeline.close(entry, "lost", _OTHER_RELAY)
                _let_go(session)
                return
            now = self._now()
            took = None if runner.heard_at is None else now - runner.heard_at
            self._waiting = path, session, runner.entries
            self._adoption.verified(now, took, getattr(path, "trip", None))  # only a relay tells it
            self._settle()
        elif self.winner is not None:
            self._tell_winner(path, runner.entries, self._where(session), "lost", _LATER)
            self._finish("another path was faster", Winner(path, session))
        else:
            self._win(path, session, runner.entries)

    def _win(self, path: Path[_Session], session: _Session, entries: list[Candidate]) -> None:
        winner = self.winner = Winner(path, session)
        self._tell_winner(path, entries, self._where(session))
        if path.kind != RELAY or self._clock is None:
            self._finish("another path was faster", None, result=winner)
            return
        self.result.callback(winner)
        for other in [each for each in self._running if each.kind == RELAY]:
            self._drop(other, _OTHER_RELAY)
        self._settle()

    def _tell_winner(
        self,
        path: Path[_Session],
        entries: list[Candidate],
        place: Address | None,
        result: str = "won",
        why: str = "",
    ) -> None:
        """Of a path with several addresses, only the one that was used has won."""
        if place is not None:
            won = [entry for entry in entries if entry.address == format_address(place)]
            if not won:
                won = [self._timeline.candidate(path.kind, place)]
                if place not in path.addresses:
                    why = why or PEER_REFLEXIVE
        else:
            won = entries
        for entry in won:
            entry.way = getattr(path, "way", "")  # only a relay is reached by one or another
            self._timeline.close(entry, result, why)
        for entry in entries:
            self._timeline.close(entry, "lost", "another address was heard")

    def _failed(self, failure: Failure, path: Path[_Session]) -> None:
        runner = self._running.pop(path, None)
        if runner is None:
            return  # it was given up
        self._adoption.ended(path)
        why = _reason(failure)
        for entry in runner.entries:
            self._timeline.close(entry, "failed", why)
        (self._unfound if failure.check(Unfound) else self._failures).append((path, why))
        self._settle()

    def _settle(self) -> None:
        """Take the relay if it is time, and see whether anything is left to wait for."""
        if self.ended:
            return
        if self._waiting is not None:
            self._maybe_take(*self._waiting)
            return
        if self._more or self._running:
            return
        if self.winner is not None:
            self._finish("", None)
        else:
            self.ended = True
            self.result.errback(ConnectFailed(self._sentence()))
            self.over.callback(None)

    def _maybe_take(
        self, path: Path[_Session], session: _Session, entries: list[Candidate]
    ) -> None:
        assert self._clock is not None
        due = self._adoption.due()
        assert due is not None
        if getattr(session, "lost", False):
            self._stop_timer()
            self._waiting = None
            for entry in entries:
                self._timeline.close(entry, "failed", _LOST)
            self._failures.append((path, _LOST))
            self._settle()
            return
        left = due - self._now()
        direct = self._more or any(other.kind != RELAY for other in self._running)
        if left <= 0 or not direct:
            self._stop_timer()
            self._waiting = None
            self._win(path, session, entries)
        elif self._taking is None or not self._taking.active():
            self._taking = self._clock.callLater(left, self._settle)
        else:
            self._taking.reset(left)

    def _drop(self, path: Path[_Session], why: str) -> None:
        runner = self._running.pop(path)
        for entry in runner.entries:
            self._timeline.close(entry, "lost", why)
        runner.attempt.cancel()

    def _stop_timer(self) -> None:
        if self._taking is not None and self._taking.active():
            self._taking.cancel()
        self._taking = None

    def _finish(
        self,
        why: str,
        better: Winner[_Session] | None,
        *,
        result: Winner[_Session] | None = None,
    ) -> None:
        """Cancel what still runs, and tell everybody."""
        self.ended = True
        self._stop_timer()
        for path in list(self._running):
            self._drop(path, why)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            path, session, entries = waiting
            for entry in entries:
                self._timeline.close(entry, "lost", why)
            _let_go(session)
        if result is not None:
            self.result.callback(result)
        self.over.callback(better)

    def _sentence(self) -> str:
        failures = self._failures or self._unfound
        if not failures:
            return "the mediator knows no address of the server that could be tried"
        tried: dict[tuple[str, str], int] = {}
        for path, why in failures:
            tried[path.kind, why] = tried.get((path.kind, why), 0) + 1
        told = (
            f"{kind}: {why}" + (f" ({count} addresses)" if count > 1 else "")
            for (kind, why), count in tried.items()
        )
        return "no path works: " + "; ".join(told)


def _let_go(session: object) -> None:
    """Close a verified session that nobody took."""
    close = getattr(session, "close", None)
    if close is not None:
        close()


def _reason(failure: Failure) -> str:
    """A few words on why a path failed."""
    if failure.check(CancelledError):
        return "given up"
    return failure.getErrorMessage().rstrip(".") or repr(failure.value)
