"""The server's end of tunnels of short polls (docs/tunnel.rst, "poll")."""

from typing import Protocol

import h11
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger

from wavesync.alarm import Alarm
from wavesync.deadlines import Deadlines
from wavesync.interfaces import Address
from wavesync.tunnel.answers import Refused
from wavesync.tunnel.hello import HELLO_SIZE, MAGIC
from wavesync.tunnel.poll_limits import PollLimits
from wavesync.tunnel.poll_past import Past
from wavesync.tunnel.poll_role import PollRole
from wavesync.tunnel.poll_session import PollSession, over
from wavesync.tunnel.poll_wire import PollRequest
from wavesync.tunnel.server_end import address
from wavesync.tunnel.wire import Role, Wire

__all__ = [
    "CONNECTION_TIME",
    "FIRST_TIME",
    "SESSION_TIME",
    "Guests",
    "PollServer",
]

SESSION_TIME = 30.0
"""Seconds without a request after which a tunnel is lost."""

FIRST_TIME = 10.0
"""Seconds that the second request may take: a client that has not come back has never known."""

CONNECTION_TIME = 60.0
"""Seconds that a connection may take for its next request, all of it."""

_TRY_AGAIN = 5
_LEAST_DELAY = 0.001  # rounding must not make a timer come too early again and again


class Guests(Protocol):
    """Counts tunnels of every method, within the limits of all of them."""

    def enter(self, source: Address) -> None:
        """One more tunnel comes from there, its hello has come.

        :raises Refused: it is not taken.
        """

    def leave(self, source: Address) -> None:
        """One that was counted is over."""

    def refused(self, reason: str) -> None:
        """Count a request that was refused."""


class PollServer:
    """All tunnels of short polls.

    :param factory: makes the protocol for each tunnel.
    :param clock: gives the time and timers.
    :param guests: counts the tunnels.
    :param limits: of each.
    """

    log = Logger()

    def __init__(
        self,
        factory: IProtocolFactory,
        clock: IReactorTime,
        guests: Guests,
        limits: PollLimits = PollLimits(),  # noqa: B008
    ) -> None:
        self.clock = clock
        self.limits = limits
        self._factory = factory
        self._guests = guests
        self._sessions: dict[str, PollSession] = {}
        self._past = Past()
        self._idle: Deadlines[PollSession] = Deadlines(SESSION_TIME)
        self._new: Deadlines[PollSession] = Deadlines(FIRST_TIME)
        self._slow: Deadlines[PollRole] = Deadlines(CONNECTION_TIME)
        self._served: dict[PollRole, PollSession] = {}
        self._alarm = Alarm(clock, self._due)
        self._closed = False

    def __len__(self) -> int:
        """Count the tunnels that are open."""
        return len(self._sessions)

    def welcome(self, request: h11.Request, wire: Wire, rest: bytes) -> Role | None:
        """Take a connection whose first request is a poll; further ones follow on it.

        :param rest: what came behind the request's head.
        :returns: what the connection is for; None when it was refused and finished.
        """
        role = PollRole(self, wire)
        self._slow.begin(role, self.clock.seconds())
        role.received(_head(request) + rest)
        self._turn()
        return None if role.over else role

    def close(self) -> None:
        """End every tunnel at once; take no more."""
        self._closed = True
        for session in list(self._sessions.values()):
            session.abort()
        for role in self._slow:
            role.abort()
        self._turn()

    # What connections tell (Desk).

    def came(self, role: PollRole, tunnel: str, request: PollRequest, body: bytes) -> None:
        """A request is whole.

        :raises Refused: it cannot be.
        """
        self._slow.end(role)
        session = self._sessions.get(tunnel)
        if session is not None:
            self._new.end(session)
            self._serve(session, role)
            session.request(role, request, body)
        else:
            self._begin(role, tunnel, request, body)
        self._turn()

    def answered(self, role: PollRole) -> None:
        """A request was answered: the next one may come."""
        self._served.pop(role, None)
        self._slow.begin(role, self.clock.seconds())
        self._turn()

    def refused(self, reason: str) -> None:
        """A request was refused."""
        self._guests.refused(reason)

    def left(self, role: PollRole) -> None:
        """A connection is over."""
        self._slow.end(role)
        session = self._served.pop(role, None)
        if session is not None:
            session.gone(role)
        self._turn()

    # What tunnels tell.

    def over(self, session: PollSession, reason: str) -> None:
        """A tunnel is over.

        :param reason: what further requests for it are told.
        """
        del self._sessions[session.tunnel]
        self._idle.end(session)
        self._new.end(session)
        self._guests.leave(session.source)
        self._past.add(session.tunnel, reason)
        self._turn()

    # Inside.

    def _serve(self, session: PollSession, role: PollRole) -> None:
        self._served[role] = session
        self._idle.begin(session, self.clock.seconds())

    def _begin(self, role: PollRole, tunnel: str, request: PollRequest, body: bytes) -> None:
        reason = self._past.reason(tunnel)
        if reason is not None:
            raise over(reason)
        if request.at or request.got or request.over:
            raise Refused(404, "unknown", "there is no such tunnel.")
        if len(body) < HELLO_SIZE or not body.startswith(MAGIC):
            raise Refused(400, "hello", "the tunnel does not begin with a hello.")
        if self._closed:
            raise Refused(
                503, "going", "this server is going; use another.", retry_after=_TRY_AGAIN
            )
        source = role.wire.source
        self._guests.enter(source)
        try:
            protocol = self._factory.buildProtocol(address(source))
        except Exception:
            self.log.failure("no protocol for a tunnel")
            protocol = None
        if protocol is None:
            self._guests.leave(source)
            raise Refused(503, "protocol", "this server takes nobody now.", retry_after=_TRY_AGAIN)
        session = PollSession(self, tunnel, source, role.wire.stream.getHost())
        self._sessions[tunnel] = session
        self._serve(session, role)
        self._new.begin(session, self.clock.seconds())
        session.begin(protocol, body[:HELLO_SIZE])
        session.request(role, request, body, greeting=HELLO_SIZE)

    # The one timer.

    def _turn(self) -> None:
        """Set the timer for what is due next; one that comes too early finds that out."""
        found = (self._idle.deadline(), self._new.deadline(), self._slow.deadline())
        at = min((each for each in found if each is not None), default=None)
        self._alarm.set(at if at is None else max(at, self.clock.seconds() + _LEAST_DELAY))

    def _due(self) -> None:
        now = self.clock.seconds()
        for role in self._slow.take_due(now):
            role.abort()
        for session in (*self._new.take_due(now), *self._idle.take_due(now)):
            session.idle()
        self._turn()


def _head(request: h11.Request) -> bytes:
    """Write a request's head again."""
    lines = [b"%s %s HTTP/%s" % (request.method, request.target, request.http_version)]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers]
    return b"".join(b"%s\r\n" % line for line in (*lines, b""))
