"""A TCP connection that client and server open together, where both sit behind NATs.

The client dials a mediator from a local port that it can use again, asks over that connection to be
dialled there, and dials the address from which the server's own leg comes.  That takes two round
trips more than punching, so it begins only when punching has not succeeded at once, or cannot.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.introduction import Introduction
from wavesync.client.paths import Sessions, verified_over
from wavesync.client.race import Race
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.leg_endpoint import LegEndpoint
from wavesync.signalling.messages import (
    OpenStream,
    Prover,
    Refusal,
    SignallingError,
    StreamAnswer,
)
from wavesync.signalling.numbers import MAX_START_DELAY, STREAM_COPY_DELAY, ErrorCode
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer
from wavesync.tcp.opening import Opening

__all__ = [
    "LONGEST_PATIENCE",
    "MAX_SIGNATURES",
    "OpenedPath",
    "StreamAsking",
    "StreamOpener",
    "Together",
    "patience",
]

MAX_SIGNATURES = 3
"""Requests sent for one introduction: clocks may disagree, and the address family be the wrong one."""

LONGEST_PATIENCE = 0.5
"""Seconds that punching gets at most before a TCP connection is tried as well."""

_ASK_AGAIN = (ErrorCode.STALE_NONCE, ErrorCode.UNAUTHENTICATED)


def patience(elapsed: float, round_trip: float, *, punching: bool) -> float:
    """Tell how long to wait for punching before trying this.

    Where punching works it takes about a round trip and a half; whoever heard of a server in good
    time should not have to be dialled in vain.

    :param elapsed: seconds since the connect began.
    :param round_trip: seconds that the mediator took to answer.
    :param punching: whether there is anything to punch at.
    """
    if not punching:
        return 0.0
    return min(max(STREAM_COPY_DELAY - elapsed, 2 * round_trip), LONGEST_PATIENCE)


@dataclass(frozen=True, slots=True)
class Together:
    """What both sides have agreed on.

    :ivar own: the local address to dial from.
    :ivar remote: the server's.
    :ivar wait: seconds until the first SYN.
    """

    own: Address
    remote: Address
    wait: float


class OpenedPath:
    """The TCP connection that both ends open."""

    kind = "tcp"

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
        return verified_over(opening.connected, session, self.kind)


class StreamAsking:
    """Asks the mediator of one introduction to have the server dial this client.

    :param endpoint: leads to the mediator's TCP port, over IPv6 or not, or over any family.
    :ivar result: fires with :class:`Together`; fails with :class:`ConnectFailed`.  The connection
        to the mediator stays until :meth:`close`, so that its mapping does.
    """

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        introduction: Introduction,
        endpoint: Callable[[bool | None], IStreamClientEndpoint],
        *,
        wall_clock: Callable[[], float],
        allow_loopback: bool = False,
    ) -> None:
        self.result: Deferred[Together] = Deferred(lambda _: self.close())
        self._reactor = reactor
        self._credentials = credentials
        self._introduction = introduction
        self._endpoint = endpoint
        self._wall_clock = wall_clock
        self._allow_loopback = allow_loopback
        self._connecting: Deferred[IProtocol] | None = None
        self._leg: Leg | None = None
        self._since = 0.0
        self._way = 0.0
        self._left = MAX_SIGNATURES

    def start(self) -> None:
        """Connect and ask."""
        self._dial(None)

    def close(self) -> None:
        """Give up, or let the mapping go."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.abandon()

    def _dial(self, ipv6: bool | None) -> None:
        self._since = self._reactor.seconds()
        factory = Factory.forProtocol(lambda: Leg(self._reactor, self._stands, _ignore, self._lost))
        factory.noisy = False
        connecting = self._connecting = self._endpoint(ipv6).connect(factory)
        connecting.addErrback(self._unreachable)

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._fail(failure.getErrorMessage())

    def _lost(self, leg: Leg, why: str) -> None:
        if leg is self._leg:
            self._leg = None
            self._fail(why)

    def _stands(self, leg: Leg) -> None:
        self._connecting = None
        self._leg = leg
        self._way = min((self._reactor.seconds() - self._since) / 2, MAX_START_DELAY)
        self._ask(b"")

    def _ask(self, nonce: bytes) -> None:
        assert self._leg is not None
        if not self._left:
            self._fail("the mediator asks for one signature after the other")
            return
        self._left -= 1
        self._since = self._reactor.seconds()
        introduction = self._introduction
        audience = introduction.mediator.audience
        prover = Prover(self._credentials, audience, self._wall_clock(), nonce)
        request = OpenStream(introduction.connection_id, introduction.server, self._way)
        asked = self._leg.ask(request.encode(os.urandom(12), prover))
        asked.addCallbacks(
            self._answered, self._unanswered, callbackArgs=(self._leg,), errbackArgs=(self._leg,)
        )

    def _unanswered(self, failure: Failure, leg: Leg) -> None:
        failure.trap(NoAnswer)
        if leg is self._leg:
            self._fail(failure.getErrorMessage())

    def _answered(self, answer: Answer, leg: Leg) -> None:
        if leg is not self._leg:
            return
        try:
            if answer.message.message_class is MessageClass.ERROR:
                self._refused(Refusal.decode(answer.message))
            else:
                self._agreed(
                    StreamAnswer.decode(answer.message, allow_loopback=self._allow_loopback), leg
                )
        except SignallingError as error:
            self._fail(f"the mediator answers nonsense ({error})")

    def _refused(self, refusal: Refusal) -> None:
        if refusal.code in _ASK_AGAIN and refusal.nonce:
            self._ask(refusal.nonce)
        else:
            self._fail(f"the mediator refuses with error {refusal.code}")

    def _agreed(self, answer: StreamAnswer, leg: Leg) -> None:
        ends = leg.ends
        if ends is None or not answer.observed or answer.observed[0] == ends[1]:
            self._fail("the mediator names no address that could be dialled")
            return
        own, remote = ends[0], answer.observed[0]
        if (":" in own[0]) != (":" in remote[0]):
            # The server's leg is of the other family: so must ours be.
            leg.abandon()
            self._leg = None
            self._dial(":" in remote[0])
            return
        left = answer.start_delay - (self._reactor.seconds() - self._since) / 2
        wait = min(max(left, 0.0), MAX_START_DELAY)
        self.result.callback(Together(own, remote, wait))

    def _fail(self, why: str) -> None:
        self.close()
        if not self.result.called:
            self.result.errback(ConnectFailed(why))


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


def _ignore(message: Message) -> None:
    """Take an indication that was not asked for."""
