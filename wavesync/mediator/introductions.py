"""All introductions under way: a bounded table, and the times at which each has something to do."""

import heapq
from collections.abc import Callable

from wavesync.mediator.introducing import INTRODUCTION_LIFE, Introduction, Way
from wavesync.mediator.registry import Registration
from wavesync.mediator.statistics import Statistics
from wavesync.shares import Shares
from wavesync.signalling.relay_urls import Relay
from wavesync.stun.buckets import source_key

__all__ = [
    "MAX_INTRODUCTIONS",
    "MAX_INTRODUCTIONS_PER_HOST",
    "MAX_INTRODUCTIONS_PER_SYSTEM",
    "Introductions",
]

MAX_INTRODUCTIONS = 10_000
"""Introductions remembered at one time unless the settings say otherwise."""

MAX_INTRODUCTIONS_PER_HOST = 1_000
"""The same for clients at one source (an IPv4 address, the /64 of an IPv6 address)."""

MAX_INTRODUCTIONS_PER_SYSTEM = 2_500
"""The same for one system: anybody can make systems, but each needs a server that is registered."""


class Introductions:
    """The table of introductions, by connection id.

    :param statistics: where to count.
    :param random: gives random bytes.
    :param limit: how many at one time.
    :param per_host: how many of them for clients at one source.
    :param per_system: how many of them for one system.
    :param relays: those that clients are told of: all where a server has named none, else the other
        ports of those that it has.
    """

    def __init__(
        self,
        statistics: Statistics,
        random: Callable[[int], bytes],
        limit: int = MAX_INTRODUCTIONS,
        per_host: int = MAX_INTRODUCTIONS_PER_HOST,
        per_system: int = MAX_INTRODUCTIONS_PER_SYSTEM,
        relays: tuple[Relay, ...] = (),
    ) -> None:
        self.statistics = statistics
        self.relays = relays
        self._random = random
        self._limit = limit
        self._table: dict[str, Introduction] = {}
        self._hosts, self._systems = Shares(per_host), Shares(per_system)
        self._owners: dict[str, tuple[bytes, bytes]] = {}
        self._times: list[tuple[float, int, Introduction]] = []
        self._serial = 0

    def __len__(self) -> int:
        """Count the introductions remembered."""
        return len(self._table)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._table) >= self._limit

    @property
    def crowded(self) -> bool:
        """Whether half of the places are taken: time to let in only who is where he says."""
        return 2 * len(self._table) >= self._limit

    def room(self, host: str, system: str) -> bool:
        """Tell whether a client at *host* and its *system* may have one more."""
        return self._hosts.room(source_key(host)) and self._systems.room(system.encode())

    def transaction_id(self) -> bytes:
        """Draw a STUN transaction id."""
        return self._random(12)

    def find(self, connection_id: str) -> Introduction | None:
        """Return the introduction with that id."""
        return self._table.get(connection_id)

    def system_of(self, connection_id: str) -> str | None:
        """Return the system that the introduction with that id is about."""
        found = self._table.get(connection_id)
        return None if found is None else found.registration.server.system

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
        news: Callable[[int], tuple[int, bytes]] = lambda room: (0, b""),
    ) -> Introduction:
        """Introduce a client to a server: the server is told at once.

        :param request: the client's whole request.
        :param way: over which it came.
        :param news: gives what the client is to be told of revocations, in so many bytes.
        """
        token = int.from_bytes(self._random(4), "big") or 1
        introduction = Introduction(
            self, connection_id, fingerprint, client, registration, token, request, now, news
        )
        owners = source_key(way.source[0]), registration.server.system.encode()
        self._table[connection_id] = introduction
        self._owners[connection_id] = owners
        self._hosts.take(owners[0])
        self._systems.take(owners[1])
        introduction.admit(way, now)
        introduction.progress.begin()
        self.wake(introduction, now + INTRODUCTION_LIFE)
        return introduction

    def remove(self, introduction: Introduction) -> None:
        """Forget an introduction."""
        if self._table.get(introduction.connection_id) is introduction:
            del self._table[introduction.connection_id]
            host, system = self._owners.pop(introduction.connection_id)
            self._hosts.give_back(host)
            self._systems.give_back(system)

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
