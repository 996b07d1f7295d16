"""Connections to several relays at once; the nearest is used first."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.client.relay_choice import RelayChoice, RelayOption
from wavesync.client.relay_leg import RelayLeg
from wavesync.errors import ConnectFailed
from wavesync.signalling.relay_urls import Relay
from wavesync.tunnel.endpoint import AnyWayEndpoint

__all__ = ["RelayDials"]


class RelayDials:
    """Dials relays, and gives the legs in the order in which they are to be asked.

    :param dial: makes the endpoint of a relay.
    :ivar failures: a few words on each relay that could not be reached.
    """

    def __init__(self, clock: IReactorTime, dial: Callable[[Relay], IStreamClientEndpoint]) -> None:
        self.failures: list[str] = []
        self._clock = clock
        self._dial = dial
        self._choice: RelayChoice[RelayLeg] = RelayChoice()
        self._dialling: dict[RelayOption, Deferred[IProtocol]] = {}
        self._wanted: Deferred[tuple[RelayOption, RelayLeg]] | None = None
        self._timer: IDelayedCall | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether there is another one to ask at once."""
        return self._choice.ready

    def add(self, option: RelayOption) -> None:
        """Dial one more relay."""
        self._choice.begin(option, self._clock.seconds())
        factory = Factory.forProtocol(RelayLeg)
        factory.noisy = False
        endpoint = self._dial(option.relay)
        if isinstance(endpoint, AnyWayEndpoint):
            dialling = endpoint.connect(factory, usable=lambda way: way not in option.useless)
        else:
            dialling = endpoint.connect(factory)
        self._dialling[option] = dialling
        dialling.addCallbacks(
            self._reached, self._failed, callbackArgs=(option,), errbackArgs=(option,)
        )

    def in_vain(self, option: RelayOption, why: str) -> None:
        """A relay was asked in vain.

        :param why: a few words.
        """
        self.failures.append(why)
        self._choice.in_vain(option)

    def next(self) -> Deferred[tuple[RelayOption, RelayLeg]]:
        """Give the next relay to ask.

        :returns: fails with :class:`~wavesync.errors.ConnectFailed` when there is none left.
        """
        if self._choice.empty:
            return fail(ConnectFailed(self._sentence()))
        wanted = self._wanted = Deferred(self._not_wanted)
        self._settle()
        return wanted

    def close(self) -> None:
        """Leave all that was not given away."""
        self._closed = True
        self._wanted = None
        self._stop_timer()
        dialling, self._dialling = self._dialling, {}
        for each in dialling.values():
            each.cancel()
        for leg in self._choice.drain():
            leg.abort()

    def _not_wanted(self, _: object) -> None:
        self._wanted = None

    def _reached(self, leg: IProtocol, option: RelayOption) -> None:
        assert isinstance(leg, RelayLeg)
        self._dialling.pop(option, None)
        if self._closed:
            leg.abort()
            return
        self._choice.reached(option, leg, self._clock.seconds())
        leg.lost.addCallback(lambda _: self._gone(option))
        self._settle()

    def _failed(self, failure: Failure, option: RelayOption) -> None:
        self._dialling.pop(option, None)
        if self._closed or failure.check(CancelledError):
            return
        why = "no answer came" if failure.check(TimeoutError) else failure.getErrorMessage()
        self.failures.append(f"{option.relay} cannot be reached: {why.rstrip('.')}")
        self._choice.failed(option)
        self._settle()

    def _gone(self, option: RelayOption) -> None:
        """A leg was lost that may not have been picked yet."""
        self._choice.failed(option)
        self._settle()

    def _settle(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        due = self._choice.due()
        if due is None:
            if self._choice.empty:
                self._wanted = None
                wanted.errback(ConnectFailed(self._sentence()))
            return
        left = due - self._clock.seconds()
        self._stop_timer()
        if left > 0:
            self._timer = self._clock.callLater(left, self._settle)
            return
        self._wanted = None
        wanted.callback(self._choice.take())

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _sentence(self) -> str:
        return "; ".join(dict.fromkeys(self.failures)) or "no relay is known"
