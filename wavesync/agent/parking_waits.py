"""How long an agent leaves a relay alone before it tries to park there again."""

import random
from collections.abc import Callable

__all__ = ["ParkingWaits"]


class ParkingWaits:
    """Pauses, in seconds.

    :param chance: gives a number from 0 to 1 by which the pauses of a thousand agents differ.
    """

    AT_ONCE = 3
    """Failures in a row after which the next attempt is still made at once."""

    FIRST, LONGEST = 0.1, 11.0
    """The first pause behind those, and the longest: each is twice the one before it, and the real
    one between half of that and all of it."""

    LOST_TOGETHER = 0.1
    """How long it is waited for the fate of the others when one parked connection is lost."""

    SPREAD = 5.0
    """All were lost at once: the relay was restarted, and all its servers come back within this."""

    FILL = 3.0
    """Within this all others follow the first connection that stands again."""

    MOVED = 5.0, 15.0
    """A relay that goes away is asked again between these: if it is restarted, it may be back."""

    RETRY, LONGEST_RETRY = 1.0, 60.0
    """A relay that is busy: unless it says when, and however far off it says."""

    REFUSED = 120.0
    """The relay refuses this server: only a person can change that."""

    FULL = 10.0
    """The relay has as many connections as it wants."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._failures = 0

    def reset(self) -> None:
        """It works."""
        self._failures = 0

    def failed(self) -> float:
        """The pause after one more failure."""
        self._failures += 1
        behind = self._failures - self.AT_ONCE
        if behind <= 0:
            return 0.0
        longest = min(self.FIRST * 2.0 ** min(behind - 1, 16), self.LONGEST)
        return longest * (0.5 + self._chance() / 2)

    def spread(self) -> float:
        """The pause after all connections were lost."""
        return self.SPREAD * self._chance()

    def fill(self) -> float:
        """The pause between the first connection that stands again and the others."""
        return self.FILL * self._chance()

    def moved(self) -> float:
        """The pause after the relay has said that it goes away."""
        soonest, latest = self.MOVED
        return soonest + (latest - soonest) * self._chance()

    def busy(self, said: float | None) -> float:
        """The pause after the relay has said that it is busy.

        :param said: seconds, if it said so.
        """
        wait = self.RETRY if said is None else min(max(said, self.FIRST), self.LONGEST_RETRY)
        return wait * (1.0 + self._chance() / 2)

    def refused(self) -> float:
        """The pause after the relay has refused this server."""
        return self.REFUSED * (0.5 + self._chance())
