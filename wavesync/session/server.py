"""The server's end of sessions: authenticate clients, dial the service one asks for."""

import time
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.errors import WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.verify import Peer
from wavesync.session.bridge import make_bridge
from wavesync.session.connection_id import connection_of
from wavesync.session.core import CONTROL, Side, Timing
from wavesync.session.crowd import oldest_of_crowd, oldest_relayed
from wavesync.session.door import Door
from wavesync.session.errors import Refusal
from wavesync.session.events import DataReceived, Event, Lost, OpenRequested
from wavesync.session.limits import (
    DIAL_WITHIN,
    EARLY_BYTES,
    EVENT_SIZE,
    MAX_PENDING,
    MAX_SESSIONS,
    MAX_SESSIONS_PER_CLIENT,
)
from wavesync.session.liveness import SILENCE
from wavesync.session.relayed import kind_of, source_of
from wavesync.session.roll import Roll
from wavesync.session.sealing import ServerTLSFactory
from wavesync.session.services import NamedServices, Services
from wavesync.session.shell import SessionShell
from wavesync.session.statistics import Statistics
from wavesync.session.tls import server_context
from wavesync.session.watcher import Unwatched, Watcher
from wavesync.stun.buckets import source_key

__all__ = [
    "DIAL_WITHIN",
    "EARLY_BYTES",
    "EVENT_SIZE",
    "MAX_PENDING",
    "MAX_SESSIONS",
    "MAX_SESSIONS_PER_CLIENT",
    "NamedServices",
    "ServerSession",
    "ServerSessionFactory",
    "Services",
]

_NAMES_SHOWN = 20
_REVOKED = "the client's credentials were revoked"


class ServerSession(SessionShell):
    """One client's path: made by :class:`ServerSessionFactory`.

    :ivar arrived_at: when the path was there, on the reactor's clock.
    :ivar authenticated_at: when its client was known.
    """

    _log = Logger()

    def __init__(self, factory: "ServerSessionFactory", clock: IReactorTime) -> None:
        super().__init__(Side.SERVER, clock, factory.timing)
        self._factory = factory
        self._dial: Deferred[IProtocol] | None = None
        self._path_transport: ITransport | None = None
        self._was_authenticated = False
        self.arrived_at = self.authenticated_at = 0.0
        self._asked_at: float | None = None  # until the service's first word

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes of the service's stream that came, and that were written."""
        core = self._core
        return (0, 0) if core is None else (core.receipts.payload, core.dispatches.written)

    def write(self, data: bytes) -> None:
        """Send the service's bytes."""
        if self._asked_at is not None:
            seconds = self._clock.seconds() - self._asked_at
            self._factory.statistics.answered(self, seconds)
            self._asked_at = None
            self._factory.watcher.answered(self)
        super().write(data)

    def connectionMade(self) -> None:
        """A client's path is there."""
        self._path_transport = self.transport.transport
        self.arrived_at = self._clock.seconds()
        self.path_kind = kind_of(self.path_peer())
        self._factory.arrived(self, source_of(self.path_peer()))
        super().connectionMade()

    @property
    def path_transport(self) -> ITransport:
        """The transport below TLS."""
        assert self._path_transport is not None
        return self._path_transport

    def authenticated_as(self, peer: Peer) -> None:
        """The client is one of our system; if it was revoked, it is told so and nothing else."""
        if self._factory.is_revoked(peer):
            type(self)._log.info("turned away {client}: revoked", client=peer.text)
            self.turn_out(_REVOKED)
            return
        self._was_authenticated = True
        self.authenticated_at = self._clock.seconds()
        self._factory.authenticated(peer, self)

    def path_ended(self, error: WavesyncError) -> None:
        """The path is gone: quietly if nothing was asked for (the loser of a race)."""
        self._factory.left(self)
        self._factory.statistics.end(self)
        in_order = self._core is not None and self._core.finished
        self._factory.watcher.ended(self, "" if in_order else str(error))
        self._cancel_dial()
        if self._was_authenticated:
            assert self.peer is not None
            self._factory.lost(self.peer, self)
        else:
            # Logged by the class: an event that is kept must not keep the session.
            type(self)._log.debug(
                "a path ended before a client was known: {error}", error=str(error)
            )

    def happened(self, event: Event) -> None:
        """An event came that is not about the stream."""
        match event:
            case OpenRequested(service, options):
                self._factory.asked(self)
                self._factory.watcher.asked(self, service, connection_of(options))
                self._asked_for(service)
            case Lost(sentence):
                self._factory.roll.end(self, silent=sentence == SILENCE)
                self._factory.watcher.ended(self, sentence)
                self._cancel_dial()

    def holds_too_much(self) -> bool:
        """The client has sent its first bytes faster than the service could be dialled."""
        if self._delivery.app is not None:
            return False
        held = sum(
            len(e.data) + EVENT_SIZE for e in self._delivery.stream if isinstance(e, DataReceived)
        )
        return held >= EARLY_BYTES

    def _asked_for(self, service: str) -> None:
        peer = self.peer
        assert peer is not None
        if len(self._factory.serving) >= self._factory.max_sessions:
            self._refuse(Refusal.BUSY, "this server has as many sessions as it may have")
            return
        if self._factory.roll.count(peer) >= self._factory.max_sessions_per_client:
            self._refuse(Refusal.BUSY, "this client has as many sessions as it may have")
            return
        self._factory.roll.begin(self, peer, control=service == CONTROL)
        self._asked_at = self._clock.seconds()
        if service == CONTROL:
            self._accept(Protocol())
            return
        try:
            found = self._factory.services(service, peer)
        except Exception:
            type(self)._log.failure("looking up service {service} failed", service=service)
            self._refuse(Refusal.BROKEN, f"this server could not look up service '{service}'")
            return
        if found is None:
            self._refuse(Refusal.NO_SERVICE, self._factory.no_service(service, peer))
        elif IStreamClientEndpoint.providedBy(found):
            self._dial_service(service, found)
        else:
            self._serve_with(service, found)

    def _serve_with(self, service: str, factory: IProtocolFactory) -> None:
        app = factory.buildProtocol(self.path_peer())
        if app is None:
            self._refuse(Refusal.DIAL_FAILED, f"service '{service}' takes no connection now")
        else:
            self._accept(app)

    def _dial_service(self, service: str, endpoint: IStreamClientEndpoint) -> None:
        far, near = make_bridge()
        factory = Factory.forProtocol(lambda: near)
        factory.noisy = False
        dial: Deferred[IProtocol] = endpoint.connect(factory)
        self._dial = dial
        dial.addTimeout(DIAL_WITHIN, self._clock)

        def reached(_: IProtocol) -> None:
            self._dial = None
            self._accept(far)

        def missed(failure: Failure) -> None:
            self._dial = None
            if failure.check(TimeoutError):
                self._refuse(Refusal.DIAL_TIMEOUT, f"service '{service}' did not answer in time")
            elif not failure.check(CancelledError):
                why = failure.getErrorMessage()[:200]
                self._refuse(
                    Refusal.DIAL_FAILED, f"service '{service}' did not take the connection: {why}"
                )

        dial.addCallbacks(reached, missed)
        dial.addErrback(lambda f: type(self)._log.failure("joining a service failed", f))

    def _accept(self, app: IProtocol) -> None:
        assert self._core is not None
        self._factory.statistics.begin(self, control=self._core.service == CONTROL)
        self._core.accept(self._clock.seconds())
        self._factory.watcher.opened(self)
        self.attach(app)
        self._turn()

    def _refuse(self, code: int, sentence: str) -> None:
        self._factory.roll.end(self)
        self._factory.statistics.refused[code] += 1
        self._factory.watcher.refused(self, sentence)
        if self._core is not None:
            self._core.refuse(code, sentence, self._clock.seconds())
            self._stirred()

    def _cancel_dial(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()


@implementer(IProtocolFactory)
class ServerSessionFactory:
    """Makes a server's protocols for whatever listens: TCP, a UDT port, relay connections.

    :param credentials: the server's.
    :param services: finds what a client asks for.
    :param clock: for all time limits.
    :param names: the services' names that a client is told of when it asks for an unknown one;
        by default those that *services* has a ``names`` method for.
    :param on_authenticated: called with a client and its path's transport (below TLS) when its
        certificate was found good.
    :param on_lost: called with the same two when that path is gone.
    :param timing: time limits of the sessions.
    :param wall_clock: seconds since the epoch, for the certificates' validity.
    :param revoked: whether the certificate with this serial number is revoked; when its answers
        have changed, call :meth:`turn_out_revoked`.
    :param max_sessions: sessions with an open service at one time.
    :param max_sessions_per_client: the same for one client.
    :param max_pending: paths that have not sent OPEN, at one time.
    :param door: decides who may begin a handshake; the usual limits when None.
    :param watcher: is told what becomes of sessions.
    :ivar statistics: what is counted.
    """

    def __init__(
        self,
        credentials: Credentials,
        services: Services,
        clock: IReactorTime,
        *,
        names: Callable[[Peer], Sequence[str]] | None = None,
        on_authenticated: Callable[[Peer, ITransport], None] | None = None,
        on_lost: Callable[[Peer, ITransport], None] | None = None,
        timing: Timing = Timing(),  # noqa: B008
        wall_clock: Callable[[], float] = time.time,
        revoked: Callable[[int], bool] | None = None,
        max_sessions: int = MAX_SESSIONS,
        max_sessions_per_client: int = MAX_SESSIONS_PER_CLIENT,
        max_pending: int = MAX_PENDING,
        door: Door | None = None,
        watcher: Watcher = Unwatched(),  # noqa: B008
    ) -> None:
        self.services = services
        self.watcher = watcher
        self.statistics = Statistics()
        self.timing = timing
        self.max_sessions = max_sessions
        self.max_sessions_per_client = max_sessions_per_client
        self.max_pending = max_pending
        self.door = door if door is not None else Door()
        self.pending: set[ServerSession] = set()
        self.roll: Roll[ServerSession] = Roll()
        self._strangers: dict[ServerSession, bytes] = {}
        self._known: dict[ServerSession, str] = {}  # hosts of known clients
        self._idle: dict[ServerSession, str] = {}  # known clients that have not asked
        self._clock = clock
        self._names = names if names is not None else getattr(services, "names", None)
        self._on_authenticated = on_authenticated
        self._on_lost = on_lost
        self._revoked = revoked
        # Revoked clients are turned away after the handshake: an alert could not tell them why.
        context = server_context(credentials, wall_clock=wall_clock)
        inner = Factory.forProtocol(lambda: ServerSession(self, clock))
        inner.noisy = False
        self._tls = ServerTLSFactory(context, False, inner, clock)

    def doStart(self) -> None:
        """A port or connector uses this factory (IProtocolFactory)."""

    def doStop(self) -> None:
        """A port or connector is done with this factory (IProtocolFactory)."""

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """Make the protocol for one path; None, which closes it, when too many have no OPEN yet.

        None, too, when its source begins too many handshakes.
        """
        if not self.door.admit(source_of(addr), self._clock.seconds()):
            return None
        if kind_of(addr) == "relay":
            self._give_up(oldest_relayed(self._strangers, self.max_pending))
        if len(self.pending) >= self.max_pending and not self._make_room():
            return None
        protocol: IProtocol = self._tls.buildProtocol(addr)
        return protocol

    def close_all(self) -> None:
        """Abort every session: the server stops."""
        for session in [*self.pending, *self.serving]:
            session.abort("the server is stopping")

    def turn_out_revoked(self) -> None:
        """End the sessions of all clients whose certificate was revoked meanwhile."""
        for session in [*self.pending, *self.serving]:
            if session.peer is not None and self.is_revoked(session.peer):
                session.turn_out(_REVOKED)

    def is_revoked(self, peer: Peer) -> bool:
        """Tell whether a client's certificate was revoked."""
        return self._revoked is not None and self._revoked(peer.serial)

    def no_service(self, service: str, peer: Peer) -> str:
        """The sentence for a client that asked for something unknown."""
        names = list(self._names(peer)) if self._names is not None else []
        known = ", ".join(names[:_NAMES_SHOWN]) if names else "none"
        more = ", ..." if len(names) > _NAMES_SHOWN else ""
        return f"no service '{service}' here; known: {known}{more}"

    def arrived(self, session: ServerSession, host: str) -> None:
        """A path is there; nobody knows yet whose."""
        self.pending.add(session)
        self._strangers[session] = source_key(host)

    def asked(self, session: ServerSession) -> None:
        """A client has sent OPEN."""
        self.pending.discard(session)
        self._idle.pop(session, None)

    @property
    def serving(self) -> Mapping[ServerSession, Peer]:
        """The sessions with an open service."""
        return self.roll.sessions

    def left(self, session: ServerSession) -> None:
        """A path is gone."""
        self.asked(session)
        self.roll.end(session)
        self._strangers.pop(session, None)

    def _make_room(self) -> bool:
        """Give up a path that was not asked for anything; whether there was one to spare."""
        oldest = oldest_of_crowd(self._strangers, 1) or oldest_of_crowd(self._idle, 2)
        return self._give_up(oldest)

    def _give_up(self, session: ServerSession | None) -> bool:
        if session is None:
            return False
        self.left(session)
        session.abort()
        return True

    def authenticated(self, peer: Peer, session: ServerSession) -> None:
        """A session knows its client."""
        self.statistics.authenticated[session.path_kind] += 1
        if self._strangers.pop(session, None) is not None:
            self._idle[session] = peer.text
        host = self._known[session] = source_of(session.path_peer())
        self.door.greet(host)
        if self._on_authenticated is not None:
            self._on_authenticated(peer, session.path_transport)

    def lost(self, peer: Peer, session: ServerSession) -> None:
        """A session's path is gone."""
        host = self._known.pop(session, None)
        if host is not None:
            self.door.part(host)
        if self._on_lost is not None:
            self._on_lost(peer, session.path_transport)
