"""Examinations on behalf of others: one at a time, and not again for a while."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wavesync.doctor.findings import Findings

__all__ = ["FRESH", "KeptExamination"]

FRESH = 20.0
"""Seconds for which what was found is told to whoever asks then, too."""


class KeptExamination:
    """Keeps the last findings, and has whoever asks meanwhile wait for the same ones.

    :param examine: examines.
    """

    def __init__(self, clock: IReactorTime, examine: Callable[[], Deferred[Findings]]) -> None:
        self._clock = clock
        self._examine = examine
        self._found: Findings | None = None
        self._at = 0.0
        self._running: Deferred[Findings] | None = None
        self._waiting: list[Deferred[Findings]] = []

    def findings(self) -> Deferred[Findings]:
        """Give what was found lately, or examine.

        :returns: fails as the examination does; cancelling it leaves that to others who wait.
        """
        if self._found is not None and self._clock.seconds() - self._at < FRESH:
            return succeed(self._found)
        waiting: Deferred[Findings] = Deferred(self._waiting_no_more)
        self._waiting.append(waiting)
        if self._running is None:
            running = self._running = self._examine()
            running.addCallbacks(self._done, self._failed)
        return waiting

    def stop(self) -> Deferred[None]:
        """Examine no more; fires when all sockets are closed."""
        over: Deferred[None] = Deferred()
        running = self._running
        if running is None:
            over.callback(None)
        else:
            running.addBoth(lambda _: over.callback(None))
            running.cancel()
        return over

    def _waiting_no_more(self, waiting: Deferred[Findings]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _done(self, found: Findings) -> None:
        self._running = None
        self._found, self._at = found, self._clock.seconds()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(found)

    def _failed(self, failure: Failure) -> None:
        self._running = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(failure)
