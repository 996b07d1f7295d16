"""A client's tunnel of short polls: its connections, and the one timer."""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure

from wavesync.alarm import Alarm
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.hello import HelloError, HelloReader, make_hello
from wavesync.tunnel.judging import explain, silence
from wavesync.tunnel.opening import ConnectionFactory
from wavesync.tunnel.place import Place
from wavesync.tunnel.poll_core import ClientCore, Sending
from wavesync.tunnel.poll_end import LEAST_DELAY, PollEnd
from wavesync.tunnel.poll_link import ENDED, PollLink
from wavesync.tunnel.poll_links import PollLinks
from wavesync.tunnel.poll_wire import HEADER, PollAnswer, PollError
from wavesync.tunnel.transport import TunnelTransport
from wavesync.tunnel.wire import Role, Wire

__all__ = ["FAREWELLS", "PollTunnel"]

FAREWELLS = 3
"""Requests that try to tell the server that it is over."""

_FAREWELL_LIFE = 5.0


class PollTunnel(PollEnd):
    """One tunnel, from its opening on (:class:`~.transport.Carrier`).

    :param clock: gives the time and timers.
    :param place: where to.
    :param dial: connects to the place; asked whenever there are too few connections.
    :param factory: makes the protocol once the hello has come back.
    :param timeout: seconds for that.
    :param random: gives that many unpredictable bytes.
    :ivar result: fires with the protocol, or fails with :class:`TunnelError`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        place: Place,
        dial: IStreamClientEndpoint,
        factory: IProtocolFactory,
        timeout: float,
        random: Callable[[int], bytes],
    ) -> None:
        core = ClientCore(lambda: int.from_bytes(random(4), "big") / 2**32)
        super().__init__(clock, core.outgoing, core.incoming)
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._stop())
        self._core = core
        self._place = place
        self._dial = dial
        self._factory = factory
        self._timeout = timeout
        self._bytes = random
        self._tunnel = random(16).hex()
        hello = make_hello(random)
        self._hello = HelloReader(hello)
        self._links = PollLinks()
        self._waiting: deque[Sending] = deque()
        self._dialling: dict[Deferred[IProtocol], None] = {}
        self._stage = "connection"
        self._farewells = 0
        self._alarm = Alarm(clock, self._due)
        self._limit: IDelayedCall | None = clock.callLater(timeout, self._timed_out)
        self._first_wire: Wire | None = None
        core.outgoing.write(hello)
        self._turn()

    def abort(self) -> None:
        """End at once."""
        if not self._over:
            self._part(ConnectionAborted())

    # What connections tell (Asker).

    def link_answered(self, link: PollLink, serial: int, answer: PollAnswer, body: bytes) -> None:
        """A request was answered."""
        now = self._clock.seconds()
        link.idle_since = now
        if not link.free:
            self._links.remove(link)
        if self._over:
            self._finish()
            return
        if link.free and self._waiting:
            self._ask(link, self._waiting.popleft())
        self._stage = "byte through the tunnel"
        try:
            self._core.answered(serial, answer, body, now)
        except PollError as error:
            self._break(TunnelError(f"the server's answer makes no sense: {error}", Why.CHANGED))
            return
        self._turn()

    def link_progress(self, serial: int) -> None:
        """A part of an answer has come."""
        self._core.progress(serial, self._clock.seconds())

    def link_failed(
        self, link: PollLink, serial: int, error: TunnelError, *, lost: bool, final: str | None
    ) -> None:
        """A request was not answered."""
        now = self._clock.seconds()
        self._links.remove(link)
        if self._over:
            self._say_farewell()
        elif self._transport is None:
            self._break(error)
        elif final is not None:
            ended = final == ENDED and self._core.outgoing.ended
            reason = ConnectionDone() if ended else ConnectionLost(str(error))
            self._end(Failure(reason))
        else:
            life = now - link.began if lost else None
            self._core.failed(serial, str(error), now, life=life)
            self._turn()

    def link_lost(self, link: PollLink) -> None:
        """A connection without a request is over."""
        self._links.remove(link)

    # Time.

    def _due(self) -> None:
        if self._over:
            return
        now = self._clock.seconds()
        for serial in self._core.timer(now):
            self._drop(serial)
        self._links.close_idle(now)
        self._turn()

    def _drop(self, serial: int) -> None:
        """A request has had its time."""
        self._waiting = deque(each for each in self._waiting if each.request.serial != serial)
        self._links.close_carrier(serial)

    def _turn(self) -> None:
        """Deliver, send, and set the timer."""
        if self._over or self._turning:
            return
        self._turning = True
        try:
            self._deliver()
            self._send_all()
        finally:
            self._turning = False

    def _send_all(self) -> None:
        if self._over:
            return
        core, now = self._core, self._clock.seconds()
        if core.incoming.ended:
            self._part(ConnectionDone(), at_once=True)
        elif core.outgoing.arrived:
            self._end(Failure(ConnectionDone()))
        else:
            self._tell_room()  # before the requests: what is written now is in them
            for sending in () if self._over else core.requests(now):
                self._send(sending)
            if core.dead is not None and not self._over:
                self._end(Failure(ConnectionLost(core.dead)))
            if self._over:
                return
            found = (core.deadline(), self._links.deadline())
            at = min((each for each in found if each is not None), default=None)
            self._alarm.set(None if at is None else max(at, now + LEAST_DELAY))

    # What comes.

    def _received(self, data: bytes) -> None:
        if self._transport is not None:
            super()._received(data)
        else:
            self._greeted(data)

    def _greeted(self, data: bytes) -> None:
        try:
            hello = self._hello.feed(data)
        except HelloError:
            sentence = "something on the way changed the tunnel's first bytes"
            self._break(TunnelError(sentence, Why.CHANGED))
            return
        if hello is not None:
            self._open(self._hello.rest)

    def _open(self, rest: bytes) -> None:
        assert self._first_wire is not None and self._limit is not None
        stream = self._first_wire.stream
        host, peer = stream.getHost(), stream.getPeer()
        self._first_wire = None
        try:
            protocol = self._factory.buildProtocol(peer)
        except Exception:
            failure = Failure()
            self._stop()
            self.result.errback(failure)
            return
        if protocol is None:
            self._break(TunnelError("nobody wants the tunnel any more", Why.CLOSED))
            return
        self._limit.cancel()
        self._limit = None
        self._transport = TunnelTransport(self, self._clock, host, peer)
        self._connect()  # for what is sent while the first connection's request is held
        self._transport.attach(protocol)
        self.result.callback(protocol)
        self._transport.received(rest)

    # What goes.

    def _send(self, sending: Sending) -> None:
        link = self._links.take(self._clock.seconds(), self._core.patience.outworn)
        if link is not None:
            self._ask(link, sending)
            return
        self._waiting.append(sending)
        if len(self._waiting) > len(self._dialling):
            self._connect()

    def _ask(self, link: PollLink, sending: Sending) -> None:
        request, body = sending
        fields = [(HEADER, request.encode())]
        if body:
            fields.append(("Content-Type", "application/octet-stream"))
            fields.append(("Content-Length", str(len(body))))
        # Squid uses a connection to the server once more for a GET, but makes a new one for a POST.
        verb = "POST" if body else "GET"
        head = self._place.request(verb, "poll", self._tunnel, self._bytes(4), fields)
        link.ask(request.serial, head, body)

    def _connect(self) -> None:
        def begun(wire: Wire) -> Role:
            self._first_wire = self._first_wire or wire
            link = PollLink(self, wire, self._place, self._clock.seconds())
            if self._over and not self._waiting:
                link.close()
                return link
            self._stage = "answer"
            self._links.add(link)
            if self._waiting:
                self._ask(link, self._waiting.popleft())
            return link

        dialling = self._dial.connect(ConnectionFactory(self._clock, begun))
        self._dialling[dialling] = None

        def done(result: object) -> None:
            self._dialling.pop(dialling, None)
            if isinstance(result, Failure):
                self._not_connected(result)

        dialling.addBoth(done)

    def _not_connected(self, failure: Failure) -> None:
        if self._over and (failure.check(CancelledError) or not self._waiting):
            return
        error = explain(failure, self._place)
        if self._transport is None:
            self._break(error)
        elif self._over:
            self._waiting.clear()
            self._say_farewell()
        elif len(self._waiting) > len(self._dialling):
            sending = self._waiting.popleft()
            self._core.failed(sending.request.serial, str(error), self._clock.seconds())
            self._turn()

    # The end.

    def _timed_out(self) -> None:
        self._limit = None
        self._break(silence(self._stage, self._timeout, self._place))

    def _break(self, error: TunnelError) -> None:
        """It is over, before it was open or because of what makes no sense."""
        if self._transport is not None:
            self._end(Failure(ConnectionLost(str(error))))
        elif not self._over:
            self._stop()
            self.result.errback(error)

    def _end(self, reason: Failure) -> None:
        """It is over, and the server knows."""
        self._stop()
        assert self._transport is not None
        self._transport.lost(reason)

    def _part(self, error: BaseException, *, at_once: bool = False) -> None:
        """It is over, and the server has to be told."""
        self._links.close_busy()
        self._halt()
        self._say_farewell()
        transport = self._transport
        assert transport is not None
        if at_once:
            transport.lost(Failure(error))
        else:
            self._clock.callLater(0, transport.lost, Failure(error))

    def _say_farewell(self) -> None:
        self._farewells += 1
        if self._farewells > FAREWELLS:
            self._finish()
            return
        if self._soon is None:
            self._soon = self._clock.callLater(_FAREWELL_LIFE, self._finish)
        self._send(self._core.farewell(self._clock.seconds()))

    def _halt(self) -> None:
        """Nothing is delivered or sent any more."""
        self._over = True
        self._alarm.set(None)
        for call in (self._soon, self._limit):
            if call is not None:
                call.cancel()
        self._soon = self._limit = None
        self._waiting.clear()

    def _stop(self) -> None:
        """Nothing is delivered or sent any more, and every connection is closed."""
        self._halt()
        self._finish()

    def _finish(self) -> None:
        """Close every connection."""
        if self._soon is not None:
            if self._soon.active():
                self._soon.cancel()
            self._soon = None
        self._waiting.clear()
        self._farewells = FAREWELLS
        for dialling in list(self._dialling):
            dialling.cancel()
        self._links.close()
