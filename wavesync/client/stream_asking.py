"""Asking a mediator that client and server dial each other over TCP.

The client connects to the mediator from a local port that it can use again, and asks over that very
connection: the mediator tells the server where it comes from, and the client where the server's leg
comes from.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.client.introduction import Introduction
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import Address, IReactor
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import (
    OpenStream,
    Prover,
    Refusal,
    SignallingError,
    StreamAnswer,
)
from wavesync.signalling.numbers import MAX_START_DELAY, ErrorCode
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["MAX_SIGNATURES", "StreamAsking", "Together"]

MAX_SIGNATURES = 3
"""Requests sent for one introduction: clocks may disagree, and the address family be the wrong one."""

_ASK_AGAIN = (ErrorCode.STALE_NONCE, ErrorCode.UNAUTHENTICATED)


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


def _ignore(message: Message) -> None:
    """Take an indication that was not asked for."""
