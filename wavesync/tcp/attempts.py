"""When to try a simultaneous open again: no sockets, no clock.

Both ends dial each other.  A router that only drops what nobody asked for lets the later SYN in, so
one attempt is enough.  A router that refuses it (RST) ends the attempt of whoever came first; as long
as an end has an attempt under way, its own router lets the other's SYN in.  Hence the first repeats
follow a refusal at once: an end is then dialling nearly all the time.  Later ones wait longer, each
by its own random measure, so that two ends cannot go on refusing each other in step.
"""

from collections.abc import Callable

__all__ = ["AT_ONCE", "FIRST_GAP", "LONGEST_GAP", "MAX_ATTEMPTS", "Attempts"]

MAX_ATTEMPTS = 20
"""SYNs of one simultaneous open, the kernel's own repetitions apart (one or two of the last).  With
60 bytes each they weigh no more than the 1200 bytes of the ``connect`` that asked for them."""

AT_ONCE = 4
"""Repeats that follow a refusal without a gap."""

FIRST_GAP = 0.01
"""Seconds of the first gap after those; each further one is twice as long."""

LONGEST_GAP = 0.25
"""Seconds of the longest gap."""


class Attempts:
    """The attempts of one end.

    :param random: gives a number from 0 to 1.
    :ivar made: attempts so far.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self.made = 0
        self._random = random

    @property
    def exhausted(self) -> bool:
        """No further attempt may be made."""
        return self.made >= MAX_ATTEMPTS

    def begun(self) -> None:
        """An attempt was made."""
        self.made += 1

    def gap(self) -> float:
        """Seconds from the end of the last attempt to the next one."""
        late = self.made - AT_ONCE
        if late <= 0:
            return 0.0
        # 0.5 to 1.5 of it.  (The exponent is below MAX_ATTEMPTS.)
        return float(min(FIRST_GAP * 2 ** (late - 1), LONGEST_GAP) * (0.5 + self._random()))
