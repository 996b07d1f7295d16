"""All connections of a relay, within the limits, and the one timer for everything that is due."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from wavesync.deadlines import Deadlines
from wavesync.relay.house import House
from wavesync.relay.protocol import RelayProtocol
from wavesync.shares import Shares
from wavesync.stun.buckets import source_key
from wavesync.tunnel.server import TunnelServer

__all__ = [
    "CLOSE_LIFE",
    "PARTING",
    "SOONEST",
    "TELL_EVERY",
    "RelayFactory",
]

CLOSE_LIFE = 5.0
"""Seconds that a peer has to take the last bytes of a connection that is being closed."""

PARTING = 1.0
"""Seconds that connections which carried tunnels have to end by themselves when the relay stops."""

SOONEST = 0.5
"""Seconds from when anything begins until it may be due, at least; less where settings say so."""

TELL_EVERY = 60.0
"""Seconds between lines in the log that there are too many connections."""

_LEAST_DELAY = 0.001  # rounding must not make a timer come too early again and again


class RelayFactory(ServerFactory):
    """Makes a :class:`~.protocol.RelayProtocol` for each connection.

    :param house: what all connections share.
    :param clock: gives the time and timers.
    :ivar heads: connections whose request has not come yet.
    :ivar most: connections that there may be.
    :cvar nameless: nobody needs to find out from where a connection comes before it says something.
    :ivar tunnels: tunnels over HTTP; what comes out of one counts as a connection, too.
    """

    log = Logger()
    noisy = False
    nameless = True

    def __init__(self, house: House, clock: IReactorTime) -> None:
        limits = house.settings.limits
        self.house = house
        self.heads: Deadlines[RelayProtocol] = Deadlines(limits.head_time)
        self.most = limits.connections
        self._clock = clock
        self._limits = limits
        self._tell_at = clock.seconds()
        self._open: dict[RelayProtocol, None] = {}
        self._hosts = Shares(limits.connections_per_host)
        self._closing: Deadlines[RelayProtocol] = Deadlines(CLOSE_LIFE)
        self.tunnels = TunnelServer(
            _TunnelledFactory(self), clock, limits=house.settings.tunnels.limits
        )
        self._carriers: set[RelayProtocol] = set()
        self._timer: IDelayedCall | None = None
        pong_time = house.settings.keep_alive / 2
        self._soonest = min(SOONEST, limits.head_time, limits.waiting_time, pong_time)
        self._timer_at = 0.0
        self._timer_soon = False
        self._stopped = False
        self._empty: list[Deferred[None]] = []
        self._gone: list[Deferred[None]] = []

    def __len__(self) -> int:
        """Count the connections, joined ones as well."""
        return len(self._open)

    @property
    def protocols(self) -> list[RelayProtocol]:
        """The connections, the oldest first."""
        return list(self._open)

    def buildProtocol(self, addr: IAddress | None) -> RelayProtocol | None:
        """A protocol for one more connection; none, which closes it at once, if there are too many.

        Whoever is let in and then sent away keeps an open file for a while.
        """
        return RelayProtocol(self, self.tunnels) if self.room() else None

    def room(self) -> bool:
        """Tell whether there may be one more connection; count it if not."""
        if len(self._open) < self.most:
            return True
        self._crowded()
        return False

    # What connections tell.

    def arrive(self, protocol: RelayProtocol) -> bool:
        """Count a connection in, unless there are too many.

        Where too many have not said yet what they want, the one that has had most time for it goes.
        """
        if not self.room():
            return False
        self.house.statistics.connections += 1
        self._open[protocol] = None
        self.heads.begin(protocol, self._clock.seconds())
        if len(self.heads) > self._limits.heads:
            oldest = self.heads.oldest()
            assert oldest is not None
            self.house.statistics.refused["heads"] += 1
            oldest.abort()
        self.turn()
        return True

    def _crowded(self) -> None:
        self.house.statistics.refused["connections"] += 1
        if self._clock.seconds() >= self._tell_at:
            self._tell_at = self._clock.seconds() + TELL_EVERY
            self.log.warn(
                "there are {most} connections, as many as there may be: others are closed",
                most=self.most,
            )

    def locate(self, protocol: RelayProtocol, host: str) -> bool:
        """Count a connection to where it comes from (an IPv6 /64 is one place), if there is room."""
        source = source_key(host)
        if not self._hosts.room(source):
            self.house.statistics.refused["connections-of-host"] += 1
            protocol.source = ("", 0)
            return False
        self._hosts.take(source)
        return True

    def depart(self, protocol: RelayProtocol, host: str) -> None:
        """Count a connection out."""
        del self._open[protocol]
        self._carriers.discard(protocol)
        self._closing.end(protocol)
        if host:
            self._hosts.give_back(source_key(host))
        if len(self._open) == len(self._carriers):
            empty, self._empty = self._empty, []
            for each in empty:
                each.callback(None)
        if not self._open:
            gone, self._gone = self._gone, []
            for each in gone:
                each.callback(None)

    def carries(self, protocol: RelayProtocol) -> None:
        """A connection carries a tunnel: whoever is in that counts by himself."""
        self._carriers.add(protocol)

    def close(self, protocol: RelayProtocol) -> None:
        """A connection is being closed: see that it is closed in the end."""
        if protocol in self._open:
            self._closing.begin(protocol, self._clock.seconds())
            self.turn()

    # The end.

    def when_empty(self) -> Deferred[None]:
        """Fires once no connection is left but such as carry tunnels; at once when there is none."""
        waiting: Deferred[None] = Deferred()
        if len(self._open) > len(self._carriers):
            self._empty.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    async def let_go(self) -> None:
        """End the connections that carried tunnels, once nobody is in those any more.

        What was said last has a moment to leave.
        """
        late = self._clock.callLater(PARTING, self.abort_all)
        if self._open:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            await gone
        if late.active():
            late.cancel()
        self.tunnels.abort_all()

    def abort_all(self) -> None:
        """Close every connection at once; those of pairs as well."""
        self.house.pairs.end("stopped")
        self.tunnels.abort_all()
        for protocol in list(self._open):
            protocol.abort()

    # The one timer.

    def turn(self) -> None:
        """Something has begun, which is not due before :data:`SOONEST`: look then at the latest.

        To find out what is due next each time that anything happens would take longer than what
        happens.
        """
        if self._timer_soon or self._stopped:
            return
        at = self._clock.seconds() + self._soonest
        if self._timer is None or self._timer_at > at:
            self._set(at)
        self._timer_soon = True

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(_LEAST_DELAY, at - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._timer_soon = False
        now = self._clock.seconds()
        for protocol in self.heads.take_due(now):
            self.house.statistics.refused["head-time"] += 1
            protocol.abort()
        for protocol in self._closing.take_due(now):
            protocol.abort()
        self.house.timer(now)
        found = (self.heads.deadline(), self._closing.deadline(), self.house.deadline())
        at = min((each for each in found if each is not None), default=None)
        late = self._timer is None or (
            at is not None and at < self._timer_at
        )  # turn() may have come
        if at is not None and late and not self._stopped:
            self._set(at)

    def stop_timer(self) -> None:
        """Nothing is due any more, whatever the last connection leaves to be done."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _TunnelledFactory(ServerFactory):
    """Makes the connections that come out of tunnels; there are no tunnels within those.

    :param factory: what all connections share.
    """

    noisy = False

    def __init__(self, factory: RelayFactory) -> None:
        self._relay = factory

    def buildProtocol(self, addr: IAddress | None) -> RelayProtocol | None:
        """A protocol for one more connection, if there is room (IProtocolFactory)."""
        return RelayProtocol(self._relay) if self._relay.room() else None
