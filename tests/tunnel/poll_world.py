"""A client's and a server's end of a polled tunnel, and between them a proxy that does its worst."""

import heapq
import itertools
from collections.abc import Callable
from functools import partial
from random import Random

from wavesync.tunnel.poll_core import ClientCore, Sending
from wavesync.tunnel.poll_held import Answering, ServerCore
from wavesync.tunnel.poll_limits import PollLimits

__all__ = ["PollWorld"]

_CUT_NOTICED = 0.05


class PollWorld:
    """Both cores on a virtual clock.

    :param seed: of everything that is random.
    :param delay: seconds, one way.
    :param jitter: up to so many seconds more: requests overtake each other.
    :param lose: probability that a request or an answer is lost with its connection.
    :param swallow: probability that one is lost without anybody being told.
    :param repeat: probability that the proxy sends a request twice.
    :param cut: seconds after which the proxy cuts a request that is not answered; None for never.
    :param limits: of the server.
    :ivar now: the time.
    :ivar requests: what the client has sent, in order.
    :ivar down: whether the proxy cuts everything at once.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        delay: float = 0.03,
        jitter: float = 0.0,
        lose: float = 0.0,
        swallow: float = 0.0,
        repeat: float = 0.0,
        cut: float | None = None,
        limits: PollLimits = PollLimits(),  # noqa: B008
    ) -> None:
        self.random = Random(seed)
        self.delay, self.jitter = delay, jitter
        self.lose, self.swallow, self.repeat, self.cut = lose, swallow, repeat, cut
        self.down = False
        self.now = 100.0
        self.client = ClientCore(self.random.random)
        self.server: ServerCore[tuple[int, int]] = ServerCore(limits)
        self.requests: list[Sending] = []
        self.answered: list[tuple[float, Answering[tuple[int, int]]]] = []
        self.arrived_up = bytearray()
        self.arrived_down = bytearray()
        self.reading_up = self.reading_down = True
        self.echo = False
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._client_alarm = self._server_alarm = float("inf")
        self._times = itertools.count()

    def write_up(self, data: bytes) -> None:
        """Have the client send."""
        self.client.outgoing.write(data)
        self.turn()

    def write_down(self, data: bytes) -> None:
        """Have the server send."""
        self.server.outgoing.write(data)
        self.turn()

    def after(self, delay: float, what: Callable[[], None]) -> None:
        """Have something done later."""
        heapq.heappush(self._events, (self.now + delay, next(self._order), what))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.until(lambda: False, seconds)

    def until(self, question: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until the answer is yes; tell whether it was in time."""
        end = self.now + seconds
        self.turn()
        while not question():
            due = self._events[0][0] if self._events else float("inf")
            at = min(due, self._client_alarm, self._server_alarm)
            if at > end:
                self.now = end
                return question()
            self.now = max(self.now, at)
            if due <= self.now:
                heapq.heappop(self._events)[2]()
            if self._client_alarm <= self.now:
                self.client.timer(self.now)
            self.turn()
        return True

    def until_up(self, count: int, seconds: float) -> bool:
        """Let time pass until so many bytes have come up; tell whether they did in time."""
        return self.until(lambda: len(self.arrived_up) >= count, seconds)

    def until_down(self, count: int, seconds: float) -> bool:
        """The same for bytes down."""
        return self.until(lambda: len(self.arrived_down) >= count, seconds)

    def turn(self) -> None:
        """Have both send what they have to send."""
        self._deliver()
        for sending in self.client.requests(self.now):
            self.requests.append(sending)
            self._post(sending)
        for answering in self.server.answers(self.now):
            self.answered.append((self.now, answering))
            self._answer(answering)
        self._client_alarm = self._at(self.client.deadline())
        self._server_alarm = self._at(self.server.deadline())

    def _at(self, deadline: float | None) -> float:
        return float("inf") if deadline is None else deadline + 1e-6

    def _deliver(self) -> None:
        if self.reading_down and self.client.incoming.waiting:
            data = self.client.incoming.deliver()
            self.arrived_down += data
        if self.reading_up and self.server.incoming.waiting:
            data = self.server.incoming.deliver()
            self.arrived_up += data
            if self.echo:
                self.server.outgoing.write(data)

    def _time(self) -> float:
        return self.delay + self.jitter * self.random.random()

    def _fail(self, serial: int, age: float) -> None:
        self.client.failed(serial, "the proxy closed the connection", self.now, life=age)

    def _post(self, sending: Sending) -> None:
        serial, began = sending.request.serial, self.now

        def failed() -> None:
            self._fail(serial, self.now - began)

        if self.cut is not None:
            self.after(self.cut, failed)
        fate = self.random.random()
        if self.down or fate < self.lose:
            self.after(_CUT_NOTICED, failed)
            if self.down or self.random.random() < 0.5:
                return  # else it arrives and the answer will not be waited for
        elif fate < self.lose + self.swallow:
            return
        copies = 1 + (self.random.random() < self.repeat)
        for _ in range(copies):
            key = (serial, next(self._times))
            self.after(self._time(), partial(self._arrive, key, sending))

    def _arrive(self, key: tuple[int, int], sending: Sending) -> None:
        self.server.request(key, sending.request, sending.body, self.now)

    def _answer(self, answering: Answering[tuple[int, int]]) -> None:
        serial, _ = answering.carrier
        fate = self.random.random()
        if self.down or fate < self.lose:
            self.after(_CUT_NOTICED, lambda: self._fail(serial, 0.0))
        elif fate >= self.lose + self.swallow:
            self.after(self._time(), lambda: self._return(serial, answering))

    def _return(self, serial: int, answering: Answering[tuple[int, int]]) -> None:
        self.client.answered(serial, answering.answer, answering.body, self.now)
