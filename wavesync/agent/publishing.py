"""``bind`` over the leg: a registered server tells its mediator where it accepts, and signs it."""

import os
from collections.abc import Callable
from typing import TypeAlias

from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.takers import RelayTaker
from wavesync.interfaces import Address
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import Bind, Prover
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.signalling.refusals import nonce_asked
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["Listed", "Publishing", "fitting_bind"]

Listed = tuple[tuple[Address, ...], tuple[Address, ...]]
"""Where this server accepts: TCP addresses, and own addresses of its UDP port."""

_Told: TypeAlias = tuple[Listed, tuple[ParkedAt, ...], NetworkSummary | None]


class Publishing:
    """Tells the addresses of one registration.

    :param mediator: whom, for the log.
    :param leg: the connection that the registration stands on.
    :param prover: signs, over a nonce when there is one.
    :param addresses: gives the addresses as they are now.
    :param relays: knows where this server has parked; nowhere when None.
    :param network: gives what is known of this server's network.
    """

    log = Logger()

    def __init__(
        self,
        mediator: Mediator,
        leg: Leg,
        prover: Callable[[bytes], Prover],
        addresses: Callable[[], Listed],
        relays: RelayTaker | None = None,
        network: Callable[[], NetworkSummary | None] = lambda: None,
    ) -> None:
        self._network = network
        self._mediator = mediator
        self._leg = leg
        self._prover = prover
        self._addresses = addresses
        self._relays = relays
        self._published: _Told | None = None
        self._sequence = 0
        self._over = self._refused = False

    def refresh(self) -> None:
        """Tell the addresses, and the relays, if they are not what was told last."""
        if self._now() != self._published:
            self._bind()

    def end(self) -> None:
        """The registration is over: tell nothing more."""
        self._over = True

    def _now(self) -> _Told:
        parked = () if self._relays is None else self._relays.parked
        return self._addresses(), parked, self._network()

    def _bind(self, nonce: bytes = b"") -> None:
        (tcp, udp), relays, network = self._published = self._now()
        self._sequence += 1
        request = fitting_bind(self._sequence, tcp, udp, relays, self._prover(nonce), network)
        asked = self._leg.ask(request)
        asked.addCallbacks(self._bound, _unanswered, callbackArgs=(nonce,))

    def _bound(self, answer: Answer, nonce: bytes) -> None:
        if self._over:
            return
        if answer.message.message_class is not MessageClass.ERROR:
            self._refused = False
            return
        fresh = nonce_asked(answer.message)
        if fresh and not nonce:
            self._bind(fresh)  # the two clocks disagree
            return
        self._published = None  # the next refresh tries again
        if not self._refused:
            self._refused = True
            self.log.warn("the mediator {mediator} refuses the addresses", mediator=self._mediator)


def fitting_bind(
    sequence: int,
    tcp: tuple[Address, ...],
    udp: tuple[Address, ...],
    relays: tuple[ParkedAt, ...],
    prover: Prover,
    network: NetworkSummary | None = None,
) -> bytes:
    """Return the bytes of a ``bind``; where all does not fit, the last addresses are left out."""
    while True:
        try:
            return Bind(sequence, tcp, udp, relays, network).encode(os.urandom(12), prover)
        except ValueError:
            if not tcp and not udp:
                raise
        if len(tcp) > len(udp):
            tcp = tcp[:-1]
        else:
            udp = udp[:-1]


def _unanswered(failure: Failure) -> None:
    # The leg notices by itself when its mediator is gone.
    failure.trap(NoAnswer)
