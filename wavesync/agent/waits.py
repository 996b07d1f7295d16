"""How long an agent stays away from a mediator before it tries again."""

import random
from collections.abc import Callable

from wavesync.agent.registration import Wait

__all__ = ["Waits"]


class Waits:
    """How long to wait before the next attempt, in seconds.

    A mediator that cannot be reached costs nothing when it is tried, so that is done every few
    seconds: one that comes back has its agents back within 1.5 times ``LONGEST``, however long it
    was away.  One that can be reached and does not register is given ever more time.

    :param jitter: gives a factor; by default 0.5 .. 1.5, so that a thousand agents do not return
        to a restarted mediator in the same moment.
    """

    FIRST, LONGEST = 0.5, 5.0
    """The first wait for a mediator that cannot be reached, and the longest."""

    HOPEFUL, FORLORN = 150, 30.0
    """After so many attempts, ten minutes or more, it was taken away rather than restarted: this
    long then."""

    FIRST_BUSY, LONGEST_BUSY = 1.0, 30.0
    """The same for a mediator that can be reached, and registers nobody."""

    FIRST_BROKEN, LONGEST_BROKEN = 0.2, 30.0
    """The same for connections that break: as a rule nobody but us is concerned."""

    DISMISSED, SPREAD = 3.0, 5.0
    """The wait after a mediator has ended the registration, in the middle: all its agents are
    concerned, and come back within this span."""

    REFUSED, SUPERSEDED = 120.0, 300.0

    def __init__(self, jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5)) -> None:
        self._jitter = jitter
        self._failures: dict[Wait, int] = {}

    def reset(self) -> None:
        """It worked: the next wait is short again."""
        self._failures.clear()

    def next(self, why: Wait, spent: float = 0.0) -> float:
        """The wait for that reason; repeated failures wait longer each time.

        :param spent: seconds that an attempt in vain has taken: they count.
        """
        factor = self._jitter()
        if why is Wait.REFUSED:
            return self.REFUSED * factor
        if why is Wait.SUPERSEDED:
            return self.SUPERSEDED * factor
        if why is Wait.DISMISSED:
            return self.DISMISSED + self.SPREAD * (factor - 1.0)
        if why is Wait.BUSY:
            return self._longer(why, self.FIRST_BUSY, self.LONGEST_BUSY) * factor
        if why is Wait.BROKEN:
            return self._longer(why, self.FIRST_BROKEN, self.LONGEST_BROKEN) * factor
        wait = self._longer(why, self.FIRST, self.LONGEST)
        if self._failures[why] > self.HOPEFUL:
            wait = self.FORLORN
        return max(wait * factor - spent, self.FIRST_BROKEN * factor)

    def _longer(self, why: Wait, first: float, longest: float) -> float:
        """Twice the last wait for that reason, within limits."""
        failures = self._failures.get(why, 0)
        self._failures[why] = min(failures + 1, self.HOPEFUL + 1)
        return min(first * 2.0 ** min(failures, 16), longest)
