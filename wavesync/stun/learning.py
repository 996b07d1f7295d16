"""Learning, now and then, how long this host's NAT keeps mappings."""

from collections.abc import Callable
from random import random as random_fraction
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.pace import Pace

__all__ = ["AGAIN_AFTER", "RETRY_AFTER", "START_AFTER", "KeptLifetimes", "LifetimeLearner"]

START_AFTER = 10.0
"""Seconds before the first search: whoever is gone by then need not know."""

AGAIN_AFTER = 3600.0
"""Seconds from one search to the next; a host may have come behind another NAT."""

RETRY_AFTER = 300.0
"""The same where nothing could be found out."""

_JITTER = 0.5


class KeptLifetimes(Protocol):
    """What was found on each network (:class:`wavesync.signalling.lifetimes.Lifetimes`)."""

    def recall(self) -> tuple[Lifetime, float] | None:
        """Find what is known of this network, and how many seconds old it is."""

    def keep(self, lifetime: Lifetime) -> None:
        """Note what was found."""


class LifetimeLearner:
    """Searches, and sets a pace by what was found.

    :param clock: gives timers.
    :param search: begins one search: its Deferred fires with what was found, or with a sentence that
        says why nothing was (:func:`wavesync.stun.discover.discover_lifetime`).
    :ivar pace: what is set.
    :param kept: what earlier processes have found; nothing when None.
    :param random: gives a number from 0 to 1: waits differ by half, so that hosts that started in
        the same moment do not search in the same moment.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        search: Callable[[], Deferred[Lifetime | str]],
        pace: Pace,
        *,
        kept: KeptLifetimes | None = None,
        random: Callable[[], float] = random_fraction,
    ) -> None:
        self._clock = clock
        self._search = search
        self.pace = pace
        self._kept = kept
        self._random = random
        self._timer: IDelayedCall | None = None
        self._searching: Deferred[float] | None = None
        self._running = False

    def start(self) -> None:
        """Begin, unless it has begun: at once with what is kept, else with a search."""
        if self._running:
            return
        self._running = True
        known = self._kept.recall() if self._kept is not None else None
        if known is None:
            self._wait(START_AFTER)
            return
        lifetime, age = known
        self.pace.learned(lifetime)
        self._wait(max(START_AFTER, AGAIN_AFTER - age))

    def stop(self) -> None:
        """End."""
        self._running = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        searching, self._searching = self._searching, None
        if searching is not None:
            searching.cancel()

    def _wait(self, seconds: float) -> None:
        seconds *= 1 + _JITTER * (2 * self._random() - 1)
        self._timer = self._clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        searching = self._searching = self._search().addCallbacks(self._found, self._failed)
        searching.addCallback(self._next)

    def _found(self, found: Lifetime | str) -> float:
        if isinstance(found, str):
            self.log.debug("how long the NAT keeps mappings is not known: {why}", why=found)
            return RETRY_AFTER
        self.pace.learned(found)
        if self._kept is not None:
            self._kept.keep(found)
        self.log.info(
            "the NAT keeps an unused mapping for {alive} s or more: one packet each {pause} s",
            alive=round(found.alive, 1),
            pause=round(self.pace.interval, 1),
        )
        return AGAIN_AFTER

    def _failed(self, failure: Failure) -> float:
        if not failure.check(CancelledError):
            why = failure.getErrorMessage()
            self.log.debug("how long the NAT keeps mappings is not known: {why}", why=why)
        return RETRY_AFTER

    def _next(self, seconds: float) -> None:
        self._searching = None
        if self._running:
            self._wait(seconds)
