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

from wavesync.interfaces import Burst
from wavesync.udt.bottleneck import BottleneckControl
from wavesync.udt.congestion import CongestionControl
from wavesync.udt.controls import Controls
from wavesync.udt.deliveries import Deliveries
from wavesync.udt.ending import Ending
from wavesync.udt.events import Closed, CloseReason, DataReceived, Event, SendBufferLow
from wavesync.udt.exchange import Exchange
from wavesync.udt.feedback import Feedback
from wavesync.udt.outgoing import Outgoing
from wavesync.udt.packet import (
    HEADER,
    HEADER_SIZE,
    IP_UDP_OVERHEAD,
    ControlType,
    payload_size,
)
from wavesync.udt.path_size import PathSize
from wavesync.udt.patience import KEEP_ALIVE_INTERVAL, PEER_TIMEOUT, Patience
from wavesync.udt.receiver import Receiver
from wavesync.udt.room import Room
from wavesync.udt.scanning import consecutive, split_burst, strip
from wavesync.udt.send_buffer import SendBuffer
from wavesync.udt.sender import Sender
from wavesync.udt.sequence import MODULUS
from wavesync.udt.statistics import Statistics
from wavesync.udt.tail import SharedTrip

__all__ = ["CloseReason", "Closed", "Connection", "DataReceived", "Event", "SendBufferLow"]

MAX_DATAGRAMS = 20 * 44
"""Data packets that one call of :meth:`Connection.datagrams` gives out at most by default."""


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
    :param receive_room: what the system keeps for us besides; ``None`` for any amount.
    :param early_window: packets that we buffer until :meth:`trust`; ``None`` for all the same.
    :param sparing: the peer is a wavesync end: it needs fewer ACKs, and its light ones are final.
    :param shared_trip: what other connections with the peer's address know of the round trip.
    :param congestion: the strategy; a new default one when None.
    :param hold_data_until: time before which no data packet leaves.
    :ivar exchange: a shorter way, while it is :attr:`plain`.
    :ivar statistics: counters.
    :ivar keep_alive_interval: seconds of our own silence after which a keep-alive leaves; well below
        :data:`PEER_TIMEOUT`.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_closing",
        "_controls",
        "_deliveries",
        "_ending",
        "_feedback",
        "_local_id",
        "_now",
        "_path",
        "_patience",
        "_receiver",
        "_segment",
        "_sender",
        "_window",
        "exchange",
        "keep_alive_interval",
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
        receive_room: Room | None = None,
        early_window: int | None = None,
        sparing: bool = False,
        shared_trip: SharedTrip | None = None,
        congestion: CongestionControl | None = None,
        hold_data_until: float = 0.0,
    ) -> None:
        """Begin with nothing sent and nothing received."""
        statistics = self.statistics = Statistics()
        self._now = now
        self._local_id = local_id
        self._buffer = SendBuffer(peer_id, send_isn, payload_size(send_mss), now)
        self._sender = Sender(
            now,
            self._buffer,
            peer_window,
            congestion if congestion is not None else BottleneckControl(),
            hold_data_until,
            statistics,
            shared_trip,
        )
        self._segment = receive_mss - IP_UDP_OVERHEAD
        self._receiver = Receiver(
            peer_id,
            receive_isn,
            self._segment,
            receive_window if early_window is None else min(early_window, receive_window),
            payload_size(send_mss),
            statistics,
            sparing,
            receive_room,
        )
        self._window = receive_window
        self._path = PathSize(peer_id, self._buffer, send_mss)
        self._feedback = Feedback(self._buffer, self._sender, self._receiver, statistics, sparing)
        self._deliveries = Deliveries(self._receiver)
        self._patience = Patience(now)
        self.exchange = Exchange(self._receiver, self._deliveries, self._sender, self._patience)
        self.keep_alive_interval = KEEP_ALIVE_INTERVAL
        self._controls = Controls(peer_id, self._feedback, self._receiver, self._path)
        self._closing = False
        self._closed: CloseReason | None = None
        self._ending = Ending(replies=sparing)

    def receive(self, data: bytes | memoryview, segment_size: int, now: float) -> None:
        """Take one or more datagrams from the peer's address that came back to back.

        Whatever is wrong with them is ignored and counted; nothing is raised.

        :param data: packets of *segment_size* bytes; the last may be shorter.
        :param segment_size: 1 or more; ``len(data)`` for a single datagram.
        :param now: seconds.
        """
        self._now = now
        view = memoryview(data)
        if len(view) <= segment_size:
            self._on_packet(view, now)
        elif not self._receive_run(view, segment_size, now):
            for start, stop in split_burst(view, segment_size):
                part = view[start:stop]
                if not self._receive_run(part, segment_size, now):
                    for at in range(0, len(part), segment_size):
                        self._on_packet(part[at : at + segment_size], now)

    def _receive_run(self, data: memoryview, segment_size: int, now: float) -> bool:
        """Take a burst if it is consecutive data packets for us; tell whether it was."""
        run = consecutive(data, segment_size)
        if run is None or run[2] != self._local_id:
            return False
        size = segment_size - HEADER_SIZE
        self.take(run[0], run[1], [strip(data, segment_size)], size, now)
        return True

    def take(self, first: int, count: int, pieces: list[bytes], size: int, now: float) -> None:
        """Take consecutive data packets for us; see :meth:`Receiver.on_run`."""
        self._now = now
        if self._closed is not None:
            self._ending.answer(now)
        elif self._receiver.on_run(first, count, pieces, size, now):
            self._patience.heard_at = now

    def _on_packet(self, packet: memoryview, now: float) -> None:
        """Take one datagram."""
        if not HEADER_SIZE <= len(packet) <= self._segment:
            self.statistics.dropped_bad += 1
            return
        first, info, _, destination = HEADER.unpack_from(packet)
        if destination != self._local_id:
            self.statistics.dropped_bad += 1
        elif first < MODULUS:
            payload = bytes(packet[HEADER_SIZE:])
            self.take(first, 1, [payload], len(payload), now)
        else:
            self._patience.heard_at = now
            kind = first >> 16 & 0x7FFF
            if kind == ControlType.USER_DEFINED:
                self._path.take(first & 0xFFFF, info, len(packet))
            else:
                self._on_control(kind, info, packet[HEADER_SIZE:], now)

    def _on_control(self, kind: int, info: int, body: memoryview, now: float) -> None:
        """Take one control packet for us."""
        if kind == ControlType.SHUTDOWN:
            if self._closed is None:
                self._end(CloseReason.PEER)
            self._ending.heard(self._now)
        elif self._closed is not None:
            if kind in (ControlType.ACK, ControlType.NAK, ControlType.KEEP_ALIVE):
                self._ending.answer(now)
        elif kind == ControlType.ACK:
            self._feedback.on_ack(info, body, now)
        elif kind == ControlType.ACK2:
            self._feedback.on_ack2(info, now)
        elif kind == ControlType.NAK:
            self._feedback.on_nak(body, now)
        # Keep-alives have been heard; congestion warnings, drop requests, peer errors, unknown
        # types and late handshakes mean nothing to a stream.

    # What the application does

    def write(self, data: bytes) -> None:
        """Queue bytes that leave with the next :meth:`datagrams`; none once it is closing."""
        if self._closing or self._closed is not None:
            return
        self._buffer.write(data)

    def close(self) -> None:
        """Send what was written, wait until all is acknowledged, then say SHUTDOWN three times."""
        if self._closed is None and not self._closing:
            self._closing = True
            self._patience.begin(self._buffer.acknowledged, self._now)

    def abort(self) -> None:
        """Forget what was written and say SHUTDOWN at once."""
        if self._closed is None:
            self._end(CloseReason.ABORTED)
            self._ending.begin(self._now)

    def pause_reading(self) -> None:
        """Give out no more data; the window that the peer is told closes as data arrives."""
        self._deliveries.paused = True

    def resume_reading(self) -> None:
        """Give out data again, and tell the peer about the room."""
        if not self._deliveries.paused:
            return
        self._deliveries.paused = False
        if self._receiver.readable and self._closed is None:
            self._deliveries.collect()
            self._receiver.room_again(self._now)

    def trust(self) -> None:
        """The peer is known: buffer as much of it as was offered."""
        self._receiver.widen(self._window)

    def new_path(self, *, settled: bool) -> None:
        """The peer is a wavesync end, and packets take another path to it from now on.

        :param settled: they will go on to take it: find out how large they may be.
        """
        self._path.begin(self._now, ask=settled)

    def too_large(self, datagram: bytes, now: float) -> bool:
        """A packet of ours is too large for the way: send smaller ones, and tell whether it must go."""
        if datagram[0] & 0x80:
            return False  # a probe; anything else is small
        self._path.too_large(len(datagram), now)
        return True

    def expect_round_trip(self, seconds: float | None) -> None:
        """Go by what the handshakes took until a round trip has been measured; ``None``: unknown."""
        if seconds is not None:
            self._sender.shared.expect(seconds, self._now)
            for trip in (self._sender.round_trip, self._receiver.round_trip):
                trip.adopt(seconds, seconds / 2)

    def send_keep_alive(self) -> None:
        """Let the next :meth:`datagrams` hold a keep-alive (shows a peer that it was heard)."""
        self._controls.keep_alive = True

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
        return not self._buffer.full

    @property
    def finished(self) -> bool:
        """Whether nothing more will be sent or answered: forget the id."""
        return self._ending.finished

    def events(self) -> list[Event]:
        """Give, and forget, what happened since the last call; no data while reading is paused."""
        return self._deliveries.take()

    # What goes out

    @property
    def plain(self) -> bool:
        """Whether nothing but data and ACKs is due, or coming up by itself."""
        return self._closed is None and not (self._closing or self._controls.owed)

    def datagrams(self, now: float, limit: int = MAX_DATAGRAMS) -> list[Burst]:
        """Give what may be sent now; parameters as for :meth:`send`."""
        out: list[Burst] = []
        self.send(now, out, limit)
        return out

    def send(self, now: float, out: Outgoing, limit: int = MAX_DATAGRAMS) -> None:
        """Append what may be sent now.

        :param now: seconds.
        :param limit: data packets at most; what is left makes :meth:`deadline` due at once.
        """
        self._now = now
        if self._closed is None:
            self._controls.collect(now, self._sender.round_trip.rtt, out)
            self._sender.datagrams(now, limit, out)
            if self._buffer.turned_low():
                self._deliveries.add(SendBufferLow())
            if self._closing:
                self._drain(now)
        if self._closed is not None and self._ending.due(now, self._sender.round_trip.rtt):
            self._controls.put(ControlType.SHUTDOWN, out)
        if out:
            self._patience.sent_at = now

    def _drain(self, now: float) -> None:
        """End the connection when everything written has been acknowledged."""
        done = self._feedback.drained
        if done or self._patience.is_over(self._buffer.acknowledged, now):
            self._end(CloseReason.LOCAL if done else CloseReason.TIMEOUT)
            self._ending.begin(self._now)

    def timer(self, now: float) -> None:
        """Note that the time is *now*; calling early or late is harmless."""
        self._now = now
        if self._closed is not None:
            self._ending.timer(now)
            return
        if now >= self._patience.heard_at + PEER_TIMEOUT:
            self._end(CloseReason.TIMEOUT)
            self._ending.begin(self._now)
            return
        self._sender.timer(now)
        if self._sender.repeats or self._path.watching:
            self._path.watch(self._sender.repeats, self._patience.heard_at, now)
        if now >= self._patience.sent_at + self.keep_alive_interval:
            self._controls.keep_alive = True

    def deadline(self) -> float | None:
        """Tell when :meth:`timer` wants to be called next; None when :attr:`finished`."""
        if self._ending.finished:
            return None
        if self._closed is not None:
            return self._ending.deadline()
        done = self._closing and self._feedback.drained
        if done or self._controls.owed:
            return self._now
        return min(
            self._sender.deadline(),
            self._receiver.deadline(),
            self._path.deadline(),
            self._patience.deadline(self.keep_alive_interval),
        )

    def _end(self, reason: CloseReason) -> None:
        """Be over, for *reason*; what was received in order can still be read."""
        self._closed = reason
        self._deliveries.collect()
        self._deliveries.add(Closed(reason))
        self._sender.stop()
        self._receiver.stop()
