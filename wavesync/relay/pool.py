"""The connections that servers have parked, the clients that wait for one, and how many are wanted.

A server's connections are taken newest first: those are most likely to be alive.  How many it should
park follows demand: twice the clients of the last second, or of those that wait, as soon as they come,
and less again after a minute without.
"""

from collections import OrderedDict
from enum import Enum
from typing import Generic, Protocol, TypeVar

from wavesync.identity.ids import Target

__all__ = [
    "HERE",
    "HOLD",
    "MAX_REMEMBERED",
    "WINDOW",
    "Asked",
    "ParkedLeg",
    "Pool",
    "Visiting",
]

HERE = 10.0
"""Seconds for which a server whose last connection is gone is expected back, and clients wait for it."""

HOLD = 60.0
"""Seconds without demand after which fewer connections are wanted again."""

WINDOW = 1.0
"""Seconds over which clients are counted as coming at once."""

MAX_REMEMBERED = 4096
"""Servers without any connection that are remembered, for :data:`HOLD` seconds at most."""


class ParkedLeg(Protocol):
    """A parked connection, as the pool sees it."""

    def tell(self, wanted: int, waiting: int) -> None:
        """Tell the server how many idle connections are wanted, and how many clients wait."""


class Visiting(Protocol):
    """A client, as the pool sees it."""


class Asked(Enum):
    """What becomes of a client for whom there is no connection at once."""

    WAITS = "waits"
    FULL = "full"
    ABSENT = "absent"


L = TypeVar("L", bound=ParkedLeg)
V = TypeVar("V", bound=Visiting)


class _Server(Generic[L, V]):
    """One server.

    :ivar idle: its connections, the newest last.
    :ivar waiting: clients, the next one first.
    :ivar wanted: idle connections that it should have.
    :ivar told: what it was told last of wanted and waiting.
    :ivar gone_at: since when it has no connection; None while it has, or had until just now.
    """

    __slots__ = (
        "_count",
        "_count_since",
        "_peak",
        "_peak_since",
        "gone_at",
        "here",
        "idle",
        "told",
        "waiting",
        "wanted",
    )

    def __init__(self, wanted: int) -> None:
        self.idle: dict[L, None] = {}
        self.waiting: OrderedDict[V, None] = OrderedDict()
        self.wanted = wanted
        self.told = (wanted, 0)
        self.gone_at: float | None = None
        self.here = False
        self._count = 0
        self._count_since = 0.0
        self._peak = 0
        self._peak_since = 0.0

    def demand(self, new: int, least: int, most: int, now: float) -> None:
        """Count *new* clients, and want as many connections as that takes."""
        if now - self._count_since > WINDOW:
            self._count_since, self._count = now, 0
        self._count += new
        clients = max(self._count, len(self.waiting))
        enough = max(least, min(most, 2 * clients))
        if enough >= self.wanted:
            self.wanted, self._peak, self._peak_since = enough, 0, now
        else:
            self._peak = max(self._peak, enough)

    def relax(self, least: int, now: float) -> bool:
        """Want fewer where demand has been lower for a while; tell whether that is so."""
        if self.wanted == least or now - self._peak_since < HOLD:
            return False
        lower = max(least, self._peak)
        changed, self.wanted = lower != self.wanted, lower
        self._peak, self._peak_since = 0, now
        return changed


class Pool(Generic[L, V]):
    """All of it.

    :param idle: connections wanted of a server without demand.
    :param max_idle: connections wanted at most.
    :param parked_per_server: connections that one server may have parked.
    :param waiting: clients that may wait, in all.
    :param waiting_per_server: the same for one server.
    :ivar arrivals: servers that were not here before, to be told to others; emptied by whoever does.
    :ivar departures: servers that are not here any more, likewise.
    """

    def __init__(
        self,
        *,
        idle: int,
        max_idle: int,
        parked_per_server: int,
        waiting: int,
        waiting_per_server: int,
    ) -> None:
        self._idle = idle
        self._max_idle = max(idle, max_idle)
        self._parked_per_server = parked_per_server
        self._max_waiting = waiting
        self._waiting_per_server = waiting_per_server
        self._servers: dict[Target, _Server[L, V]] = {}
        self._absent: OrderedDict[Target, None] = OrderedDict()
        self._raised: dict[Target, None] = {}
        self.parked = 0
        self.waiting = 0
        self.arrivals: list[Target] = []
        self.departures: list[Target] = []

    def __len__(self) -> int:
        """Count the servers that are known, with those that were here a short time ago."""
        return len(self._servers)

    def idle_of(self, server: Target) -> list[L]:
        """Give a server's parked connections, the newest last."""
        found = self._servers.get(server)
        return [] if found is None else list(found.idle)

    def wanted(self, server: Target) -> int:
        """Tell how many idle connections are wanted of a server."""
        found = self._servers.get(server)
        return self._idle if found is None else found.wanted

    def waiting_for(self, server: Target) -> int:
        """Count the clients that wait for a server."""
        found = self._servers.get(server)
        return 0 if found is None else len(found.waiting)

    # Servers.

    def park(self, server: Target, leg: L, now: float) -> bool:
        """Take a connection in.

        Some more than are wanted are taken, since older ones may be dead without anybody knowing.

        :returns: false where the server has enough of them.
        """
        found = self._servers.get(server)
        count = 0 if found is None else len(found.idle)
        wanted = self._idle if found is None else found.wanted
        if count >= min(wanted + self._idle, self._parked_per_server):
            return False
        if found is None:
            found = self._servers[server] = _Server(self._idle)
        if not found.here:
            found.here = True
            self.arrivals.append(server)
        found.gone_at = None
        self._absent.pop(server, None)
        found.idle[leg] = None
        found.told = (found.wanted, len(found.waiting))
        self.parked += 1
        return True

    def next_waiting(self, server: Target, now: float) -> tuple[L, V] | None:
        """Give a connection to the client that waits longest, if there are both.

        :returns: the two; neither is known here any more.
        """
        found = self._servers.get(server)
        if found is None or not found.idle or not found.waiting:
            return None
        visitor, _ = found.waiting.popitem(last=False)
        self.waiting -= 1
        return self._take(server, found, 0, now), visitor

    def leave(self, server: Target, leg: L, now: float) -> None:
        """A connection is gone, or is not to be used; one that was taken is not known any more."""
        found = self._servers.get(server)
        if found is not None and leg in found.idle:
            del found.idle[leg]
            self.parked -= 1
            self._settle(server, found, now)

    # Clients.

    def ask(self, server: Target, visitor: V, now: float, *, again: bool = False) -> L | Asked:
        """Give a client a connection, or have it wait.

        :param again: it had one already, which did not work: it goes first, and counts no more.
        """
        found = self._servers.get(server)
        if found is None:
            return Asked.ABSENT
        if found.idle and (again or not found.waiting):
            return self._take(server, found, 0 if again else 1, now)
        if not again:
            if found.gone_at is not None and now - found.gone_at > HERE and not found.waiting:
                return Asked.ABSENT
            full = len(found.waiting) >= self._waiting_per_server
            if full or self.waiting >= self._max_waiting:
                return Asked.FULL
        found.waiting[visitor] = None
        found.waiting.move_to_end(visitor, last=not again)
        self.waiting += 1
        self._absent.pop(server, None)
        self._demand(server, found, 0 if again else 1, now)
        return Asked.WAITS

    def give_up(self, server: Target, visitor: V, now: float) -> bool:
        """A client waits no more; tell whether it did."""
        found = self._servers.get(server)
        if found is None or visitor not in found.waiting:
            return False
        del found.waiting[visitor]
        self.waiting -= 1
        self._settle(server, found, now)
        return True

    # Time.

    @property
    def restless(self) -> bool:
        """Whether :meth:`tick` has something to do sooner or later."""
        return bool(self._raised or self._absent)

    def tick(self, now: float) -> list[L]:
        """Forget what is old; want fewer connections where there is less demand.

        Call it once a second or so while :attr:`restless`.

        :returns: connections that are too many now: close them.
        """
        surplus: list[L] = []
        for server in list(self._raised):
            found = self._servers[server]
            if found.relax(self._idle, now):
                surplus += self._trim(found)
            if found.wanted == self._idle:
                del self._raised[server]
        for server in list(self._absent):
            found = self._servers[server]
            assert found.gone_at is not None
            if found.here and now - found.gone_at > HERE:
                found.here = False
                self.departures.append(server)
            if now - found.gone_at <= HOLD:
                continue
            self._forget(server)
        return surplus

    def _take(self, server: Target, found: _Server[L, V], new: int, now: float) -> L:
        leg, _ = found.idle.popitem()
        self.parked -= 1
        self._demand(server, found, new, now)
        say = (found.wanted, len(found.waiting))
        if say != found.told:
            found.told = say
            leg.tell(*say)
        self._settle(server, found, now)
        return leg

    def _demand(self, server: Target, found: _Server[L, V], new: int, now: float) -> None:
        found.demand(new, self._idle, self._max_idle, now)
        if found.wanted > self._idle:
            self._raised[server] = None

    def _trim(self, found: _Server[L, V]) -> list[L]:
        """Tell a server that fewer are wanted, and take its oldest connections out."""
        found.told = (found.wanted, len(found.waiting))
        surplus = list(found.idle)[: max(0, len(found.idle) - found.wanted)]
        for leg in surplus:
            del found.idle[leg]
            self.parked -= 1
        for leg in list(found.idle)[-2:]:
            leg.tell(*found.told)
        return surplus

    def _settle(self, server: Target, found: _Server[L, V], now: float) -> None:
        """Begin to forget a server that has neither connections nor clients."""
        if found.idle:
            return
        if found.gone_at is None:
            found.gone_at = now
        if not found.waiting:
            self._absent[server] = None
            if len(self._absent) > MAX_REMEMBERED:
                self._forget(next(iter(self._absent)))

    def _forget(self, server: Target) -> None:
        del self._absent[server]
        self._raised.pop(server, None)
        if self._servers.pop(server).here:
            self.departures.append(server)
