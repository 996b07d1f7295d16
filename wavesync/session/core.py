"""One session on a byte stream, without any I/O or clock of its own (docs/session).

A shell hands in received bytes, its application's wishes and the time, and carries out what the
core gives back: bytes to send, events, and the time of the next :meth:`SessionCore.timer` call.
"""

from math import inf
from typing import Final

from wavesync.session.errors import Refusal
from wavesync.session.events import (
    DataReceived,
    EndAcknowledged,
    EndReceived,
    Event,
    PongReceived,
    Side,
)
from wavesync.session.frames import (
    Ack,
    Data,
    End,
    Frame,
    FrameDecoder,
    FrameError,
    Open,
    Opened,
    Options,
    Ping,
    Pong,
    Refused,
    Reset,
    encode,
    encode_data,
    is_service_name,
)
from wavesync.session.lifecycle import lifecycle
from wavesync.session.liveness import SILENCE, Due, Liveness, Timing
from wavesync.session.receipts import ACKNOWLEDGE_BESIDE, Dispatches, Receipts

__all__ = ["CONTROL", "SessionCore", "Side", "Timing"]

CONTROL: Final = ""
"""The service name of a control session, which carries no bytes and holds a NAT's hole open."""


class SessionCore:
    """One end of a session, from authentication to its end.

    :param side: client or server.
    :param now: the time in seconds, on the clock of all later calls.
    :param timing: the time limits.
    """

    def __init__(self, side: Side, now: float, timing: Timing = Timing()) -> None:  # noqa: B008
        self._timing = timing
        self._decoder = FrameDecoder()
        self._out: list[bytes | memoryview] = []
        self._events: list[Event] = []
        self._now = now
        self.service: str | None = None
        """What was opened; None before OPEN."""
        self.over = False
        """Nothing is sent or taken any more; the path can be closed."""
        self._takes_data = False
        self._gives_data = False
        self._carries = False
        self._side = side

        self.dispatches = Dispatches()
        """What we wrote."""
        self.receipts = Receipts(timing.acknowledge_after)
        """What has come of the peer's."""
        self._end_received = False
        self.closing = False  # the application wants no more of it

        self.liveness = Liveness(timing)
        self._close_by: float | None = None
        self._open_by: float | None = None
        self._writing_paused = False
        self._pong_wanted: bytes | None = None

        self._machine = lifecycle(self)
        if side is Side.SERVER:
            self._machine.serve()
            self._open_by = now + timing.open_within

    # What the application and its shell ask for.

    def open(self, service: str, now: float, options: Options = ()) -> None:
        """Client: ask for *service*; bytes may be written at once and travel along.

        :raises ValueError: not a name, or something was opened before.
        """
        if self._side is not Side.CLIENT or self.liveness.begun:
            raise ValueError("a session opens one service, once, from the client's side")
        if service != CONTROL and not is_service_name(service):
            raise ValueError("a service's name is 1 to 64 of a-z, 0-9, dot, underscore and dash")
        self._now = now
        self._machine.open(service, options)

    def accept(self, now: float) -> None:
        """Server: the service asked for is there."""
        self._now = now
        self._machine.accept()

    def refuse(self, code: int, sentence: str, now: float) -> None:
        """Server: the service asked for is not opened; the session is over."""
        self._now = now
        self._machine.refuse(code, sentence)

    def write(self, data: bytes, now: float) -> None:
        """Send bytes; without effect once the direction was ended or the session is over.

        :raises ValueError: in a control session, or before the service was opened.
        """
        if self.over or self.dispatches.ended:
            return
        if not self._gives_data:
            raise ValueError("this session carries no bytes (yet)")
        self._now = now
        self.dispatches.written += len(data)
        self._out += encode_data(data)
        self._acknowledge_if_due(now, beside=len(data) <= ACKNOWLEDGE_BESIDE)

    def end(self, now: float) -> None:
        """Write nothing more: tell the peer that all was sent.  Reading goes on."""
        self._now = now
        if self.over or self.dispatches.ended or not self.liveness.begun:
            return
        if self._side is Side.SERVER and not self._carries:
            return
        self.dispatches.ended = True
        self._out.append(encode(End()))
        self._acknowledge_if_due(now, beside=True)
        self._check_finished()

    def close(self, now: float) -> None:
        """End, and take nothing more from the peer either: what still comes is dropped.

        A peer that goes on sending after it has acknowledged our END is reset.
        """
        self.closing = True
        self.end(now)
        if self.dispatches.end_confirmed and self._close_by is None:
            self._close_by = now + self._timing.close_within

    def reset(self, code: int, sentence: str, now: float) -> None:
        """Give up: bytes under way may be lost, and the peer learns why."""
        self._now = now
        self._machine.reset(code, sentence)

    def fail(self, code: int, sentence: str, now: float) -> None:
        """Like :meth:`reset`, with a :class:`wavesync.session.events.Lost` event here too."""
        self._now = now
        self._machine.fail(code, sentence)

    def lose(self, sentence: str) -> None:
        """Tell the core that its byte stream ended, in whatever way: never an end of the data."""
        self._machine.lose(sentence)

    def ping(self, now: float) -> bytes | None:
        """Send a PING; a :class:`wavesync.session.events.PongReceived` event follows.

        :returns: the token that the event will carry; None, and nothing is sent, before OPEN and
            after the end.
        """
        self._now = now
        return self._send_ping() if self.liveness.begun and not self.over else None

    def pause_reading(self, now: float) -> None:
        """The shell reads nothing from the stream for a while.

        The peer is not judged by its silence then, and is shown that we live.
        """
        self._now = now
        self.liveness.pause_reading(now)

    def resume_reading(self, now: float) -> None:
        """The shell reads from the stream again."""
        self._now = now
        self.liveness.resume_reading(now)

    def pause_writing(self, now: float) -> None:
        """The stream is congested: answers to PINGs and ACKs are kept back, the last ones only."""
        self._now = now
        self._writing_paused = True

    def resume_writing(self, now: float) -> None:
        """The stream takes bytes again."""
        self._now = now
        self._writing_paused = False
        if self.over:
            return
        if self._pong_wanted is not None:
            self._send_pong(self._pong_wanted)
            self._pong_wanted = None
        self._acknowledge_if_due(now)

    # What the stream brings.

    def receive(self, data: bytes | memoryview, now: float) -> None:
        """Take bytes of the stream; whatever they are, nothing is raised."""
        if self.over:
            return
        self._now = now
        self.liveness.heard(now)
        try:
            for frame in self._decoder.feed(data):
                if type(frame) is Data:
                    self._take_data(frame.data)
                else:
                    self._take(frame)
                if self.over:
                    return
        except FrameError as e:
            self._machine.stray_received(str(e))

    def _take(self, frame: Frame) -> None:
        match frame:
            case Ack(offset):
                self._take_ack(offset)
            case End():
                self._take_end()
            case Ping(token):
                if not self.liveness.begun:
                    self._machine.stray_received("PING came before OPEN")
                elif self._writing_paused:
                    self._pong_wanted = token
                else:
                    self._send_pong(token)
            case Pong(token):
                rtt = self.liveness.pong(token, self._now)
                if rtt is not None:
                    self._events.append(PongReceived(token, rtt))
            case Open(service, options):
                self._machine.open_received(service, options)
            case Opened(options):
                self._machine.opened_received(options)
            case Refused(code, sentence):
                self._machine.refused_received(code, sentence)
            case Reset(code, sentence):
                self._machine.reset_received(code, sentence)

    def _take_data(self, data: bytes) -> None:
        if not self._takes_data:
            self._machine.stray_received("DATA came where it has no place")
            return
        self.receipts.took(len(data), self._now)
        if self.closing:
            if self.dispatches.end_confirmed:
                self._machine.abandon()
                return
        elif data:
            self._events.append(DataReceived(data))
        if self.receipts.many and not self._writing_paused:
            self._send_ack()

    def _take_ack(self, offset: int) -> None:
        new = self.dispatches.confirm(offset) if self.liveness.begun else None
        if new is None:
            self._machine.stray_received("ACK came for bytes that were not sent")
        elif new and self.dispatches.end_confirmed:
            self._events.append(EndAcknowledged())
            if self.closing:
                self._close_by = self._now + self._timing.close_within
            self._check_finished()

    def _take_end(self) -> None:
        served = self.liveness.begun and self._side is Side.SERVER
        if self._end_received or not (self._carries or served):
            self._machine.stray_received("END came where it has no place")
            return
        self._end_received = True
        self._takes_data = False
        self.receipts.took_end(self._now)
        self._events.append(EndReceived())
        self._send_ack()
        self._check_finished()

    # Time.

    def deadline(self) -> float | None:
        """When :meth:`timer` has to be called next; None when nothing is due."""
        if self.over:
            return None
        due = self.liveness.deadline(writable=not self._writing_paused)
        receipt = None if self._writing_paused else self.receipts.due
        for other in (receipt, self._open_by, self._close_by):
            if other is not None and other < due:
                due = other
        return None if due == inf else due

    def timer(self, now: float) -> None:
        """Do what is due at *now*; calling it early or late does no harm."""
        if self.over:
            return
        self._now = now
        if self._open_by is not None and now >= self._open_by:
            self._machine.fail(Refusal.TIMEOUT, "no OPEN came in time")
        elif self._close_by is not None and now >= self._close_by:
            self._machine.abandon()
        elif self.liveness.begun:
            due = self.liveness.look(now, writable=not self._writing_paused)
            if due is Due.DEAD:
                self._machine.fail(Refusal.TIMEOUT, SILENCE)
                return
            if due is Due.PING:
                self._send_ping()
            self._acknowledge_if_due(now)

    def _acknowledge_if_due(self, now: float, *, beside: bool = False) -> None:
        """Send an ACK that is due, or one that would be soon *beside* what leaves anyway."""
        if self._writing_paused:
            return
        due = self.receipts.due
        late = due is not None and (beside or now >= due)
        if late or self.receipts.many or self.liveness.beat_due(now):
            self._send_ack()

    # What the shell fetches.

    @property
    def stirs(self) -> bool:
        """Whether there is anything to be fetched."""
        return bool(self._out or self._events)

    def pieces_to_send(self) -> list[bytes | memoryview]:
        """All bytes to be written to the stream now, to be joined."""
        out, self._out = self._out, []
        return out

    def data_to_send(self) -> bytes:
        """All bytes to be written to the stream now."""
        return b"".join(self.pieces_to_send())

    def events(self) -> list[Event]:
        """All that happened since the last call."""
        events, self._events = self._events, []
        return events

    @property
    def takes_more(self) -> bool:
        """The application may get bytes that have not come yet."""
        return not self.closing and not self._end_received

    @property
    def finished(self) -> bool:
        """Both directions ended, and both sides know."""
        return self._end_received and self.dispatches.end_confirmed

    def _check_finished(self) -> None:
        if self.finished:
            self._machine.finish()

    def _send_ping(self) -> bytes:
        token = self.liveness.ping(self._now)
        self._out.append(encode(Ping(token)))
        return token

    def _send_pong(self, token: bytes) -> None:
        self.liveness.shown(self._now)
        self._out.append(encode(Pong(token)))

    def _send_ack(self) -> None:
        self.liveness.beaten(self._now)
        self._out.append(encode(Ack(self.receipts.acknowledged())))

    # The machine's owner (wavesync.session.lifecycle.Owner).

    def send(self, frame: Frame) -> None:
        """Queue a frame (called by the machine)."""
        self._out.append(encode(frame))

    def tell(self, event: Event) -> None:
        """Queue an event (called by the machine)."""
        self._events.append(event)

    def began(self, service: str) -> None:
        """OPEN was sent or came (called by the machine)."""
        self.service = service
        self.liveness.begin(self._now)
        self._open_by = None
        if service != CONTROL:
            self._gives_data = self._side is Side.CLIENT
            self._takes_data = self._side is Side.SERVER

    def carries(self) -> None:
        """OPENED was sent or came (called by the machine)."""
        self._carries = True
        self._gives_data = self.service != CONTROL
        self._takes_data = self.service != CONTROL and not self._end_received
        if self.service == CONTROL:
            self.liveness.relax()

    def ended(self) -> None:
        """Nothing is sent or taken any more (called by the machine)."""
        self.over = True
