"""A way to a server that has worked, remembered so that later connections need no mediator."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.race import Path
from wavesync.interfaces import Address
from wavesync.session.client import CONTROL, ClientSession

__all__ = ["IDLE_LIMIT", "Hole", "KnownWay"]

IDLE_LIMIT = 480.0
"""Seconds without a new connection after which a hole is let go (it is punched again at need)."""


class KnownWay:
    """A server's address that a connection was verified at.

    :ivar server: the whole name of the server.
    :ivar kind: ``tcp`` or ``udp``.
    :ivar address: where.
    """

    def __init__(
        self,
        server: str,
        kind: str,
        address: Address,
        make_path: Callable[[], Path[ClientSession]],
    ) -> None:
        self.server = server
        self.kind = kind
        self.address = address
        self.make_path = make_path

    def used(self) -> None:
        """A connection is being made over it."""

    def close(self) -> None:
        """It is not needed any more."""


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
    whatever the connections that carry data do.

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
        super().__init__(server, "udp", address, make_path)
        self._clock = clock
        self._on_lost = on_lost
        self._session: ClientSession | None = None
        self._opening: Deferred[ClientSession] | None = None
        self._idle: IDelayedCall | None = clock.callLater(IDLE_LIMIT, self._unused)
        self._closed = False

    def hold(self) -> None:
        """Open the control session."""
        opening = self._opening = self.make_path().open()
        opening.addCallback(self._verified).addErrback(self._failed)

    def used(self) -> None:
        """Begin to count the idle time anew."""
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_LIMIT)

    def close(self) -> None:
        """Let the hole go."""
        self._closed = True
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _unused(self) -> None:
        self._gone("nobody used it")

    def _verified(self, session: ClientSession) -> Deferred[None]:
        self._opening = None
        self._session = session
        accepted = session.open(CONTROL, _Control(self._lost))
        return accepted.addCallback(lambda _: None)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        self._gone(failure.getErrorMessage())

    def _lost(self, reason: Failure) -> None:
        self._session = None
        self._gone(reason.getErrorMessage())

    def _gone(self, why: str) -> None:
        if not self._closed:
            self.close()
            self.log.debug("the hole to {server} is gone: {why}", server=self.server, why=why)
            self._on_lost(self)
