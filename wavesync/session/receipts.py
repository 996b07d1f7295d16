"""How much of a stream was written and received, and what of it is acknowledged."""

__all__ = ["ACKNOWLEDGE_BESIDE", "ACKNOWLEDGE_EVERY", "Dispatches", "Receipts"]

ACKNOWLEDGE_EVERY = 1 << 20
"""Bytes received after which an ACK is sent at once."""

ACKNOWLEDGE_BESIDE = 4096
"""Bytes that are written at once, at the most, for an ACK to go with them: it would make a record of its
own behind the full ones of larger pieces."""


class Receipts:
    """Counts one direction of a stream.

    :param within: the longest that received bytes stay without an ACK, in seconds.
    :ivar received: bytes so far; END counts as one.
    :ivar ends: 1 once END came, else 0.
    :ivar due: when an ACK has to leave; None while nothing is owed.
    """

    __slots__ = ("_acknowledged", "_within", "due", "ends", "received")

    def __init__(self, within: float) -> None:
        self._within = within
        self._acknowledged = 0
        self.received = 0
        self.ends = 0
        self.due: float | None = None

    def took(self, size: int, now: float) -> None:
        """So many bytes came."""
        self.received += size
        if self.due is None:
            self.due = now + self._within

    def took_end(self, now: float) -> None:
        """END came."""
        self.ends = 1
        self.took(1, now)

    @property
    def payload(self) -> int:
        """Bytes so far, without END."""
        return self.received - self.ends

    def acknowledged(self) -> int:
        """Note that an ACK leaves; the number that it carries."""
        self._acknowledged = self.received
        self.due = None
        return self.received

    @property
    def many(self) -> bool:
        """Whether so much came since the last ACK that the next one must not wait."""
        return self.received - self._acknowledged >= ACKNOWLEDGE_EVERY


class Dispatches:
    """Counts what we write of a stream.

    :ivar written: bytes that the application gave.
    :ivar ended: END was sent, which counts as one.
    """

    __slots__ = ("_confirmed", "ended", "written")

    def __init__(self) -> None:
        self.written = 0
        self.ended = False
        self._confirmed = 0

    def confirm(self, offset: int) -> bool | None:
        """An ACK came; whether it says something new, and None if it cannot be right."""
        if offset > self.written + self.ended:
            return None
        new = offset > self._confirmed
        if new:
            self._confirmed = offset
        return new

    @property
    def unacknowledged(self) -> int:
        """Bytes written (END counts as one) that the peer has not acknowledged."""
        return self.written + self.ended - self._confirmed

    @property
    def end_confirmed(self) -> bool:
        """The peer has everything, END included."""
        return self.ended and self.unacknowledged == 0
