"""``openStream``: a client and the server of its introduction dial each other over TCP.

Both are told only what the mediator has seen itself: the far ends of the two TCP connections over
which they speak with it.  Nobody can forge those, as one can the source of a datagram.  Those of
tunnels are proxies' or web servers', and nobody is told to dial them.
"""

from typing import Protocol

from wavesync.mediator.admission import Admission, Refused
from wavesync.mediator.introducing import Way
from wavesync.mediator.introductions import Introductions
from wavesync.mediator.registry import IRegistry, family
from wavesync.mediator.statistics import Statistics
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import MAX_START_DELAY, ErrorCode, Purpose
from wavesync.signalling.refusals import Refusal
from wavesync.signalling.stream_opening import OpenStream, StreamAnswer, StreamRequested
from wavesync.stun.message import Message

__all__ = ["StreamOpening", "StreamWay"]


class StreamWay(Way, Protocol):
    """A client's leg."""

    @property
    def tunnelled(self) -> bool:
        """Whether it comes through a tunnel over HTTP."""


class StreamOpening:
    """Answers ``openStream``.

    :param admission: checks proofs.
    :param registry: who is registered.
    :param introductions: the table of introductions.
    :param statistics: where to count.
    """

    def __init__(
        self,
        admission: Admission,
        registry: IRegistry,
        introductions: Introductions,
        statistics: Statistics,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._introductions = introductions
        self._statistics = statistics

    def receive(self, message: Message, way: StreamWay, now: float) -> bytes:
        """Return the answer to a request that came over *way*, a byte stream."""
        try:
            return self._decide(message, way, now).encode(message.transaction_id)
        except SignallingError:
            refusal = Refusal(ErrorCode.BAD_REQUEST)
        except Refused as refused:
            refusal = refused.refusal
        self._statistics.refused[refusal.code] += 1
        return refusal.encode(message.method, message.transaction_id)

    def _decide(self, message: Message, way: StreamWay, now: float) -> StreamAnswer:
        request = OpenStream.decode(message)
        proof = self._admission.check(
            message, Purpose.OPEN_STREAM, way.source[0], now, afford=way.afford
        )
        introduction = self._introductions.find(request.connection_id)
        if (
            introduction is None
            or introduction.fingerprint != proof.peer.fingerprint
            or introduction.registration.server != request.server
            or self._registry.by_id(introduction.registration.id) is None
        ):
            raise Refused(Refusal(ErrorCode.NOT_FOUND))
        registration = introduction.registration
        if way.tunnelled or registration.channel.tunnelled:
            raise Refused(Refusal(ErrorCode.NOT_FOUND))
        seen = registration.channel.source
        if family(seen) != family(way.source):
            return StreamAnswer((seen,))
        if introduction.stream_opened:
            raise Refused(Refusal(ErrorCode.QUOTA_REACHED))
        introduction.stream_opened = True
        told_after = registration.leg_time.one_way
        waits = min(max(0.0, request.start - told_after), MAX_START_DELAY)
        told = StreamRequested(request.connection_id, message.raw, (way.source,), waits)
        registration.channel.send(told.encode(self._introductions.transaction_id()))
        self._statistics.streams += 1
        return StreamAnswer((seen,), told_after + waits)
