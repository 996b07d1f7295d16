"""Connects to services of servers: the one object a client program needs.

One connector has one UDP port.  The first connection to a server asks a mediator and races all
paths; what worked is remembered, and further connections take it without a mediator, the first
ones as soon as the first connection is verified.
"""

import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, fail
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.approach import Approach
from wavesync.client.attempt import CONNECT_LIMIT, Attempts, place
from wavesync.client.candidates import Candidates
from wavesync.client.clearing import Clearing
from wavesync.client.improving import Improving
from wavesync.client.introducer import Introducer
from wavesync.client.introduction import NoMediator
from wavesync.client.lan_path import Finder
from wavesync.client.memory import Memory
from wavesync.client.options import PATHS, check_client, check_paths
from wavesync.client.outward import Outward
from wavesync.client.paths import ClientPort
from wavesync.client.race import RELAY, Race, Winner
from wavesync.client.recalling import try_again
from wavesync.client.recent import Recording
from wavesync.client.relay_path import Relaying, RelayPath
from wavesync.client.report import Timeline
from wavesync.client.revoking import RevocationWatch
from wavesync.client.server_sessions import ServerSessions
from wavesync.client.stream_opening import OpenedPath, StreamOpener
from wavesync.client.way import KnownWay
from wavesync.client.ways import MAX_KNOWN, Ways
from wavesync.errors import ConnectFailed, NotAllowed, SettingsError, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.session.liveness import Timing
from wavesync.session.names import check_service_name
from wavesync.signalling.relay_urls import parse_relays
from wavesync.signalling.urls import Mediator
from wavesync.stun.learning import LifetimeLearner
from wavesync.stun.message import StunError, decode

_T = TypeVar("_T")

__all__ = [
    "MAX_ALONE",
    "MAX_KNOWN",
    "MAX_TIMELINES",
    "Connector",
]

MAX_TIMELINES = 64
"""Timelines kept of the last connects."""

MAX_ALONE = 8
"""Connects at a time that go to a mediator each by itself, because the one that they waited for shows no
way (an agent dials 16 times at a time for one client)."""


class Connector:
    """Opens services of servers.

    :param reactor: Twisted's reactor.
    :param credentials: a client's.
    :param mediators: whom to ask for introductions, in order of preference.
    :param port: the UDP port; ``None`` to do without UDP altogether.
    :param own_addresses: gives this client's own addresses of that port.
    :param families: tells the families of that port: ``False`` for IPv4, ``True`` for IPv6.
    :param paths: the kinds of path to take, of :data:`PATHS`.
    :param wall_clock: seconds since the epoch.
    :param allow_loopback: use loopback addresses that others name (everything on one host).
    :param opener: has TCP connections that both ends open take part.
    :param learner: runs while a hole is held, and sets the pace at which it is.
    :param revocations: what this client knows of revoked servers; in memory only when ``None``.
    :param relaying: has relays take part.
    :param memory: what worked before; as long as the connector lives when ``None``.
    :param finder: searches this host's networks for servers; ``None`` to do without.
    :param recording: keeps the timelines of connects across restarts; nothing does when None.
    :param outward: leads to mediators by any way; None for UDP and plain TCP.  It is closed with this.
    :raises SettingsError: the credentials are no client's, or *paths* names an unknown kind.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        mediators: Sequence[Mediator],
        *,
        port: ClientPort | None,
        own_addresses: Callable[[], Sequence[Address]] = tuple,
        families: Callable[[], set[bool]] = lambda: {False},
        paths: Collection[str] = PATHS,
        wall_clock: Callable[[], float] = time.time,
        allow_loopback: bool = False,
        opener: StreamOpener | None = None,
        learner: LifetimeLearner | None = None,
        revocations: Revocations | None = None,
        relaying: Relaying | None = None,
        memory: Memory | None = None,
        finder: Finder | None = None,
        recording: Recording | None = None,
        outward: Outward | None = None,
    ) -> None:
        check_client(credentials)
        self.timelines: deque[Timeline] = deque(maxlen=MAX_TIMELINES)
        """What the last connects did, the newest last."""
        self._reactor = reactor
        self._credentials = credentials
        self._port, self._outward = port, outward
        self._paths = check_paths(paths)
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self._watch = RevocationWatch(
            reactor,
            revocations,
            credentials,
            mediators,
            wall_clock,
            endpoint=None if outward is None else outward.mediator,
        )
        timing = Timing() if learner is None else Timing(pace=learner.pace)
        self._sessions = ServerSessions(
            reactor, credentials, self._watch, timing, wall_clock=wall_clock
        )
        self._introducer = Introducer(
            reactor,
            credentials,
            mediators,
            send_udp=port.send_stun if port is not None else None,
            families=families,
            own_addresses=own_addresses,
            wall_clock=wall_clock,
            allow_loopback=allow_loopback,
            revocations=revocations,
            on_introduced=self._watch.introduced,
            outward=outward,
        )
        self._candidates = Candidates(
            reactor,
            port,
            self._paths,
            relaying=relaying,
            relays=parse_relays(credentials.relays),
            allow_loopback=allow_loopback,
            finder=finder,
        )
        self._attempts = Attempts(
            reactor,
            self._introducer,
            self._candidates,
            self._sessions,
            opener=opener,
            memory=Memory(wall_clock=wall_clock) if memory is None else memory,
            on_better=self._better,
            clear=Clearing(reactor, self._watch).clear,
            on_refused=self._watch.check,
            limit=CONNECT_LIMIT if outward is None else outward.limit,
        )
        self._improving = Improving()
        self._approaches: dict[str, Approach] = {}
        self._alone = DeferredSemaphore(MAX_ALONE)
        self._ways = Ways(reactor, port, learner)
        self._running: set[Deferred[Any]] = set()
        self._recording = Recording(reactor) if recording is None else recording
        self._closed = False

    def stun_received(self, data: bytes, source: Address) -> None:
        """Take a STUN datagram that came to the UDP port."""
        try:
            message = decode(data)
        except StunError:
            return
        self._introducer.received_udp(message, source)

    def connect(
        self, target: Target, service: str, protocol: IProtocol, *, timeline: Timeline | None = None
    ) -> Deferred[IProtocol]:
        """Open *service* of *target* for *protocol*.

        The protocol is connected as soon as the server is verified, so that its first bytes travel
        with the request.

        :returns: fires with the protocol when the server has opened the service; fails with a
            :class:`WavesyncError` whose sentence says why not.  Cancelling it gives up.
        """
        try:
            check_service_name(service)
        except SettingsError as error:
            return fail(error)
        if timeline is None:
            timeline = Timeline(str(target), self._reactor.seconds)
        self.timelines.append(timeline)
        opening = self._open(target, service, protocol, timeline)
        return self._recording.keep(self._start(opening, timeline), timeline)

    def session(self, target: Target, timeline: Timeline) -> Deferred[ClientSession]:
        """Make a verified session to *target* without opening anything over it yet."""
        self.timelines.append(timeline)
        making = self._start(self._session(target, timeline), timeline)
        return self._recording.keep(making, timeline)

    def close(self) -> Deferred[None]:
        """Give up what is under way, let holes go, close the port; leave what is over time to end."""
        self._closed = True
        for running in list(self._running):
            running.cancel()
        self._attempts.close()
        ends = [self._introducer.close()]
        self._ways.close()
        self._watch.close()
        if self._outward is not None:
            self._outward.close()
        if self._port is not None:
            ends.append(self._port.close())
        ends.append(self._sessions.parted())
        ends.append(self._recording.flush())
        return DeferredList(ends).addCallback(lambda _: None)

    def _start(
        self, coroutine: Coroutine[Deferred[Any], Any, _T], timeline: Timeline
    ) -> Deferred[_T]:
        """Have a connect run, to be ended with the connector."""
        running: Deferred[_T] = Deferred.fromCoroutine(coroutine)

        def over(result: _T | Failure) -> _T | Failure:
            self._running.discard(running)
            if isinstance(result, Failure):
                timeline.outcome = result.getErrorMessage() or "given up"
            return result

        self._running.add(running)
        return running.addBoth(over)

    async def _open(
        self, target: Target, service: str, protocol: IProtocol, timeline: Timeline
    ) -> IProtocol:
        session = await self._session(target, timeline)
        opened = await session.open(service, protocol, connection=timeline.connection_id)
        timeline.mark("accepted")
        timeline.outcome = "ok"
        return opened

    async def _session(self, target: Target, timeline: Timeline) -> ClientSession:
        """By the known way if there is one, by an approach otherwise."""
        own = self._credentials.system
        if target.system != own:
            raise NotAllowed(
                f"these credentials are for system {own}; {target} is of another system"
            )
        name = str(target)
        while not self._closed:
            way = self._ways.get(name)
            if way is not None:
                session = await self._by_known_way(way, timeline)
                if session is not None:
                    return session
                continue
            approach = self._approaches.get(name)
            if approach is None:
                return await self._approach(target, timeline)
            if not await approach.wait():
                async with self._alone:
                    return (await self._introduced(target, timeline)).session
        raise ConnectFailed("the client is closing")

    async def _by_known_way(self, way: KnownWay, timeline: Timeline) -> ClientSession | None:
        """Take the way that worked; ``None`` when it works no more."""
        if way.kind == RELAY and self._improving.due(way.server, self._reactor.seconds()):
            self._look_for_better(Target.parse(way.server))
        timeline.server, timeline.reused = way.server, True
        race: Race[ClientSession] = Race(timeline, place)
        race.enter([way.path()])
        race.no_more()
        try:
            winner = await race.result
        except WavesyncError as error:
            self.log.debug("{server}: the known way failed: {why}", server=way.server, why=error)
            self._ways.forget(way)
            timeline.reused = False
            return None
        self._won(winner, timeline)
        timeline.known_as(winner.session.connection_id or uuid.uuid4().hex)
        return winner.session

    async def _approach(self, target: Target, timeline: Timeline) -> ClientSession:
        """Ask a mediator and race all paths; let others wait for it."""
        name = str(target)
        approach = self._approaches[name] = Approach()
        try:
            try:
                winner = await self._introduced(target, timeline)
            except NoMediator as error:
                winner = await try_again(self._ways.recall(name), timeline, error)
                self._won(winner, timeline)
        except WavesyncError:
            del self._approaches[name]
            approach.over(Failure())
            raise
        except BaseException:
            # Given up by who asked for it: another one goes on in its place.
            del self._approaches[name]
            approach.over()
            raise
        # Whoever asked opens its service first; those who wait need the way to be remembered.
        self._reactor.callLater(0, self._arrived, name, approach, winner, timeline)
        return winner.session

    def _arrived(
        self,
        name: str,
        approach: Approach,
        winner: Winner[ClientSession],
        timeline: Timeline,
    ) -> None:
        """Remember the way, hold its hole open, and let the others take it.

        A connection that both ends opened shows no way: the next one takes both again.
        """
        del self._approaches[name]
        lasting = not isinstance(winner.path, OpenedPath)
        if not self._closed and lasting and not self._known_better(name, winner):
            self._remember(name, winner)
        approach.over(lasting=lasting)

    def _known_better(self, name: str, winner: Winner[ClientSession]) -> bool:
        """Whether a direct way has been found meanwhile, and *winner* is none."""
        way = self._ways.get(name)
        return winner.path.kind == RELAY and way is not None and way.kind != RELAY

    def _remember(self, name: str, winner: Winner[ClientSession], *, spare: bool = False) -> None:
        """Keep the way that a session was verified over.

        :param spare: nobody needs the session itself.
        """
        session, path = winner.session, winner.path
        assert session.peer is not None
        server = session.peer.text
        sessions = self._sessions(Target.parse(server))
        if isinstance(path, RelayPath):
            self._improving.relayed(server, self._reactor.seconds())
            candidates, options = self._candidates, path.proved
            self._ways.remember_path(
                name,
                KnownWay(
                    server,
                    RELAY,
                    place(session),
                    lambda: candidates.further(Target.parse(server), options, sessions),
                    self._reactor,
                ),
            )
            return
        self._improving.improved(server)
        self._ways.remember(name, server, session, place(session), sessions, spare=spare)

    def _better(self, target: Target, winner: Winner[ClientSession]) -> None:
        """A direct path was verified after a relay had been taken: the next connections go there."""
        session = winner.session
        if self._closed or session.lost or session.peer is None:
            session.close()
        elif isinstance(winner.path, OpenedPath):
            # It shows no way; but the next race will know to wait for it.
            session.close()
            self._improving.improved(session.peer.text)
            way = self._ways.get(str(target))
            if way is not None and way.kind == RELAY:
                self._ways.retire(way)
        else:
            self._remember(str(target), winner, spare=True)

    def _look_for_better(self, server: Target) -> None:
        """Race direct paths to a server that is reached through a relay."""
        timeline = Timeline(str(server), self._reactor.seconds)
        looking = self._start(self._attempts.winner(server, timeline, relay=False), timeline)
        looking.addCallbacks(lambda winner: self._better(server, winner), lambda _: None)

    async def _introduced(self, target: Target, timeline: Timeline) -> Winner[ClientSession]:
        winner = await self._attempts.winner(target, timeline)
        self._won(winner, timeline)
        return winner

    def _won(self, winner: Winner[ClientSession], timeline: Timeline) -> None:
        timeline.mark("authenticated")
        timeline.path = winner.path.kind
