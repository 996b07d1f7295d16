"""Keeps this agent and one mediator at the same revocation list, whichever of them has the newer."""

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed
from wavesync.identity.revocations import Revocations
from wavesync.identity.verify import VerificationError
from wavesync.signalling.crl_transfer import fetch_crl, push_crl
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import CrlNews, SignallingError
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message

__all__ = ["CrlExchange"]


class CrlExchange:
    """Pushes and fetches over the leg of one registration, one list at a time.

    The mediator is not believed: what it gives is taken if the system signed it and it is newer.

    :param mediator: whom, for the log.
    :param leg: the connection that the registration stands on.
    :param revocations: what this agent knows.
    :param held: number of the list that the mediator says it holds.
    """

    log = Logger()

    def __init__(
        self, mediator: Mediator, leg: Leg, revocations: Revocations, held: int = 0
    ) -> None:
        self._mediator = mediator
        self._leg = leg
        self._revocations = revocations
        self._held = held
        self._busy = False
        self._over = False

    def sync(self) -> None:
        """Push or fetch, if one of the two has a newer list; call it when ours has changed."""
        if self._over or self._busy or self._held == self._revocations.number:
            return
        self._busy = True
        pushes = self._held < self._revocations.number
        running = Deferred.fromCoroutine(self._push() if pushes else self._fetch())
        running.addErrback(self._failed).addBoth(self._done)

    def told(self, message: Message) -> None:
        """The mediator says that it holds another list now."""
        try:
            self._held = CrlNews.decode(message).number
        except SignallingError:
            return
        self.sync()

    def end(self) -> None:
        """The registration is over."""
        self._over = True

    async def _push(self) -> None:
        before, number = self._held, self._revocations.number
        held = await push_crl(self._leg.ask, number, self._revocations.der)
        if self._held == before:
            # Whatever it does with it, the same list is not pushed twice.
            self._held = max(held, number)

    async def _fetch(self) -> None:
        before = self._held
        der = await fetch_crl(self._leg.ask)
        if self._over:
            return
        self._revocations.offer(der)
        if self._held == before:
            self._held = self._revocations.number

    def _failed(self, failure: Failure) -> None:
        self._held = self._revocations.number  # until something changes
        if self._over:
            return
        if failure.check(ConnectFailed, VerificationError):
            self.log.warn(
                "no revocation list to or from {mediator}: {why}",
                mediator=self._mediator,
                why=failure.getErrorMessage(),
            )
        else:
            self.log.failure("passing on a revocation list failed", failure)

    def _done(self, _: object) -> None:
        self._busy = False
        self.sync()
