"""One established UDT connection, without I/O, clock or randomness of its own.

A shell feeds it what arrived and the time, and asks it four things after every stimulus:
what to send, what happened, when to come back::

    connection.receive(data, segment_size, now)
    for burst in connection.datagrams(now):
        carrier.send(burst, address)
    for event in connection.events():
        ...
    connection.deadline()          # call timer(now) then

Times are seconds of any monotonic clock; sequence numbers inside are extended (never wrap).
"""

import enum
import math
from dataclasses import dataclass

from wavesync.interfaces import Burst
from wavesync.udt.acknowledger import Acknowledger
from wavesync.udt.bottleneck import BottleneckControl
from wavesync.udt.congestion import CongestionControl
from wavesync.udt.loss_reports import LossReports
from wavesync.udt.packet import (
    HEADER,
    HEADER_SIZE,
    IP_UDP_OVERHEAD,
    ControlType,
    PacketError,
    decode_acknowledgement,
    decode_loss_list,
    encode_control,
    encode_nak,
    payload_size,
)
from wavesync.udt.receive_buffer import ReceiveBuffer, parse_burst
from wavesync.udt.send_buffer import SendBuffer
from wavesync.udt.sender import PeerReport, Sender
from wavesync.udt.sequence import MODULUS, extend, to_wire
from wavesync.udt.statistics import Statistics

__all__ = [
    "CloseReason",
    "Closed",
    "Connection",
    "DataReceived",
    "Event",
    "SendBufferLow",
    "Statistics",
]

MAX_DATAGRAMS = 12 * 44
"""Data packets that one call of :meth:`Connection.datagrams` gives out at most by default."""

KEEP_ALIVE_INTERVAL = 5.0
"""Seconds of our own silence after which a keep-alive leaves."""

PEER_TIMEOUT = 30.0
"""Seconds of the peer's silence after which it is given up (libudt takes 46 and more)."""

DRAIN_TIMEOUT = 180.0
"""Seconds that :meth:`Connection.close` waits for acknowledgements without any coming."""

SHUTDOWNS = 3
"""Times that SHUTDOWN is said."""

SHUTDOWN_INTERVAL = 0.02
"""Seconds between them, or a round trip if that is longer (at most a second)."""

LINGER = 3.0
"""Seconds after the first SHUTDOWN during which a peer that goes on is told again."""

HIGH_WATER = 2 << 20
"""Unsent bytes at which :attr:`Connection.writable` turns false."""

LOW_WATER = 512 << 10
"""Unsent bytes at which it turns true again."""

MAX_NAK_RANGES = 128
"""Ranges in one NAK packet (1040 bytes at most; fits any path); more make more packets."""

MAX_NAKS_A_TURN = 8
"""NAK packets that one call of :meth:`Connection.datagrams` gives out; the rest waits."""


class CloseReason(enum.Enum):
    """Why a connection is over."""

    LOCAL = "closed here, everything acknowledged"
    PEER = "closed by the peer"
    ABORTED = "aborted here"
    TIMEOUT = "the peer fell silent"


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes of the stream arrived, in order.

    :ivar data: 1 byte or more.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class SendBufferLow:
    """The unsent bytes fell to the low-water mark after having been above the high one."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over in both directions; the last event.

    :ivar reason: who or what ended it.
    """

    reason: CloseReason


Event = DataReceived | SendBufferLow | Closed


class Connection:
    """One connection after its handshake.

    :param now: the time it begins, seconds.
    :param local_id: our socket id, the destination id of everything that comes in.
    :param peer_id: the peer's socket id.
    :param send_isn: sequence number of our first data packet (wire).
    :param receive_isn: sequence number of the peer's first data packet (wire).
    :param send_mss: IP packet size that the peer takes, 76 .. 65535; ours are never longer.
    :param peer_window: packets that the peer is ready to buffer (its handshake's window).
    :param receive_mss: IP packet size of the peer's full packets; longer ones are dropped.
    :param receive_window: packets that we are ready to buffer.
    :param congestion: the strategy; a new default one when None.
    :param hold_data_until: time before which no data packet leaves.
    :ivar statistics: counters.
    """

    __slots__ = (
        "_above_high",
        "_acknowledger",
        "_buffer",
        "_closed",
        "_closing",
        "_drain_progress",
        "_events",
        "_finished",
        "_heard_at",
        "_keep_alive",
        "_linger_end",
        "_local_id",
        "_losses",
        "_nak_backlog",
        "_newest_ack",
        "_now",
        "_paused",
        "_peer_id",
        "_pending_ack2",
        "_received",
        "_segment",
        "_sender",
        "_sent_at",
        "_shutdown_due",
        "_shutdowns",
        "statistics",
    )

    def __init__(
        self,
        *,
        now: float,
        local_id: int,
        peer_id: int,
        send_isn: int,
        receive_isn: int,
        send_mss: int,
        peer_window: int,
        receive_mss: int = 1500,
        receive_window: int = 8192,
        congestion: CongestionControl | None = None,
        hold_data_until: float = 0.0,
    ) -> None:
        """Begin with nothing sent and nothing received."""
        self.statistics = Statistics()
        self._now = now
        self._local_id = local_id
        self._peer_id = peer_id
        self._segment = receive_mss - IP_UDP_OVERHEAD
        self._buffer = SendBuffer(peer_id, send_isn, payload_size(send_mss), now)
        self._sender = Sender(
            now,
            self._buffer,
            peer_window,
            congestion if congestion is not None else BottleneckControl(),
            hold_data_until,
            self.statistics,
        )
        self._received = ReceiveBuffer(receive_isn, receive_window)
        self._acknowledger = Acknowledger(peer_id, receive_isn)
        self._losses = LossReports(self._received.missing, self._acknowledger.round_trip)
        self._nak_backlog: list[tuple[int, int]] = []
        self._newest_ack = 0
        self._pending_ack2: int | None = None
        self._events: list[Event] = []
        self._heard_at = now
        self._sent_at = now
        self._keep_alive = False
        self._paused = False
        self._above_high = False
        self._closing = False
        self._closed: CloseReason | None = None
        self._drain_progress = (0, now)
        self._shutdowns = 0  # still to be said
        self._shutdown_due = math.inf
        self._linger_end = math.inf
        self._finished = False

    # What comes in

    def receive(self, data: bytes | memoryview, segment_size: int, now: float) -> None:
        """Take one or more datagrams from the peer's address that came back to back.

        Whatever is wrong with them is ignored and counted; nothing is raised.

        :param data: packets of *segment_size* bytes; the last may be shorter.
        :param segment_size: 1 or more; ``len(data)`` for a single datagram.
        :param now: seconds.
        """
        self._now = now
        if segment_size < HEADER_SIZE or len(data) < HEADER_SIZE:
            self.statistics.dropped_bad += 1
            return
        run = parse_burst(data, segment_size, self._local_id)
        if run is not None:
            short = len(data) % segment_size != 0 or segment_size != self._segment
            self._on_run(*run, segment_size - HEADER_SIZE, short, now)
            return
        view = memoryview(data)
        for start in range(0, len(view), segment_size):
            self._on_packet(view[start : start + segment_size], now)

    def _on_packet(self, packet: memoryview, now: float) -> None:
        """Take one datagram."""
        if len(packet) < HEADER_SIZE:
            self.statistics.dropped_bad += 1
            return
        first, info, _, destination = HEADER.unpack_from(packet)
        if destination != self._local_id:
            self.statistics.dropped_bad += 1
        elif first < MODULUS:
            payload = bytes(packet[HEADER_SIZE:])
            short = len(packet) != self._segment
            self._on_run(first, 1, payload, len(payload), short, now)
        else:
            self._heard_at = now
            self._on_control(first >> 16 & 0x7FFF, info, packet[HEADER_SIZE:], now)

    def _on_run(
        self, first: int, count: int, payload: bytes, size: int, short: bool, now: float
    ) -> None:
        """Take *count* consecutive data packets of *size* payload bytes, the last maybe shorter."""
        if self._closed is not None:
            self._answer_late(now)
            return
        received = self._received
        if size > self._segment - HEADER_SIZE:
            self.statistics.dropped_bad += count
            return
        self._heard_at = now
        number = extend(first, received.expected)
        highest = received.highest
        holes = bool(received.missing)
        accepted = received.accept(number, count, payload, size)
        if not accepted:
            if number + count <= received.highest:
                self.statistics.duplicates += count
            else:
                self.statistics.dropped_bad += count
        else:
            self.statistics.packets_received += accepted
            self.statistics.bytes_received += len(payload) if accepted == count else accepted * size
            if number > highest:
                self._losses.gap(highest, number, now)
            elif holes and number < highest:
                self._losses.filled(number, number + count, now)
            acknowledger = self._acknowledger
            acknowledger.arrival.add(count, now)
            acknowledger.capacity.add(number, count, now, acknowledger.arrival.spacing)
        self._acknowledger.on_data(received.expected, accepted, short, now)

    def _on_control(self, kind: int, info: int, body: memoryview, now: float) -> None:
        """Take one control packet for us."""
        if kind == ControlType.SHUTDOWN:
            self._on_shutdown()
        elif self._closed is not None:
            if kind in (ControlType.ACK, ControlType.NAK, ControlType.KEEP_ALIVE):
                self._answer_late(now)
        elif kind == ControlType.ACK:
            self._on_ack(info, body, now)
        elif kind == ControlType.ACK2:
            if not self._acknowledger.on_ack2(info, now):
                # Late or forged; a late one is common when ACKs overtake each other.
                self.statistics.duplicates += 1
        elif kind == ControlType.NAK:
            self._on_nak(body, now)
        # Keep-alives have been heard; congestion warnings, drop requests, peer errors, unknown
        # types and late handshakes mean nothing to a stream.

    def _on_ack(self, number: int, body: memoryview, now: float) -> None:
        buffer = self._buffer
        try:
            ack = decode_acknowledgement(body)
        except PacketError:
            self.statistics.dropped_bad += 1
            return
        point = extend(ack.sequence, buffer.acknowledged)
        if point > buffer.next:
            self.statistics.dropped_bad += 1
            return
        report: PeerReport | None = None
        if ack.free is not None:
            self._pending_ack2 = number
            newest = extend(number & (MODULUS - 1), self._newest_ack)
            if newest > self._newest_ack:
                self._newest_ack = newest
                report = PeerReport(ack.free, ack.arrival_rate or 0, ack.capacity or 0)
            self._sender.round_trip.adopt((ack.rtt or 0) / 1e6, (ack.rtt_variance or 0) / 1e6)
            self._acknowledger.round_trip.adopt((ack.rtt or 0) / 1e6, (ack.rtt_variance or 0) / 1e6)
        self._sender.on_ack(point, report, now)

    def _on_nak(self, body: memoryview, now: float) -> None:
        near = self._buffer.acknowledged
        try:
            wire = decode_loss_list(body)
        except PacketError:
            self.statistics.dropped_bad += 1
            return
        ranges = []
        for first, last in wire:
            start = extend(first, near)
            ranges.append((start, start + ((last - first) & (MODULUS - 1)) + 1))
        if self._sender.on_nak(ranges, now):
            self.statistics.naks_received += 1
        else:
            self.statistics.dropped_bad += 1

    def _on_shutdown(self) -> None:
        if self._closed is None:
            self._end(CloseReason.PEER)
        self._finish()

    def _answer_late(self, now: float) -> None:
        """Tell a peer that goes on after we have closed."""
        if not self._finished:
            self._shutdown_due = min(self._shutdown_due, now)
            self._shutdowns = max(self._shutdowns, 1)

    # What the application does

    def write(self, data: bytes) -> None:
        """Queue bytes for the peer; they leave with the next :meth:`datagrams`.

        Nothing happens once the connection is closing or closed.
        """
        if self._closing or self._closed is not None:
            return
        self._buffer.write(data)
        if self._buffer.unsent >= HIGH_WATER:
            self._above_high = True

    def close(self) -> None:
        """Send what was written, wait until all is acknowledged, then say SHUTDOWN three times."""
        if self._closed is None and not self._closing:
            self._closing = True
            self._drain_progress = (self._buffer.acknowledged, self._now)

    def abort(self) -> None:
        """Forget what was written and say SHUTDOWN at once."""
        if self._closed is None:
            self._end(CloseReason.ABORTED)
            self._say_shutdown()

    def pause_reading(self) -> None:
        """Give out no more data; the window that the peer is told closes as data arrives."""
        self._paused = True

    def resume_reading(self) -> None:
        """Give out data again, and tell the peer about the room."""
        if not self._paused:
            return
        self._paused = False
        if self._received.held and self._closed is None:
            self._collect()
            self._acknowledger.window_opened(self._now)

    def send_keep_alive(self) -> None:
        """Let the next :meth:`datagrams` hold a keep-alive (shows a peer that it was heard)."""
        self._keep_alive = True

    @property
    def unacknowledged(self) -> int:
        """Bytes taken by :meth:`write` that the peer has not acknowledged yet."""
        return self._buffer.unacknowledged

    @property
    def unsent(self) -> int:
        """Bytes taken by :meth:`write` that have not left yet."""
        return self._buffer.unsent

    @property
    def writable(self) -> bool:
        """Whether a producer may go on: false from the high-water mark down to the low one."""
        return not self._above_high

    @property
    def finished(self) -> bool:
        """Whether nothing more will be sent or answered: forget the id."""
        return self._finished

    def events(self) -> list[Event]:
        """Give, and forget, what happened since the last call, oldest first.

        While reading is paused neither data nor the end that follows it is given out.
        """
        self._collect()
        events, self._events = self._events, []
        if self._paused and events and isinstance(events[-1], Closed) and self._received.held:
            self._events.append(events.pop())
        return events

    def _collect(self) -> None:
        """Move received bytes into an event, ahead of the end."""
        if self._paused or not self._received.held:
            return
        data = self._received.take()
        if data:
            at = len(self._events)
            if at and isinstance(self._events[-1], Closed):
                at -= 1
            self._events.insert(at, DataReceived(data))

    # What goes out

    def datagrams(self, now: float, limit: int = MAX_DATAGRAMS) -> list[Burst]:
        """Give what may be sent now.

        :param now: seconds.
        :param limit: data packets at most; what is left makes :meth:`deadline` due at once.
        """
        self._now = now
        out: list[Burst] = []
        if self._closed is None:
            self._control(now, out)
            self._sender.datagrams(now, limit, out)
            if self._above_high and self._buffer.unsent <= LOW_WATER:
                self._above_high = False
                self._events.append(SendBufferLow())
            if self._closing:
                self._drain(now)
        if self._shutdowns and now >= self._shutdown_due:
            self._shutdowns -= 1
            pause = min(1.0, max(SHUTDOWN_INTERVAL, self._sender.round_trip.rtt))
            self._shutdown_due = now + pause if self._shutdowns else math.inf
            self._put(ControlType.SHUTDOWN, out)
        if out:
            self._sent_at = now
        return out

    def _put(self, kind: ControlType, out: list[Burst], info: int = 0) -> None:
        packet = encode_control(kind, self._peer_id, info)
        out.append(Burst(packet, len(packet)))

    def _control(self, now: float, out: list[Burst]) -> None:
        """Append the control packets that are due."""
        if self._pending_ack2 is not None:
            self._put(ControlType.ACK2, out, self._pending_ack2)
            self._pending_ack2 = None
        self._nak_backlog += self._losses.due(now)
        for _ in range(MAX_NAKS_A_TURN):
            if not self._nak_backlog:
                break
            part = self._nak_backlog[:MAX_NAK_RANGES]
            del self._nak_backlog[:MAX_NAK_RANGES]
            wire = [(to_wire(start), to_wire(stop - 1)) for start, stop in part]
            packet = encode_nak(self._peer_id, wire)
            out.append(Burst(packet, len(packet)))
            self.statistics.naks_sent += 1
        ack = self._acknowledger.due(now, self._received.free)
        if ack is not None:
            out.append(Burst(ack, len(ack)))
            self.statistics.acks_sent += 1
        if self._keep_alive:
            self._keep_alive = False
            self._put(ControlType.KEEP_ALIVE, out)

    def _drain(self, now: float) -> None:
        """End the connection when everything written has been acknowledged."""
        if not self._buffer.unacknowledged:
            self._end(CloseReason.LOCAL)
            self._say_shutdown()
            return
        point, since = self._drain_progress
        if self._buffer.acknowledged != point:
            self._drain_progress = (self._buffer.acknowledged, now)
        elif now >= since + DRAIN_TIMEOUT:
            self._end(CloseReason.TIMEOUT)
            self._say_shutdown()

    # Time

    def timer(self, now: float) -> None:
        """Note that the time is *now*; calling early or late is harmless."""
        self._now = now
        if self._closed is not None:
            if now >= self._linger_end:
                self._finish()
            return
        if now >= self._heard_at + PEER_TIMEOUT:
            self._end(CloseReason.TIMEOUT)
            self._say_shutdown()
            return
        self._sender.timer(now)
        if now >= self._sent_at + KEEP_ALIVE_INTERVAL:
            self._keep_alive = True

    def deadline(self) -> float | None:
        """Tell when :meth:`timer` wants to be called next; None when :attr:`finished`."""
        if self._finished:
            return None
        if self._closed is not None:
            return min(self._linger_end, self._shutdown_due)
        due = min(
            self._sender.deadline(),
            self._losses.deadline(),
            self._acknowledger.deadline(),
            self._heard_at + PEER_TIMEOUT,
            self._sent_at + KEEP_ALIVE_INTERVAL,
        )
        if self._keep_alive or self._nak_backlog or self._pending_ack2 is not None:
            return self._now
        if self._closing:
            if not self._buffer.unacknowledged:
                return self._now
            return min(due, self._drain_progress[1] + DRAIN_TIMEOUT)
        return due

    # The end

    def _end(self, reason: CloseReason) -> None:
        """Be over, for *reason*; what was received in order can still be read."""
        self._closed = reason
        self._collect()
        self._events.append(Closed(reason))
        self._sender.stop()
        self._received.clear()
        self._nak_backlog.clear()

    def _say_shutdown(self) -> None:
        self._shutdowns = SHUTDOWNS
        self._shutdown_due = self._now
        self._linger_end = self._now + LINGER

    def _finish(self) -> None:
        self._finished = True
        self._shutdowns = 0
        self._shutdown_due = math.inf
