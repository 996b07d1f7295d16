"""The silence that a server keeps towards a new client that may be libudt.

libudt's client breaks if anything reaches it between the challenge and the answer, and drops
what comes in the first milliseconds after the answer.  So nothing is sent before the client has
shown itself, or, if the server is the one to speak, before the answer has surely arrived.
"""

import math

__all__ = ["FALLBACK", "HALF_OPEN_TIME", "REPEAT_AFTER", "SETTLE", "WAIT", "Courtesy"]

SETTLE = 0.005
"""Seconds after the client's first packet: it registers its id only when its thread wakes."""
REPEAT_AFTER = 0.005
"""Seconds between the two answers that precede a server's first words."""
WAIT = 0.02
"""Seconds between the second answer and those words."""
FALLBACK = 0.35
"""Seconds after which silence ends in any case: a client that lacks the answer has asked again."""
HALF_OPEN_TIME = 10.0
"""Seconds after which a connection whose client never showed itself is closed."""


class Courtesy:
    """When a server may send to one new client.

    :param now: when the answer was sent, seconds.
    :param wavesync: the client is a wavesync end, and needs no silence.
    :ivar shown: something other than a handshake came from the client.
    """

    __slots__ = (
        "_answered",
        "_gives_up",
        "_repeat",
        "_speaking",
        "_until",
        "_wavesync",
        "shown",
    )

    def __init__(self, now: float, *, wavesync: bool) -> None:
        self.shown = False
        self._wavesync = wavesync
        self._until = now if wavesync else now + FALLBACK
        self._answered = now
        self._repeat: float | None = None
        self._speaking = False
        self._gives_up = now + HALF_OPEN_TIME

    def show(self, now: float) -> None:
        """The client has sent something."""
        if not self.shown:
            self.shown = True
            self._repeat = None
            self._until = min(self._until, now if self._wavesync else now + SETTLE)

    def speak(self, now: float) -> None:
        """There is something to send."""
        if not (self._speaking or self._wavesync or self.shown):
            self._speaking = True
            self._repeat = max(now, self._answered + REPEAT_AFTER)
            self._until = self._repeat + WAIT

    def answered(self, now: float) -> None:
        """The answer was sent again, because the client asked again or we are about to speak."""
        self._answered = now
        if not (self._wavesync or self.shown):
            self._until = max(self._until, now + WAIT)

    def repeat_due(self, now: float) -> bool:
        """:return: whether the answer is to be sent again now."""
        if self._repeat is None or now < self._repeat:
            return False
        self._repeat = None
        return True

    def silent(self, now: float) -> bool:
        """:return: whether nothing may be sent at *now*."""
        return now < self._until

    def over(self, now: float) -> bool:
        """:return: whether there is nothing more to be considerate of; stays so."""
        return self.shown and self._repeat is None and now >= self._until

    def expired(self, now: float) -> bool:
        """:return: whether the client had its time and never showed itself; once true."""
        if self.shown or now < self._gives_up:
            return False
        self._gives_up = math.inf
        return True

    def deadline(self, now: float) -> float | None:
        """:return: when something changes by itself."""
        times = [] if self.shown or self._gives_up == math.inf else [self._gives_up]
        if self._repeat is not None:
            times.append(self._repeat)
        if now < self._until:
            times.append(self._until)
        return min(times, default=None)
