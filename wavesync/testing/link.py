"""A simulated link, and UDT connections over two or more of them on a virtual clock.

Everything is seeded: the same arguments give the same run, packet by packet.
"""

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any

from wavesync.udt.connection import Closed, CloseReason, Connection, DataReceived
from wavesync.udt.packet import IP_UDP_OVERHEAD

__all__ = ["End", "Link", "Simulation", "connect_pair"]


class Link:
    """One direction of a path: a bottleneck with a queue, then a wire with delay and faults.

    :param rate: bits a second of IP packets; None for no bottleneck.
    :param delay: seconds from leaving the bottleneck to arriving.
    :param queue: bytes that may wait before the bottleneck; what would exceed it is dropped.
    :param loss: probability that a packet is lost on the wire.
    :param duplicate: probability that it arrives twice.
    :param reorder: probability that it is held up by *reorder_delay* and overtaken.
    :param reorder_delay: seconds.
    :param jitter: seconds; each packet takes a random part of it longer (so may be overtaken).
    :param seed: of the faults.
    :ivar drop: called with packet and time; true loses the packet before the queue.
    :ivar sent: packets offered.
    :ivar lost: packets lost on the wire or by *drop*.
    :ivar overflowed: packets that found the queue full.
    :ivar peak_queue: the longest the queue has been, bytes.
    """

    def __init__(
        self,
        *,
        rate: float | None = None,
        delay: float = 0.0,
        queue: int = 1 << 30,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        reorder_delay: float = 0.01,
        jitter: float = 0.0,
        seed: int = 1,
    ) -> None:
        """Make an idle link."""
        self.rate = rate
        self.delay = delay
        self.queue = queue
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder
        self.reorder_delay = reorder_delay
        self.jitter = jitter
        self.drop: Callable[[bytes, float], bool] | None = None
        self.sent = 0
        self.lost = 0
        self.overflowed = 0
        self.peak_queue = 0.0
        self._random = random.Random(seed).random
        self._free_at = 0.0
        self._queue_total = 0.0

    @property
    def mean_queue(self) -> float:
        """The queue that packets found, on average, bytes."""
        return self._queue_total / max(1, self.sent)

    def backlog(self, now: float) -> float:
        """Tell how many bytes wait before the bottleneck."""
        return 0.0 if self.rate is None else max(0.0, self._free_at - now) * self.rate / 8

    def transmit(self, packet: bytes, now: float) -> list[float]:
        """Send a packet: give the times at which it arrives (none, one or two)."""
        self.sent += 1
        if self.drop is not None and self.drop(packet, now):
            self.lost += 1
            return []
        leaves = now
        if self.rate is not None:
            backlog = self.backlog(now)
            self._queue_total += backlog
            size = len(packet) + IP_UDP_OVERHEAD
            if backlog + size > self.queue:
                self.overflowed += 1
                return []
            self.peak_queue = max(self.peak_queue, backlog)
            leaves = self._free_at = max(now, self._free_at) + size * 8 / self.rate
        if self.loss and self._random() < self.loss:
            self.lost += 1
            return []
        arrivals = [self._arrival(leaves)]
        if self.duplicate and self._random() < self.duplicate:
            arrivals.append(self._arrival(leaves))
        return arrivals

    def _arrival(self, leaves: float) -> float:
        arrival = leaves + self.delay
        if self.jitter:
            arrival += self._random() * self.jitter
        if self.reorder and self._random() < self.reorder:
            arrival += self.reorder_delay
        return arrival


class End:
    """One end of a simulated pair.

    :ivar connection: the connection under test.
    :ivar link: what it sends into.
    :ivar received: bytes of the stream that came.
    :ivar closed: why the connection ended; None while it lives.
    :ivar on_data: called with each piece of data.
    :ivar source: called with the connection whenever it is writable, to write more.
    """

    def __init__(self, connection: Connection, link: Link) -> None:
        """Put a connection on a link."""
        self.connection = connection
        self.link = link
        self.received = 0
        self.closed: CloseReason | None = None
        self.on_data: Callable[[bytes], None] | None = None
        self.source: Callable[[Connection], None] | None = None
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of all that was received."""
        return self._hash.hexdigest()

    def take_events(self) -> None:
        """Note what happened."""
        for event in self.connection.events():
            if isinstance(event, DataReceived):
                self.received += len(event.data)
                self._hash.update(event.data)
                if self.on_data is not None:
                    self.on_data(event.data)
            elif isinstance(event, Closed):
                self.closed = event.reason


class Simulation:
    """Runs two ends over their links; more pairs can join, over the same links or others.

    :param left: one end.
    :param right: the other.
    :param now: the time it begins, seconds.
    :param coalesce: seconds; packets that arrive this close together are handled in one turn, as a
        carrier does that reads its socket until it is empty.
    :ivar now: the time.
    """

    def __init__(self, left: End, right: End, now: float = 0.0, coalesce: float = 0.0002) -> None:
        """Make a simulation that has not moved yet."""
        self.left = left
        self.right = right
        self.now = now
        self._coalesce = coalesce
        self._order = 0
        self._arriving: list[tuple[float, int, End, bytes]] = []
        self._deadlines: dict[End, float | None] = {}
        self._others: dict[End, End] = {}
        self.join(left, right)

    def join(self, left: End, right: End) -> None:
        """Let another pair take part from now on."""
        self._others[left], self._others[right] = right, left
        self._deadlines[left] = self._deadlines[right] = self.now

    def pump(self, end: End) -> None:
        """Send what *end* has to send and note its events; call it after touching a connection."""
        connection = end.connection
        now = self.now
        other = self._others[end]
        transmit = end.link.transmit
        while True:
            if end.source is not None and connection.writable and end.closed is None:
                end.source(connection)
            bursts = connection.datagrams(now)
            for data, size in bursts:
                for start in range(0, len(data), size):
                    packet = data[start : start + size]
                    for arrival in transmit(packet, now):
                        self._order += 1
                        heapq.heappush(self._arriving, (arrival, self._order, other, packet))
            end.take_events()
            deadline = connection.deadline()
            if deadline is None or deadline > now or not bursts:
                break
        self._deadlines[end] = deadline

    def run(self, duration: float, until: Callable[[], Any] | None = None) -> bool:
        """Let time pass.

        :param duration: seconds at most.
        :param until: stop as soon as this is true.
        :returns: whether *until* became true.
        """
        stop = self.now + duration
        for end in self._others:
            self.pump(end)
        while until is None or not until():
            times = [time for time in self._deadlines.values() if time is not None]
            due = min(times, default=stop)
            arriving = self._arriving
            arrival = arriving[0][0] + self._coalesce if arriving else stop
            step = min(due, arrival)
            if step >= stop:
                self.now = stop
                return until is not None and bool(until())
            self.now = max(self.now, step)
            self._turn()
        return True

    def _turn(self) -> None:
        """Deliver and fire all that is due now."""
        touched: set[End] = set()
        arriving, now = self._arriving, self.now
        while arriving and arriving[0][0] <= now:
            _, _, end, packet = heapq.heappop(arriving)
            end.connection.receive(packet, len(packet), now)
            touched.add(end)
        for end in self._others:
            deadline = self._deadlines[end]
            due = deadline is not None and deadline <= now
            if due:
                end.connection.timer(now)
            if due or end in touched:
                self.pump(end)


def connect_pair(
    left_link: Link,
    right_link: Link,
    *,
    now: float = 0.0,
    coalesce: float = 0.0002,
    left: dict[str, Any] | None = None,
    right: dict[str, Any] | None = None,
) -> Simulation:
    """Make two connections that have just shaken hands.

    :param left_link: from left to right.
    :param right_link: from right to left.
    :param left: arguments for the left :class:`~wavesync.udt.connection.Connection`, over
        these defaults: ids 1 and 2, sequence numbers from 1000 and 5000, MSS 1500, window 8192.
    :param right: the same for the right one.
    """
    common = {"now": now, "send_mss": 1500, "peer_window": 8192}
    one = {"local_id": 1, "peer_id": 2, "send_isn": 1000, "receive_isn": 5000}
    two = {"local_id": 2, "peer_id": 1, "send_isn": 5000, "receive_isn": 1000}
    return Simulation(
        End(Connection(**{**common, **one, **(left or {})}), left_link),
        End(Connection(**{**common, **two, **(right or {})}), right_link),
        now,
        coalesce,
    )
