"""One ``connect`` to one mediator: over UDP, duplicated over TCP when no answer came in 250 ms.

The seed, "UDP packets from the cloud do not reach the client": whichever copy is answered first is
used, and the UDP requests go on meanwhile, so that the mediator may still see the punching port.
"""

import os
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wavesync.client.introduction import (
    Introduction,
    judge_answer,
    refusal_error,
    server_checker,
)
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker, NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import Connect, Prover, Refusal, SignallingError
from wavesync.signalling.numbers import STREAM_COPY_DELAY, ErrorCode
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["MAX_CHALLENGES", "Asking"]

MAX_CHALLENGES = 3
"""Nonces answered for one request before it is given up."""


class Asking:
    """Asks one mediator for one introduction.

    :param clock: gives the time and timers.
    :param mediator: whom to ask.
    :param host: its numeric address.
    :param tcp: leads to its TCP port; ``None`` when it has none.
    :param asker: asks from the punching port; ``None`` when there is none.
    :param own: this client's own addresses of the punching port.
    :param wall_clock: seconds since the epoch.
    :param on_indication: takes indications that come over the TCP copy.
    :ivar result: fires with the :class:`Introduction`, fails with a :class:`WavesyncError`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        target: Target,
        mediator: Mediator,
        host: str,
        *,
        connection_id: str,
        tcp: IStreamClientEndpoint | None,
        asker: Asker | None,
        own: Sequence[Address],
        wall_clock: Callable[[], float],
        on_indication: Callable[[Message], None],
        allow_loopback: bool = False,
    ) -> None:
        self.result: Deferred[Introduction] = Deferred(lambda _: self.close())
        self._clock = clock
        self._credentials = credentials
        self._target = target
        self._mediator = mediator
        self._connect = Connect(connection_id, target, tuple(own))
        self._tcp = tcp
        self._asker = asker
        self._udp: Address | None = None
        if asker is not None and mediator.udp_port is not None:
            self._udp = (host, mediator.udp_port)
        self._wall_clock = wall_clock
        self._on_indication = on_indication
        self._allow_loopback = allow_loopback
        self._request = b""
        self._challenges = 0
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[Answer]] = []
        self._connecting: Deferred[IProtocol] | None = None
        self._leg: Leg | None = None
        self._ways: set[str] = set()
        self._failures: list[str] = []
        self._answered = False

    def start(self) -> None:
        """Send the first copy."""
        self._request = self._signed(b"")
        if self._udp is not None:
            self._ways.add("udp")
            self._ask_udp()
        if self._tcp is not None:
            self._ways.add("tcp")
            if self._udp is not None:
                self._timer = self._clock.callLater(STREAM_COPY_DELAY, self._ask_tcp)
            else:
                self._ask_tcp()
        if not self._ways:
            self._fail(ConnectFailed(f"no way to the mediator {self._mediator} is allowed"))

    def echo(self, data: bytes) -> None:
        """Send an indication back over the TCP copy, if there is one."""
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.write(data)

    def close(self) -> None:
        """End everything: the introduction is not needed any more."""
        self._answered = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.cancel()
        self._stop_connecting()
        if self._leg is not None:
            self._leg.abandon()

    def _stop_connecting(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def _signed(self, nonce: bytes) -> bytes:
        prover = Prover(self._credentials, self._mediator.audience, self._wall_clock(), nonce)
        return self._connect.encode(os.urandom(12), prover)

    def _ask_udp(self) -> None:
        assert self._asker is not None and self._udp is not None
        self._wait(self._asker.ask(self._request, self._udp), "udp")

    def _ask_tcp(self) -> None:
        assert self._tcp is not None
        if self._leg is not None:
            self._wait(self._leg.ask(self._request), "tcp")
        elif self._connecting is None:
            factory = Factory.forProtocol(
                lambda: Leg(self._clock, self._leg_stands, self._on_indication, self._leg_lost)
            )
            factory.noisy = False
            connecting = self._connecting = self._tcp.connect(factory)
            connecting.addErrback(self._tcp_failed)

    def _leg_stands(self, leg: Leg) -> None:
        self._connecting = None
        self._leg = leg
        self._ask_tcp()

    def _leg_lost(self, leg: Leg, why: str) -> None:
        self._leg = None

    def _tcp_failed(self, failure: Failure) -> IProtocol | None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._way_failed("tcp", failure.getErrorMessage())
        return None

    def _wait(self, asked: Deferred[Answer], way: str) -> None:
        self._waiting.append(asked)
        asked.addCallbacks(
            self._received, self._no_answer, callbackArgs=(way, asked), errbackArgs=(way, asked)
        )

    def _received(self, answer: Answer, way: str, asked: Deferred[Answer]) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        if self._answered:
            return
        try:
            if answer.message.message_class is MessageClass.ERROR:
                self._refused(Refusal.decode(answer.message), way)
                return
            introduction = judge_answer(
                answer.message,
                self._mediator,
                self._target,
                self._connect.connection_id,
                allow_loopback=self._allow_loopback,
                signed_by=server_checker(self._mediator.audience, self._wall_clock()),
            )
        except SignallingError as error:
            self._way_failed(way, f"it answers nonsense ({error})")
            return
        self._answered = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        # Requests over UDP go on, so that the mediator sees the punching port; TCP need not.
        self._stop_connecting()
        self.result.callback(introduction)

    def _refused(self, refusal: Refusal, way: str) -> None:
        asked_for_nonce = refusal.code in (ErrorCode.STALE_NONCE, ErrorCode.UNAUTHENTICATED)
        strange = refusal.audience and refusal.audience != self._mediator.audience
        if asked_for_nonce and refusal.nonce and not strange and self._challenges < MAX_CHALLENGES:
            self._challenges += 1
            self._request = self._signed(refusal.nonce)
            if way == "udp":
                self._ask_udp()
            else:
                self._ask_tcp()
            return
        self._fail(refusal_error(refusal, self._mediator, self._target))

    def _no_answer(self, failure: Failure, way: str, asked: Deferred[Answer]) -> None:
        failure.trap(NoAnswer, CancelledError)
        if asked in self._waiting:
            self._waiting.remove(asked)
        if failure.check(NoAnswer):
            self._way_failed(way, failure.getErrorMessage())

    def _way_failed(self, way: str, why: str) -> None:
        if self._answered:
            return
        self._ways.discard(way)
        self._failures.append(f"{way}: {why.rstrip('.')}")
        if not self._ways:
            told = "; ".join(self._failures)
            self._fail(ConnectFailed(f"cannot reach the mediator {self._mediator}: {told}"))
        elif self._timer is not None and self._timer.active():
            # UDP has failed for certain: no use waiting for the 250 ms.
            self._timer.cancel()
            self._ask_tcp()

    def _fail(self, error: WavesyncError) -> None:
        if not self._answered:
            self.close()
            self.result.errback(error)
