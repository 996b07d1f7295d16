"""What one router has given, and when something has to be done about it.

Sans-I/O: ``now`` is handed in; :class:`wavesync.portmap.keeper.Keeper` does what is due.
"""

from collections.abc import Collection

from wavesync.portmap.words import MAX_PORTS, Lease, Wanted

__all__ = ["CHECK_AGAIN", "CHECK_INTERVAL", "MAX_MISSED", "RENEW_AGAIN", "Holding"]

CHECK_INTERVAL = 60.0
"""Seconds between looks at whether the router still knows its mappings."""

CHECK_AGAIN = 5.0
"""The same where it did not answer."""

MAX_MISSED = 3
"""Looks without an answer, one after the other, that a mapping outlives."""

RENEW_AGAIN = 15.0
"""Seconds until a renewal that failed is tried again, while the lease lasts."""


class Holding:
    """Leases of one router.

    :ivar leases: those that hold, by what they are for.
    """

    def __init__(self) -> None:
        self.leases: dict[Wanted, Lease] = {}
        self._ends: dict[Wanted, float] = {}
        self._renew: dict[Wanted, float] = {}
        self._wanted: tuple[Wanted, ...] = ()
        self._check = 0.0
        self._missed = 0

    @property
    def given_up(self) -> bool:
        """Whether the router has been silent for too long."""
        return self._missed >= MAX_MISSED

    def want(self, wanted: Collection[Wanted], now: float) -> list[Lease]:
        """Say what shall be mapped, at most :data:`.words.MAX_PORTS`; what is new is due at once.

        :returns: leases that are not wanted any more; they are no longer held.
        """
        self._wanted = tuple(wanted)[:MAX_PORTS]
        for each in self._wanted:
            self._renew.setdefault(each, now)
        gone = [each for each in self._renew if each not in self._wanted]
        dropped = [self.leases[each] for each in gone if each in self.leases]
        for each in gone:
            self._drop(each)
            del self._renew[each]
        return dropped

    def took(self, lease: Lease, now: float) -> bool:
        """A mapping was made or renewed.

        :returns: whether it is another one than before.
        """
        before = self.leases.get(lease.wanted)
        self.leases[lease.wanted] = lease
        self._ends[lease.wanted] = now + lease.lifetime
        self._renew[lease.wanted] = now + lease.lifetime / 2
        return before is None or before.external != lease.external

    def refused(self, wanted: Wanted, now: float) -> bool:
        """It was not made or renewed.

        :returns: whether what was there is over.
        """
        self._renew[wanted] = now + (RENEW_AGAIN if wanted in self.leases else CHECK_INTERVAL)
        if now < self._ends.get(wanted, now):
            return False
        return self._drop(wanted)

    def checked(self, now: float) -> None:
        """The router knows them all, or has just been asked for them again."""
        self._missed = 0
        self._check = now + CHECK_INTERVAL

    def missed(self, now: float) -> None:
        """It did not answer."""
        self._missed += 1
        self._check = now + CHECK_AGAIN

    def forgotten(self, now: float) -> None:
        """The router has forgotten them all: each has to be made again, at once."""
        self._ends = dict.fromkeys(self._ends, now)
        self._renew = dict.fromkeys(self._renew, now)

    def lose(self) -> bool:
        """None of them holds any more: all have to be asked for anew, wherever.

        :returns: whether there was one.
        """
        had = bool(self.leases)
        self.leases.clear()
        self._ends.clear()
        self._renew.clear()
        self._missed = 0
        return had

    def check_due(self, now: float) -> bool:
        """Whether it is time to look."""
        return now >= self._check

    def due(self, now: float) -> list[Wanted]:
        """What has to be asked for now."""
        return [each for each in self._wanted if now >= self._renew[each]]

    def deadline(self) -> float:
        """When there is something to do next."""
        return min([self._check, *(self._renew[each] for each in self._wanted)])

    def _drop(self, wanted: Wanted) -> bool:
        self._ends.pop(wanted, None)
        return self.leases.pop(wanted, None) is not None
