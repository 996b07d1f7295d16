"""The server's end of a polled tunnel, without sockets: requests that are held, and their answers."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from wavesync.tunnel.poll_limits import Pace, PollLimits
from wavesync.tunnel.poll_streams import Chunk, Incoming, Outgoing
from wavesync.tunnel.poll_wire import MAX_BODY_DOWN, MAX_LIVE, PollAnswer, PollError, PollRequest

__all__ = ["ACK_DELAY", "LEAST_PIECE", "REMEMBERED", "Answering", "ServerCore"]

ACK_DELAY = 0.5
"""Seconds after which bytes that have come are acknowledged where no answer has said so."""

LEAST_PIECE = 16_384
"""Bytes of an answer that are not split any further among the requests that are held."""

REMEMBERED = 64
"""Answered requests that are remembered, so that one that is repeated gets the same answer."""

Carrier = TypeVar("Carrier")
_NEVER = float("-inf")


class Answering(NamedTuple, Generic[Carrier]):
    """An answer to be sent.

    :ivar carrier: the connection that the request came on.
    :ivar answer: what its header says.
    :ivar body: its body.
    """

    carrier: Carrier
    answer: PollAnswer
    body: bytes


@dataclass(slots=True)
class _Held(Generic[Carrier]):
    carrier: Carrier
    until: float


class ServerCore(Generic[Carrier]):
    """All that one end knows of a tunnel.

    :param limits: what it has.
    :ivar outgoing: the stream down.
    :ivar incoming: the stream up.
    """

    def __init__(self, limits: PollLimits = PollLimits()) -> None:  # noqa: B008
        self.outgoing = Outgoing(0)
        self.incoming = Incoming(limits.held)
        self._limits = limits
        self._pace = Pace(limits.rate)
        self._held: dict[int, _Held[Carrier]] = {}
        self._answers: list[Answering[Carrier]] = []
        self._answered: OrderedDict[int, None] = OrderedDict()
        self._newest = 0
        self._keep = 1
        self._told_got = 0
        self._told_limit = 0
        self._acknowledge_at: float | None = None

    def __len__(self) -> int:
        """Count the requests that are held."""
        return len(self._held)

    # What comes.

    def request(self, carrier: Carrier, request: PollRequest, body: bytes, now: float) -> None:
        """Take a request in.

        :raises PollError: it makes no sense; the tunnel is lost.
        """
        serial = request.serial
        self.outgoing.acknowledge(request.got, request.room)
        self.outgoing.lose_all_but(frozenset(request.live), serial)
        held = _Held(carrier, now + request.hold / 1000)
        older = self._held.pop(serial, None)
        if older is not None:
            self._answer(serial, older.carrier, self.outgoing.nothing(), now)
        if serial > self._newest:
            self._newest = serial
            self._keep = request.keep
        self.incoming.receive(Chunk(request.at, body, request.last))
        if self.incoming.got > self._told_got and self._acknowledge_at is None:
            self._acknowledge_at = now + ACK_DELAY
        if older is None and (serial in self._answered or serial <= self._newest - REMEMBERED):
            # Something on the way repeats it.  The client may have the first answer: this one must be
            # the same, or it would think it has what was sent with this one.
            self._answer(serial, carrier, self.outgoing.again(serial), now)
        elif len(self._held) > MAX_LIVE:
            # Those that are too many are answered at once, but for the pace.
            raise PollError("more requests than may wait")
        else:
            self._held[serial] = held

    def gone(self, carrier: Carrier) -> None:
        """A connection is closed."""
        for serial, held in list(self._held.items()):
            if held.carrier is carrier:
                del self._held[serial]

    # What goes.

    def answers(self, now: float) -> list[Answering[Carrier]]:
        """Give the answers to be sent now."""
        while self._held and self._pace.at <= now:
            ready, serial = self.outgoing.ready, min(self._held)
            if ready:
                piece = min(MAX_BODY_DOWN, max(LEAST_PIECE, -(-ready // len(self._held))))
            elif self._crowded or self._urgent(now):
                piece = 0
            else:
                late = [each for each, held in self._held.items() if held.until <= now]
                if not late:
                    break
                serial, piece = late[0], 0
            chunk = self.outgoing.take(serial, piece) if piece else self.outgoing.nothing()
            self._answer(serial, self._held.pop(serial).carrier, chunk, now)
        found, self._answers = self._answers, []
        return found

    def dismiss(self) -> list[Answering[Carrier]]:
        """Answer everything that is held, without a byte, and hold it no more."""
        for serial, held in sorted(self._held.items()):
            self._answer(serial, held.carrier, self.outgoing.nothing(), _NEVER)
        self._held.clear()
        found, self._answers = self._answers, []
        return found

    def release(self) -> list[Carrier]:
        """Give the connections whose requests are held, and hold them no more."""
        carriers = [held.carrier for held in self._held.values()]
        self._held.clear()
        return carriers

    @property
    def _crowded(self) -> bool:
        return len(self._held) > min(self._keep, self._limits.waiting)

    @property
    def _limit(self) -> int:
        return self.incoming.got + self.incoming.room

    def _urgent(self, now: float) -> bool:
        """Tell whether the client has to be told something without delay."""
        if self._acknowledge_at is not None and self._acknowledge_at <= now:
            return True
        if self.incoming.ended and self._told_got < self.incoming.got:
            return True
        return self._limit - self._told_limit >= self._limits.held // 4

    def _answer(self, serial: int, carrier: Carrier, chunk: Chunk, now: float) -> None:
        self._pace.answered(now)
        got, room = self.incoming.got, self.incoming.room
        self._told_got, self._told_limit = got, self._limit
        self._acknowledge_at = None
        answer = PollAnswer(serial, chunk.at, got, room, chunk.last)
        self._answers.append(Answering(carrier, answer, chunk.data))
        self._answered[serial] = None
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)

    def deadline(self) -> float | None:
        """Tell when to call :meth:`answers` next."""
        if not self._held:
            return None
        found = [held.until for held in self._held.values()]
        if self._acknowledge_at is not None:
            found.append(self._acknowledge_at)
        if self._limits.rate and (self.outgoing.ready or self._crowded or self._urgent(_NEVER)):
            found.append(self._pace.at)  # but for that they were answered
        return max(min(found), self._pace.at)
