"""Connects to services of servers: the one object a client program needs.

One connector has one UDP port.  The first connection to a server asks a mediator and races all
paths; what worked is remembered, and further connections take it without a mediator, the first
ones as soon as the first connection is verified.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.attempt import Attempt, place
from wavesync.client.introducer import Introducer
from wavesync.client.introduction import NoMediator
from wavesync.client.paths import Sessions, UDPPort
from wavesync.client.race import Race, Winner
from wavesync.client.recalling import try_again
from wavesync.client.report import Timeline
from wavesync.client.revoking import RevocationWatch
from wavesync.client.stream_opening import OpenedPath, StreamOpener
from wavesync.client.way import KnownWay
from wavesync.client.ways import MAX_KNOWN, Ways
from wavesync.errors import ConnectFailed, NotAllowed, SettingsError, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations
from wavesync.identity.verify import Role
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.liveness import Timing
from wavesync.session.names import check_service_name
from wavesync.session.tls import ClientTLS, client_context
from wavesync.signalling.urls import Mediator
from wavesync.stun.learning import LifetimeLearner
from wavesync.stun.message import StunError, decode

_T = TypeVar("_T")

__all__ = [
    "MAX_ALONE",
    "MAX_KNOWN",
    "MAX_TIMELINES",
    "PATHS",
    "ClientPort",
    "Connector",
    "check_client",
    "check_paths",
]

PATHS = ("tcp", "udp")
"""The kinds of path this version can take."""

MAX_TIMELINES = 64
"""Timelines kept of the last connects."""

MAX_ALONE = 8
"""Connects at a time that go to a mediator each by itself, because the one that they waited for shows no
way (an agent dials 16 times at a time for one client)."""


def check_client(credentials: Credentials) -> Credentials:
    """Return *credentials* if they are a client's.

    :raises SettingsError: they are a server's.
    """
    if credentials.role is not Role.CLIENT:
        raise SettingsError(
            "these are a server's credentials; connecting needs a client's"
            " (wavesync system add-client NAME)"
        )
    return credentials


def check_paths(kinds: Iterable[str]) -> frozenset[str]:
    """Return these kinds of path as a set.

    :raises SettingsError: one is not of :data:`PATHS`, or there is none.
    """
    wanted = frozenset(kinds)
    unknown = sorted(wanted - set(PATHS))
    if unknown:
        raise SettingsError(f"no such path: {', '.join(unknown)}; there are {', '.join(PATHS)}")
    if not wanted:
        raise SettingsError(f"no path is named; there are {', '.join(PATHS)}")
    return wanted


class ClientPort(UDPPort, Protocol):
    """The UDP port of a client (:class:`wavesync.udt.port.Port`)."""

    def send_stun(self, data: bytes, address: Address) -> None:
        """Send a STUN message from this port."""

    def close(self) -> Deferred[None]:
        """Close it."""


class _Approach:
    """The first connect to a target under way; others wait for how it ends."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[bool]] = []

    def wait(self) -> Deferred[bool]:
        """Fires when a way is known or the approach was given up; fails as the approach does.

        It fires with false when the approach came to its end but shows no way to others.
        """
        waiting: Deferred[bool] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def over(self, failure: Failure | None = None, *, lasting: bool = True) -> None:
        """Tell everybody who waits."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.called:
                continue
            if failure is not None:
                each.errback(failure)
            else:
                each.callback(lasting)


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
    ) -> None:
        check_client(credentials)
        self.timelines: deque[Timeline] = deque(maxlen=MAX_TIMELINES)
        """What the last connects did, the newest last."""
        self._reactor = reactor
        self._credentials = credentials
        self._port = port
        self._paths = check_paths(paths)
        self._wall_clock = wall_clock
        self._allow_loopback = allow_loopback
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self._watch = RevocationWatch(reactor, revocations, credentials, mediators, wall_clock)
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
        )
        self._attempt = Attempt(
            reactor,
            self._introducer,
            port,
            self._paths,
            self._sessions,
            allow_loopback=allow_loopback,
            opener=opener,
        )
        self._approaches: dict[str, _Approach] = {}
        self._alone = DeferredSemaphore(MAX_ALONE)
        self._ways = Ways(reactor, port, learner)
        self._contexts: dict[str, ClientTLS] = {}
        self._running: set[Deferred[Any]] = set()
        self._closed = False
        self._timing = Timing() if learner is None else Timing(pace=learner.pace)

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
        return self._start(self._open(target, service, protocol, timeline), timeline)

    def session(self, target: Target, timeline: Timeline) -> Deferred[ClientSession]:
        """Make a verified session to *target* without opening anything over it yet."""
        self.timelines.append(timeline)
        return self._start(self._session(target, timeline), timeline)

    def close(self) -> Deferred[None]:
        """Give up what is under way, let holes go, close the port."""
        self._closed = True
        for running in list(self._running):
            running.cancel()
        ends = [self._introducer.close()]
        self._ways.close()
        self._watch.close()
        if self._port is not None:
            ends.append(self._port.close())
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
        opened = await session.open(service, protocol)
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
        return winner.session

    async def _approach(self, target: Target, timeline: Timeline) -> ClientSession:
        """Ask a mediator and race all paths; let others wait for it."""
        name = str(target)
        approach = self._approaches[name] = _Approach()
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
        approach: _Approach,
        winner: Winner[ClientSession],
        timeline: Timeline,
    ) -> None:
        """Remember the way, hold its hole open, and let the others take it.

        A connection that both ends opened shows no way: the next one takes both again.
        """
        del self._approaches[name]
        session = winner.session
        lasting = not isinstance(winner.path, OpenedPath)
        if not self._closed and timeline.server is not None and lasting:
            sessions = self._sessions(Target.parse(timeline.server))
            self._ways.remember(name, timeline.server, session, place(session), sessions)
        approach.over(lasting=lasting)

    async def _introduced(self, target: Target, timeline: Timeline) -> Winner[ClientSession]:
        winner = await self._attempt.winner(target, timeline)
        self._won(winner, timeline)
        return winner

    def _sessions(self, server: Target) -> Sessions:
        """Make the sessions of one server's paths; they share one TLS context."""
        context = self._contexts.get(str(server))
        if context is None:
            if len(self._contexts) >= MAX_KNOWN:
                self._contexts.clear()
            context = client_context(
                self._credentials,
                server,
                wall_clock=self._wall_clock,
                revoked=self._watch.revocations.revoked,
            )
            self._contexts[str(server)] = context

        def make() -> tuple[IProtocolFactory, Deferred[ClientSession]]:
            factory, ready = connect_session(
                self._credentials, server, self._reactor, timing=self._timing, context=context
            )
            return factory, ready.addCallback(self._watch.add)

        return make

    def _won(self, winner: Winner[ClientSession], timeline: Timeline) -> None:
        timeline.mark("authenticated")
        timeline.path = winner.path.kind
