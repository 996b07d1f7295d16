"""Things that are due so many seconds after they began, all the same: one queue instead of many timers."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Remembers when each of many things is due.

    :param period: seconds from :meth:`begin` until a thing is due.
    """

    __slots__ = ("_due", "_period")

    def __init__(self, period: float) -> None:
        self._period = period
        self._due: OrderedDict[T, float] = OrderedDict()

    def __len__(self) -> int:
        """Count the things that are waited for."""
        return len(self._due)

    def __contains__(self, thing: object) -> bool:
        """Tell whether something is waited for."""
        return thing in self._due

    def __iter__(self) -> Iterator[T]:
        """All of them, at this moment."""
        return iter(list(self._due))

    def begin(self, thing: T, now: float) -> None:
        """Have *thing* due in one period; one that is waited for already begins anew."""
        self._due.pop(thing, None)
        self._due[thing] = now + self._period

    def end(self, thing: T) -> None:
        """Do not wait for *thing* any more."""
        self._due.pop(thing, None)

    def oldest(self) -> T | None:
        """Give what began first."""
        return next(iter(self._due), None)

    def deadline(self) -> float | None:
        """Tell when the next thing is due."""
        return next(iter(self._due.values()), None)

    def take_due(self, now: float) -> list[T]:
        """Give what is due, and wait for it no more."""
        due: list[T] = []
        for thing, at in self._due.items():
            if at > now:
                break
            due.append(thing)
        for thing in due:
            del self._due[thing]
        return due
