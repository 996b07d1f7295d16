"""How long it takes to tell a server something, as far as a mediator can measure it."""

__all__ = ["MAX_ROUND_TRIP", "LegTime"]

MAX_ROUND_TRIP = 1.0
"""Seconds that one measurement counts at most: a server that dawdles only delays its own clients,
and not for longer than this."""

_GAIN = 1 / 8


class LegTime:
    """The smoothed round trip between the mediator and one server.

    A shorter one is believed at once, a longer one by and by (RFC 6298's gain): a host is slow now
    and then, but it is never faster than its network.

    :ivar one_way: seconds from telling the server to its knowing; 0 while nothing was measured.
    """

    __slots__ = ("_round_trip",)

    def __init__(self) -> None:
        self._round_trip: float | None = None

    @property
    def one_way(self) -> float:
        """Seconds from telling the server to its knowing; 0 while nothing was measured."""
        return (self._round_trip or 0.0) / 2

    def measured(self, seconds: float) -> None:
        """The server did something *seconds* after it was told; what no clock can have seen is
        ignored."""
        if seconds < 0:
            return
        seconds = min(seconds, MAX_ROUND_TRIP)
        known = self._round_trip
        if known is None or seconds < known:
            self._round_trip = seconds
        else:
            self._round_trip = known + (seconds - known) * _GAIN
