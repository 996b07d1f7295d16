"""The client's end of a polled tunnel, without sockets: which requests there are, and what they carry.

One request is always with the server, which holds it until it has something to say.  Bytes to be sent
make a request of their own at once; that one is then held, and the older one answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wavesync.tunnel.poll_patience import Patience
from wavesync.tunnel.poll_streams import Chunk, Incoming, Outgoing
from wavesync.tunnel.poll_wire import MAX_BODY_UP, MAX_LIVE, PollAnswer, PollError, PollRequest

__all__ = [
    "FIRST_ROOM",
    "GIVE_UP",
    "MANY",
    "MAX_KEEP",
    "MAX_REQUESTS",
    "WINDOW",
    "ClientCore",
    "Sending",
]

WINDOW = 262_144
"""Bytes of each direction that are under way or wait for the application, at either end."""

FIRST_ROOM = 4096
"""Bytes that the first request may carry: no window has been told then."""

MAX_REQUESTS = 5
"""Requests, hence connections, at one time."""

MAX_KEEP = 3
"""Requests that the server may hold where many bytes come down."""

GIVE_UP = 15.0
"""Seconds without any success, from the first failure on, after which the tunnel is lost."""

SLACK = 10.0
"""Seconds beyond the time to be held after which a request without an answer has failed."""

PATIENCE = 3.0
"""Seconds after which bytes that are not acknowledged are sent again, while their request goes on."""

SLOWEST = 8192.0
"""Bytes a second that the slowest lines are thought to carry."""

ACK_EVERY = WINDOW // 4
"""Bytes that are acknowledged by a request of their own where no other goes."""

MANY = 16_384
"""Bytes of an answer after which there may be more than one request can bring."""

_FEW = 4096
_WORTH = (1, 1, 4096, 16_384)  # bytes that are worth one more request beside so many with bytes
_DELAYS = (0.0, 0.1, 0.2, 0.5, 1.0)


class Sending(NamedTuple):
    """A request to be sent.

    :ivar request: what its header says.
    :ivar body: its body.
    """

    request: PollRequest
    body: bytes


@dataclass(slots=True)
class _Exchange:
    started: float
    hold: float
    deadline: float


class ClientCore:
    """All that one end knows.

    :param random: gives a number from 0 to 1, so that not everybody tries again at one time.
    :ivar outgoing: the stream up.
    :ivar incoming: the stream down.
    :ivar patience: how long requests may be held, connections used.
    :ivar dead: why the tunnel is lost; None as long as it is not.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self.outgoing = Outgoing(FIRST_ROOM)
        self.incoming = Incoming(WINDOW)
        self.patience = Patience()
        self.dead: str | None = None
        self._random = random
        self._under_way: dict[int, _Exchange] = {}
        self._kept: dict[int, int] = {}  # answers ahead of a gap: where they end
        self._bodies: dict[int, float] = {}  # when what is sent again unless acknowledged was sent
        self._serial = 0
        self._keep = 1
        self._answered = False
        self._told_got = 0
        self._told_limit = WINDOW
        self._failing_since: float | None = None
        self._failures = 0
        self._failed_at = float("-inf")
        self._not_before = float("-inf")

    @property
    def under_way(self) -> int:
        """Count the requests that are not answered."""
        return len(self._under_way)

    # What is to be sent.

    def requests(self, now: float) -> list[Sending]:
        """Give the requests to be sent now."""
        found: list[Sending] = []
        while self._wanted(now):
            found.append(self._make(now, over=False))
        return found

    def farewell(self, now: float) -> Sending:
        """Give the request that says that it is over: nothing else is sent behind it."""
        return self._make(now, over=True)

    def _wanted(self, now: float) -> bool:
        under_way = len(self._under_way)
        if self.dead is not None or now < self._not_before:
            return False
        self._not_before = float("-inf")
        if under_way >= (MAX_REQUESTS if self._answered else 1):
            return False
        if under_way < self._keep + (self._failing_since is not None):
            return True
        bodies = self._with_body
        if bodies < len(_WORTH) and self.outgoing.ready >= _WORTH[bodies]:
            return True
        if bodies == under_way and bodies > 1:
            return True  # one for the server to answer while those are on their way
        if self._limit - self._told_limit >= ACK_EVERY:
            return True
        return self.incoming.got - self._told_got >= (1 if self.incoming.ended else ACK_EVERY)

    @property
    def _limit(self) -> int:
        return self.incoming.got + self.incoming.room

    @property
    def _with_body(self) -> int:
        return sum(self.outgoing.carried(serial) > 0 for serial in self._under_way)

    def _make(self, now: float, *, over: bool) -> Sending:
        self._serial += 1
        serial = self._serial
        if over:
            chunk = self.outgoing.nothing()
        else:
            chunk = self.outgoing.take(serial, MAX_BODY_UP if self._with_body < len(_WORTH) else 0)
        hold = 0.0 if over else self.patience.hold
        slow = sum(map(self.outgoing.carried, (*self._under_way, serial))) / SLOWEST
        self._under_way[serial] = _Exchange(now, hold, now + hold + SLACK + slow)
        if self.outgoing.carried(serial):
            self._bodies[serial] = now + PATIENCE + slow
        self._told_got, self._told_limit = self.incoming.got, self._limit
        live = (*self._under_way, *sorted(self._kept, key=self._kept.__getitem__))
        request = PollRequest(
            serial,
            chunk.at,
            self.incoming.got,
            self.incoming.room,
            self._keep,
            round(hold * 1000),
            live[:MAX_LIVE],
            last=chunk.last,
            over=over,
        )
        return Sending(request, chunk.data)

    # What becomes of it.

    def answered(self, serial: int, answer: PollAnswer, body: bytes, now: float) -> None:
        """A request was answered.

        :raises PollError: by something that makes no sense; the tunnel is lost.
        """
        exchange = self._under_way.pop(serial, None)
        if exchange is None:
            return
        if answer.serial != serial:
            raise PollError("the answer to another request came")
        self._answered = True
        self._failing_since, self._failures = None, 0
        self._not_before = float("-inf")
        self.outgoing.acknowledge(answer.got, answer.room)
        chunk = Chunk(answer.at, body, answer.last)
        self.incoming.receive(chunk)
        self._kept[serial] = chunk.stop
        got = self.incoming.got
        self._kept = {each: stop for each, stop in self._kept.items() if stop > got}
        if len(body) >= MANY:
            self._keep = min(self._keep + 1, MAX_KEEP)
        elif len(body) < _FEW:
            self._keep = max(1, self._keep - 1)
        if not body and now - exchange.started >= 0.9 * exchange.hold:
            self.patience.held()

    def failed(self, serial: int, why: str, now: float, *, life: float | None = None) -> None:
        """A request was not answered, or not by the server.

        :param why: a sentence.
        :param life: seconds that the connection was open, if that was closed.
        """
        exchange = self._under_way.pop(serial, None)
        if exchange is None or self.dead is not None:
            return
        if life is not None:
            self.patience.cut(now - exchange.started, life)
        self.outgoing.lose(serial)
        self._bodies.pop(serial, None)
        if exchange.started >= self._failed_at:  # else it has the cause of the one before
            self._failed_at = now
            delay = _DELAYS[min(self._failures, len(_DELAYS) - 1)]
            self._not_before = now + delay * (0.5 + 0.5 * self._random())
            self._failures += 1
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= GIVE_UP:
            self.dead = why

    def progress(self, serial: int, now: float) -> None:
        """A part of an answer has come: it is given time for the rest."""
        exchange = self._under_way.get(serial)
        if exchange is not None:
            exchange.deadline = max(exchange.deadline, now + SLACK)

    # Time.

    def deadline(self) -> float | None:
        """Tell when to call :meth:`timer` and :meth:`requests` next."""
        if self.dead is not None:
            return None
        found = [each.deadline for each in self._under_way.values()]
        found += self._bodies.values()
        if self._not_before != float("-inf"):
            found.append(self._not_before)
        return min(found, default=None)

    def timer(self, now: float) -> list[int]:
        """Do what is due.

        :returns: the requests that have failed: their connections are to be closed.
        """
        for serial, at in list(self._bodies.items()):
            if not self.outgoing.carried(serial):
                del self._bodies[serial]
            elif at <= now:
                del self._bodies[serial]
                self.outgoing.lose(serial)
                if self._failing_since is None:
                    self._failing_since = now
                exchange = self._under_way.get(serial)
                if exchange is not None:
                    exchange.deadline = min(exchange.deadline, now + SLACK)
        late = [serial for serial, each in self._under_way.items() if each.deadline <= now]
        for serial in late:
            self.failed(serial, "nothing came back", now)
        return late
