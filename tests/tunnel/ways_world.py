"""Ways that do as a test says, on a virtual clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.probing import Probe
from wavesync.tunnel.way import RAW, Road, Way

__all__ = ["Behaviour", "FakeOpener", "Speaker", "WaysWorld"]


@dataclass
class Behaviour:
    """What becomes of a way that is tried.

    :ivar arrives: seconds until its first connection stands; never when None.
    :ivar opens: seconds until it is open; never when None.
    :ivar error: it fails at that time instead.
    """

    arrives: float | None = 0.05
    opens: float | None = 0.1
    error: Exception | None = None


class Pipe(StringTransport):
    """A connection's near end.

    :ivar aborted: it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.protocol: IProtocol | None = None

    def abortConnection(self) -> None:
        """Remember it, and be gone."""
        self.aborted = True
        self.end(ConnectionLost())

    def loseConnection(self) -> None:
        """Be gone in order."""
        super().loseConnection()
        self.end(ConnectionDone())

    def end(self, why: Exception) -> None:
        """Be gone."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(why))


class Speaker(Protocol):
    """The user's protocol: says hello, keeps what it hears and how it ends."""

    def __init__(self, say: bytes = b"hello") -> None:
        self.say = say
        self.heard = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        """Speak."""
        assert self.transport is not None
        if self.say:
            self.transport.write(self.say)

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep how it ended."""
        self.lost = reason


@dataclass
class FakeOpener:
    """Opens ways as told.

    :ivar behaviours: by way; those that are not named do nothing at all.
    :ivar tried: ways and when they were begun.
    :ivar cancelled: ways that were given up.
    :ivar pipes: connections, by way, the newest last.
    """

    clock: Clock
    behaviours: dict[Way, Behaviour] = field(default_factory=dict)
    tried: list[tuple[float, Way]] = field(default_factory=list)
    cancelled: list[Way] = field(default_factory=list)
    pipes: list[tuple[Way, Pipe]] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)

    def open(
        self,
        way: Way,
        factory: IProtocolFactory,
        *,
        timeout: float,
        arrived: Callable[[], None],
    ) -> Deferred[IProtocol]:
        """Do as told."""
        self.tried.append((self.clock.seconds(), way))
        behaviour = self.behaviours.get(way, Behaviour(None, None))
        over: list[bool] = []

        def give_up(_: object) -> None:
            over.append(True)
            self.cancelled.append(way)

        opening: Deferred[IProtocol] = Deferred(give_up)

        def stand() -> None:
            if not over:
                arrived()

        def finish() -> None:
            if over:
                return
            over.append(True)
            if behaviour.error is not None:
                opening.errback(behaviour.error)
                return
            protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
            if protocol is None:
                opening.errback(ConnectionDone())
                return
            pipe = Pipe()
            pipe.protocol = protocol
            self.pipes.append((way, pipe))
            protocol.makeConnection(pipe)
            opening.callback(protocol)

        def late() -> None:
            if not over:
                over.append(True)
                opening.errback(TunnelError("no answer came in time", Why.SILENT))

        if behaviour.arrives is not None and way.method != RAW:
            self.clock.callLater(behaviour.arrives, stand)
        if behaviour.opens is not None:
            self.clock.callLater(behaviour.opens, finish)
        self.clock.callLater(timeout, late)
        return opening

    def describe(self, way: Way) -> str:
        """Say which it is."""
        return way.key

    def dial(self, road: Road, *, timeout: float) -> IStreamClientEndpoint:
        """Give an endpoint whose connections are made as the raw way's are."""
        self.roads.append(road)
        return _Dial(self, Way(road.url, road.route, RAW))


@implementer(IStreamClientEndpoint)
class _Dial:
    def __init__(self, opener: FakeOpener, way: Way) -> None:
        self._opener = opener
        self._way = way

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint)."""
        return self._opener.open(self._way, protocolFactory, timeout=9.0, arrived=lambda: None)


class WaysWorld:
    """A destination, and ways to it.

    :param path: where what is learned is kept.
    """

    def __init__(self, ways: tuple[Way, ...], path: Path | None = None) -> None:
        self.ways = ways
        self.path = path
        self.clock = Clock()
        self.network = "home"
        self.better: list[Way] = []
        self.opener = FakeOpener(self.clock)
        self.restart()

    def restart(self) -> None:
        """Begin with what is kept, as another process does."""
        self.ladders = Ladders(
            self.path,
            clock=self.clock.seconds,
            wall_clock=lambda: 1e9 + self.clock.seconds(),
            network=lambda: self.network,
        )

    def endpoint(self, *, lasting: bool = False, probe: Probe | None = None) -> AnyWayEndpoint:
        """Make the endpoint."""
        return AnyWayEndpoint(
            self.clock,
            "mediator.example",
            self.ways,
            self.opener,
            self.ladders,
            random=lambda: 0.5,
            lasting=lasting,
            probe=probe,
            on_better=self.better.append,
        )

    def behave(self, **behaviours: Behaviour) -> None:
        """Set what becomes of methods, underscores for dashes."""
        for name, behaviour in behaviours.items():
            for way in self.ways:
                if way.method == name.replace("_", "-"):
                    self.opener.behaviours[way] = behaviour

    def connect(
        self, endpoint: AnyWayEndpoint, speaker: Speaker | None = None
    ) -> tuple[Deferred[IProtocol], Speaker]:
        """Begin to connect."""
        made = speaker if speaker is not None else Speaker()
        return endpoint.connect(Factory.forProtocol(lambda: made)), made

    def run(self, seconds: float) -> None:
        """Let time go by in small steps."""
        self.clock.pump([0.01] * round(seconds * 100))

    @property
    def tried(self) -> list[str]:
        """The methods that were tried, in order; then they are forgotten."""
        found = [way.method for _, way in self.opener.tried]
        self.opener.tried.clear()
        return found

    @property
    def pipe(self) -> Pipe:
        """The newest connection."""
        return self.opener.pipes[-1][1]
