"""Timers that go on when somebody sets the clock.

Twisted's reactors count by the wall clock: when that is set back by two days, because a recorder
without a battery has learned the time at last, no timer fires for two days; set forward, all fire at
once and everything is taken for silent.
"""

import time

from twisted.internet.interfaces import IReactorTime

__all__ = ["keep_steady"]


def keep_steady(reactor: IReactorTime) -> bool:
    """Have a reactor count by the monotonic clock from now on; its ``seconds()`` is no date any more.

    For the reactor of a process that is ours alone, before it runs.

    :returns: whether it does; one that has timers set already is left as it is.
    """
    if reactor.getDelayedCalls():
        return False
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    return True
