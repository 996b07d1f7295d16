"""Keeps ports mapped at one router: finds out how, asks, renews, looks, asks again when it has forgotten."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.portmap.choosing import Choice
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.holding import Holding
from wavesync.portmap.words import SHORTEST, Lease, Method, PortMapError, Reason, Wanted

__all__ = ["AGAIN", "AGAIN_SOON", "POKE_INTERVAL", "STOP_TIMEOUT", "Keeper"]

AGAIN = 300.0
"""Seconds until a router that maps nothing is asked again."""

AGAIN_SOON = 10.0
"""The same for one that did before, at first; each time doubled."""

POKE_INTERVAL = 2.0
"""Seconds between looks because of announcements, at least: anybody on the network may announce."""

STOP_TIMEOUT = 2.0
"""Seconds that giving mappings back may take."""

_JITTER = 0.2


class Keeper:
    """Keeps ports mapped.

    :param clock: gives time and timers.
    :param gateway: the router.
    :param methods: protocols to speak with it, the best first.
    :param on_change: called when :attr:`leases` or :attr:`why` is another one.
    :param random: gives a fraction from 0 to 1.
    :ivar gateway: the router.
    :ivar method: the name of the protocol that works; empty while none does.
    :ivar why: why there is no mapping, once that is known.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        gateway: Gateway,
        methods: Sequence[Method],
        on_change: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.gateway = gateway
        self.method = ""
        self.why: PortMapError | None = None
        self._clock = clock
        self._methods = tuple(methods)
        self._on_change = on_change
        self._random = random
        self._wanted: tuple[Wanted, ...] = ()
        self._holding = Holding()
        self._using: Method | None = None
        self._asking: Wanted | None = None
        self._living: Deferred[None] | None = None
        self._waiting: Deferred[None] | None = None
        self._poked = self._changed = False
        self._looked = -POKE_INTERVAL
        self._stopped = False

    @property
    def leases(self) -> tuple[Lease, ...]:
        """What the router forwards now."""
        return tuple(self._holding.leases.values())

    def start(self, wanted: Collection[Wanted]) -> None:
        """Begin."""
        self._wanted = tuple(wanted)
        self._living = Deferred.fromCoroutine(self._live())
        self._living.addErrback(self._ended)

    def want(self, wanted: Collection[Wanted]) -> None:
        """Map these ports from now on."""
        if tuple(wanted) != self._wanted:
            self._wanted = tuple(wanted)
            self._changed = True
            self._wake()

    def poke(self) -> None:
        """The router has announced something: look what it knows."""
        if self._clock.seconds() >= self._looked + POKE_INTERVAL:
            self._looked = self._clock.seconds()
            self._poked = True
            self._wake()

    def stop(self) -> Deferred[Any]:
        """Give all mappings back; fires in bounded time."""
        if self._stopped:
            return succeed(None)
        self._stopped = True
        living, self._living = self._living, None
        ends: list[Deferred[None]] = []
        leases, using = list(self.leases), self._using
        if self._asking is not None and self._asking not in self._holding.leases:
            # The router may have taken what it has not answered yet.
            leases.append(Lease(self._asking, ("0.0.0.0", self._asking.port), SHORTEST))
        if living is not None:
            living.cancel()
        self._holding.lose()
        if using is not None:
            ends = [using.unmap(lease) for lease in leases]
        done = DeferredList(ends, consumeErrors=True)
        done.addTimeout(STOP_TIMEOUT, self._clock)
        return done.addCallback(self._close)

    def _close(self, result: object) -> None:
        for method in self._methods:
            method.close()

    async def _live(self) -> None:
        pause = AGAIN
        while True:
            using = await self._choose()
            if using is not None:
                await self._hold(using)
                self.method = ""
                self._using = None
                pause = AGAIN_SOON
            await self._pause(pause * (1 + _JITTER * self._random()))
            pause = min(pause * 2, AGAIN)

    async def _choose(self) -> Method | None:
        """Try all protocols at once; gives one by which something was mapped."""
        choice = Choice(len(self._methods))
        asked = [
            method.discover().addCallbacks(
                self._found,
                self._missing,
                callbackArgs=(choice, index),
                errbackArgs=(choice, index),
            )
            for index, method in enumerate(self._methods)
        ]
        try:
            while not choice.over:
                now = self._clock.seconds()
                best = choice.best(now)
                if best is None:
                    until = choice.deadline()
                    await self._pause(None if until is None else until - now)
                    continue
                method = self._methods[best]
                self._using, self.method = method, method.name
                before, self.why = self.why, None
                error = await self._ask(method, self._holding)
                if self._holding.leases:
                    if error is not None:
                        self.why = error
                        self._on_change()
                    self._holding.checked(self._clock.seconds())
                    return method
                self._using, self.method, self.why = None, "", before
                self._holding.lose()
                choice.failed(best, error or PortMapError(Reason.NO_ANSWER, "nothing is wanted"))
        finally:
            for each in asked:
                each.cancel()
        why = choice.why
        if why is None or why.reason == Reason.NO_ANSWER:
            names = ", ".join(method.name for method in self._methods)
            why = PortMapError(Reason.NO_ANSWER, f"it answers to none of {names}")
        if self.why is None or str(why) != str(self.why):
            self.why = why
            self._on_change()
        return None

    async def _ask(self, method: Method, holding: Holding) -> PortMapError | None:
        """Ask for all that is due; gives the last error."""
        error: PortMapError | None = None
        dropped = holding.want(self._wanted, self._clock.seconds())
        for lease in dropped:
            method.unmap(lease).addErrback(_not_there)
        changed = bool(dropped)
        for wanted in holding.due(self._clock.seconds()):
            known = holding.leases.get(wanted)
            self._asking = wanted
            try:
                lease = await method.map(wanted, known.external[1] if known else wanted.port)
            except PortMapError as problem:
                error = problem
                changed |= holding.refused(wanted, self._clock.seconds())
                self.log.debug(
                    "{router} does not map {transport} port {port}: {why}",
                    router=self.gateway.router,
                    transport=wanted.transport,
                    port=wanted.port,
                    why=problem,
                )
            else:
                changed |= holding.took(lease, self._clock.seconds())
            self._asking = None
        if changed:
            self._on_change()
        return error

    async def _hold(self, method: Method) -> None:
        """Keep what was mapped, until nothing is left of it."""
        holding = self._holding
        while holding.leases and not holding.given_up:
            # Somebody may have called while it asked.
            at_once = self._poked or self._changed
            await self._pause(0 if at_once else holding.deadline() - self._clock.seconds())
            self._changed = False
            if self._poked or holding.check_due(self._clock.seconds()):
                self._poked = False
                await self._look(method)
            await self._ask(method, holding)
        if holding.lose():
            self._on_change()

    async def _look(self, method: Method) -> None:
        holding = self._holding
        try:
            holds = await method.holds(self.leases)
        except PortMapError as error:
            self.log.debug("{router} is silent: {why}", router=self.gateway.router, why=error)
            holding.missed(self._clock.seconds())
            if holding.given_up:
                self.why = error
            return
        if not holds:
            self.log.info(
                "the router {router} has forgotten its mappings: it is asked again",
                router=self.gateway.router,
            )
            holding.forgotten(self._clock.seconds())
        holding.checked(self._clock.seconds())

    def _found(self, _: None, choice: Choice, index: int) -> None:
        choice.found(index, self._clock.seconds())
        self._wake()

    def _missing(self, failure: Failure, choice: Choice, index: int) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, PortMapError):
            self.log.failure("asking a router has failed", failure)
            error = PortMapError(Reason.MALFORMED, "asking it has failed")
        choice.failed(index, error)
        self._wake()

    def _pause(self, seconds: float | None) -> Deferred[None]:
        """Wait so long, or until woken; ``None`` for as long as it takes."""
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        if seconds is not None:
            timer = self._clock.callLater(max(seconds, 0.0), self._wake)

            def over(result: Any) -> Any:
                if timer.active():
                    timer.cancel()
                return result

            waiting.addBoth(over)
        return waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("keeping ports mapped has stopped", failure)


def _not_there(failure: Failure) -> None:
    """What could not be given back ends by itself."""
    failure.trap(PortMapError)
