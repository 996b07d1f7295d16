"""A punched hole that is held open, so that later connections need no mediator."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.race import Path
from wavesync.client.way import KnownWay
from wavesync.interfaces import Address
from wavesync.session.client import CONTROL, ClientSession
from wavesync.session.guard import Guard

__all__ = ["ANSWER_WITHIN", "IDLE_LIMIT", "Hole"]

IDLE_LIMIT = 480.0
"""Seconds without any session after which a hole is let go (it is punched again at need)."""

ANSWER_WITHIN = 1.5
"""Seconds in which the other end answers a PING when a connection is wanted, or anything else comes
of what is being connected.  If not, the hole is gone and the mediator is asked at once."""

_LOOKS = 3
"""Turns of the reactor over which that time is spread: a machine that had no time for us for so long
reads what has come meanwhile before it judges."""


class _Control(Protocol):
    """The protocol of a control session: it carries no bytes, only the session's PINGs."""

    def __init__(self, on_lost: Callable[[Failure], None]) -> None:
        self._on_lost = on_lost

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The hole is gone, or was let go."""
        self._on_lost(reason)


class Hole(KnownWay):
    """An open hole, held open by a control session of its own over it.

    Both ends send through it every few seconds, so that neither router forgets the mapping
    whatever the connections that carry data do.  It is gone when the control session is lost, when
    any session over it fell silent, or when nothing answers while a connection is wanted.

    :param on_lost: called once when the hole is gone.
    """

    log = Logger()

    def __init__(
        self,
        server: str,
        address: Address,
        make_path: Callable[[], Path[ClientSession]],
        *,
        clock: IReactorTime,
        on_lost: Callable[["Hole"], None],
    ) -> None:
        super().__init__(server, "udp", address, make_path, clock)
        self._on_lost = on_lost
        self._session: ClientSession | None = None
        self._opening: Deferred[ClientSession] | None = None
        self._accepted = False
        self._live = 0
        self._guard = Guard()
        self._idle: IDelayedCall | None = None
        self._answer_due: IDelayedCall | None = None

    def hold(self, session: ClientSession | None = None) -> None:
        """Open the control session.

        :param session: a verified one through the hole that nobody else needs; one is made if None.
        """
        self._begin_idling()
        if session is not None:
            self._verified(session).addErrback(self._failed)
            return
        opening = self._opening = self._make_path().open()
        opening.addCallback(self._verified).addErrback(self._failed)

    def wanted(self) -> None:
        """See whether the other end still answers."""
        if self._idle is not None:
            self._idle.reset(IDLE_LIMIT)
        if self._session is not None and self._accepted and self._answer_due is None:
            self._wait_for_answer(_LOOKS)
            # If it fails the session is lost, and its protocol told so.
            self._session.ping().addCallbacks(lambda _: self._answered(), lambda _: None)

    def watch(self, session: ClientSession) -> None:
        """Hold the hole as long as this session goes over it."""
        self._answered()
        self._live += 1
        self._guard.join(session)
        _cancel(self._idle)
        self._idle = None
        session.ended.addCallback(self._ended, session)

    def close(self, why: str = "it is not needed any more") -> None:
        """Let the hole go."""
        if self.closed:
            return
        _cancel(self._idle)
        self._idle = None
        self._answered()
        opening, self._opening = self._opening, None
        session, self._session = self._session, None
        super().close(why)
        if opening is not None:
            opening.cancel()
        if session is not None:
            session.close()

    def _begin_idling(self) -> None:
        self._idle = self.clock.callLater(IDLE_LIMIT, self._gone, "nobody used it")

    def _wait_for_answer(self, looks: int) -> None:
        if looks:
            self._answer_due = self.clock.callLater(
                ANSWER_WITHIN / _LOOKS, self._wait_for_answer, looks - 1
            )
        else:
            self._gone("the other end does not answer")

    def _answered(self) -> None:
        due, self._answer_due = self._answer_due, None
        _cancel(due)

    def _ended(self, silent: bool, session: ClientSession) -> None:
        """A session that was watched is over."""
        self._live -= 1
        self._guard.leave(session)
        if self.closed:
            return
        if silent:
            self._gone("a session over it fell silent")
        elif not self._live:
            self._begin_idling()

    def _verified(self, session: ClientSession) -> Deferred[None]:
        self._opening = None
        self._session = session
        session.ended.addCallback(self._released, session)
        return session.open(CONTROL, _Control(self._lost)).addCallback(self._held, session)

    def _held(self, _: object, session: ClientSession) -> None:
        self._accepted = True
        self._guard.hold(session)

    def _released(self, silent: bool, session: ClientSession) -> None:
        self._guard.release(session, silent=silent)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        self._gone(failure.getErrorMessage())

    def _lost(self, reason: Failure) -> None:
        self._session = None
        self._gone(reason.getErrorMessage())

    def _gone(self, why: str) -> None:
        if not self.closed:
            self.log.debug("the hole to {server} is gone: {why}", server=self.server, why=why)
            self.close(f"the hole is gone: {why}")
            self._on_lost(self)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
