"""A TCP connection that client and server open together, where both sit behind NATs.

It takes two round trips to the mediator more than punching, so it begins only when punching has not
succeeded at once, or cannot.
"""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.introduction import Introduction
from wavesync.client.paths import Sessions, verified_over
from wavesync.client.race import Race
from wavesync.client.stream_asking import StreamAsking, Together
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.leg_endpoint import LegEndpoint
from wavesync.signalling.numbers import STREAM_COPY_DELAY
from wavesync.tcp.opening import Opening

__all__ = ["LONGEST_PATIENCE", "OpenedPath", "StreamOpener", "patience"]

LONGEST_PATIENCE = 0.5
"""Seconds that punching gets at most before a TCP connection is tried as well."""


def patience(elapsed: float, round_trip: float, *, punching: bool) -> float:
    """Tell how long to wait for punching before trying this.

    Where punching works it takes about a round trip and a half; whoever heard of a server in good
    time should not have to be dialled in vain.  Where the mediator had to be asked over TCP, because
    it did not answer over UDP, punching is not likely to work.

    :param elapsed: seconds since the connect began.
    :param round_trip: seconds that the mediator took to answer.
    :param punching: whether there is anything to punch at.
    """
    if not punching or elapsed - round_trip >= STREAM_COPY_DELAY:
        return 0.0
    return min(max(STREAM_COPY_DELAY - elapsed, 2 * round_trip), LONGEST_PATIENCE)


class OpenedPath:
    """The TCP connection that both ends open."""

    kind = "tcp"
    on_heard: Callable[[], None] | None = None

    def __init__(
        self, reactor: IReactor, together: Together, sessions: Sessions, *, timeout: float
    ) -> None:
        self.addresses = [together.remote]
        self._reactor = reactor
        self._together = together
        self._sessions = sessions
        self._timeout = timeout

    def open(self) -> Deferred[ClientSession]:
        """Dial, and verify the server."""
        factory, session = self._sessions()
        opening = Opening(
            self._reactor,
            self._together.own,
            self._together.remote,
            factory,
            timeout=self._timeout,
            delay=self._together.wait,
            any_port=True,
        )
        return verified_over(opening.connected, session, self.kind, self.on_heard)


class StreamOpener:
    """Has such connections take part in races.

    :param credentials: the client's.
    :param wall_clock: seconds since the epoch.
    :param allow_loopback: dial loopback addresses, too (everything on one host).
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        *,
        wall_clock: Callable[[], float],
        allow_loopback: bool = False,
    ) -> None:
        self._reactor = reactor
        self._credentials = credentials
        self._wall_clock = wall_clock
        self._allow_loopback = allow_loopback

    def enter(
        self,
        race: Race[ClientSession],
        introduction: Introduction,
        sessions: Sessions,
        *,
        delay: float,
        timeout: float,
    ) -> Callable[[], None]:
        """Take part in *race*, which hears from here that nothing more will enter.

        :param delay: seconds to leave the race to others.
        :param timeout: seconds until the connection must stand.
        :returns: ends what this holds; to be called when the race is over.
        """
        entry = _Entry(self._reactor, race, sessions, timeout)
        port = introduction.mediator.tcp_port
        if port is None:
            race.no_more()
            return entry.close
        host, tcp_port = introduction.mediator.host, port

        def endpoint(ipv6: bool | None) -> LegEndpoint:
            return LegEndpoint(self._reactor, host, tcp_port, timeout=timeout, ipv6=ipv6)

        asking = StreamAsking(
            self._reactor,
            self._credentials,
            introduction,
            endpoint,
            wall_clock=self._wall_clock,
            allow_loopback=self._allow_loopback,
        )
        entry.begin(asking, delay)
        return entry.close


class _Entry:
    """One race that is taken part in."""

    log = StreamOpener.log

    def __init__(
        self, reactor: IReactor, race: Race[ClientSession], sessions: Sessions, timeout: float
    ) -> None:
        self._reactor = reactor
        self._race = race
        self._sessions = sessions
        self._until = reactor.seconds() + timeout
        self._asking: StreamAsking | None = None
        self._timers: list[IDelayedCall] = []

    def begin(self, asking: StreamAsking, delay: float) -> None:
        """Ask after a while."""
        self._asking = asking
        asking.result.addCallbacks(self._agreed, self._refused)
        left = max(0.0, self._until - self._reactor.seconds())
        self._timers = [
            self._reactor.callLater(delay, asking.start),
            self._reactor.callLater(left, asking.result.cancel),
        ]

    def close(self) -> None:
        """The race is over."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        if self._asking is not None:
            self._asking.result.cancel()
            self._asking.close()

    def _agreed(self, together: Together) -> None:
        timeout = max(0.0, self._until - self._reactor.seconds())
        path = OpenedPath(self._reactor, together, self._sessions, timeout=timeout)
        self._race.enter([path])
        self._race.no_more()

    def _refused(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.debug("no TCP connection from both ends: {why}", why=failure.getErrorMessage())
        self._race.no_more()
