"""When each of very many things is to be looked at next: one queue, and a few words for each of them."""

import heapq
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Agenda", "Entry", "Planned"]

_FEW = 64
"""Entries that are out of date and may stay however few others there are."""

T = TypeVar("T")


class Entry(Generic[T]):
    """When to look at a thing.

    :ivar at: seconds.
    :ivar thing: ``None`` once the entry is out of date: it holds on to nothing.
    """

    __slots__ = ("at", "thing")

    def __init__(self, at: float, thing: T) -> None:
        self.at = at
        self.thing: T | None = thing

    def __lt__(self, other: "Entry[T]") -> bool:
        """For the queue."""
        return self.at < other.at


class Planned(Protocol):
    """Something that is looked at.

    :ivar planned: what the agenda notes here; ``None`` at first.
    """

    planned: Any


P = TypeVar("P", bound=Planned)


class Agenda(Generic[P]):
    """Remembers when to look at things.

    A thing that turns out to be wanted later is looked at once in vain, which costs less than moving
    it each time.
    """

    __slots__ = ("_entries", "_outdated")

    def __init__(self) -> None:
        self._entries: list[Entry[P]] = []
        self._outdated = 0

    def __len__(self) -> int:
        """Count entries, those that are out of date as well."""
        return len(self._entries)

    def plan(self, thing: P, at: float) -> None:
        """Have a thing looked at then, or before."""
        planned: Entry[P] | None = thing.planned
        if planned is not None:
            if planned.at <= at:
                return
            self.end(thing)
        thing.planned = Entry(at, thing)
        heapq.heappush(self._entries, thing.planned)

    def end(self, thing: P) -> None:
        """Do not look at a thing any more."""
        planned: Entry[P] | None = thing.planned
        if planned is not None:
            planned.thing = thing.planned = None
            self._outdated += 1
            self._tidy()

    def deadline(self) -> float | None:
        """Tell when to call :meth:`take_due` next; ``None`` for never."""
        return self._entries[0].at if self._entries else None

    def take_due(self, now: float) -> list[P]:
        """Give what is to be looked at, which has to be planned anew."""
        due: list[P] = []
        while self._entries and self._entries[0].at <= now:
            thing = heapq.heappop(self._entries).thing
            if thing is None:
                self._outdated -= 1
            else:
                thing.planned = None
                due.append(thing)
        return due

    def _tidy(self) -> None:
        """Let go of entries that are out of date, when they are most of all."""
        if self._outdated <= _FEW or 2 * self._outdated <= len(self._entries):
            return
        self._entries = [entry for entry in self._entries if entry.thing is not None]
        heapq.heapify(self._entries)
        self._outdated = 0
