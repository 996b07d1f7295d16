"""Which ways to one destination are begun when, until the first one is open.

The best two are raced.  While neither is open, the next one begins every :data:`STAGGER` seconds, or at
once when one has failed.  A way whose road another way is just finding out to be passable, or not, waits
for that.  What failed lately goes last, for all the others have two seconds: a connection without a tunnel
would win again and again, since it is open before it has shown anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wavesync.tunnel.ladder import SINKS_BY, Ladder
from wavesync.tunnel.way import Road, Way

__all__ = ["AILING_AFTER", "MAX_UNDER_WAY", "STAGGER", "Fall", "Race"]

STAGGER = 0.3
"""Seconds after which another way is begun as well."""

AILING_AFTER = 2.0
"""Seconds that other ways have before one is tried that failed lately."""

MAX_UNDER_WAY = 8
"""Ways that are tried at one time."""


@dataclass(slots=True)
class _Runner:
    """A way that was begun.

    :ivar arrived: its first connection stands.
    """

    began: float
    arrived: bool = False


@dataclass(frozen=True, slots=True)
class Fall:
    """A way that has failed in this race, or all of its road."""

    way: Way
    why: str
    whole_road: bool


class Race:
    """One race; whoever runs it begins what :meth:`due` gives and tells what came of it.

    What it learns goes to the ladder in the end: where nothing at all was open, nothing is learned,
    for then it was the network that failed.

    :param ladder: says what promises most.
    :param now: seconds.
    :param usable: tells whether a way may be taken.
    """

    def __init__(
        self, ladder: Ladder, now: float, *, usable: Callable[[Way], bool] = lambda way: True
    ) -> None:
        self._ladder = ladder
        self._runners: dict[Way, _Runner] = {}
        self._falls: list[Fall] = []
        self._closed: set[Road] = set()
        self._passable: set[Road] = set()
        self._over = False
        able = [way for way in ladder.ranked(now) if usable(way)]
        self._ailing = [way for way in able if ladder.ails(way, now)]
        self._ailing_at = now + AILING_AFTER
        ranked = [way for way in able if way not in self._ailing]
        proven = ladder.proven
        self._believed = set() if proven is None else {proven.road}
        self._waiting: list[Way] = _with_second(ranked, proven)
        self._next_at = now
        # What is known to work has time to show that it still does.
        took = ladder.took(proven) if proven in ranked else 0.0
        self._patience = max(STAGGER, 2 * took)
        self._at_once = 1 if ranked and ranked[0] == proven else 2

    @property
    def lost(self) -> bool:
        """Whether nothing is under way and nothing left to begin."""
        return not (self._runners or self._waiting or self._ailing)

    @property
    def under_way(self) -> tuple[Way, ...]:
        """The ways that were begun and have neither failed nor won."""
        return tuple(self._runners)

    @property
    def falls(self) -> Sequence[Fall]:
        """What has failed, and why, in the order in which it did; of a road only one way."""
        return tuple(self._falls)

    def due(self, now: float) -> list[Way]:
        """Give the ways that are to be begun now; they count as begun."""
        found: list[Way] = []
        if now >= self._ailing_at or not (self._runners or self._waiting):
            self._waiting += self._ailing
            self._ailing = []
        while not self._over and self._may_begin(now):
            way = self._take()
            if way is None:
                break
            if self._at_once:
                self._at_once -= 1
            else:
                self._patience = STAGGER
            self._runners[way] = _Runner(now)
            self._next_at = now + self._patience
            found.append(way)
        return found

    def deadline(self) -> float | None:
        """When :meth:`due` is to be asked again if nothing is told until then."""
        if self._over or len(self._runners) >= MAX_UNDER_WAY:
            return None
        later = self._ailing_at if self._ailing else None
        if self._candidate() is None:
            return later
        return self._next_at if later is None else min(self._next_at, later)

    def arrived(self, way: Way) -> None:
        """A way's first connection stands, whatever will come through it."""
        runner = self._runners.get(way)
        if runner is not None:
            runner.arrived = True
            self._passable.add(way.road)

    def failed(self, way: Way, now: float, why: str, *, whole_road: bool = False) -> None:
        """A way has failed.

        :param whole_road: so will all others whose connections are made alike.  That is so in any
            case when not even a connection stood.
        """
        runner = self._runners.pop(way, None)
        if runner is None:
            return
        whole = whole_road or not (runner.arrived or way.road in self._passable)
        self._falls.append(Fall(way, why, whole))
        if whole:
            self._closed.add(way.road)
            self._waiting = [each for each in self._waiting if each.road not in self._closed]
            self._ailing = [each for each in self._ailing if each.road not in self._closed]
        self._next_at = min(self._next_at, now)

    def won(self, way: Way, now: float) -> None:
        """A way is open: the race is over, and its lessons go to the ladder."""
        self._over = True
        winner = self._runners.pop(way, _Runner(now))
        for fall in self._falls:
            if fall.whole_road:
                self._ladder.road_failed(fall.way.road, now, fall.why)
            else:
                self._ladder.failed(fall.way, now, fall.why)
        for other, runner in self._runners.items():
            if runner.began + STAGGER <= winner.began:
                # It had a start and did not use it.
                if runner.arrived or other.road in self._passable:
                    self._ladder.failed(other, now, "no answer came in time", SINKS_BY)
                else:
                    self._ladder.road_failed(other.road, now, "no answer came in time")
            elif runner.began <= winner.began:
                self._ladder.outrun(other, now)

    def _may_begin(self, now: float) -> bool:
        if len(self._runners) >= MAX_UNDER_WAY:
            return False
        return self._at_once > 0 or now >= self._next_at or not self._runners

    def _candidate(self) -> Way | None:
        finding_out = {way.road for way in self._runners} - self._passable
        finding_out -= self._believed
        return next((way for way in self._waiting if way.road not in finding_out), None)

    def _take(self) -> Way | None:
        way = self._candidate()
        if way is not None:
            self._waiting.remove(way)
        return way


def _with_second(ranked: list[Way], proven: Way | None) -> list[Way]:
    """Let what is known to work be one of the first two."""
    if proven in ranked[2:]:
        return [ranked[0], proven, *(way for way in ranked[1:] if way != proven)]
    return ranked
