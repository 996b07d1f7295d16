"""Going over to a better way to the mediator: the old leg stays until the server is registered anew."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.signalling.leg import Leg
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.way import Way

__all__ = ["ChangeOver"]


class ChangeOver:
    """From one leg to another, one at a time.

    :param make_leg: makes a leg, given what to call when it is connected and when it is lost.
    :param on_better: called with the other leg, connected; it is the callee's from then on.
    :ivar old: the leg that is left once another one is registered; None while there is no such.
    """

    log = Logger()

    def __init__(
        self,
        make_leg: Callable[[Callable[[Leg], None], Callable[[Leg, str], None]], Leg],
        on_better: Callable[[Leg], None],
    ) -> None:
        self.old: Leg | None = None
        self._make_leg = make_leg
        self._on_better = on_better
        self._connecting: Deferred[IProtocol] | None = None
        self._changing = False

    def begin(self, endpoint: AnyWayEndpoint, way: Way) -> None:
        """Make a leg by a better way."""
        if self._connecting is not None or self.old is not None:
            return
        factory = Factory.forProtocol(lambda: self._make_leg(self._connected, _lost))
        factory.noisy = False
        connecting = self._connecting = endpoint.connect(factory, usable=lambda each: each == way)
        connecting.addErrback(self._unreachable)

    def keeps(self, leg: Leg) -> bool:
        """Tell whether a leg that is given up is kept for a while, since it works."""
        if self._changing:
            self.old = leg
        return self._changing

    def end(self) -> None:
        """The server is registered over the other leg, or not any more at all."""
        connecting, self._connecting = self._connecting, None
        old, self.old = self.old, None
        if connecting is not None:
            connecting.cancel()
        if old is not None:
            old.abandon()

    def _connected(self, leg: Leg) -> None:
        self._connecting = None
        self._changing = True
        try:
            self._on_better(leg)
        finally:
            self._changing = False

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError):
            self.log.debug("no better way after all: {why}", why=failure.getErrorMessage())


def _lost(leg: Leg, why: str) -> None:
    """A leg that was not used yet is gone: the one in use stays."""
