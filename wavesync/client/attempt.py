"""One attempt to reach a server: what is known of it, an introduction, and a race of all paths.

Where nothing of the server was heard within :data:`CONNECT_LIMIT`, a person is told so then.  What
was heard gets the time to prove who it is.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from wavesync.client.adoption import LONGEST_HOLD
from wavesync.client.candidates import Candidates, families_of
from wavesync.client.clearing import CLEAR_TIMEOUT
from wavesync.client.introducer import Introducer
from wavesync.client.introduction import Introduction, NoMediator, NotOnline
from wavesync.client.memory import Memory, Remembered
from wavesync.client.paths import PunchPath, Sessions, TCPPath
from wavesync.client.race import LAN, RELAY, Path, Race, Winner
from wavesync.client.report import Timeline
from wavesync.client.stream_opening import StreamOpener, patience
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.ids import Target
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.numbers import ResultCode
from wavesync.signalling.urls import Mediator

__all__ = ["CONNECT_LIMIT", "LEAST_LIMIT", "VERIFY_GRACE", "Attempts", "place"]

CONNECT_LIMIT = 2.8
"""Seconds from asking the mediator until a path that nothing was heard on is given up: whoever
cannot connect knows within three, even on a busy host."""

LEAST_LIMIT = 1.0
"""Seconds that paths get even when the introduction took almost all of that."""

VERIFY_GRACE = 2.0
"""Seconds after that for a server that was heard to be verified."""

_HOLD_FACTOR = 1.5
_HOLD_MORE = 0.1

_ADVICE = (
    "; allow UDP at both sites, or forward a TCP port to the server and name it in its agent's"
    " public_addresses, or run a relay that both sites reach"
)


class Attempts:
    """Makes verified sessions to servers, by whatever path is best.

    :param introducer: asks mediators.
    :param candidates: makes the paths.
    :param sessions: makes the sessions of one server's paths.
    :param opener: has TCP connections that both ends open take part, where TCP is taken at all.
    :param memory: what worked before.
    :param on_better: is told of the direct path that was verified after a relay had been taken, with
        what was asked for; the session is its to use or close.
    :param clear: finds out whether a session is with a server that was not revoked, from mediators
        that do not introduce it (:class:`wavesync.client.clearing.Clearing`).
    :param limit: seconds from asking until a path that nothing was heard on is given up.
    :param on_refused: is told when a mediator does not introduce a server that was reached already.
    """

    def __init__(
        self,
        reactor: IReactor,
        introducer: Introducer,
        candidates: Candidates,
        sessions: Callable[[Target], Sessions],
        *,
        opener: StreamOpener | None = None,
        memory: Memory,
        on_better: Callable[[Target, Winner[ClientSession]], None],
        clear: Callable[[Sequence[Mediator], ClientSession], Deferred[ClientSession]],
        on_refused: Callable[[], None],
        limit: float = CONNECT_LIMIT,
    ) -> None:
        self.limit = limit
        self.reactor = reactor
        self.introducer = introducer
        self.candidates = candidates
        self.sessions = sessions
        self.opener = opener if "tcp" in candidates.kinds else None
        self.memory = memory
        self.on_better = on_better
        self.clear = clear
        self.on_refused = on_refused
        self._running: set[_Attempt] = set()

    async def winner(
        self, target: Target, timeline: Timeline, *, relay: bool = True
    ) -> Winner[ClientSession]:
        """Race all paths to *target*, and tell the mediator how it ended.

        When a relay wins, the search for a better path goes on.

        :param relay: whether relays may take part.
        :raises WavesyncError: with a sentence that says why it failed, and what can be done.
        """
        attempt = _Attempt(self, target, timeline, relay=relay)
        self._running.add(attempt)
        attempt.race.over.addCallback(lambda _: self._running.discard(attempt))
        return await attempt.winner()

    def close(self) -> None:
        """Give up whatever goes on."""
        for attempt in list(self._running):
            attempt.race.end()


class _Attempt:
    """One of them."""

    def __init__(self, owner: Attempts, target: Target, timeline: Timeline, *, relay: bool) -> None:
        self._owner = owner
        self._target = target
        self._timeline = timeline
        self._began = owner.reactor.seconds()
        self._kinds = owner.candidates.kinds if relay else owner.candidates.kinds - {RELAY}
        self._early: list[Path[ClientSession]] = []
        self._introducing = owner.introducer.introduce(target)
        timeline.known_as(self._introducing.connection_id)
        # Everything else is done while the mediator's answer is under way: it takes some milliseconds.
        self._known = owner.memory.recall(str(target))
        self._introduction: Introduction | None = None
        self._refusal: WavesyncError | None = None
        self._close_opener: Callable[[], None] | None = None
        self._took = 0.0
        self.race: Race[ClientSession] = Race(
            timeline, place, clock=owner.reactor, hold=_hold(self._known, self._kinds)
        )
        self._deadline: IDelayedCall = owner.reactor.callLater(
            owner.limit + VERIFY_GRACE, self.race.expire
        )
        self.race.over.addCallback(self._over)

    async def winner(self) -> Winner[ClientSession]:
        """Race.

        :raises WavesyncError: nothing works.
        """
        self.race.enter(
            self._owner.candidates.search(self._target, self._kinds, self._found_on_lan)
        )
        ours = families_of(self._introducing.own)
        self._enter_known()
        if self._lan_only:
            self.race.no_more()
        result = self._introducing.result
        result.addCallbacks(
            self._introduced, self._not_introduced, callbackArgs=(ours,), errbackArgs=()
        )
        try:
            winner = await self.race.result
        except ConnectFailed as error:
            if self._lan_only:
                raise
            if self._refusal is not None:
                raise self._refusal from None
            raise ConnectFailed(f"{error}{_ADVICE}") from None
        self._took = self._owner.reactor.seconds() - self._began
        if winner.session.peer is not None:
            self._timeline.server = winner.session.peer.text
        return winner

    @property
    def _lan_only(self) -> bool:
        """Whether nothing that a mediator says could show another path."""
        return self._kinds == {LAN}

    def _found_on_lan(self, server: Target, address: Address) -> None:
        """A server says that it is on this network."""
        if any(path.kind == LAN and address in path.addresses for path in self._early):
            return
        self.race.enter([self._owner.candidates.on_lan(address, self._owner.sessions(server))])

    def _enter_known(self) -> None:
        """Try what worked before, and what needs no mediator, at once."""
        server = self._target if self._known is None else self._known.target
        if server.server is None:
            return
        self._early = self._owner.candidates.known(
            server,
            self._known,
            self._introducing.connection_id,
            self._kinds,
            self._owner.sessions(server),
        )
        self.race.enter(self._early)

    def _introduced(self, introduction: Introduction, ours: set[bool]) -> None:
        self._timeline.mark("introduced")
        self._timeline.network = introduction.network
        self._timeline.server = self._timeline.server or str(introduction.server)
        try:
            introduction = self._owner.candidates.usable(
                introduction, ours, self._kinds, self._timeline
            )
        except ConnectFailed as error:
            self._refusal = error
            self._introduction = introduction
            self.race.no_more()
            return
        self._introduction = introduction
        now = self._owner.reactor.seconds()
        limit = max(self._began + self._owner.limit - now, LEAST_LIMIT)
        if self._deadline.active():
            self._deadline.reset(limit + VERIFY_GRACE)
        sessions = self._owner.sessions(introduction.server)
        paths = self._owner.candidates.introduced(
            introduction, self._early, self._kinds, sessions, limit
        )
        punch = next((path for path in paths if isinstance(path, PunchPath)), None)
        if punch is not None:
            self._introducing.on_update = punch.add
        self.race.enter(paths)
        if self._owner.opener is None:
            self.race.no_more()
            return
        self._close_opener = self._owner.opener.enter(
            self.race,
            introduction,
            sessions,
            delay=patience(
                now - self._began,
                introduction.round_trip,
                punching=punch is not None and bool(punch.addresses),
            ),
            timeout=limit,
        )
        if self.race.ended:
            self._close_opener()

    def _not_introduced(self, failure: Failure) -> None:
        """No introduction: what was known already is all there is."""
        if not failure.check(WavesyncError):
            self.race.end()  # it was cancelled
            return
        assert isinstance(failure.value, WavesyncError)
        self._refusal = failure.value
        if isinstance(failure.value, NoMediator):
            self.race.no_more()
        elif self.race.winner is not None:
            self._owner.on_refused()
            self.race.no_more()
        elif isinstance(failure.value, NotOnline):
            # It may have been revoked, or have lost the mediator for a moment only: a list tells.
            if self._deadline.active():
                self._deadline.reset(LEAST_LIMIT)
            self.race.question(partial(self._clear, failure.value.mediators))
        else:
            self.race.refuse("the mediator does not introduce it")

    def _clear(
        self, mediators: Sequence[Mediator], session: ClientSession
    ) -> Deferred[ClientSession]:
        """Find out whether a server that is not introduced was revoked."""

        def unclear(failure: Failure) -> Failure:
            if failure.check(ConnectFailed):
                why = failure.getErrorMessage()
                self._refusal = ConnectFailed(f"{refusal}; it can be reached, but {why}")
            return failure

        refusal = self._refusal
        if self._deadline.active():
            self._deadline.reset(CLEAR_TIMEOUT + LONGEST_HOLD)
        return self._owner.clear(mediators, session).addErrback(unclear)

    def _over(self, better: Winner[ClientSession] | None) -> None:
        """Nothing is tried any more."""
        if self._deadline.active():
            self._deadline.cancel()
        if self._close_opener is not None:
            self._close_opener()
        first = self.race.winner
        if self.race.given_up:
            self._note(better)
        else:
            # The application's first bytes go first.
            self._owner.reactor.callLater(0, self._note, better)
        seconds = self._took or self._owner.reactor.seconds() - self._began
        introducing = self._introducing
        if self._introduction is None or (first is None and self.race.given_up):
            introducing.close()
        elif first is None:
            introducing.finish(ResultCode.NO_SUITABLE_PATH, None, seconds)
        elif first.path.kind == RELAY:
            introducing.finish(ResultCode.OK, RELAY, seconds)
        else:
            self._owner.reactor.callLater(
                0, introducing.finish, ResultCode.OK, first.path.kind, seconds
            )
        if better is not None:
            self._owner.on_better(self._target, better)

    def _note(self, better: Winner[ClientSession] | None) -> None:
        """Remember what worked."""
        first = self.race.winner
        if first is None or first.session.peer is None:
            return
        old = self._known
        direct = better if first.path.kind == RELAY else first
        relays = self._introduction.relays if self._introduction is not None else ()
        urls = tuple(str(each.relay) for each in relays)
        nowhere = ("", 0)
        kind, took, tcp, lan = "", 0.0, nowhere, nowhere
        if direct is not None:
            kind, took = direct.path.kind, self._owner.reactor.seconds() - self._began
            if kind == LAN:
                lan = direct.path.addresses[0]
            elif isinstance(direct.path, TCPPath):
                tcp = direct.path.addresses[0]
        elif old is not None and (
            self.race.given_up or self._introduction is None or old.direct not in self._kinds
        ):
            kind, took, tcp, lan = (
                old.direct,
                old.took,
                old.tcp,
                old.lan,
            )  # it was not tried, or not to the end
        if not urls and old is not None:
            urls = old.relays
        self._owner.memory.note(
            str(self._target),
            Remembered(
                server=first.session.peer.text,
                relays=urls,
                tcp=tcp,
                lan=lan,
                direct=kind,
                took=took,
            ),
        )


def _hold(known: Remembered | None, kinds: Collection[str]) -> float:
    """Seconds for which a relay is held back because a direct path worked here last time."""
    if known is None or known.direct not in kinds:
        return 0.0
    return min(known.took * _HOLD_FACTOR + _HOLD_MORE, LONGEST_HOLD)


def place(session: ClientSession) -> Address:
    """Where the far end of a session is."""
    if session.path_address is not None:
        return session.path_address
    peer = session.path_peer()
    return getattr(peer, "host", ""), getattr(peer, "port", 0)
