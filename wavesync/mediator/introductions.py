"""All introductions under way: a bounded table, and the times at which each has something to do."""

import heapq
from collections.abc import Callable

from wavesync.mediator.introducing import INTRODUCTION_LIFE, Introduction, Way
from wavesync.mediator.registry import Registration
from wavesync.mediator.statistics import Statistics

__all__ = ["MAX_INTRODUCTIONS", "Introductions"]

MAX_INTRODUCTIONS = 10_000
"""Introductions remembered at one time unless the settings say otherwise."""


class Introductions:
    """The table of introductions, by connection id.

    :param statistics: where to count.
    :param random: gives random bytes.
    :param limit: how many at one time.
    """

    def __init__(
        self,
        statistics: Statistics,
        random: Callable[[int], bytes],
        limit: int = MAX_INTRODUCTIONS,
    ) -> None:
        self.statistics = statistics
        self._random = random
        self._limit = limit
        self._table: dict[str, Introduction] = {}
        self._times: list[tuple[float, int, Introduction]] = []
        self._serial = 0

    def __len__(self) -> int:
        """Count the introductions remembered."""
        return len(self._table)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._table) >= self._limit

    def transaction_id(self) -> bytes:
        """Draw a STUN transaction id."""
        return self._random(12)

    def find(self, connection_id: str) -> Introduction | None:
        """Return the introduction with that id."""
        return self._table.get(connection_id)

    def begin(
        self,
        connection_id: str,
        fingerprint: bytes,
        client: str,
        registration: Registration,
        request: bytes,
        way: Way,
        now: float,
        *,
        client_start: float = 0.0,
    ) -> Introduction:
        """Introduce a client to a server: the server is told at once.

        :param request: the client's whole request.
        :param way: over which it came.
        :param client_start: seconds from now to the client's first punch, 0 if it did not say.
        """
        token = int.from_bytes(self._random(4), "big") or 1
        introduction = Introduction(
            self,
            connection_id,
            fingerprint,
            client,
            registration,
            token,
            request,
            now,
            client_start,
        )
        self._table[connection_id] = introduction
        introduction.admit(way, now)
        introduction.progress.begin()
        self.wake(introduction, now + INTRODUCTION_LIFE)
        return introduction

    def remove(self, introduction: Introduction) -> None:
        """Forget an introduction."""
        if self._table.get(introduction.connection_id) is introduction:
            del self._table[introduction.connection_id]

    def wake(self, introduction: Introduction, at: float) -> None:
        """Have :meth:`Introduction.timer` called at that time."""
        self._serial += 1
        heapq.heappush(self._times, (at, self._serial, introduction))

    def deadline(self) -> float | None:
        """Return when :meth:`timer` wants to be called next."""
        return self._times[0][0] if self._times else None

    def timer(self, now: float) -> None:
        """Do what is due."""
        while self._times and self._times[0][0] <= now:
            heapq.heappop(self._times)[2].timer(now)
