"""The mediator's TCP connections."""

from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.agenda import Agenda, Entry
from wavesync.alarm import Alarm
from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.mediator.leg import Leg
from wavesync.signalling.addresses import canonical
from wavesync.signalling.liveness import notice_death
from wavesync.signalling.numbers import MAX_STREAM_MESSAGE
from wavesync.stun.buckets import source_key
from wavesync.stun.framing import StreamDecoder, StreamError

__all__ = ["CLOSE_LIFE", "LegFactory", "LegProtocol"]

CLOSE_LIFE = 5.0
"""Seconds that a peer has to take the last bytes of a leg that is being closed."""


class _Transport(ITCPTransport, IConsumer, IPushProducer):
    """What Twisted's TCP connections are."""


@implementer(IPushProducer)
class LegProtocol(Protocol):
    """One connection: a :class:`~.leg.Leg` and its socket.

    While the peer does not take what is written, nothing is read from it and nothing more is
    written: it is then silent by its own fault, and closed for that.

    :param factory: what all connections share.
    :param source: where it comes from.
    :param tunnelled: it comes through a tunnel over HTTP.
    :ivar planned: when it will be looked at next (:class:`~wavesync.agenda.Planned`).
    """

    def __init__(self, factory: "LegFactory", source: Address, *, tunnelled: bool = False) -> None:
        self._factory = factory
        self._source = source
        self._tunnelled = tunnelled
        self._decoder = StreamDecoder(MAX_STREAM_MESSAGE)
        self._leg: Leg | None = None
        self.planned: Entry[LegProtocol] | None = None
        self._clogged = False
        self._closing_until: float | None = None

    @property
    def _tcp(self) -> "_Transport":
        assert self.transport is not None
        return cast(_Transport, self.transport)

    def connectionMade(self) -> None:
        """Count the connection in, or close it where there are too many."""
        if not self._factory.admit(self, self._source[0]):
            self._tcp.abortConnection()
            return
        self._tcp.setTcpNoDelay(True)
        notice_death(self._tcp)
        self._tcp.registerProducer(self, True)
        now = self._factory.clock.seconds()
        self._leg = Leg(self._factory.mediator, self, self._source, now, tunnelled=self._tunnelled)
        self._turn()

    def dataReceived(self, data: bytes) -> None:
        """Take the messages that *data* completes; garbage ends the connection."""
        if self._leg is None or self._closing_until is not None:
            return
        garbage = ""
        try:
            messages = self._decoder.feed(data)
        except StreamError as error:
            messages, garbage = error.messages, str(error)
        now = self._factory.clock.seconds()
        for message in messages:
            self._leg.receive(message, now)
            if self._closing_until is not None:
                break
        if garbage:
            self._factory.mediator.drop(self._source[0], garbage, now)
            self._tcp.abortConnection()
        self._turn()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count the connection out."""
        self._factory.forget(self, self._source[0])
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.lost()

    def leave(self) -> None:
        """The mediator is shutting down."""
        if self._leg is not None:
            self._leg.leave()
            self._turn()

    # The leg's channel.

    def send(self, data: bytes) -> None:
        """Write, unless the peer takes nothing."""
        if self._leg is not None and not self._clogged and self._closing_until is None:
            self._tcp.write(data)

    def close(self) -> None:
        """Close once everything written has left, or :data:`CLOSE_LIFE` is over."""
        if self._leg is not None and self._closing_until is None:
            self._closing_until = self._factory.clock.seconds() + CLOSE_LIFE
            self._tcp.unregisterProducer()
            self._tcp.loseConnection()
            self._turn()

    def abort(self) -> None:
        """Close at once."""
        if self._leg is not None:
            self._tcp.abortConnection()

    # IPushProducer: called as the peer takes what is written, or does not.

    def pauseProducing(self) -> None:
        """The peer does not keep up."""
        self._clogged = True
        self._tcp.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer has caught up."""
        self._clogged = False
        self._tcp.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone; :meth:`connectionLost` follows."""

    # Time, of which the factory tells.

    def _turn(self) -> None:
        """Have the factory tell when it is time for what the leg wants next."""
        if self._leg is not None:
            at = self._leg.deadline() if self._closing_until is None else self._closing_until
            self._factory.plan(self, at)

    def look(self, now: float) -> None:
        """It may be time for something."""
        if self._leg is None:
            return
        if self._closing_until is None:
            self._leg.timer(now)
        elif now >= self._closing_until:
            self._closing_until += CLOSE_LIFE
            self._tcp.abortConnection()
        self._turn()


class LegFactory(ServerFactory):
    """Makes a :class:`LegProtocol` for each connection, within the limits.

    :param mediator: the core.
    :param clock: gives the time and timers.
    """

    noisy = False

    def __init__(self, mediator: Mediator, clock: IReactorTime) -> None:
        self.mediator = mediator
        self.clock = clock
        self._legs: dict[LegProtocol, None] = {}
        self._sources: dict[bytes, int] = {}
        self._waiting: list[Deferred[None]] = []
        self._agenda: Agenda[LegProtocol] = Agenda()
        self._alarm = Alarm(clock, self._look)

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._legs)

    def buildProtocol(self, addr: IAddress | None) -> LegProtocol | None:
        """A protocol for the connection from *addr*; None for what is not TCP."""
        return self.make(addr)

    def make(self, addr: IAddress | None, *, tunnelled: bool = False) -> LegProtocol | None:
        """Make a leg's protocol.

        :param addr: where it comes from; for a tunnel, the far end of its HTTP connection.
        """
        if not isinstance(addr, IPv4Address | IPv6Address):
            return None
        return LegProtocol(self, canonical((addr.host, addr.port)), tunnelled=tunnelled)

    def admit(self, leg: LegProtocol, host: str) -> bool:
        """Count *leg* in unless there are too many, at all or from its source (an IPv6 /64 is one)."""
        limits = self.mediator.settings.limits
        source = source_key(host)
        count = self._sources.get(source, 0)
        if len(self._legs) >= limits.legs or count >= limits.legs_per_host:
            return False
        self._legs[leg] = None
        self._sources[source] = count + 1
        return True

    def forget(self, leg: LegProtocol, host: str) -> None:
        """Count *leg* out."""
        if leg not in self._legs:
            return
        del self._legs[leg]
        source = source_key(host)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        self._agenda.end(leg)
        if not self._legs:
            self._alarm.set(None)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def plan(self, leg: LegProtocol, at: float) -> None:
        """Have a leg looked at then, or before."""
        if leg in self._legs:
            self._agenda.plan(leg, at)
            self._alarm.set(self._agenda.deadline())

    def _look(self) -> None:
        now = self.clock.seconds()
        for leg in self._agenda.take_due(now):
            leg.look(now)
        if self._legs:
            self._alarm.set(self._agenda.deadline())

    def leave(self) -> None:
        """The mediator is shutting down: tell every server and close."""
        for leg in list(self._legs):
            leg.leave()

    def when_empty(self) -> Deferred[None]:
        """Fires once no connection is left; at once when there is none."""
        waiting: Deferred[None] = Deferred()
        if self._legs:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting
