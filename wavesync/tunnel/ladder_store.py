"""What is known of ways, by network and by destination, kept across restarts.

It decides nothing but what is tried first.  No proxy, no name of a user and no password is in it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IDelayedCall

from wavesync.identity.kept import read_kept, write_kept
from wavesync.tunnel.ladder import Ladder, Rung
from wavesync.tunnel.way import MAX_WAYS, Way

__all__ = [
    "KEEP_FOR",
    "MAX_LADDERS",
    "SAVE_AFTER",
    "SAVE_EVERY",
    "Ladders",
    "ladders_path",
]

MAX_LADDERS = 128
"""Pairs of network and destination that are kept; the one that was of use the longest ago goes first."""

KEEP_FOR = 30 * 86400.0
"""Seconds after which nothing of a pair counts any more."""

SAVE_AFTER = 1.0
"""Seconds after which something new is written down: who has just connected has better things to do."""

SAVE_EVERY = 10.0
"""Seconds between two writes of the file, unless another way than before was found to work."""

_MAX_FILE = 1 << 20
_MAX_NAME = 400


def ladders_path(directory: Path) -> Path:
    """Where they are kept in a directory of credentials, or of state."""
    return directory / "ways.json"


class _Entry(msgspec.Struct, frozen=True):
    """One ladder, and when it was noted, seconds since the epoch."""

    rungs: tuple[Rung, ...]
    at: float


class _File(msgspec.Struct, frozen=True):
    """The file: entries by network and destination, the least useful first."""

    ways: dict[str, _Entry]


class Ladders:
    """Keeps them.

    :param path: the file; two processes may have the same.  ``None`` to remember only as long as the
        process lives.
    :param clock: seconds of a clock that does not jump.
    :param wall_clock: seconds since the epoch.
    :param network: names the network that this host is on now.
    :param later: calls something in :data:`SAVE_AFTER` seconds; what is learned is written down at once
        when None.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        network: Callable[[], str],
        later: Callable[[Callable[[], None]], IDelayedCall] | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._wall_clock = wall_clock
        self._network = network
        self._ladders: dict[str, Ladder] = {}
        self._proven: dict[str, Way | None] = {}
        self._saved_at: float | None = None
        self._later = later
        self._saving: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._ladders)

    def ladder(self, name: str, ways: Iterable[Way]) -> Ladder:
        """Give the ladder of a destination on the network that this host is on.

        :param name: the destination's.
        :param ways: all that lead there now.
        """
        key = f"{self._network()} {name}"
        wanted = tuple(ways)
        found = self._ladders.pop(key, None)
        if found is None or set(found.ways) != set(wanted):
            found = self._recalled(key, wanted)
        self._ladders[key] = found  # the newest is the last
        while len(self._ladders) > MAX_LADDERS:
            oldest = next(iter(self._ladders))
            del self._ladders[oldest]
            self._proven.pop(oldest, None)
        return found

    def note(self) -> None:
        """Something was learned: write it down, unless that was done a moment ago."""
        proven = {key: ladder.proven for key, ladder in self._ladders.items()}
        now = self._clock()
        early = self._saved_at is not None and now - self._saved_at < SAVE_EVERY
        if early and proven == self._proven:
            return
        self._proven = proven
        if self._later is None:
            self.save()
        elif self._path is not None and self._saving is None:
            self._saving = self._later(self.save)

    def cut_by_proxy(self) -> None:
        """The proxy on this network cuts what lasts: so it does on the way to every destination."""
        network = self._network()
        for key, ladder in self._ladders.items():
            if key.startswith(f"{network} "):
                ladder.cut_by_proxy(self._clock())

    def save(self) -> None:
        """Write all down now; nothing is left to be written later."""
        saving, self._saving = self._saving, None
        if saving is not None and saving.active():
            saving.cancel()
        if self._path is None:
            return
        self._saved_at = self._clock()
        at = self._wall_clock()
        known = self._load()
        for key, ladder in self._ladders.items():
            rungs = ladder.export(self._clock())
            known.pop(key, None)
            if rungs:
                known[key] = _Entry(rungs, at)
        kept = sorted(known.items(), key=lambda item: item[1].at)[-MAX_LADDERS:]
        write_kept(self._path, _File(dict(kept)))

    def _recalled(self, key: str, ways: tuple[Way, ...]) -> Ladder:
        ladder = Ladder(ways)
        kept = self._load().get(key)
        if kept is not None:
            age = self._wall_clock() - kept.at
            if 0 <= age < KEEP_FOR:
                ladder.restore(kept.rungs, self._clock(), age)
        self._proven[key] = ladder.proven
        return ladder

    def _load(self) -> dict[str, _Entry]:
        found = None if self._path is None else read_kept(self._path, _File, _MAX_FILE)
        if found is None:
            return {}
        return {
            key: entry
            for key, entry in list(found.ways.items())[-MAX_LADDERS:]
            if len(key) <= _MAX_NAME and len(entry.rungs) <= MAX_WAYS
        }
