"""The connections that servers have parked: asked now and then whether the server is there."""

from collections import Counter
from collections.abc import Iterator

from wavesync.deadlines import Deadlines
from wavesync.relay.parked import Parked

__all__ = ["ANSWER_SHARE", "Roll"]

ANSWER_SHARE = 2 / 3
"""The part of a keep-alive interval that a server has to answer a PING."""


class Roll:
    """All of them, also those that a client has taken, until they are joined.

    :param keep_alive: seconds without a word after which a server is asked.
    """

    def __init__(self, keep_alive: float) -> None:
        self._legs: dict[Parked, None] = {}
        self._systems: Counter[str] = Counter()
        self._quiet: Deadlines[Parked] = Deadlines(keep_alive)
        self._asked: Deadlines[Parked] = Deadlines(keep_alive * ANSWER_SHARE)

    def __len__(self) -> int:
        """Count them."""
        return len(self._legs)

    def __iter__(self) -> Iterator[Parked]:
        """All of them, at this moment."""
        return iter(list(self._legs))

    def has_system(self, system: str) -> bool:
        """Tell whether a server of this system is here."""
        return system in self._systems

    def add(self, leg: Parked) -> None:
        """There is one more."""
        self._legs[leg] = None
        self._systems[leg.server.system] += 1

    def remove(self, leg: Parked) -> bool:
        """There is one less; tell whether it was here."""
        if leg not in self._legs:
            return False
        del self._legs[leg]
        self.rest(leg)
        system = leg.server.system
        self._systems[system] -= 1
        if not self._systems[system]:
            del self._systems[system]
        return True

    def rest(self, leg: Parked) -> None:
        """Ask it no more: a client has taken it."""
        self._quiet.end(leg)
        self._asked.end(leg)

    def asked(self, leg: Parked, now: float) -> None:
        """It was sent a PING."""
        self._quiet.end(leg)
        self._asked.begin(leg, now)

    def answered(self, leg: Parked, now: float) -> None:
        """It has answered."""
        if leg in self._asked:
            self._asked.end(leg)
            self._quiet.begin(leg, now)

    def deadline(self) -> float | None:
        """Tell when :meth:`timer` is to be called next."""
        found = [each.deadline() for each in (self._quiet, self._asked)]
        return min((at for at in found if at is not None), default=None)

    def timer(self, now: float) -> None:
        """Ask those that were quiet, and give up those that have not answered."""
        for leg in self._asked.take_due(now):
            leg.dead()
        for leg in self._quiet.take_due(now):
            leg.ping()
