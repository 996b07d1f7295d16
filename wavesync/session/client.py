"""The client's end of a session: connect over any path, then open one service."""

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.errors import WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.session.connection_id import connection_options
from wavesync.session.core import CONTROL, Side, Timing
from wavesync.session.errors import SessionLost, refusal_error
from wavesync.session.events import Event, Lost, OpenAccepted, OpenRefused, PongReceived
from wavesync.session.liveness import SILENCE
from wavesync.session.sealing import ClientTLSFactory
from wavesync.session.shell import SessionShell
from wavesync.session.tls import ClientTLS, client_context, rejection

__all__ = ["CONTROL", "ClientSession", "connect_session"]


class ClientSession(SessionShell):
    """A path to a server, and at most one service opened over it.

    :ivar authenticated: fires with this session once the server's certificate was found good (not
        when the path is connected), and ``peer`` tells who it is; the server may not have judged
        our certificate yet.  Fails with
        :class:`wavesync.errors.ConnectFailed` or :class:`wavesync.errors.NotAllowed`.
        Cancelling it gives the path up.
    :ivar connection_id: by which a relay has told the server of it; empty for other paths.
    :ivar lost: the path is gone.
    :ivar ended: fires once the path is gone, with whether that was found out by its silence (then as
        soon as it is known).
    """

    def __init__(self, clock: IReactorTime, timing: Timing = Timing()) -> None:  # noqa: B008
        super().__init__(Side.CLIENT, clock, timing)
        self.authenticated: Deferred[ClientSession] = Deferred(self._given_up)
        self.lost = False
        self.connection_id = ""
        self.ended: Deferred[bool] = Deferred()
        self._authenticated_called = False
        self._opening: Deferred[IProtocol] | None = None
        self._accepted = False
        self._told_why: WavesyncError | None = None
        self._pings: dict[bytes, Deferred[float]] = {}

    def _given_up(self, _: object) -> None:
        """Nobody waits for authentication any more."""
        self._authenticated_called = True
        self.abort()

    def _open_given_up(self, _: object) -> None:
        """Nobody waits for the service any more."""
        self._opening = None
        self.abort()

    @property
    def accepted(self) -> bool:
        """The server has opened the service, so it has found our certificate good."""
        return self._accepted

    @property
    def parting(self) -> bool:
        """It is over, or is about to be, and its path is not closed yet."""
        core = self._core
        return core is not None and (core.over or core.closing) and not self.lost

    def open(
        self, service: str, protocol: IProtocol, *, connection: str = ""
    ) -> Deferred[IProtocol]:
        """Ask for a service; *protocol* is connected at once, so its first bytes travel along.

        :param service: its name, or :data:`CONTROL` for a session that carries no bytes and keeps
            the path's hole in a NAT open.
        :param connection: the connection id that the server is to record it by; empty for none.
        :returns: fires with *protocol* when the server has opened the service.  Fails with
            :class:`wavesync.session.errors.Refused` or :class:`wavesync.errors.NotAllowed` when it
            refused, :class:`wavesync.session.errors.SessionLost` when the path broke; then
            *protocol* has had its ``connectionLost`` with the same error.  Cancelling it aborts.
        :raises ValueError: *service* is no name, or something was opened before.
        """
        if self.lost or self._core is None:
            return fail(self._told_why or self._lost_error or SessionLost("there is no path yet"))
        self._core.open(service, self._clock.seconds(), connection_options(connection))
        opening: Deferred[IProtocol] = Deferred(self._open_given_up)
        self._opening = opening
        self.attach(protocol)
        self._stirred()
        return opening

    def ping(self) -> Deferred[float]:
        """Measure the round trip to the server, in seconds, once a service was asked for.

        The Deferred fails with :class:`wavesync.session.errors.SessionLost` when no answer can come.
        """
        core = self._core
        token = core.ping(self._clock.seconds()) if core is not None and not self.lost else None
        if token is None:
            return fail(SessionLost("there is no open session"))
        answer: Deferred[float] = Deferred()
        self._pings[token] = answer
        self._stirred()
        return answer

    def authenticated_as(self, peer: Peer) -> None:
        """The server is the right one."""
        self._authenticated_called = True
        self.authenticated.callback(self)

    def happened(self, event: Event) -> None:
        """An event came that is not about the stream."""
        match event:
            case OpenAccepted():
                self._accepted = True
                opening, self._opening = self._opening, None
                if opening is not None and self._delivery.app is not None:
                    opening.callback(self._delivery.app)
            case OpenRefused(code, sentence):
                self._not_opened(refusal_error(code, sentence))
            case Lost():
                if event.sentence == SILENCE:
                    self._end(silent=True)
                error = self.error_for(event)
                if event.code:
                    self._told_why = error
                if self._opening is not None:
                    self._not_opened(error)
                self._fail_pings(error)
            case PongReceived(token, rtt) if token in self._pings:
                self._pings.pop(token).callback(rtt)

    def _not_opened(self, error: WavesyncError) -> None:
        opening, self._opening = self._opening, None
        self._delivery.lose(Failure(error))
        if opening is not None:
            opening.errback(Failure(error))

    def _fail_pings(self, error: WavesyncError) -> None:
        pings, self._pings = self._pings, {}
        for answer in pings.values():
            answer.errback(Failure(error))

    def why_lost(self, reason: Failure) -> WavesyncError:
        """A server judges our certificate after we are done with its: that is an alert here."""
        rejected = None if self._accepted else rejection(self._verdict)
        if rejected is not None:
            return rejected
        return super().why_lost(reason)

    def path_ended(self, error: WavesyncError) -> None:
        """The path is gone."""
        self.lost = True
        if not self._authenticated_called:
            self._authenticated_called = True
            self.authenticated.errback(Failure(error))
        if self._opening is not None:
            self._not_opened(error)
        self._fail_pings(error)
        self._end(silent=False)

    def _end(self, *, silent: bool) -> None:
        if not self.ended.called:
            self.ended.callback(silent)


class _OneSession(Factory):
    """Makes the one protocol of a path."""

    noisy = False

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> ClientSession:
        """Give the session."""
        return self._session


def connect_session(
    credentials: Credentials,
    target: Target,
    clock: IReactorTime,
    *,
    timing: Timing = Timing(),  # noqa: B008
    wall_clock: Callable[[], float] = time.time,
    revoked: Callable[[int], bool] | None = None,
    context: ClientTLS | None = None,
) -> tuple[IProtocolFactory, Deferred[ClientSession]]:
    """Prepare to authenticate a server over one path.

    :param context: shared by the several paths of one race; made from the other arguments if None.
    :returns: a factory for exactly one connection, to be put on any path (TCP, UDT, relay), and
        what fires with the session when the server was authenticated.  It fails as
        :attr:`ClientSession.authenticated` does; cancelling it gives the path up.  A path that
        does not come to a connection leaves it waiting: cancel it then.
    """
    session = ClientSession(clock, timing)
    if context is None:
        context = client_context(credentials, target, wall_clock=wall_clock, revoked=revoked)
    factory = ClientTLSFactory(context, True, _OneSession(session), clock)
    return factory, session.authenticated
