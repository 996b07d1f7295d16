"""The UDP mapping between the agent's punching port and a mediator: kept open, and looked at."""

import os
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker, NoAnswer
from wavesync.signalling.messages import ConnectionAck, SignallingError, WarmedUp, WarmUp
from wavesync.stun.message import Message, check_integrity
from wavesync.stun.pace import LONGEST_PAUSE, Pace
from wavesync.stun.transactions import Answer

__all__ = ["LATE", "WarmMapping"]

LATE = 1.5
"""Seconds without an answer, after earlier ones, from which on something must have happened to the
network: the request has been sent three times by then."""


class WarmMapping:
    """Speaks with one mediator over UDP for the registration that stands, in every family it has.

    :param clock: gives the time and timers.
    :param send: sends a datagram from the port that punches.
    :param pace: seconds between packets through the mapping.
    :param on_doubt: called when the port is seen at another place than before, or when answers stay
        away: the same may have happened to the registration's leg.
    :ivar mapped: this server's UDP port as the mediator last saw it, in whatever family.
    :ivar on_moved: called when a new registration finds the same port at another place than the one
        before it: a router has forgotten all connections.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[bytes, Address], None],
        pace: Pace,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self.mapped: Address | None = None
        self.on_moved: Callable[[], None] = lambda: None
        self._clock = clock
        self._pace = pace
        self._on_doubt = on_doubt
        self._asker = Asker(clock, send)
        self._timer: IDelayedCall | None = None
        self._late: IDelayedCall | None = None
        self._mediators: list[Address] = []
        self._left: list[Address] = []
        self._asking = False
        self._round = 0
        self._began, self._answered = 0.0, True
        self._seen: dict[bool, Address] = {}
        self._shown: set[bool] = set()  # families answered for this registration and this port
        self._registration_id = 0
        self._key = b""
        self._sequence = 0

    @property
    def mediator(self) -> Address | None:
        """The address of the mediator to which a mapping is kept open; None without any."""
        return self._mediators[0] if self._mediators else None

    @property
    def seen(self) -> tuple[Address, ...]:
        """This server's UDP port as the mediator last saw it, in each family in which it did."""
        return tuple(self._seen.values())

    def begin(self, mediator: Address, registration_id: int, key: bytes) -> None:
        """Keep the mapping to *mediator* open for that registration, starting now.

        :param key: the registration's HMAC key.
        """
        self.end()
        self._mediators, self._registration_id, self._key = [mediator], registration_id, key
        self._sequence = 0
        self._answered = True
        self._shown.clear()
        self._warm()

    def also(self, mediator: Address) -> None:
        """Keep a mapping to a further address of the mediator open, too: of the other family."""
        if self._mediators and mediator not in self._mediators:
            self._mediators.append(mediator)
            self._left.append(mediator)
            self._next()

    def renew(self) -> None:
        """The port that punches is another one: show it to the mediator at once."""
        self._seen.clear()
        if self._mediators:
            self._cancel()
            self._answered = True
            self._shown.clear()
            self._warm()

    def end(self) -> None:
        """Stop; what was asked is forgotten."""
        self._mediators, self._left = [], []
        self._cancel()
        self._asker.stop("the registration is over")

    def acknowledge(self, connection_id: str) -> None:
        """Tell the mediator, from the punching port, that punching has begun."""
        for mediator in self._mediators:
            ack = ConnectionAck(connection_id, self._registration_id)
            data = ack.encode(os.urandom(12), self._key)
            self._ask(data, mediator).addErrback(_unanswered)

    def received(self, message: Message, source: Address) -> bool:
        """Take an answer that came to the punching port; tells whether it was for this mapping."""
        return self._asker.receive(message, source)

    def _warm(self) -> None:
        now = self._clock.seconds()
        self._timer = self._clock.callLater(self._pace.interval, self._warm)
        if not self._answered and now < self._began + LONGEST_PAUSE:
            return  # what was sent is sent again, until it is answered
        self._began, self._answered = now, False
        if self._shown:
            self._late = self._clock.callLater(LATE, self._look)
        self._round += 1
        # Whoever was not asked in the last round, because another did not answer, is first now.
        self._left += [each for each in self._mediators if each not in self._left]
        self._asking = False  # whatever the last round still waits for
        self._next()

    def _look(self) -> None:
        if not self._answered:
            self._on_doubt()

    def _cancel(self) -> None:
        for timer in (self._timer, self._late):
            if timer is not None and timer.active():
                timer.cancel()

    def _next(self) -> None:
        """Ask one address after the other: the mediator takes rising numbers only."""
        if self._asking or not self._left:
            return
        self._asking = True
        self._sequence += 1
        warm_up = WarmUp(self._registration_id, self._sequence)
        asked = self._ask(warm_up.encode(os.urandom(12), self._key), self._left.pop(0))
        asked.addCallbacks(self._warmed, _unanswered).addCallback(self._asked, self._round)

    def _asked(self, _: None, asked_in: int) -> None:
        if asked_in == self._round:
            self._asking = False
            self._next()

    def _warmed(self, answer: Answer) -> None:
        self._answered = True
        try:
            mapped = WarmedUp.decode(answer.message).mapped
        except SignallingError:
            return
        family = ":" in mapped[0]
        moved = mapped != self._seen.get(family)
        doubtful = moved and family in self._shown
        elsewhere = moved and family in self._seen and not doubtful
        self._shown.add(family)
        if moved:
            self.mapped = self._seen[family] = mapped
            self.log.info(
                "the mediator sees this server's UDP port as {host} port {port}",
                host=mapped[0],
                port=mapped[1],
            )
        if doubtful:
            self._on_doubt()
        if elsewhere:
            self.on_moved()

    def _ask(self, request: bytes, mediator: Address) -> Deferred[Answer]:
        key = self._key
        return self._asker.ask(
            request, mediator, accept=lambda message: check_integrity(message, key)
        )


def _unanswered(failure: Failure) -> None:
    # The next one comes by itself; a blocked UDP port is no reason to give up the registration.
    failure.trap(NoAnswer, CancelledError)
