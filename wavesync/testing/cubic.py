"""A model of a TCP with CUBIC (RFC 9438), to see how our flows treat those of others.

Both halves stand in for a :class:`~wavesync.udt.connection.Connection` in a
:class:`~wavesync.testing.link.Simulation`.  Modelled are slow start, CUBIC's growth and its
TCP-friendly region, fast convergence, acknowledgement of every second segment (RFC 5681), selective
acknowledgements (a sender knows what has arrived, RFC 6675), sending by ACK clock without pacing,
and the retransmission timeout (RFC 6298).  There is no handshake, stream or receive window.
"""

import math
from collections import deque
from struct import Struct
from typing import cast

from wavesync.interfaces import Burst
from wavesync.testing.link import End, Link
from wavesync.udt.connection import Connection
from wavesync.udt.estimators import RoundTrip
from wavesync.udt.ranges import RangeSet

__all__ = ["CubicReceiver", "CubicSender", "cubic_pair"]

SEGMENT = 1472
"""Bytes of a segment without what :class:`~wavesync.testing.link.Link` adds: 1500 on the wire."""

ACK_SIZE = 40
"""Bytes of an ACK without what the link adds."""

DELAYED_ACK = 0.04
"""Seconds that the ACK of a single segment is delayed at most."""

INITIAL_WINDOW = 10
"""Segments (RFC 6928)."""

C = 0.4
"""Segments per cubic second: how steeply the window grows."""

BETA = 0.7
"""What remains of the window after a loss."""

MIN_TIMEOUT = 0.2
"""Seconds before everything in flight is sent again, at least, as Linux has it."""

_REORDERING = 3

_HEAD = Struct("!QQQ")  # data: number, -, -; ACK: point, and the range (start, stop) just received


class _Half:
    """What a simulation expects of a connection and a TCP half has no use for."""

    writable = True

    def events(self) -> list[object]:
        """Give nothing: data is only counted."""
        return []


class CubicReceiver(_Half):
    """Acknowledges every second segment, and at once those that come out of order.

    :ivar received: segments that have come in order.
    """

    def __init__(self) -> None:
        """Begin with nothing received."""
        self.received = 0
        self._above = RangeSet()
        self._out: list[Burst] = []
        self._due = math.inf
        self._unacknowledged = 0

    def receive(self, data: bytes, segment_size: int, now: float) -> None:
        """Take one segment."""
        number = _HEAD.unpack_from(data)[0]
        in_order = number == self.received and not self._above
        if in_order:
            self.received += 1
        elif number >= self.received:
            self._above.add(number, number + 1)
            start, stop = self._above.first()
            if start == self.received:
                self.received = stop
                self._above.remove_below(stop)
        self._unacknowledged += 1
        if not in_order or self._unacknowledged >= 2:
            self._acknowledge(number)
        else:
            self._due = now + DELAYED_ACK
            self._newest = number

    def _acknowledge(self, number: int) -> None:
        self._unacknowledged = 0
        self._due = math.inf
        packet = _HEAD.pack(self.received, number, number + 1).ljust(ACK_SIZE, b"\0")
        self._out.append(Burst(packet, ACK_SIZE))

    def datagrams(self, now: float) -> list[Burst]:
        """Give the ACKs that are due."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """Tell when a delayed ACK is due."""
        return self._due if self._due < math.inf else None

    def timer(self, now: float) -> None:
        """Send a delayed ACK that is due."""
        if now >= self._due:
            self._acknowledge(self._newest)


class CubicSender(_Half):
    """Sends without end, as CUBIC allows.

    :ivar window: segments that may be in flight.
    :ivar threshold: segments at which slow start ends.
    """

    def __init__(self, now: float) -> None:
        """Begin in slow start."""
        self.window = float(INITIAL_WINDOW)
        self.threshold = math.inf
        self._trip = RoundTrip()
        self._min_rtt = math.inf
        self._next = 0
        self._point = 0
        self._highest = 0  # one past the highest segment known to have arrived
        self._arrived = RangeSet()
        self._lost = RangeSet()  # to be sent again
        self._lost_below = 0  # everything before it has been judged
        self._resent: deque[tuple[int, int]] = deque()  # (number, the next new one then)
        self._allowance = 0  # segments that may leave in recovery
        self._sent_at: dict[int, float] = {}  # of segments sent once
        self._recovery_end = 0
        self._in_recovery = False
        self._origin = 0.0  # the window that the cubic curve returns to
        self._epoch: float | None = None
        self._inflection = 0.0  # seconds after the epoch
        self._friendly = 0.0
        self._progress_at = now
        self._backoff = 1.0

    @property
    def in_flight(self) -> int:
        """Segments sent and neither known to have arrived nor called lost."""
        above = self._next - self._point - self._arrived.count
        return above - self._lost.count

    def receive(self, data: bytes, segment_size: int, now: float) -> None:
        """Take one ACK."""
        point, start, stop = _HEAD.unpack_from(data)
        sent_at = self._sent_at.pop(start, None)
        if sent_at is not None:
            self._trip.add(now - sent_at)
            self._min_rtt = min(self._min_rtt, now - sent_at)
        before = self._point + self._arrived.count
        if start >= point:
            self._arrived.add(start, stop)
            self._lost.remove(start, stop)
            self._highest = max(self._highest, stop)
        if point > self._point:
            for number in range(self._point, point):
                self._sent_at.pop(number, None)
            self._point = point
            self._highest = max(self._highest, point)
            self._arrived.remove_below(point)
            self._lost.remove_below(point)
            self._progress_at, self._backoff = now, 1.0
        delivered = self._point + self._arrived.count - before
        if self._in_recovery and self._point >= self._recovery_end:
            self._in_recovery = False
        self._allowance = delivered + 1
        self._judge()
        if not self._in_recovery and delivered > 0:
            self._grow(delivered, now)

    def _judge(self) -> None:
        """Call lost what three later segments have overtaken."""
        while self._resent and self._resent[0][1] + _REORDERING < self._highest:
            number, _ = self._resent.popleft()
            if number >= self._point and number not in self._arrived:
                self._lost.add(number, number + 1)
        first = max(self._lost_below, self._point)
        last = self._highest - _REORDERING
        if last <= first:
            return
        self._lost_below = last
        gaps = self._arrived.gaps(first, last)
        if not gaps:
            return
        for start, stop in gaps:
            self._lost.add(start, stop)
            for number in range(start, stop):
                self._sent_at.pop(number, None)
        if not self._in_recovery:
            self._in_recovery = True
            self._recovery_end = self._next
            self._reduce()

    def _reduce(self) -> None:
        """Take a loss: RFC 9438, 4.6 and 4.7."""
        converging = self.window < self._origin
        self._origin = self.window * (1 + BETA) / 2 if converging else self.window
        self.window = max(2.0, self.window * BETA)
        self.threshold = self.window
        self._epoch = None

    def _grow(self, delivered: int, now: float) -> None:
        """Grow: slow start, else RFC 9438, 4.2 to 4.5."""
        if self.window < self.threshold:
            self.window += delivered
            return
        if self._epoch is None:
            self._epoch = now
            self._origin = max(self._origin, self.window)
            self._inflection = ((self._origin - self.window) / C) ** (1 / 3)
            self._friendly = self.window
        elapsed = now - self._epoch
        rtt = self._trip.rtt
        alpha = 3 * (1 - BETA) / (1 + BETA) if self._friendly < self._origin else 1.0
        self._friendly += alpha * delivered / self.window
        target = self._origin + C * (elapsed - self._inflection) ** 3
        if target < self._friendly:
            self.window = max(self.window, self._friendly)
            return
        target = self._origin + C * (elapsed + rtt - self._inflection) ** 3
        target = min(max(target, self.window), 1.5 * self.window)
        self.window += (target - self.window) / self.window * delivered

    def datagrams(self, now: float) -> list[Burst]:
        """Give what the window allows, lost segments first."""
        out: list[Burst] = []
        room = int(self.window) - self.in_flight
        if self._in_recovery:  # in proportion to what arrives (after RFC 6937)
            room = min(room, self._allowance)
            self._allowance = 0
        while room > 0:
            if self._lost:
                number = self._lost.first()[0]
                self._lost.remove(number, number + 1)
                self._resent.append((number, self._next))
            else:
                number = self._next
                self._next += 1
                self._sent_at[number] = now
            if number == self._point:
                self._progress_at = now
            out.append(Burst(_HEAD.pack(number, 0, 0).ljust(SEGMENT, b"\0"), SEGMENT))
            room -= 1
        return out

    @property
    def _timeout_at(self) -> float:
        timeout = max(MIN_TIMEOUT, self._trip.repeat_interval)
        return self._progress_at + timeout * self._backoff

    def deadline(self) -> float | None:
        """Tell when the retransmission timeout will be."""
        return self._timeout_at

    def timer(self, now: float) -> None:
        """Call everything lost when nothing has progressed for long."""
        if now < self._timeout_at:
            return
        self._reduce()
        self.window = 1.0
        self._lost_below = self._next
        self._recovery_end = self._next
        self._in_recovery = False
        self._resent.clear()
        for part in self._arrived.gaps(self._point, self._next):
            self._lost.add(*part)
        self._progress_at = now
        self._backoff *= 2


def cubic_pair(there: Link, back: Link, now: float = 0.0) -> tuple[End, End]:
    """Make the sending and the receiving end of one flow.

    :param there: the link that the data takes.
    :param back: the link that the ACKs take.
    :param now: the time it begins, seconds.
    """
    # A simulation uses only the methods of a connection that both halves have.
    sender, receiver = CubicSender(now), CubicReceiver()
    return End(cast(Connection, sender), there), End(cast(Connection, receiver), back)
