"""One connect by any way: runs the race, and gives the first connection that is open."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.ladder import Ladder
from wavesync.tunnel.race import Race
from wavesync.tunnel.roads import Opener
from wavesync.tunnel.watch import Observer, Watch
from wavesync.tunnel.way import Way

__all__ = ["MAX_CAUSES", "MAX_CLAUSES", "Contest"]

MAX_CLAUSES = 4
"""Causes that one sentence names."""

MAX_CAUSES = 200
"""Characters of them all; the first is told, however long it is."""

_TELLING = (
    Why.PROXY_PASSWORD,
    Why.TLS,
    Why.PAGE,
    Why.REFUSED,
    Why.BUSY,
    Why.CHANGED,
    Why.NOT_HTTP,
    Why.CLOSED,
    Why.SILENT,
    Why.UNREACHABLE,
)
"""The codes, those first of which one has to be told above all."""

_TOO_LATE = "no answer came in time"


class _Entrant(Factory):
    """Makes the user's protocol for the way that is open first, and none for others."""

    noisy = False

    def __init__(self, contest: "Contest", way: Way) -> None:
        self._contest = contest
        self._way = way

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        """Win, or be too late (IProtocolFactory)."""
        return self._contest.won(self._way, addr)


class Contest:
    """One connect.

    :param clock: gives the time and timers.
    :param name: the destination's, for people.
    :param ladder: what is known.
    :param usable: tells whether a way may be taken.
    :param opener: opens ways.
    :param factory: makes the protocol, once.
    :param timeout: seconds for all of it.
    :param way_timeout: seconds for one way.
    :param observer: is told what comes of the connection.
    :param learned: called when the ladder was told what had come of the race.
    :ivar result: fires with the protocol; cancelling it gives up.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        ladder: Ladder,
        usable: Callable[[Way], bool],
        opener: Opener,
        factory: IProtocolFactory,
        *,
        timeout: float,
        way_timeout: float,
        observer: Observer,
        learned: Callable[[], None],
    ) -> None:
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._clock = clock
        self._name = name
        self._opener = opener
        self._factory = factory
        self._way_timeout = way_timeout
        self._observer = observer
        self._learned = learned
        self._race = Race(ladder, clock.seconds(), usable=usable)
        self._attempts: dict[Way, Deferred[IProtocol]] = {}
        self._began: dict[Way, float] = {}
        self._codes: dict[str, Why] = {}
        self._protocol: IProtocol | None = None
        self._over = False
        self._timer: IDelayedCall | None = None
        self._limit = clock.callLater(timeout, self._too_long)

    @property
    def causes(self) -> tuple[str, ...]:
        """Why the ways that have failed so far did, each cause once."""
        return tuple(dict.fromkeys(fall.why for fall in self._race.falls))

    def start(self) -> None:
        """Begin."""
        self._turn()

    def won(self, way: Way, address: IAddress | None) -> IProtocol | None:
        """A way is open, or as good as: the first one gets the user's protocol."""
        if self._over:
            return None
        attempt = self._attempts.pop(way, None)
        now = self._clock.seconds()
        self._race.won(way, now)
        self._end()
        if attempt is not None:
            self._attempts[way] = attempt
        self._learned()
        self._protocol = self._factory.buildProtocol(address)  # type: ignore[arg-type]
        if self._protocol is None:
            return None
        took = now - self._began.get(way, now)
        return Watch(self._clock, way, self._protocol, self._observer, took)

    def _turn(self) -> None:
        """Begin what is due; say so where nothing is left."""
        while not self._over:
            due = self._race.due(self._clock.seconds())
            if not due:
                break
            for way in due:
                self._begin(way)
        if self._over:
            return
        if self._race.lost:
            self._fail(self._sentence())
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._race.deadline()
        if deadline is not None:
            wait = max(0.0, deadline - self._clock.seconds())
            self._timer = self._clock.callLater(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._turn()

    def _begin(self, way: Way) -> None:
        if self._over:
            return
        self._began[way] = self._clock.seconds()
        try:
            attempt = self._opener.open(
                way,
                _Entrant(self, way),
                timeout=self._way_timeout,
                arrived=lambda: self._arrived(way),
            )
        except Exception:
            attempt = _failed_now(Failure())
        self._attempts[way] = attempt
        attempt.addCallbacks(self._opened, self._lost, callbackArgs=(way,), errbackArgs=(way,))

    def _arrived(self, way: Way) -> None:
        if not self._over:
            self._race.arrived(way)
            self._turn()

    def _opened(self, _: IProtocol, way: Way) -> None:
        """The winner's connection stands, and its protocol is connected."""
        self._attempts.pop(way, None)
        if self._protocol is not None and not self.result.called:
            self.result.callback(self._protocol)

    def _lost(self, failure: Failure, way: Way) -> None:
        if self._attempts.pop(way, None) is None:
            return  # it was cancelled
        if self._over:
            # The winner's own connection: nothing is to be had any more.
            if not self.result.called:
                self.result.errback(failure)
            return
        code = Why.UNREACHABLE
        if isinstance(failure.value, TunnelError):
            code = failure.value.reason
        why = failure.getErrorMessage().rstrip(".")
        self._codes.setdefault(why, code)
        whole_road = code is Why.PROXY_PASSWORD
        self._race.failed(way, self._clock.seconds(), why, whole_road=whole_road)
        self._turn()

    def _too_long(self) -> None:
        for way in self._race.under_way:
            self._race.failed(way, self._clock.seconds(), _TOO_LATE)
            self._codes[_TOO_LATE] = Why.SILENT
        self._fail(self._sentence())

    def _sentence(self) -> str:
        """Name each cause once, whatever it has stopped; those first that tell most.

        What differs in brackets only is one cause.
        """
        telling = sorted(self.causes, key=lambda why: _TELLING.index(self._codes[why]))
        alike: dict[str, str] = {}
        for why in telling:
            alike.setdefault(why.partition(" (")[0], why)
        causes = list(alike.values())
        shown = causes[:MAX_CLAUSES]
        while len(shown) > 1 and sum(map(len, shown)) > MAX_CAUSES:
            shown.pop()
        if len(causes) > len(shown):
            shown.append("and more")
        return f"no way to {self._name} works: {'; '.join(shown) or 'there is none'}"

    def _fail(self, sentence: str) -> None:
        self._end()
        codes = [code for code in _TELLING if code in self._codes.values()]
        if not self.result.called:
            self.result.errback(TunnelError(sentence, codes[0] if codes else Why.UNREACHABLE))

    def _end(self) -> None:
        """Leave all that is under way."""
        self._over = True
        for timer in (self._limit, self._timer):
            if timer is not None and timer.active():
                timer.cancel()
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            attempt.cancel()


def _failed_now(failure: Failure) -> Deferred[IProtocol]:
    failed: Deferred[IProtocol] = Deferred()
    failed.errback(failure)
    return failed
