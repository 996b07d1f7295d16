"""Virtual time for tests."""

from twisted.internet.task import Clock

__all__ = ["run_for"]


def run_for(clock: Clock, seconds: float) -> None:
    """Advance *clock* from one delayed call to the next, so that each sees its own time.

    :param seconds: how far.
    """
    end = clock.seconds() + seconds
    while True:
        times = [call.getTime() for call in clock.getDelayedCalls()]
        following = min(times, default=end)
        if following > end:
            break
        clock.advance(max(0.0, following - clock.seconds()))
        if not times:
            break
    clock.advance(max(0.0, end - clock.seconds()))
