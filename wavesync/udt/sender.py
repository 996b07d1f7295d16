"""The sending half of a connection: what leaves when, what is lost, what is sent again."""

import math

from wavesync.interfaces import Burst, Oversized
from wavesync.udt.congestion import AckSample, CongestionControl, LossEvent, PeerReport
from wavesync.udt.estimators import RoundTrip
from wavesync.udt.gathering import PACING_CREDIT, PEER_WINDOW_PART, WINDOW_PART, Gathering
from wavesync.udt.outgoing import Outgoing
from wavesync.udt.packet import HEADER_SIZE
from wavesync.udt.ranges import RangeSet
from wavesync.udt.send_buffer import MAX_FLIGHT, PROBE_PERIOD, SendBuffer
from wavesync.udt.statistics import Statistics
from wavesync.udt.tail import FEW, MIN_TAIL_TIMEOUT, RESEND_ALL_AFTER, SharedTrip, tail_timeout

__all__ = ["Sender"]


class Sender:
    """See the module.

    :param now: seconds.
    :param buffer: where the bytes are.
    :param window: packets that the peer's buffer has room for at the start.
    :param congestion: the strategy.
    :param hold_until: seconds; nothing leaves before.
    :param statistics: counters to keep.
    :param shared_trip: see :attr:`shared`.
    :ivar shared: what other connections with the peer's address know of the round trip, and are told.
    :ivar round_trip: from a packet's leaving to its acknowledgement.
    """

    __slots__ = (
        "_app_limited",
        "_buffer",
        "_congestion",
        "_gathering",
        "_head_time",
        "_hold_until",
        "_isn",
        "_known",
        "_limit",
        "_lost",
        "_missing",
        "_next_send",
        "_patient_until",
        "_probes",
        "_queue",
        "_recent",
        "_recent_times",
        "_recovery_end",
        "_settled",
        "_statistics",
        "_timeouts",
        "round_trip",
        "shared",
    )

    def __init__(
        self,
        now: float,
        buffer: SendBuffer,
        window: int,
        congestion: CongestionControl,
        hold_until: float,
        statistics: Statistics,
        shared_trip: SharedTrip | None = None,
    ) -> None:
        """Begin with nothing sent."""
        self.shared = SharedTrip() if shared_trip is None else shared_trip
        self._buffer = buffer
        self._congestion = congestion
        self._hold_until = hold_until
        self._statistics = statistics
        self.round_trip = RoundTrip()
        self._gathering = Gathering(buffer, self.shared)
        self._isn = buffer.next
        self._limit = buffer.next + min(window, MAX_FLIGHT)  # first packet the peer has no room for
        self._next_send = now
        self._known = buffer.next  # everything before it has arrived or has been asked for
        self._missing = RangeSet()  # what the peer asked for and has not acknowledged
        self._queue = RangeSet()  # to be sent again
        self._recent = RangeSet()  # sent again and still on its way
        self._recent_times: list[tuple[float, int, int, int]] = []
        # A packet sent again counts as arrived when a later one has, or after a round trip, unless
        # the peer asks for it once more: its ACKs say nothing of what came behind the first hole.
        self._lost = 0
        self._settled = 0
        self._head_time = math.inf  # when the oldest unacknowledged packet last made us wait
        self._timeouts = 0
        self._patient_until = -math.inf  # a crowd waits as long as this, whatever _head_time
        self._probes = 0  # packets that may leave although the window is full
        self._recovery_end = buffer.next  # before it, deliveries are not known well
        self._app_limited = 0  # sequence number; samples before it tell the writer's rate

    @property
    def in_flight(self) -> int:
        """Packets sent and neither known to have arrived nor known to be lost."""
        return self._buffer.next - self._known + self._recent.count

    @property
    def repeats(self) -> int:
        """How often the tail has been sent again since something was acknowledged."""
        return self._timeouts

    @property
    def delivered(self) -> int:
        """Packets that have arrived, as far as is known: steady enough to measure a rate by."""
        return self._known - self._isn - self._lost + self._settled

    # What comes from the peer

    def on_ack(self, point: int, report: PeerReport | None, now: float) -> None:
        """Take an ACK whose *point* lies within what was sent.

        :param point: first packet that the peer has not received (extended).
        :param report: None for a light ACK or one older than another already seen.
        """
        buffer = self._buffer
        moved = point - buffer.acknowledged
        if report is not None and moved >= 0:
            # One packet may always be in flight: it asks a closed window whether it has opened.
            self._limit = point + min(max(report.window, 1), MAX_FLIGHT)
        if moved <= 0:
            return
        self._missing.remove_below(point)
        self._recent.remove_below(point)
        self._settled += self._queue.remove_below(point)
        self._timeouts = self._probes = 0
        self._note_delivery(max(point, self._known), moved, report, now)
        buffer.acknowledge(point)
        self._head_time = math.inf
        if point < buffer.next:
            self._head_time = now
            if buffer.next - point <= FEW and (burst := buffer.find(point)).clean:
                # It left no later than what was acknowledged just now.
                self._head_time = burst.sent_at

    def on_nak(self, ranges: list[tuple[int, int]], now: float) -> bool:
        """Take a NAK.

        :param ranges: (start, stop) of what the peer misses (extended, half-open).
        :returns: False when it names a packet never sent; then nothing was done.
        """
        buffer = self._buffer
        if any(stop > buffer.next for _, stop in ranges):
            return False
        lost = 0
        lowest = buffer.next
        highest = self._known
        for start, stop in ranges:
            start = max(start, buffer.acknowledged)
            if start >= stop:
                continue
            lowest = min(lowest, start)
            # The packet after a gap has arrived, or the gap would not have been noticed.
            highest = max(highest, min(stop + 1, buffer.next))
            self._missing.add(start, stop)
            for part in self._recent.gaps(start, stop):
                lost += self._queue.add(*part)
        self._lost += lost
        if highest > self._known or lost:
            self._note_delivery(highest, 0, None, now)
        if lost:
            self._congestion.on_loss(LossEvent(now, lost, lowest, buffer.next))
        return True

    def _note_delivery(
        self, known: int, acknowledged: int, report: PeerReport | None, now: float
    ) -> None:
        """Measure by the newest packet known to have arrived, and tell the strategy."""
        rtt: float | None = None
        limited, exact = False, True
        prior = 0
        if known > self._known:
            burst = self._buffer.find(known - 1)
            self._known = known
            prior, limited = burst.delivered, burst.app_limited
            self._settle(now)
            exact = burst.first >= self._recovery_end
            took = now - burst.sent_at
            self.shared.add(took, now)
            if burst.clean:
                rtt = took
                self.round_trip.add(rtt)
        if known > self._app_limited:
            self._app_limited = 0
        congestion = self._congestion
        congestion.on_ack(
            AckSample(
                now,
                acknowledged,
                self.delivered,
                prior,
                self.in_flight,
                rtt,
                limited,
                exact,
                report.arrival_rate if report else 0,
                report.capacity if report else 0,
            )
        )
        self._statistics.rtt = self.round_trip.rtt
        self._statistics.rate = congestion.rate

    def _settle(self, now: float) -> None:
        """Count what was sent again as arrived once something sent later has arrived."""
        if self._timeouts > RESEND_ALL_AFTER:
            return
        times = self._recent_times
        limit = now - self.round_trip.repeat_interval
        old = 0
        for at, start, stop, newest in times:
            if newest >= self._known and at > limit:
                break
            self._recent.remove(start, stop)
            self._settled += stop - start
            old += 1
        del times[:old]

    # What leaves

    def datagrams(self, now: float, limit: int, out: Outgoing) -> None:
        """Append the bursts that may leave now, *limit* packets at most."""
        if now < self._hold_until:
            return
        buffer, gathering, rate = self._buffer, self._gathering, self._congestion.rate
        if self._recent_times:
            self._settle(now)
        if not (self._queue.count or buffer.unsent):
            if self._next_send <= now and self.in_flight < int(self._congestion.window):
                self._app_limited = buffer.next
            return
        self._next_send = max(self._next_send, now - gathering.credit(rate))
        while self._queue.count and self._next_send <= now and limit > 0:
            room = min(gathering.burst(rate, now - self._next_send), limit, self._room)
            if room <= 0:
                return
            count = self._send_again(room, now, out)
            limit -= count
            self._next_send += count / rate
        if not self._queue.count:
            self._send_new(limit, now, out)

    def _send_new(self, limit: int, now: float, out: Outgoing) -> None:
        """Append bursts of what has not been sent yet, *limit* packets at most."""
        buffer = self._buffer
        gathering, rate = self._gathering, self._congestion.rate
        statistics = self._statistics
        room = (window := int(self._congestion.window)) - self.in_flight
        delivered = self.delivered
        while limit > 0 and self._next_send <= now:
            if (count := gathering.through(room, window, WINDOW_PART)) <= 0:
                return
            free = self._peer_room
            if free <= 0 or not buffer.unsent:
                # Not the network, but the writer or the reader, is the limit now.
                self._app_limited = buffer.next
                return
            count = min(gathering.burst(rate, now - self._next_send), limit, count, free)
            if (buffer.next + count - 1) % PROBE_PERIOD == 0:
                count = buffer.unparted(count, free)
            if buffer.next == buffer.acknowledged:
                self._head_time = now
            burst = buffer.cut(count, now)
            burst.delivered = delivered
            burst.app_limited = self._app_limited > 0
            out.append(Burst(buffer.packets(burst, 0, burst.count), burst.payload + HEADER_SIZE))
            statistics.packets_sent += burst.count
            statistics.bytes_sent += burst.size
            gathering.left()
            limit -= burst.count
            room -= burst.count
            self._next_send += burst.count / rate

    def small_packet(self, now: float) -> bytes | None:
        """Give the packet with all that was written, if it may leave at once and little is on its way.

        :returns: ``b""`` if nothing was written; ``None`` if it is not as simple as that.
        """
        buffer = self._buffer
        if not buffer.unsent:
            return b""
        late, known = self._next_send, self._known
        if (
            now < late
            or now < self._hold_until
            or buffer.next >= self._limit
            or self._queue.count
            or self._recent_times
            or buffer.next - known >= int(self._congestion.window)
        ):
            return None
        if (made := buffer.cut_small(now)) is None:
            return None
        burst, packet = made
        if burst.first == buffer.acknowledged:
            self._head_time = now
        burst.delivered = known - self._isn - self._lost + self._settled
        burst.app_limited = True
        late = self._next_send = max(late, now - PACING_CREDIT) + 1 / self._congestion.rate
        self._app_limited = buffer.next if late <= now else burst.first
        self._statistics.packets_sent += 1
        self._statistics.bytes_sent += burst.size
        return packet

    @property
    def _room(self) -> int:
        """Packets that the window lets leave, not counting what is for the pace to decide.

        What was lost has left the path, so its repetition needs no room: otherwise a window that
        has shrunk would wait for packets that have arrived behind the hole, which no ACK says.
        After a timeout nothing is known, and only what asks for news leaves in any case.
        """
        queued = self._queue.count
        if queued and not self._timeouts:
            return queued
        room = (window := int(self._congestion.window)) - self.in_flight
        if queued:
            return max(room, 1) if self._probes else room
        return self._gathering.through(room, window, WINDOW_PART)

    @property
    def _peer_room(self) -> int:
        """New packets that the peer's window lets leave."""
        room, window = self._limit - self._buffer.next, self._limit - self._buffer.acknowledged
        return self._gathering.through(room, window, PEER_WINDOW_PART)

    def _send_again(self, room: int, now: float, out: Outgoing) -> int:
        start, stop = self._queue.first()
        burst, count = self._buffer.copy(start, min(stop, start + room))
        if burst.segment_size > self._buffer.payload + HEADER_SIZE:
            burst = Oversized(*burst)
        out.append(burst)
        stop = start + count
        self._queue.remove(start, stop)
        self._probes = max(0, self._probes - count)
        self._recent.add(start, stop)
        self._recent_times.append((now, start, stop, self._buffer.next))
        if start <= self._buffer.acknowledged:
            self._head_time = now
        self._statistics.packets_sent += count
        self._statistics.retransmitted += count
        self._statistics.bytes_sent += len(burst.data) - count * HEADER_SIZE
        return count

    # Time

    @property
    def _tail_timeout(self) -> float:
        """Seconds without progress after which the tail is sent again."""
        waiting = self._buffer.next - self._buffer.acknowledged
        sent = self._buffer.next - self._isn
        return tail_timeout(self.round_trip, waiting, sent, self._timeouts)

    def timer(self, now: float) -> None:
        """Queue the unacknowledged tail again if nothing has been acknowledged for too long."""
        since = self._head_time
        if now < since + MIN_TAIL_TIMEOUT or now < since + self._tail_timeout:
            return
        until = since + self.shared.patience(now)
        if now < until:
            self._patient_until = until
            return
        buffer = self._buffer
        first, stop = buffer.acknowledged, buffer.next
        self._head_time = now
        self._statistics.timeouts += 1
        self._timeouts = min(self._timeouts + 1, 16)
        self._probes = 2
        if self._timeouts <= RESEND_ALL_AFTER or self._limit - first <= 2:
            # The oldest hole, and the newest packet: it makes the peer name every other hole.
            holes = self._missing.overlap(first, stop)
            end = holes[0][1] if holes and holes[0][0] == first else first + 1
            self._lost += self._queue.add(first, end) + self._queue.add(stop - 1, stop)
            return
        self._settled += sum(end - start for _, start, end, _ in self._recent_times)
        self._recent_times.clear()
        self._recent = RangeSet()
        self._lost += self._queue.add(first, stop)
        self._known = self._recovery_end = stop
        self._congestion.on_timeout(now)

    def deadline(self) -> float:
        """Tell when :meth:`datagrams` or :meth:`timer` will have something to do."""
        tail = self._head_time
        if tail < math.inf:
            tail = max(tail + self._tail_timeout, self._patient_until)
        ready = self._queue.count or (self._buffer.unsent and self._peer_room > 0)
        if not ready or self._room <= 0:
            return tail
        return min(tail, max(self._next_send, self._hold_until))

    def stop(self) -> None:
        """Forget everything written and sent."""
        self._buffer.clear()
        self._known = self._buffer.next
        self._missing = RangeSet()
        self._queue = RangeSet()
        self._head_time = math.inf
