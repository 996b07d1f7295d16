"""Which way to a destination is tried first: failures sink a way, time lifts it, success most of all.

It knows nothing of connections and keeps no clock; ``now`` is in seconds, of any clock that does not
jump.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wavesync.tunnel.way import LASTING, Road, Route, Way

__all__ = ["AVOIDED_FOR", "DEEPEST", "OUTRUN", "SINKS_BY", "Ladder", "Rung"]

SINKS_BY = 100.0
"""How far one failure sinks a way.  It floats up by one a second: so many seconds is it the last."""

DEEPEST = 600.0
"""How far a way sinks at most: after ten minutes each is as good as it was."""

OUTRUN = 8.0
"""How far it sinks a way that another one was open before it."""

AVOIDED_FOR = 3600.0
"""Seconds for which a way on which connections do not last is the last of all, even if they come about."""

_LONGEST_TO_OPEN = 60.0
_LONGEST_CUT = 300.0
_MOST_CUTS = 100
_TOGETHER = 5.0  # cuts within so many seconds are one
_ALIKE = 0.25  # part of itself, or 2 s if that is more, by which what was cut may have lasted longer or shorter


@dataclass(frozen=True, slots=True)
class Rung:
    """What is known of one way, as it is kept.

    :ivar way: its :attr:`~wavesync.tunnel.way.Way.key`.
    :ivar sunk: how deep it is now, 0 to :data:`DEEPEST`.
    :ivar worked: how many seconds ago it worked last, unless it has failed since; None otherwise.
    :ivar took: seconds that it took then until it was open.
    :ivar failed: it has sunk because it failed, not only because others were faster.
    :ivar avoided: for how many seconds more it is, since connections do not last.
    :ivar cuts: how many connections in a row were cut after much the same time.
    :ivar cut_after: seconds that the last of them lasted.
    :ivar cut_ago: how many seconds ago that was.
    """

    way: str
    sunk: float
    worked: float | None = None
    took: float = 0.0
    failed: bool = False
    avoided: float = 0.0
    cuts: int = 0
    cut_after: float = 0.0
    cut_ago: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether it can be used."""
        return (
            0 <= self.sunk <= DEEPEST
            and (self.worked is None or self.worked >= 0)
            and 0 <= self.took <= _LONGEST_TO_OPEN
            and 0 <= self.avoided <= AVOIDED_FOR
            and 0 <= self.cuts <= _MOST_CUTS
            and 0 <= self.cut_after <= _LONGEST_CUT
            and 0 <= self.cut_ago <= AVOIDED_FOR
        )


@dataclass(slots=True)
class _Standing:
    """What is known of one way.

    :ivar sunk: how deep it was at *at*.
    :ivar worked_at: when it worked last, unless it has failed since.
    :ivar has_failed: whether it has, since it worked last.
    :ivar avoided_until: when connections were cut on it, for how long that is kept against it.
    :ivar why: what its last failure was.
    :ivar cuts: how many connections in a row were cut after much the same time.
    :ivar cut_after: seconds that the last of them lasted.
    :ivar cut_at: when that was.
    """

    sunk: float = 0.0
    at: float = 0.0
    worked_at: float | None = None
    took: float = 0.0
    has_failed: bool = False
    avoided_until: float = float("-inf")
    why: str = ""
    cuts: int = 0
    cut_after: float = 0.0
    cut_at: float = float("-inf")


class Ladder:
    """The ways to one destination on one network.

    A way's depth is its cost and what it has sunk by; those least deep come first.  Of those with the
    same method the one that worked last comes first.

    :param ways: all there are, each once.
    """

    def __init__(self, ways: Iterable[Way]) -> None:
        self._standings = {way: _Standing() for way in ways}

    @property
    def ways(self) -> tuple[Way, ...]:
        """All of them, in no order that means anything."""
        return tuple(self._standings)

    @property
    def proven(self) -> Way | None:
        """The way that has worked last and not failed since."""
        best, latest = None, float("-inf")
        for way, standing in self._standings.items():
            if standing.worked_at is not None and standing.worked_at >= latest:
                best, latest = way, standing.worked_at
        return best

    def depth(self, way: Way, now: float) -> float:
        """How deep a way is: its cost and what it has sunk by and not floated up since."""
        standing = self._standings[way]
        avoided = DEEPEST if now < standing.avoided_until else 0.0
        return way.cost + max(avoided, self._sunk(standing, now))

    def took(self, way: Way) -> float:
        """Seconds that a way took to be open when it worked last; 0 where that is not known."""
        return self._standings[way].took

    def why(self, way: Way) -> str:
        """What a way's last failure was; empty where it has worked since, or never failed."""
        return self._standings[way].why

    def ails(self, way: Way, now: float) -> bool:
        """Tell whether a way has failed and not floated up again yet."""
        standing = self._standings[way]
        if now < standing.avoided_until:
            return True
        return standing.has_failed and self._sunk(standing, now) > 0

    def ranked(self, now: float) -> list[Way]:
        """List the ways, those first that promise most."""

        def rank(way: Way) -> tuple[float, float, int]:
            worked_at = self._standings[way].worked_at
            ago = float("inf") if worked_at is None else now - worked_at
            return self.depth(way, now), ago, way.order[1]

        return sorted(self._standings, key=rank)

    def better(self, than: Way, now: float) -> list[Way]:
        """List the ways that cost less than one that works, those first that promise most.

        The way itself is not among them, nor is any with the same method, or any that is avoided.
        """
        return [
            way
            for way in self.ranked(now)
            if way.cost < than.cost and now >= self._standings[way].avoided_until
        ]

    def failed(self, way: Way, now: float, why: str, by: float = SINKS_BY) -> None:
        """A way was tried in vain."""
        standing = self._standings.get(way)
        if standing is not None:
            self._sink(standing, now, by)
            standing.worked_at = None
            standing.has_failed, standing.why = True, why

    def road_failed(self, road: Road, now: float, why: str) -> None:
        """No connection can be made: that is so for all ways of this road."""
        for way in self._standings:
            if way.road == road:
                self.failed(way, now, why)

    def count_cut(self, way: Way, now: float, lasted: float) -> int:
        """A connection that was to last was cut.

        Several at one time are one, and only those count, in a row, that lasted about as long.  Through a
        proxy the ways have one count: some proxies cut whatever lasts.  What is longer ago than
        :data:`AVOIDED_FOR` is forgotten.

        :param lasted: seconds that it stood.
        :returns: how many in a row, with this one.
        """
        standing = self._standings.get(way)
        if standing is None:
            return 0
        count = 1
        before = max(self._cut_with(way), key=lambda each: each.cut_at)
        if before.cuts and now - before.cut_at < AVOIDED_FOR:
            if now - before.cut_at < _TOGETHER:
                return before.cuts
            if abs(lasted - before.cut_after) <= max(_ALIKE * before.cut_after, 2.0):
                count = min(before.cuts + 1, _MOST_CUTS)
        standing.cuts, standing.cut_after, standing.cut_at = count, min(lasted, _LONGEST_CUT), now
        return count

    def _cut_with(self, way: Way) -> list[_Standing]:
        """What is known of the ways whose cuts are counted together with one's."""
        proxied = way.route is not Route.DIRECT
        return [
            standing
            for other, standing in self._standings.items()
            if other == way or (proxied and other.route is not Route.DIRECT)
        ]

    def cut(self, way: Way, now: float, why: str) -> None:
        """Connections on a way do not last; what lasts there, if anything, is many short ones.

        So it is with all ways through the same proxy; without one, with those of the same road.
        """
        self.failed(way, now, why)
        if way.route is not Route.DIRECT:
            self.cut_by_proxy(now)
        for other, standing in self._standings.items():
            if other == way or (other.road == way.road and other.method != LASTING):
                standing.avoided_until = now + AVOIDED_FOR

    def cut_by_proxy(self, now: float) -> None:
        """The proxy cuts what lasts, wherever that leads: maybe it was found on another ladder."""
        for way, standing in self._standings.items():
            if way.route is not Route.DIRECT and way.method != LASTING:
                standing.avoided_until = now + AVOIDED_FOR

    def lasted(self, way: Way) -> None:
        """A connection has lasted."""
        standing = self._standings.get(way)
        if standing is not None:
            standing.avoided_until = float("-inf")
            for each in self._cut_with(way):
                each.cuts = 0

    def outrun(self, way: Way, now: float) -> None:
        """Another way, begun no later, was open before this one."""
        standing = self._standings.get(way)
        if standing is not None:
            self._sink(standing, now, OUTRUN)

    def worked(self, way: Way, now: float, took: float | None = None) -> None:
        """Bytes have come back through a way.

        :param took: seconds until it was open, where that was measured.
        """
        standing = self._standings.get(way)
        if standing is None:
            return
        standing.sunk, standing.at, standing.worked_at = 0.0, now, now
        standing.has_failed, standing.why = False, ""
        if took is not None:
            standing.took = min(max(took, 0.0), _LONGEST_TO_OPEN)

    def export(self, now: float) -> tuple[Rung, ...]:
        """Give all that is worth to be kept."""
        rungs = []
        for way, standing in self._standings.items():
            sunk = self._sunk(standing, now)
            worked = None if standing.worked_at is None else max(0.0, now - standing.worked_at)
            avoided = max(0.0, standing.avoided_until - now)
            ago = now - standing.cut_at
            cuts = standing.cuts if 0 <= ago < AVOIDED_FOR else 0
            cut = (cuts, standing.cut_after, ago) if cuts else (0, 0.0, 0.0)
            if sunk or avoided or cuts or worked is not None:
                failed = standing.has_failed
                rungs.append(Rung(way.key, sunk, worked, standing.took, failed, avoided, *cut))
        return tuple(rungs)

    def restore(self, rungs: Sequence[Rung], now: float, age: float) -> None:
        """Take what was kept; what is not known any more, or makes no sense, is left out.

        :param age: how many seconds ago that was.
        """
        kept = {rung.way: rung for rung in rungs if rung.sound}
        for way, standing in self._standings.items():
            rung = kept.get(way.key)
            if rung is None:
                continue
            standing.sunk, standing.at = max(0.0, rung.sunk - max(age, 0.0)), now
            standing.took, standing.has_failed = rung.took, rung.failed
            standing.avoided_until = now + rung.avoided - max(age, 0.0)
            standing.cuts, standing.cut_after = rung.cuts, rung.cut_after
            standing.cut_at = now - rung.cut_ago - max(age, 0.0)
            if rung.worked is not None:
                standing.worked_at = now - rung.worked - max(age, 0.0)

    def _sink(self, standing: _Standing, now: float, by: float) -> None:
        standing.sunk = min(DEEPEST, self._sunk(standing, now) + by)
        standing.at = now

    def _sunk(self, standing: _Standing, now: float) -> float:
        return max(0.0, standing.sunk - max(0.0, now - standing.at))
