"""Tries better ways than the one in use again, now and then, in the background."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.tunnel.ladder import Ladder
from wavesync.tunnel.probing import PROBE_TIMEOUT, Probe, Schedule
from wavesync.tunnel.roads import Opener
from wavesync.tunnel.way import RAW, Road, Way

__all__ = ["Seeker"]


class _Leaving(Protocol):
    """Closes a tunnel once it is open: all that was to be known is known."""

    def connectionMade(self) -> None:
        """Leave (IProtocol)."""
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


class Seeker:
    """Looks for better ways as long as one is in use.

    A round goes through all that are better, one after the other, until one works.

    :param clock: gives the time and timers.
    :param opener: opens ways.
    :param ladder: gives what is known on this host's network.
    :param learned: called after each round.
    :param probe: shows that bytes pass without a tunnel; such ways are left out when None.
    :param on_better: called with a way that works and is better than the one in use.
    :param random: gives a number from 0 to 1.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        opener: Opener,
        ladder: Callable[[], Ladder],
        learned: Callable[[], None],
        *,
        probe: Probe | None,
        on_better: Callable[[Way], None] | None,
        random: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._opener = opener
        self._ladder = ladder
        self._learned = learned
        self._probe = probe
        self._on_better = on_better
        self._schedule = Schedule(random)
        self._way: Way | None = None
        self._timer: IDelayedCall | None = None
        self._round: Deferred[None] | None = None

    def use(self, way: Way | None) -> None:
        """This way is in use now; none is when None."""
        if way == self._way:
            return
        self.stop()
        self._way = way
        if way is not None and self._better(way):
            self._wait()

    def stop(self) -> None:
        """Look no more until another way is in use."""
        self._way = None
        self._schedule.restart()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        running, self._round = self._round, None
        if running is not None:
            running.cancel()

    def _wait(self) -> None:
        self._timer = self._clock.callLater(self._schedule.next(), self._look)

    def _look(self) -> None:
        self._timer = None
        running = self._round = Deferred.fromCoroutine(self._go_round())
        running.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("looking for better ways", failure)

    async def _go_round(self) -> None:
        """Try all better ways until one works."""
        assert self._way is not None
        ladder, found = self._ladder(), None
        closed: set[Road] = set()
        for way in self._better(self._way):
            if way.road in closed:
                continue
            began = self._clock.seconds()
            arrived: list[bool] = []
            try:
                await self._try(way, lambda arrived=arrived: arrived.append(True))  # type: ignore[misc]
            except CancelledError:
                raise
            except Exception as error:
                now = self._clock.seconds()
                if arrived or way.method == RAW:
                    ladder.failed(way, now, str(error))
                else:
                    closed.add(way.road)
                    ladder.road_failed(way.road, now, str(error))
                continue
            now = self._clock.seconds()
            ladder.worked(way, now, now - began)
            found = way
            break
        self._learned()
        self._round = None
        self._wait()
        if found is not None:
            self.log.info(
                "{better} works now, better than {used}", better=str(found), used=str(self._way)
            )
            if self._on_better is not None:
                self._on_better(found)

    def _try(self, way: Way, arrived: Callable[[], None]) -> Deferred[object]:
        """Send a hello through a way."""
        trying: Deferred[object]
        if way.method == RAW:
            assert self._probe is not None
            trying = self._probe(self._opener.dial(way.road, timeout=PROBE_TIMEOUT))
        else:
            factory = Factory.forProtocol(_Leaving)
            factory.noisy = False
            opening = self._opener.open(way, factory, timeout=PROBE_TIMEOUT, arrived=arrived)
            trying = opening.addCallback(_nothing)
        return trying.addTimeout(PROBE_TIMEOUT, self._clock)

    def _better(self, than: Way) -> list[Way]:
        better = self._ladder().better(than, self._clock.seconds())
        return [way for way in better if way.method != RAW or self._probe is not None]


def _nothing(_: object) -> object:
    return None
