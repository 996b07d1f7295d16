"""An address of a server that has worked, and the further connections that are made to it."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wavesync.client.gate import Gate
from wavesync.client.race import Path
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession

__all__ = ["KnownWay"]


class KnownWay:
    """A server's address that a connection was verified at.

    :param make_path: makes a path to it, for one connection.
    :param clock: tells how long connections take.
    :ivar server: the whole name of the server.
    :ivar kind: ``lan``, ``tcp``, ``udp`` or ``relay``.
    :ivar address: where.
    :ivar closed: it is not to be used any more.
    :ivar attempts: the connections that are being made over it, or wait for their turn.
    :ivar gate: where they wait.
    """

    def __init__(
        self,
        server: str,
        kind: str,
        address: Address,
        make_path: Callable[[], Path[ClientSession]],
        clock: IReactorTime,
    ) -> None:
        self.server = server
        self.kind = kind
        self.address = address
        self.closed = False
        self._make_path = make_path
        self.gate = Gate()
        self.clock = clock
        self.attempts: dict[_Attempt, None] = {}

    def again(self) -> "KnownWay":
        """The same way anew, for a try whether it is there after all."""
        return KnownWay(self.server, self.kind, self.address, self._make_path, clock=self.clock)

    def path(self) -> Path[ClientSession]:
        """A path for a further connection; it fails at once when the way is closed."""
        return _Attempt(self, self._make_path)

    def watch(self, session: ClientSession) -> None:
        """A session goes over this way now."""

    def close(self, why: str = "it is not needed any more") -> None:
        """Use it no more.  Connections that are being made over it fail at once."""
        if self.closed:
            return
        self.closed = True
        for attempt in reversed(list(self.attempts)):  # those who wait need not take a turn
            attempt.fail(why)

    def wanted(self) -> None:
        """Somebody wants a connection over it."""


class _Attempt:
    """One connection that is being made over a known way."""

    def __init__(self, way: KnownWay, make_path: Callable[[], Path[ClientSession]]) -> None:
        self.kind = way.kind
        self.on_heard: Callable[[], None] | None = None
        self.addresses = [way.address]
        self._way = way
        self._make_path = make_path
        self._over = False
        self._entered_at = 0.0
        self._step: Deferred[None] | Deferred[ClientSession] | None = None
        self._result: Deferred[ClientSession] = Deferred(lambda _: self._stop())

    def open(self) -> Deferred[ClientSession]:
        """Wait for our turn, connect, and verify the server."""
        if self._way.closed:
            self._result.errback(ConnectFailed("the way is closed"))
            return self._result
        self._way.attempts[self] = None
        self._way.wanted()
        turn = self._step = self._way.gate.enter()
        turn.addCallbacks(self._entered, _given_up)
        return self._result

    def fail(self, why: str) -> None:
        """The way is gone."""
        if not self._over:
            self._stop()
            self._result.errback(ConnectFailed(why))

    def _entered(self, _: None) -> None:
        self._entered_at = self._way.clock.seconds()
        opening = self._step = self._make_path().open()
        opening.addBoth(self._opened)

    def _opened(self, result: ClientSession | Failure) -> None:
        took: float | None = None
        try:
            if self._over:
                return
            self._over = True
            self._way.attempts.pop(self, None)
            if isinstance(result, Failure):
                self._result.errback(result)
            else:
                took = self._way.clock.seconds() - self._entered_at
                self._way.watch(result)
                self._result.callback(result)
        finally:
            self._way.gate.leave(took)

    def _stop(self) -> None:
        self._over = True
        self._way.attempts.pop(self, None)
        step, self._step = self._step, None
        if step is not None:
            step.cancel()


def _given_up(failure: Failure) -> None:
    failure.trap(CancelledError)
