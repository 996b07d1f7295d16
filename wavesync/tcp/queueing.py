"""Who waits, in the order of their coming, and by turns where they come from several sources."""

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Queue"]

T = TypeVar("T")


class Queue(Generic[T]):
    """A bounded queue of things from several sources, from which each source in turn gets one out.

    So whoever brings thousands waits for himself, and nobody else does.

    :param limit: things that it holds, 1 or more.
    """

    __slots__ = ("_count", "_limit", "_sources")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        # The first source is the next whose turn it is.
        self._sources: dict[bytes, deque[T]] = {}

    def __len__(self) -> int:
        """Count the things."""
        return self._count

    def put(self, source: bytes, thing: T) -> T | None:
        """Add a thing.

        :returns: what has to go instead where there are too many now: what came last from the source
            that has most here, which may be *thing*.
        """
        own = self._sources.setdefault(source, deque())
        own.append(thing)
        self._count += 1
        if self._count <= self._limit:
            return None
        most, largest = source, len(own)
        for each, things in self._sources.items():
            if len(things) > largest:
                most, largest = each, len(things)
        return self._leave(most, self._sources[most].pop())

    def take(self) -> T | None:
        """Take out the next thing."""
        source = next(iter(self._sources), None)
        if source is None:
            return None
        own = self._sources.pop(source)
        self._sources[source] = own  # the last one now
        return self._leave(source, own.popleft())

    def _leave(self, source: bytes, thing: T) -> T:
        self._count -= 1
        if not self._sources[source]:
            del self._sources[source]
        return thing
