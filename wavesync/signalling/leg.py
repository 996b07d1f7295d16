"""A connection to a mediator: STUN messages over one byte stream, kept alive both ways."""

import os
from collections.abc import Callable
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker
from wavesync.signalling.liveness import (
    LEG_PROBE_AFTER,
    LEG_PROBE_INTERVAL,
    notice_death,
    unanswered,
)
from wavesync.signalling.messages import keep_alive_request
from wavesync.signalling.numbers import MAX_STREAM_MESSAGE
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message, MessageClass, StunError
from wavesync.stun.transactions import Answer, Transactions
from wavesync.tunnel.watch import blame, way_of
from wavesync.tunnel.way import RAW, Route

__all__ = ["ANSWER_TIMEOUT", "MAX_UNANSWERED", "PATIENCE", "Leg"]

ANSWER_TIMEOUT = 10.0
"""Seconds a mediator has to answer a request on the leg."""

PATIENCE = 5.0
"""Seconds a mediator has to answer a keep-alive with whatever message."""

MAX_UNANSWERED = 2
"""Keep-alives without an answer, one :data:`PATIENCE` apart, after which the leg is given up."""

_TCP = IPv4Address | IPv6Address

_THERE: Address = ("mediator", 0)
"""What stands for the other end in the transactions of one stream."""


@implementer(IPushProducer)
class Leg(Protocol):
    """One connection to a mediator.

    While the mediator does not take what is written, nothing is read from it: it cannot have answers
    pile up here.

    :param clock: gives the time and timers.
    :param on_connected: called once when it stands.
    :param on_indication: called with each indication but keep-alives.
    :param on_lost: called once with a sentence when it is over, unless it was
        :meth:`abandon`-ed before.
    :ivar closed_by_mediator: it is over because the mediator closed it, in good order.
    """

    def __init__(
        self,
        clock: IReactorTime,
        on_connected: Callable[["Leg"], None],
        on_indication: Callable[[Message], None],
        on_lost: Callable[["Leg", str], None],
    ) -> None:
        self._clock = clock
        self._on_connected = on_connected
        self._on_indication = on_indication
        self._on_lost: Callable[[Leg, str], None] | None = on_lost
        self._decoder = StreamDecoder(MAX_STREAM_MESSAGE)
        self._asker = Asker(clock, self._send, Transactions(ti=ANSWER_TIMEOUT))
        self.closed_by_mediator = False
        self._keep_alive = 0.0
        self._heard = False
        self._unanswered = 0
        self._timer: IDelayedCall | None = None
        self._left: Deferred[None] | None = None

    @property
    def ends(self) -> tuple[Address, Address] | None:
        """Our own address and the mediator's; ``None`` while it is no TCP connection that stands, or
        one to a proxy or with a tunnel in it."""
        way = way_of(self.transport)
        indirect = way is not None and (way.method != RAW or way.route is not Route.DIRECT)
        if self.transport is None or indirect:
            return None
        own, mediator = self.transport.getHost(), self.transport.getPeer()
        if not isinstance(own, _TCP) or not isinstance(mediator, _TCP):
            return None
        return (own.host, own.port), (mediator.host, mediator.port)

    @property
    def mediator_host(self) -> str | None:
        """The mediator's numeric address; ``None`` where only a proxy knows it."""
        way = way_of(self.transport)
        if self.transport is None or (way is not None and way.route is not Route.DIRECT):
            return None
        return getattr(self.transport.getPeer(), "host", None)

    @property
    def unanswered(self) -> int:
        """How much TCP waits for the mediator (:func:`wavesync.signalling.liveness.unanswered`)."""
        return unanswered(self.transport)

    def ask(self, request: bytes) -> Deferred[Answer]:
        """Send a request; fires with its answer, fails when none came in :data:`ANSWER_TIMEOUT`."""
        return self._asker.ask(request, _THERE, stream=True)

    def keep_alive(self, interval: float) -> None:
        """From now on, send a keep-alive every *interval* seconds, and expect an answer."""
        self._keep_alive = interval
        if self._timer is None:
            self._tick()

    def abandon(self) -> None:
        """Close it without a call to ``on_lost``."""
        self._on_lost = None
        self._stop("the connection was given up")
        self._abort()

    def leave(self, last_words: bytes) -> Deferred[None]:
        """Say a last thing, and close once it has left, without a call to ``on_lost``.

        :returns: fires when it is closed.
        """
        self._on_lost = None
        self._stop("the connection was given up")
        if self.transport is None or not self.connected:
            return succeed(None)
        self._left = Deferred()
        self.transport.write(last_words)
        cast(IConsumer, self.transport).unregisterProducer()
        self.transport.loseConnection()
        return self._left

    def connectionMade(self) -> None:
        """Tell the owner."""
        cast(IConsumer, self.transport).registerProducer(self, True)
        notice_death(self.transport, after=LEG_PROBE_AFTER, interval=LEG_PROBE_INTERVAL)
        self._on_connected(self)

    def pauseProducing(self) -> None:
        """The mediator takes nothing now (IPushProducer)."""
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """The mediator has taken what was written (IPushProducer)."""
        cast(IPushProducer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone; :meth:`connectionLost` follows (IPushProducer)."""

    def dataReceived(self, data: bytes) -> None:
        """Sort answers from indications; garbage ends the connection."""
        self._heard = True
        try:
            messages = self._decoder.feed(data)
        except StunError:
            blame(self.transport, "something answered that is no mediator")
            self._lose("the mediator sent something that is not STUN")
            return
        for message in messages:
            if self._asker.receive(message, _THERE):
                continue
            if message.message_class is MessageClass.INDICATION and self._on_lost is not None:
                self._on_indication(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner why."""
        self.closed_by_mediator = reason.check(ConnectionDone) is not None
        self._lose(f"the connection to the mediator ended: {reason.getErrorMessage()}")
        left, self._left = self._left, None
        if left is not None:
            left.callback(None)

    def _send(self, data: bytes, _: Address) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def _tick(self) -> None:
        """Send a keep-alive.  Any message is a life sign, so nobody waits for this one's answer."""
        self._heard = False
        self._send(keep_alive_request(os.urandom(12)), _THERE)
        self._timer = self._clock.callLater(min(PATIENCE, self._keep_alive), self._look)

    def _look(self) -> None:
        """See whether anything has come since the keep-alive.

        Times are not compared: a host that was asleep has to hear silence twice, too.
        """
        if self._heard:
            self._unanswered = 0
            left = max(0.0, self._keep_alive - PATIENCE)
            self._timer = self._clock.callLater(left, self._tick)
            return
        self._unanswered += 1
        if self._unanswered < MAX_UNANSWERED:
            self._tick()
        else:
            self._timer = None
            self._lose("the mediator does not answer any more")

    def _stop(self, why: str) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._asker.stop(why)

    def _lose(self, why: str) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            self._abort()
            # Before whoever waits for an answer: it should hear why none comes.
            on_lost(self, why)
        self._stop(why)

    def _abort(self) -> None:
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()
