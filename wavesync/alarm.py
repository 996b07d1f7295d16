"""The one timer of something that is due at different times."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Alarm"]


class Alarm:
    """Comes once, at the time it was set to or before; whoever it calls looks what is due.

    Set to a later time it stays where it is: that costs nothing, while a timer that is moved whenever
    something comes or goes would cost more than the rare call in vain.

    :param clock: gives the time.
    :param came: is called.
    """

    __slots__ = ("_at", "_came", "_clock", "_timer")

    def __init__(self, clock: IReactorTime, came: Callable[[], None]) -> None:
        self._clock = clock
        self._came = came
        self._timer: IDelayedCall | None = None
        self._at = 0.0

    def set(self, at: float | None) -> None:
        """Have it come at this time of the clock, in seconds; not at all when None."""
        if self._timer is not None:
            if at is not None and self._at <= at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._at = at
            delay = max(0.0, at - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._came()
