"""The real reactor with a clock that can be hurried: minutes of time limits pass in a second.

Sockets are the real reactor's.  Time is its time and what was skipped.  A test skips in small steps
with turns of the reactor in between, so that whoever expects an answer gets it.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import directlyProvides, providedBy

__all__ = ["hurried"]

_TURNS_A_STEP = 4


class _HurriedReactor:
    """Everything that *real* is, but for the time.

    :param real: Twisted's reactor.
    """

    log = Logger()

    def __init__(self, real: Any) -> None:
        self._real = real
        self._skipped = 0.0
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._calls: set[DelayedCall] = set()
        self._order = count()
        self._alarm: IDelayedCall | None = None
        directlyProvides(self, *providedBy(real))

    def __getattr__(self, name: str) -> Any:
        """Whatever is not about time."""
        return getattr(self._real, name)

    def seconds(self) -> float:
        """Seconds since the epoch, and what was skipped."""
        now: float = self._real.seconds()
        return now + self._skipped

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """Call something after *delay* seconds (IReactorTime)."""
        call = DelayedCall(
            self.seconds() + delay, callable, args, kw, self._cancelled, self._earlier, self.seconds
        )
        self._calls.add(call)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Everything that was not called yet (IReactorTime)."""
        return list(self._calls)

    def stop_clock(self) -> None:
        """Call nothing any more."""
        self._calls.clear()
        self._heap.clear()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()

    async def turns(self, number: int = 1) -> None:
        """Let the reactor go round."""
        for _ in range(number):
            turn: Deferred[None] = Deferred()
            self._real.callLater(0, turn.callback, None)
            await turn

    async def pause(self, seconds: float) -> None:
        """Let real time pass."""
        over: Deferred[None] = Deferred()
        self._real.callLater(seconds, over.callback, None)
        await over

    async def skip(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass in a hurry."""
        while seconds > 0:
            self._skipped += min(step, seconds)
            seconds -= step
            self._arm()
            await self.turns(_TURNS_A_STEP)

    def _push(self, call: DelayedCall) -> None:
        heapq.heappush(self._heap, (call.getTime(), next(self._order), call))
        self._arm()

    def _cancelled(self, call: DelayedCall) -> None:
        self._calls.discard(call)

    def _earlier(self, call: DelayedCall) -> None:
        self._push(call)

    def _arm(self) -> None:
        """See to it that :meth:`_run` is called in time; too early does not matter."""
        if not self._heap:
            return
        delay = max(0.0, self._heap[0][0] - self.seconds())
        if self._alarm is not None and self._alarm.active():
            if self._alarm.getTime() <= self._real.seconds() + delay:
                return
            self._alarm.reset(delay)
        else:
            self._alarm = self._real.callLater(delay, self._run)

    def _run(self) -> None:
        self._alarm = None
        now = self.seconds()
        while self._heap and self._heap[0][0] <= now:
            _, _, call = heapq.heappop(self._heap)
            if call not in self._calls:
                continue
            if call.getTime() > now:
                # Or a later reset to an earlier time would seem to be no change.
                call.activate_delay()
                heapq.heappush(self._heap, (call.getTime(), next(self._order), call))
                continue
            self._calls.discard(call)
            call.called = 1
            try:
                call.func(*call.args, **call.kw)
            except Exception:
                self.log.failure("a delayed call failed")
        self._arm()


def hurried(real: Any) -> Any:
    """Give *real* with another clock.

    :returns: every interface of *real*, and ``turns``, ``pause``, ``skip`` and ``stop_clock``.
    """
    return _HurriedReactor(real)
