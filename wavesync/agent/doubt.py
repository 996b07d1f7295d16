"""Whether the leg of a registration is still good, and another connection when it is not.

A router that has restarted, or has another address outside, has forgotten the leg.  That shows in the
UDP mapping, which is another one or answers no more, and in TCP probes that nobody acknowledges,
seconds before TCP itself gives the leg up.  None of it is proof: so the mediator is asked over the
leg, and dialled beside it.  The leg stays for as long as nothing better stands.
"""

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import keep_alive_request

__all__ = ["DIAL_AFTER", "LOOK_INTERVAL", "PATIENCE", "REDIAL_AFTER", "SHORT_PATIENCE", "Doubt"]

LOOK_INTERVAL = 0.5
"""Seconds between looks at what the kernel knows of the leg."""

UNANSWERED = 2
"""Probes or data sent again that were not acknowledged, from which on the leg is doubted."""

DIAL_AFTER = 0.3
"""Seconds that the leg has to answer before another connection is made: most do."""

PATIENCE = 1.0
"""Seconds that the leg has to answer before another connection that stands takes its place."""

SHORT_PATIENCE = 0.5
"""The same where the kernel has waited already."""

REDIAL_AFTER = 1.0
"""Seconds from a connection that could not be made to the next attempt."""


class Doubt:
    """Watches one leg of a registration that stands.

    :param clock: gives timers.
    :param endpoint: leads to the same mediator.
    :param leg: the leg.
    :param make_leg: makes another one, given what to call when it is connected and when it is lost.
    :param on_better: called once with another leg, connected, when *leg* does not answer.  It is
        the callee's from then on, and nothing is watched any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        leg: Leg,
        make_leg: Callable[[Callable[[Leg], None], Callable[[Leg, str], None]], Leg],
        on_better: Callable[[Leg], None],
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._leg = leg
        self._make_leg = make_leg
        self._on_better = on_better
        self._over = self._doubted = self._late = False
        self._connecting: Deferred[IProtocol] | None = None
        self._spare: Leg | None = None
        self._timers: list[IDelayedCall] = []
        self._looking = clock.callLater(LOOK_INTERVAL, self._look)

    def begin(self, patience: float = PATIENCE) -> None:
        """Something makes the leg doubtful: find out.

        :param patience: seconds that it has to answer.
        """
        if self._over or self._doubted:
            return
        self._doubted, self._late = True, False
        self._timers = [
            self._clock.callLater(DIAL_AFTER, self._dial),
            self._clock.callLater(patience, self._wait_no_more),
        ]
        asked = self._leg.ask(keep_alive_request(os.urandom(12)))
        # No answer: either the leg is given up, and this with it, or it is doubted anew.
        asked.addBoth(lambda _: self._settle())

    def end(self) -> None:
        """The registration is over."""
        self._over = True
        if self._looking.active():
            self._looking.cancel()
        self._settle()

    def _look(self) -> None:
        """See whether the kernel waits for the mediator."""
        self._looking = self._clock.callLater(LOOK_INTERVAL, self._look)
        if self._leg.unanswered >= UNANSWERED:
            self.begin(SHORT_PATIENCE)

    def _settle(self) -> None:
        """Nothing is doubted any more: close what was opened for it."""
        self._doubted = False
        timers, self._timers = self._timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.abandon()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def _dial(self) -> None:
        factory = Factory.forProtocol(lambda: self._make_leg(self._connected, self._lost))
        factory.noisy = False
        connecting = self._connecting = self._endpoint.connect(factory)
        connecting.addErrback(self._unreachable, connecting)

    def _connected(self, spare: Leg) -> None:
        self._connecting = None
        if not self._doubted:
            spare.abandon()
            return
        self._spare = spare
        if self._late:
            self._change()

    def _unreachable(self, failure: Failure, connecting: Deferred[IProtocol]) -> None:
        if self._connecting is connecting:
            self._connecting = None
            self._dial_again()

    def _lost(self, spare: Leg, why: str) -> None:
        if spare is self._spare:
            self._spare = None
            self._dial_again()

    def _dial_again(self) -> None:
        # The dial's own timer is over when it is made again: the list does not grow.
        self._timers = [each for each in self._timers if each.active()]
        self._timers.append(self._clock.callLater(REDIAL_AFTER, self._dial))

    def _wait_no_more(self) -> None:
        self._late = True
        if self._spare is not None:
            self._change()

    def _change(self) -> None:
        spare, self._spare = self._spare, None
        assert spare is not None
        self.end()
        self._on_better(spare)
