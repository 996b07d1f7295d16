"""When to try a simultaneous open again: no sockets, no clock.

Both ends dial each other.  A router that only drops what nobody asked for lets the later SYN in, so
one attempt is enough.  A router that refuses it (RST) ends the attempt of whoever came first; as long
as an end has an attempt under way, its own router lets the other's SYN in.  Hence the first repeats
follow a refusal at once: an end is then dialling nearly all the time.

On a short way the refusal is back at once, and takes the entry in the own router with it, so that two
ends hardly ever meet like this.  Therefore every other of the later attempts begins with a SYN that is
to die on the way: it opens the own router and is refused by nobody, and the entry lives for a minute or
two.  The other's SYN passes then, whenever it comes, unless it comes just between an attempt of ours that
was refused and the next SYN that dies, which follows at once.  The gaps before the others have a
random measure, so that two ends cannot go on refusing each other in step.
"""

from collections.abc import Callable

__all__ = ["AT_ONCE", "FIRST_GAP", "HOPS", "LONGEST_GAP", "MAX_ATTEMPTS", "Attempts"]

MAX_ATTEMPTS = 20
"""SYNs of one simultaneous open, the kernel's own repetitions apart (one or two of the last).  With
60 bytes each they weigh no more than the 1200 bytes of the ``connect`` that asked for them."""

AT_ONCE = 4
"""Repeats that follow a refusal without a gap."""

HOPS = (2, 3, 2, 4)
"""How far the SYNs get that are to die on the way, in turn: one hop further than the own router, for most;
further than a second router of one's own or of the provider, for others.  Where that is as far as the
peer's router, it is an attempt like any other."""

FIRST_GAP = 0.02
"""Seconds of the first gap after a SYN that is to die; each further one is twice as long."""

LONGEST_GAP = 0.75
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

    @property
    def hops(self) -> int | None:
        """How far the first SYN of the attempt that was begun last is to get; None for all the way."""
        late = self.made - 1 - AT_ONCE
        return HOPS[late // 2 % len(HOPS)] if late > 0 and late % 2 else None

    def gap(self) -> float:
        """Seconds to the next attempt: from the end of the last one, or from the beginning of one
        whose SYN is to die."""
        if self.hops is None:
            return 0.0
        rounds = (self.made - AT_ONCE) // 2
        # 0.5 to 1.5 of it.  (The exponent is below MAX_ATTEMPTS.)
        return float(min(FIRST_GAP * 2 ** (rounds - 1), LONGEST_GAP) * (0.5 + self._random()))
