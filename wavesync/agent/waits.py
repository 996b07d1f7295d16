"""How long an agent stays away from a mediator before it tries again."""

import random
from collections.abc import Callable

from wavesync.agent.registration import Wait

__all__ = ["Waits"]


class Waits:
    """How long to wait before the next attempt, in seconds.

    :param jitter: gives a factor; by default 0.5 .. 1.5, so that a thousand agents do not return
        to a restarted mediator in the same moment.
    """

    FIRST, LONGEST, REFUSED, SUPERSEDED = 0.5, 30.0, 120.0, 300.0

    def __init__(self, jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5)) -> None:
        self._jitter = jitter
        self._failures = 0

    def reset(self) -> None:
        """It worked: the next wait is short again."""
        self._failures = 0

    def next(self, why: Wait) -> float:
        """The wait for that reason; repeated failures wait longer each time."""
        if why is Wait.REFUSED:
            wait = self.REFUSED
        elif why is Wait.SUPERSEDED:
            wait = self.SUPERSEDED
        else:
            wait = min(self.FIRST * 2.0**self._failures, self.LONGEST)
            self._failures = min(self._failures + 1, 16)
        return wait * self._jitter()
