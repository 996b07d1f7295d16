"""The receiving half of a connection: data in, ACKs and NAKs out."""

from wavesync.interfaces import Burst
from wavesync.udt.acknowledger import Acknowledger
from wavesync.udt.loss_reports import LossReports
from wavesync.udt.outgoing import Outgoing
from wavesync.udt.packet import HEADER_SIZE, encode_nak
from wavesync.udt.path_size import BASE
from wavesync.udt.receive_buffer import ReceiveBuffer
from wavesync.udt.room import Room
from wavesync.udt.sequence import SEQUENCE_MASK, extend, to_wire
from wavesync.udt.statistics import Statistics

__all__ = ["MAX_NAKS_A_TURN", "MAX_NAK_RANGES", "Receiver"]

MAX_NAK_RANGES = 128
"""Ranges in one NAK packet at most (1040 bytes); fewer where the peer takes only less."""

MAX_NAKS_A_TURN = 8
"""NAK packets that one call of :meth:`Receiver.control` gives out; the rest waits."""

PROBE_PERIOD = 16
"""Packets 16n and 16n + 1 are those that capacity is measured by."""


class Receiver:
    """See the module.

    :param peer_id: destination id of what leaves.
    :param isn: extended sequence number of the first packet.
    :param segment: bytes of a full packet with its header; longer ones are dropped.
    :param window: packets that may be held.
    :param payload: bytes that fit behind the header of a packet to the peer.
    :param statistics: counters to keep.
    :param sparing: the peer is a wavesync end; see :class:`Acknowledger`.
    :param room: what the system keeps until we read it; see there, too.
    :ivar acknowledger: says when to acknowledge.
    :ivar round_trip: from an ACK to its ACK2.
    """

    __slots__ = (
        "_backlog",
        "_buffer",
        "_full",
        "_losses",
        "_nak_ranges",
        "_peer_id",
        "_segment",
        "_statistics",
        "acknowledger",
        "round_trip",
    )

    def __init__(
        self,
        peer_id: int,
        isn: int,
        segment: int,
        window: int,
        payload: int,
        statistics: Statistics,
        sparing: bool = False,
        room: Room | None = None,
    ) -> None:
        """Begin with nothing received."""
        self._peer_id = peer_id
        self._segment = segment
        self._full = min(segment, BASE) - HEADER_SIZE  # payload of packets that end no burst
        self._nak_ranges = max(1, min(MAX_NAK_RANGES, payload // 8))
        self._statistics = statistics
        self._buffer = ReceiveBuffer(isn, window)
        self.acknowledger = Acknowledger(peer_id, isn, sparing, room)
        self.round_trip = self.acknowledger.round_trip
        self._losses = LossReports(self._buffer.missing, self.round_trip)
        self._backlog: list[tuple[int, int]] = []  # ranges for the next NAKs

    @property
    def readable(self) -> bool:
        """Whether packets wait for :meth:`take`."""
        return self._buffer.held > 0

    @property
    def backlogged(self) -> bool:
        """Whether :meth:`control` had more to say than it may at once."""
        return bool(self._backlog)

    @property
    def held(self) -> int:
        """Packets kept in memory: unread, or waiting for a gap to close."""
        return self._buffer.held + self._buffer.waiting

    def widen(self, window: int) -> None:
        """Hold up to *window* packets from now on; the next ACK tells the peer."""
        self._buffer.widen(window)
        self.acknowledger.window_widened()

    def take(self) -> list[bytes]:
        """Give all bytes that are in order; see :meth:`ReceiveBuffer.take`."""
        return self._buffer.take()

    def stop(self) -> None:
        """Forget what waits behind a gap; what is in order can still be taken."""
        self._buffer.clear()
        self._backlog.clear()

    def on_run(self, first: int, count: int, pieces: list[bytes], size: int, now: float) -> bool:
        """Take consecutive data packets.

        :param first: sequence number of the first (wire).
        :param count: packets.
        :param pieces: their payloads, joined, or in several pieces that are.
        :param size: payload bytes of each but the last, which may be shorter.
        :returns: False when they are not acceptable to anybody (longer than agreed).
        """
        statistics = self._statistics
        if size > self._segment - HEADER_SIZE:
            statistics.dropped_bad += count
            return False
        buffer = self._buffer
        number = extend(first, buffer.expected)
        highest = buffer.highest
        holes = buffer.missing.count > 0
        total = sum(map(len, pieces))
        accepted = buffer.accept(number, count, pieces, size)
        if accepted:
            statistics.packets_received += accepted
            statistics.bytes_received += total if accepted == count else accepted * size
            if number > highest:
                self._losses.gap(highest, number, now)
            elif holes and number < highest:
                self._losses.filled(number, number + count, now)
            acknowledger = self.acknowledger
            acknowledger.arrival.add(count, now)
            acknowledger.capacity.add(number, count, now)
        elif number + count <= buffer.highest:
            statistics.duplicates += count
        else:
            statistics.dropped_bad += count
        self._full = max(self._full, size)
        short = total != count * self._full
        self.acknowledger.on_data(buffer.expected, accepted, short, now)
        return True

    def on_next(self, first: int, datagram: bytes | memoryview, now: float) -> bool:
        """Take a data packet with bytes in it, if it is simply the next one.

        :param first: its sequence number (wire).
        :param datagram: all of it.
        :returns: whether it was; nothing happened otherwise.
        """
        buffer = self._buffer
        number = buffer.expected
        size = len(datagram) - HEADER_SIZE
        if first != number & SEQUENCE_MASK or size > self._segment - HEADER_SIZE:
            return False
        if not buffer.append(bytes(datagram[HEADER_SIZE:])):
            return False
        statistics = self._statistics
        statistics.packets_received += 1
        statistics.bytes_received += size
        acknowledger = self.acknowledger
        acknowledger.arrival.add(1, now)
        if number % PROBE_PERIOD < 2:
            acknowledger.capacity.add(number, 1, now)
        if size > self._full:
            self._full = size
        acknowledger.on_data(number + 1, 1, size != self._full, now)
        return True

    def on_ack2(self, number: int, now: float) -> bool:
        """Take an ACK2; returns whether it answers an ACK of ours."""
        return self.acknowledger.on_ack2(number, now)

    def room_again(self, now: float) -> None:
        """Tell the peer that the reader has taken what was held."""
        self.acknowledger.window_opened(now)

    def control(self, now: float, out: Outgoing) -> None:
        """Append the NAKs and the ACK that are due."""
        if now >= self._losses.deadline():
            self._backlog += self._losses.due(now)
        if self._backlog:
            self._ask_again(out)
        ack = self.acknowledger.due(now, self._buffer.free)
        if ack is not None:
            out.append(Burst(ack, len(ack)))
            self._statistics.acks_sent += 1

    def _ask_again(self, out: Outgoing) -> None:
        """Append the NAKs for the backlog, as far as they may leave at once."""
        for _ in range(MAX_NAKS_A_TURN):
            if not self._backlog:
                break
            part = self._backlog[: self._nak_ranges]
            del self._backlog[: self._nak_ranges]
            wire = [(to_wire(start), to_wire(stop - 1)) for start, stop in part]
            packet = encode_nak(self._peer_id, wire)
            out.append(Burst(packet, len(packet)))
            self._statistics.naks_sent += 1

    def deadline(self) -> float:
        """Tell when :meth:`control` will next have something; infinity for never."""
        return min(self._losses.deadline(), self.acknowledger.deadline())
