"""A port that has nothing but tunnels: the mediator's HTTP port."""

import h11
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure

from wavesync.alarm import Alarm
from wavesync.deadlines import Deadlines
from wavesync.shares import Shares
from wavesync.stun.buckets import source_key
from wavesync.tunnel.answers import Refused, refusal
from wavesync.tunnel.connection import NOWHERE, Connection, address_of
from wavesync.tunnel.heads import HeadError, HeadReader
from wavesync.tunnel.server import TunnelServer

__all__ = ["FrontFactory", "FrontProtocol"]


class FrontProtocol(Connection):
    """A connection to such a port.

    :param factory: what all connections share.
    """

    def __init__(self, factory: "FrontFactory") -> None:
        super().__init__(factory.clock)
        self._factory = factory
        self._reader: HeadReader | None = HeadReader(h11.SERVER)

    def connectionMade(self) -> None:
        """Count the connection in (IProtocol)."""
        super().connectionMade()
        self._factory.arrive(self)

    def dataReceived(self, data: bytes) -> None:
        """The request; then its role's own (IProtocol)."""
        if self._silent:
            return
        if self.source is NOWHERE and not self._locate():
            return
        if self.role is not None:
            self.role.received(data)
        elif self._reader is not None:
            self._read(self._reader, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count the connection out (IProtocol)."""
        super().connectionLost(reason)
        self._factory.depart(self)

    def _locate(self) -> bool:
        """Find out where it comes from, now that a proxy may have told."""
        source = address_of(self._tcp)
        if source is not NOWHERE and self._factory.locate(source[0]):
            self.source = source
            return True
        self.abort()
        return False

    def _read(self, reader: HeadReader, data: bytes) -> None:
        server = self._factory.server
        try:
            request = reader.feed(data)
            if isinstance(request, h11.Request) and not server.claims(
                request.target.decode("ascii", "replace")
            ):
                sentence = "this is a port for wavesync's tunnels; there is nothing else here."
                raise Refused(404, "path", sentence)
        except HeadError as error:
            self._refuse(Refused(error.status, "head", f"{error}."))
            return
        except Refused as refused:
            self._refuse(refused)
            return
        if isinstance(request, h11.Request):
            self._reader = None
            self._factory.heads.end(self)
            role = server.welcome(request, self, reader.rest)
            if not self._silent:
                self.role = role

    def _refuse(self, refused: Refused) -> None:
        self._factory.server.statistics.refused[refused.reason] += 1
        self.finish(refusal(refused))

    def _silence(self) -> None:
        super()._silence()
        self._reader = None
        self._factory.heads.end(self)


class FrontFactory(ServerFactory):
    """Makes a :class:`FrontProtocol` for each connection, within the limits of the server.

    Works behind TLS, and behind the PROXY protocol: addresses are asked for once bytes come.

    :param server: has the tunnels.
    :param clock: gives the time and timers.
    :ivar heads: connections whose request has not come yet.
    """

    noisy = False

    def __init__(self, server: TunnelServer, clock: IReactorTime) -> None:
        self.server = server
        self.clock = clock
        self.heads: Deadlines[FrontProtocol] = Deadlines(server.limits.head_time)
        self._open: dict[FrontProtocol, None] = {}
        self._hosts = Shares(server.limits.connections_per_host)
        self._alarm = Alarm(clock, self._due)
        self._empty: list[Deferred[None]] = []

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._open)

    def buildProtocol(self, addr: IAddress | None) -> FrontProtocol | None:
        """A protocol for one more connection; none, which closes it at once, if there are too many."""
        return FrontProtocol(self) if self.room() else None

    def room(self) -> bool:
        """Tell whether there may be one more connection; count it if not."""
        if len(self._open) < self.server.limits.connections:
            return True
        self.server.statistics.refused["connections"] += 1
        return False

    def arrive(self, protocol: FrontProtocol) -> None:
        """Count a connection in.

        Where too many have not said yet what they want, the one that has had most time for it goes.
        """
        self._open[protocol] = None
        if not self.room_for_heads():
            oldest = self.heads.oldest()
            assert oldest is not None
            self.server.statistics.refused["heads"] += 1
            oldest.abort()
        self.heads.begin(protocol, self.clock.seconds())
        self._turn()

    def room_for_heads(self) -> bool:
        """Tell whether one more connection may be waiting for its request."""
        return len(self.heads) < self.server.limits.heads

    def locate(self, host: str) -> bool:
        """Count a connection to where it comes from, if there is room."""
        source = source_key(host)
        if self._hosts.room(source):
            self._hosts.take(source)
            return True
        self.server.statistics.refused["connections-of-host"] += 1
        return False

    def depart(self, protocol: FrontProtocol) -> None:
        """Count a connection out."""
        del self._open[protocol]
        if protocol.source is not NOWHERE:
            self._hosts.give_back(source_key(protocol.source[0]))
        self._turn()
        if not self._open:
            empty, self._empty = self._empty, []
            for each in empty:
                each.callback(None)

    # The end.

    def when_empty(self) -> Deferred[None]:
        """Fires once no connection is left; at once when there is none."""
        waiting: Deferred[None] = Deferred()
        if self._open:
            self._empty.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def abort_all(self) -> None:
        """Close every connection, and every tunnel, at once."""
        self.server.abort_all()
        for protocol in list(self._open):
            protocol.abort()

    # The one timer.

    def _turn(self) -> None:
        self._alarm.set(self.heads.deadline())

    def _due(self) -> None:
        for protocol in self.heads.take_due(self.clock.seconds()):
            self.server.statistics.refused["head-time"] += 1
            protocol.abort()
        self._turn()
