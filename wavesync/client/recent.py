"""The last connects of this user's programs: a ring in a file beside the credentials.

It is for people: ``wavesync report`` shows it.  A program that cannot have the file goes without.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from wavesync.client.report import Timeline
from wavesync.identity.kept import read_kept, write_kept

_T = TypeVar("_T")

__all__ = [
    "MAX_FILE",
    "MAX_RECORDS",
    "MAX_WAITING",
    "SETTLE",
    "Recent",
    "Record",
    "Recording",
    "recent_path",
]

MAX_RECORDS = 64
"""Connects that are kept, of all programs together; the oldest goes first."""

MAX_FILE = 1 << 20
"""Bytes of the file."""

MAX_WAITING = 64
"""Connects of one program that are not written yet."""

SETTLE = 1.0
"""Seconds from the end of a connect until it is written: its first bytes go first, and what still runs
beside it comes to its end."""

_AGAIN_AFTER, _ATTEMPTS = 0.02, 25


def recent_path(directory: Path, system: str) -> Path:
    """Where they are kept in a directory of credentials."""
    return directory / f"recent-{system}.json"


class Record(msgspec.Struct, frozen=True):
    """One connect.

    :ivar at: when it began, seconds since the epoch.
    :ivar report: as ``--report`` writes it.
    """

    at: float
    report: dict[str, Any]

    @property
    def ids(self) -> list[str]:
        """Its connection ids: one for each time that the server, a mediator or a relay was asked."""
        found = self.report.get("connections", [])
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


class Recent:
    """The file; several programs may have the same."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Record]:
        """Read all, the oldest first."""
        return (read_kept(self._path, list[Record], MAX_FILE) or [])[-MAX_RECORDS:]

    def add(self, records: Sequence[Record]) -> bool:
        """Put records behind the others.

        :returns: false where another program is writing: try again.
        """
        try:
            with self._locked() as free:
                if free:
                    self._write([*self.load(), *records][-MAX_RECORDS:])
                return free
        except OSError:
            return True  # there is no place for it; the next time will be no better

    def _write(self, records: list[Record]) -> None:
        while records and len(msgspec.json.encode(records)) > MAX_FILE:
            del records[: max(1, len(records) // 4)]
        write_kept(self._path, records)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Keep other programs from writing; tells whether that is so."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)


class Recording:
    """Has the connects of one program written, never while somebody waits for one.

    :param clock: gives the time and timers.
    :param recent: where to; nowhere when None.
    :param wall_clock: seconds since the epoch.
    """

    def __init__(
        self,
        clock: IReactorTime,
        recent: Recent | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._recent = recent
        self._wall_clock = wall_clock
        self._waiting: list[Timeline] = []
        self._due: IDelayedCall | None = None
        self._flushed: Deferred[None] | None = None
        self._attempts = 0

    def keep(self, connecting: Deferred[_T], timeline: Timeline) -> Deferred[_T]:
        """Write a connect when it is over, one way or the other."""

        def over(result: _T | Failure) -> _T | Failure:
            self._ended(timeline)
            return result

        return connecting if self._recent is None else connecting.addBoth(over)

    def _ended(self, timeline: Timeline) -> None:
        self._waiting.append(timeline)
        del self._waiting[:-MAX_WAITING]
        if self._due is None:
            self._due = self._clock.callLater(SETTLE, self._write)

    def flush(self) -> Deferred[None]:
        """Write what is not written; fires soon, whether that could be done or not."""
        if not self._waiting:
            return succeed(None)
        if self._due is not None and self._due.active():
            self._due.cancel()
        flushed = self._flushed = Deferred()
        self._write()
        return flushed

    def _write(self) -> None:
        self._due = None
        assert self._recent is not None
        now, seconds = self._wall_clock(), self._clock.seconds()
        records = [
            Record(round(now - (seconds - each.began), 3), each.as_dict()) for each in self._waiting
        ]
        self._attempts += 1
        if not self._recent.add(records) and self._attempts < _ATTEMPTS:
            self._due = self._clock.callLater(_AGAIN_AFTER, self._write)
            return
        self._waiting.clear()
        self._attempts = 0
        flushed, self._flushed = self._flushed, None
        if flushed is not None:
            flushed.callback(None)
