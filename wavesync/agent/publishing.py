"""``bind`` over the leg: a registered server tells its mediator where it accepts, and signs it."""

import os
from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import Bind, Prover
from wavesync.signalling.refusals import nonce_asked
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["Listed", "Publishing"]

Listed = tuple[tuple[Address, ...], tuple[Address, ...]]
"""Where this server accepts: TCP addresses, and own addresses of its UDP port."""


class Publishing:
    """Tells the addresses of one registration.

    :param mediator: whom, for the log.
    :param leg: the connection that the registration stands on.
    :param prover: signs, over a nonce when there is one.
    :param addresses: gives the addresses as they are now.
    """

    log = Logger()

    def __init__(
        self,
        mediator: Mediator,
        leg: Leg,
        prover: Callable[[bytes], Prover],
        addresses: Callable[[], Listed],
    ) -> None:
        self._mediator = mediator
        self._leg = leg
        self._prover = prover
        self._addresses = addresses
        self._published: Listed | None = None
        self._sequence = 0
        self._over = False

    def refresh(self) -> None:
        """Tell the addresses if they are not what was told last."""
        if self._addresses() != self._published:
            self._bind()

    def end(self) -> None:
        """The registration is over: tell nothing more."""
        self._over = True

    def _bind(self, nonce: bytes = b"") -> None:
        self._published = self._addresses()
        self._sequence += 1
        tcp, udp = self._published
        bind = Bind(self._sequence, tcp, udp)
        asked = self._leg.ask(bind.encode(os.urandom(12), self._prover(nonce)))
        asked.addCallbacks(self._bound, _unanswered, callbackArgs=(nonce,))

    def _bound(self, answer: Answer, nonce: bytes) -> None:
        if answer.message.message_class is not MessageClass.ERROR or self._over:
            return
        fresh = nonce_asked(answer.message)
        if fresh and not nonce:
            self._bind(fresh)  # the two clocks disagree
            return
        self._published = None  # the next refresh tries again
        self.log.warn("the mediator {mediator} refuses the addresses", mediator=self._mediator)


def _unanswered(failure: Failure) -> None:
    # The leg notices by itself when its mediator is gone.
    failure.trap(NoAnswer)
