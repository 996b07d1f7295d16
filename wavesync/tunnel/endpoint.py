"""The one endpoint: a byte stream to a destination by whatever way passes (docs/tunnel)."""

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from wavesync.tunnel.contest import Contest
from wavesync.tunnel.ladder import Ladder
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.probing import Probe
from wavesync.tunnel.roads import Opener
from wavesync.tunnel.seeking import Seeker
from wavesync.tunnel.watch import SHORT_LIFE, Watch, blame, cut_short, way_of
from wavesync.tunnel.way import Route, Way

__all__ = [
    "CONNECT_TIMEOUT",
    "CUT_DIRECT",
    "CUT_THROUGH_PROXY",
    "WAY_TIMEOUT",
    "AnyWayEndpoint",
    "blame",
    "cut_short",
    "way_of",
]

CONNECT_TIMEOUT = 20.0
"""Seconds for a connection by any way."""

MAX_CAUSES = 3
"""Causes that are named at one time."""

WAY_TIMEOUT = 8.0
"""Seconds that one way has to be open."""

CUT_THROUGH_PROXY = 2
"""Lasting connections in a row that are cut after much the same time, less than :data:`SHORT_LIFE`, before
all ways through the proxy but short polls are avoided: some proxies do that with whatever lasts."""

CUT_DIRECT = 4
"""The same without a proxy, where it is more likely that the other end was started anew."""


@implementer(IStreamClientEndpoint)
class AnyWayEndpoint:
    """Connects by the way that is open first, and remembers what worked.

    The protocol's transport is one that :func:`way_of` and :func:`blame` know.

    :param clock: gives the time and timers.
    :param name: the destination's, such as ``http://relay.example:3356``: for people, and as what its
        ladder is kept.
    :param ways: all that lead there (:func:`wavesync.tunnel.way.ways_of`).
    :param opener: opens them (:class:`wavesync.tunnel.roads.Roads`).
    :param ladders: what is known of ways; two endpoints may have the same.
    :param random: gives a number from 0 to 1, for pauses.
    :param timeout: seconds for a connection by any way.
    :param way_timeout: seconds that one way has.
    :param lasting: the connections are meant to last; ways on which they are cut again and again sink.
    :param probe: shows that bytes pass without a tunnel (:mod:`wavesync.tunnel.probing`).
    :param on_better: called when a better way than the one in use was found to work; connect again to
        have it, or never mind.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        ways: Iterable[Way],
        opener: Opener,
        ladders: Ladders,
        *,
        random: Callable[[], float],
        timeout: float = CONNECT_TIMEOUT,
        way_timeout: float = WAY_TIMEOUT,
        lasting: bool = False,
        probe: Probe | None = None,
        on_better: Callable[[Way], None] | None = None,
    ) -> None:
        self.name = name
        self.ways = tuple(ways)
        self._clock = clock
        self._opener = opener
        self._ladders = ladders
        self._timeout = timeout
        self._way_timeout = way_timeout
        self._lasting = lasting
        self._open: dict[Watch, Ladder] = {}
        self._contests: dict[Contest, None] = {}
        self._told: Way | None = None
        self._seeker = Seeker(
            clock,
            opener,
            self.ladder,
            ladders.note,
            probe=probe,
            on_better=on_better,
            random=random,
        )

    @property
    def in_use(self) -> Way | None:
        """The way of the newest connection that stands; None without one."""
        return next(reversed(self._open)).way if self._open else None

    def ladder(self) -> Ladder:
        """Give what is known of the ways on the network that this host is on."""
        return self._ladders.ladder(self.name, self.ways)

    def connect(
        self,
        protocolFactory: IProtocolFactory,
        *,
        usable: Callable[[Way], bool] = lambda way: True,
    ) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint).

        :param usable: tells whether a way may be taken this time.
        :returns: fires with the protocol; fails with :class:`~wavesync.tunnel.errors.TunnelError`, which
            says of each way why not.  Cancelling it gives up.
        """
        ladder = self.ladder()
        contest = Contest(
            self._clock,
            self.name,
            ladder,
            usable,
            self._opener,
            protocolFactory,
            timeout=self._timeout,
            way_timeout=self._way_timeout,
            observer=_Observer(self, ladder),
            learned=self._ladders.note,
        )

        def over(result: object) -> object:
            self._contests.pop(contest, None)
            return result

        self._contests[contest] = None
        contest.result.addBoth(over)
        contest.start()
        return contest.result

    def describe(self, transport: object) -> str:
        """Say where the way of a connection leads along, for reports; empty for others' connections.

        :param transport: the protocol's.
        """
        way = way_of(transport)
        return "" if way is None else self._opener.describe(way)

    def ailments(self) -> str:
        """Say of the ways that are of no use now why not: one clause a cause, at most three.

        So far: connects that are under way count.
        """
        ladder, now = self.ladder(), self._clock.seconds()
        causes = dict.fromkeys(ladder.why(way) for way in self.ways if ladder.ails(way, now))
        for contest in self._contests:
            causes.update(dict.fromkeys(contest.causes))
        return "; ".join([cause for cause in causes if cause][-MAX_CAUSES:])

    def failed(self, protocol: IProtocol, why: str) -> None:
        """Say that a connection is of no use: garbage came, or nothing; its way sinks."""
        blame(getattr(protocol, "transport", None), why)

    def close(self) -> None:
        """Look for better ways no more; connections go on."""
        self._seeker.stop()
        self._open.clear()

    def works(self, watch: Watch, ladder: Ladder) -> None:
        """Bytes have come back through a connection."""
        if watch.way != self._told and (self._told is not None or watch.way.by_detour):
            self.log.info("{name} is reached by {way}", name=self.name, way=str(watch.way))
        self._told = watch.way
        ladder.worked(watch.way, self._clock.seconds(), watch.took)
        self._ladders.note()

    def fails(self, watch: Watch, ladder: Ladder, why: str) -> None:
        """A connection has brought nothing, or garbage."""
        self.log.debug("{way} is of no use: {why}", way=str(watch.way), why=why)
        ladder.failed(watch.way, self._clock.seconds(), why)
        self._ladders.note()

    def opened(self, watch: Watch, ladder: Ladder) -> None:
        """A connection stands."""
        self._open[watch] = ladder
        self._seeker.use(watch.way)

    def ended(self, watch: Watch, ladder: Ladder, lasted: float, by_peer: bool) -> None:
        """A connection is over."""
        if self._open.pop(watch, None) is None:
            return
        self._seeker.use(self.in_use)
        if self._lasting and by_peer:
            self.cut(watch, lasted)
        elif lasted >= SHORT_LIFE:
            ladder.lasted(watch.way)

    def cut(self, watch: Watch, lasted: float) -> None:
        """A connection that was to last was ended from outside.

        It counts for the network as it is known now: in the first seconds of a host the router is not.
        """
        ladder = self.ladder()
        if lasted >= SHORT_LIFE:
            ladder.lasted(watch.way)
            return
        now = self._clock.seconds()
        most = CUT_DIRECT if watch.way.route is Route.DIRECT else CUT_THROUGH_PROXY
        if ladder.count_cut(watch.way, now, lasted) >= most:
            why = f"cut again and again, now after {lasted:.0f} s"
            self.log.info("{way} is avoided: it is {why}", way=str(watch.way), why=why)
            ladder.cut(watch.way, now, why)
            if watch.way.route is not Route.DIRECT:
                self._ladders.cut_by_proxy()
        self._ladders.note()


class _Observer:
    """Tells an endpoint what comes of the connection of one contest."""

    def __init__(self, endpoint: AnyWayEndpoint, ladder: Ladder) -> None:
        self._endpoint = endpoint
        self._ladder = ladder

    def works(self, watch: Watch) -> None:
        self._endpoint.works(watch, self._ladder)

    def fails(self, watch: Watch, why: str) -> None:
        self._endpoint.fails(watch, self._ladder, why)

    def opened(self, watch: Watch) -> None:
        self._endpoint.opened(watch, self._ladder)

    def cut(self, watch: Watch, lasted: float) -> None:
        self._endpoint.cut(watch, lasted)

    def ended(self, watch: Watch, lasted: float, by_peer: bool) -> None:
        self._endpoint.ended(watch, self._ladder, lasted, by_peer)
