"""What a server gives one tunnel of short polls, and how often it answers."""

from dataclasses import dataclass

from wavesync.tunnel.poll_core import MAX_REQUESTS, WINDOW
from wavesync.tunnel.poll_wire import MAX_LIVE

__all__ = ["LEAST_BYTES", "MOST_BYTES", "Pace", "PollLimits"]

LEAST_BYTES, MOST_BYTES = 16_384, 4_194_304
"""Bytes that may be held for a tunnel each way, at least and at most."""


@dataclass(frozen=True, slots=True)
class PollLimits:
    """The limits of one tunnel.

    :ivar waiting: polls that wait for an answer at one time, 1 to :data:`~.poll_wire.MAX_LIVE`; the oldest is
        answered when there are more.
    :ivar held: bytes that are held each way, :data:`LEAST_BYTES` to :data:`MOST_BYTES`.
    :ivar rate: polls a second that are answered, on average; 0.0 for as many as come.
    :raises ValueError: one of them is out of its range.
    """

    waiting: int = MAX_LIVE
    held: int = WINDOW
    rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 1 <= self.waiting <= MAX_LIVE:
            raise ValueError(f"poll_waiting must be 1 to {MAX_LIVE}")
        if not LEAST_BYTES <= self.held <= MOST_BYTES:
            raise ValueError(f"poll_bytes must be {LEAST_BYTES} to {MOST_BYTES}")
        if not (self.rate == 0.0 or 1.0 <= self.rate < float("inf")):
            raise ValueError("poll_rate must be 0 (no limit), or 1 or more")


class Pace:
    """How often polls are answered: so many a second, and as many as a client has at one time at once.

    :param rate: of :class:`PollLimits`.
    """

    __slots__ = ("_ahead", "_apart", "_next")

    def __init__(self, rate: float) -> None:
        self._apart = 1.0 / rate if rate else 0.0
        self._ahead = (MAX_REQUESTS - 1) * self._apart
        self._next = float("-inf")  # when an answer would be due if they came evenly

    @property
    def at(self) -> float:
        """When the next poll may be answered."""
        return self._next - self._ahead

    def answered(self, now: float) -> None:
        """One was answered."""
        if self._apart:
            self._next = max(self._next, now) + self._apart
