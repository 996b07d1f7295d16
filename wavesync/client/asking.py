"""One ``connect`` to one mediator: over UDP, duplicated over TCP when no answer came in 250 ms.

UDP is asked in every address family at once, each with a proof of its own: the mediator takes one
proof from one host only, and merges what it sees by the connection id.  The seed, "UDP packets from the cloud do not reach the client": whichever copy is answered first is
used, and the UDP requests go on meanwhile, so that the mediator may still see the punching port.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, succeed
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
    NoMediator,
    judge_answer,
    refusal_error,
    server_checker,
)
from wavesync.client.outward import is_indirect
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations
from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker, NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import Connect, Prover, Refusal, SignallingError
from wavesync.signalling.numbers import STREAM_COPY_DELAY, ErrorCode
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.watch import way_of
from wavesync.tunnel.way import Way

__all__ = ["MAX_CHALLENGES", "MAX_REDIALS", "Asking"]

MAX_CHALLENGES = 3
"""Nonces answered for one request before it is given up."""

MAX_REDIALS = 6
"""Times that the mediator is dialled again, by another way each, since a connection brought nothing."""


@dataclass(eq=False, slots=True)
class _Way:
    """A way to the mediator.

    :ivar kind: ``udp`` or ``tcp``.
    :ivar destination: where, over UDP.
    :ivar request: what is asked there.
    :ivar challenges: nonces signed so far.
    """

    kind: str
    destination: Address | None = None
    request: bytes = b""
    challenges: int = 0


class Asking:
    """Asks one mediator for one introduction.

    :param clock: gives the time and timers.
    :param mediator: whom to ask.
    :param udp: its UDP addresses, at most one a family.
    :param tcp: leads to its TCP port; ``None`` when it has none.
    :param asker: asks from the punching port; ``None`` when there is none.
    :param own: this client's own addresses of the punching port.
    :param wall_clock: seconds since the epoch.
    :param on_indication: takes indications that come over the TCP copy.
    :param revocations: what this client knows of revoked servers; nothing when None.
    :ivar result: fires with the :class:`Introduction`, fails with a :class:`WavesyncError`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        target: Target,
        mediator: Mediator,
        *,
        connection_id: str,
        udp: Sequence[Address],
        tcp: IStreamClientEndpoint | None,
        asker: Asker | None,
        own: Sequence[Address],
        wall_clock: Callable[[], float],
        on_indication: Callable[[Message], None],
        allow_loopback: bool = False,
        revocations: Revocations | None = None,
    ) -> None:
        self.result: Deferred[Introduction] = Deferred(lambda _: self.close())
        self._clock = clock
        self._credentials = credentials
        self._target = target
        self._mediator = mediator
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self._revocations = revocations
        self._connect = Connect(connection_id, target, tuple(own), revocations.number)
        self._tcp = tcp
        self._asker = asker
        self._udp = [_Way("udp", address) for address in udp] if asker is not None else []
        self._stream = _Way("tcp")
        self._answered_by: _Way | None = None
        self._wall_clock = wall_clock
        self._on_indication = on_indication
        self._allow_loopback = allow_loopback
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[Answer]] = []
        self._connecting: Deferred[IProtocol] | None = None
        self._leg: Leg | None = None
        self._ways: set[_Way] = set()
        self._failures: dict[str, None] = {}
        self._useless: set[Way] = set()
        self._tried: Way | None = None
        self._answered = self._closed = False

    def start(self) -> None:
        """Send the first copies."""
        self._ways.update(self._udp)
        for way in self._udp:
            way.request = self._signed(b"")
            self._ask_udp(way)
        if self._tcp is not None:
            self._ways.add(self._stream)
            if self._udp:
                self._timer = self._clock.callLater(STREAM_COPY_DELAY, self._ask_tcp)
            else:
                self._ask_tcp()
        if not self._ways:
            self._fail(ConnectFailed(f"no way to the mediator {self._mediator} is allowed"))

    def ailments(self) -> str:
        """Say what has been found wrong so far with the ways to the mediator over TCP, if anything."""
        return self._tcp.ailments() if isinstance(self._tcp, AnyWayEndpoint) else ""

    def echo(self, data: bytes) -> None:
        """Send an indication back over the TCP copy, if there is one."""
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.write(data)

    def tell(self, data: bytes) -> Deferred[None]:
        """Send an indication where the answer came from; over TCP it is the last.

        :returns: fires when it has left.
        """
        way = self._answered_by
        if way is None or self._closed:
            return succeed(None)
        if way.destination is not None and self._asker is not None:
            self._asker.tell(data, way.destination)
        elif self._leg is not None:
            leg, self._leg = self._leg, None
            return leg.leave(data)
        return succeed(None)

    def close(self) -> None:
        """End everything: the introduction is not needed any more."""
        self._answered = self._closed = True
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

    def _ask_udp(self, way: _Way) -> None:
        assert self._asker is not None and way.destination is not None
        self._wait(self._asker.ask(way.request, way.destination), way)

    def _ask_tcp(self) -> None:
        assert self._tcp is not None
        if self._leg is not None:
            if not self._stream.request:
                self._stream.request = self._copy(self._leg) or self._signed(b"")
            self._wait(self._leg.ask(self._stream.request), self._stream)
        elif self._connecting is None:
            factory = Factory.forProtocol(
                lambda: Leg(self._clock, self._leg_stands, self._on_indication, self._leg_lost)
            )
            factory.noisy = False
            if isinstance(self._tcp, AnyWayEndpoint):
                connecting = self._tcp.connect(factory, usable=lambda way: way not in self._useless)
            else:
                connecting = self._tcp.connect(factory)
            self._connecting = connecting
            connecting.addErrback(self._tcp_failed)

    def _copy(self, leg: Leg) -> bytes:
        """What was asked over UDP in the family of *leg*: the mediator sees the same host there.

        Behind a proxy it sees another one, and would want a signature of its own.
        """
        if is_indirect(leg.transport):
            return b""
        peer = leg.transport.getPeer() if leg.transport is not None else None
        ipv6 = ":" in getattr(peer, "host", "")
        for way in self._udp:
            if way.destination is not None and (":" in way.destination[0]) == ipv6:
                return way.request
        return b""

    def _leg_stands(self, leg: Leg) -> None:
        self._connecting = None
        self._leg = leg
        self._tried = way_of(leg.transport)
        self._ask_tcp()

    def _leg_lost(self, leg: Leg, why: str) -> None:
        self._leg = None

    def _tcp_failed(self, failure: Failure) -> IProtocol | None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._way_failed(self._stream, failure.getErrorMessage())
        return None

    def _wait(self, asked: Deferred[Answer], way: _Way) -> None:
        self._waiting.append(asked)
        asked.addCallbacks(
            self._received, self._no_answer, callbackArgs=(way, asked), errbackArgs=(way, asked)
        )

    def _received(self, answer: Answer, way: _Way, asked: Deferred[Answer]) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        if self._closed:
            return
        try:
            if answer.message.message_class is MessageClass.ERROR:
                self._refused(Refusal.decode(answer.message), way)
                return
            if self._answered:
                return
            introduction = judge_answer(
                answer.message,
                self._mediator,
                self._target,
                self._connect.connection_id,
                allow_loopback=self._allow_loopback,
                signed_by=server_checker(
                    self._mediator.audience, self._wall_clock(), self._revocations.revoked
                ),
                on_list=self._revocations.offer,
                round_trip=answer.elapsed,
            )
        except SignallingError as error:
            self._way_failed(way, f"it answers nonsense ({error})")
            return
        self._answered, self._answered_by = True, way
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        # Requests over UDP go on, so that the mediator sees the punching port; TCP need not.
        self._stop_connecting()
        self.result.callback(introduction)

    def _refused(self, refusal: Refusal, way: _Way) -> None:
        asked_for_nonce = refusal.code in (ErrorCode.STALE_NONCE, ErrorCode.UNAUTHENTICATED)
        strange = refusal.audience and refusal.audience != self._mediator.audience
        if asked_for_nonce and refusal.nonce and not strange and way.challenges < MAX_CHALLENGES:
            way.challenges += 1
            way.request = self._signed(refusal.nonce)
            if way.kind == "udp":
                # Even when another way was answered: the mediator shall see the port in this family.
                self._ask_udp(way)
            elif not self._answered:
                self._ask_tcp()
            return
        self._fail(refusal_error(refusal, self._mediator, self._target))

    def _no_answer(self, failure: Failure, way: _Way, asked: Deferred[Answer]) -> None:
        failure.trap(NoAnswer, CancelledError)
        if asked in self._waiting:
            self._waiting.remove(asked)
        if not failure.check(NoAnswer):
            return
        lost = way is self._stream and self._leg is None and not self._answered
        if lost and self._tried is not None and len(self._useless) < MAX_REDIALS:
            # What came was no mediator's, or nothing.
            self._useless.add(self._tried)
            self._stream.request = b""
            self._ask_tcp()
        else:
            self._way_failed(way, failure.getErrorMessage())

    def _way_failed(self, way: _Way, why: str) -> None:
        if self._answered:
            return
        self._ways.discard(way)
        self._failures[f"{way.kind}: {why.rstrip('.')}"] = None
        if not self._ways:
            told = "; ".join(self._failures)
            self._fail(NoMediator(f"cannot reach the mediator {self._mediator}: {told}"))
        elif self._ways == {self._stream} and self._timer is not None and self._timer.active():
            # UDP has failed for certain: no use waiting for the 250 ms.
            self._timer.cancel()
            self._ask_tcp()

    def _fail(self, error: WavesyncError) -> None:
        if not self._answered:
            self.close()
            self.result.errback(error)
