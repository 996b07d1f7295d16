"""Two hosts whose CPUs are what limits many connections of one port: a simulation on a virtual clock.

Turns, bursts and packets cost time; what arrives meanwhile waits in a buffer of the system's size.  That is
all that there is of a path between them.
"""

import heapq
import math
from collections import deque

from wavesync.interfaces import Burst
from wavesync.udt.connection import Connection, DataReceived
from wavesync.udt.room import Room
from wavesync.udt.tail import SharedTrip

__all__ = ["BusyHost", "BusyPair"]

TURN = 40e-6
"""Seconds for the turn of a connection."""

BURST = 20e-6
"""Seconds for sending or taking a burst ..."""

PACKET = 0.5e-6
"""... and for each packet in it."""

CONTROL = 15e-6
"""Seconds for sending a control packet."""

READ = 24
"""Bursts taken at a time."""

ROOM = 3640
"""Packets that the system keeps for a host; in bursts they take two thirds."""

_BLOCK = bytes(1 << 18)


class BusyHost:
    """One of the two.

    :ivar connections: its ends.
    :ivar free_at: when it has done what it does now, seconds.
    :ivar sent: bursts of data, and the packets in them.
    :ivar dropped: packets that the system had no room for.
    """

    def __init__(self, *, writes: bool) -> None:
        self.connections: list[Connection] = []
        self.received: list[int] = []
        self.free_at = 0.0
        self.sent = [0, 0]
        self.dropped = 0
        self._writes = writes
        self._held = 0.0
        self._inbox: deque[tuple[float, int, Burst]] = deque()
        self._deadlines: list[tuple[float, int]] = []
        self._scheduled: dict[int, float | None] = {}
        self.peer: BusyHost

    def add(self, connection: Connection) -> None:
        """Have one more connection."""
        self._schedule(len(self.connections), 0.0)
        self.connections.append(connection)
        self.received.append(0)

    def next(self) -> float:
        """:return: when it will do something."""
        arrival = self._inbox[0][0] if self._inbox else math.inf
        deadline = self._deadlines[0][0] if self._deadlines else math.inf
        return max(self.free_at, min(arrival, deadline))

    def run(self) -> None:
        """Do what is due: timers, then what has arrived."""
        now = self.free_at = self.next()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, index = heapq.heappop(self._deadlines)
            if self._scheduled[index] == deadline:
                self._turn(index, now)
        now = self.free_at
        touched: dict[int, None] = {}
        for _ in range(READ):
            if not self._inbox or self._inbox[0][0] > now:
                break
            _, index, burst = self._inbox.popleft()
            self._held -= self._charge(burst)
            self._work(BURST, burst)
            self.connections[index].receive(*burst, now)
            touched[index] = None
        for index in touched:
            self._turn(index, now)

    def _turn(self, index: int, now: float) -> None:
        connection = self.connections[index]
        self.free_at += TURN
        connection.timer(now)
        for event in connection.events():
            if isinstance(event, DataReceived):
                self.received[index] += len(event.data)
        while self._writes and connection.writable:
            connection.write(_BLOCK)
        for burst in connection.datagrams(now):
            control = burst.data[0] & 0x80
            self._work(CONTROL if control else BURST, burst)
            if not control:
                self.sent[0] += 1
                self.sent[1] += self._packets(burst)
            self.peer.arrive(index, burst, self.free_at)
        self._schedule(index, connection.deadline())

    def arrive(self, index: int, burst: Burst, at: float) -> None:
        """Keep a burst until it is read, if there is room."""
        if self._held + self._charge(burst) > ROOM:
            self.dropped += self._packets(burst)
            return
        self._held += self._charge(burst)
        self._inbox.append((at, index, burst))

    def _schedule(self, index: int, deadline: float | None) -> None:
        self._scheduled[index] = deadline
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, index))

    def _work(self, seconds: float, burst: Burst) -> None:
        self.free_at += seconds + PACKET * self._packets(burst)

    def _packets(self, burst: Burst) -> int:
        return -(-len(burst.data) // burst.segment_size)

    def _charge(self, burst: Burst) -> float:
        packets = self._packets(burst)
        return packets if packets == 1 else packets * 0.7


class BusyPair:
    """Many connections from one host to the other, all of which send as fast as they may.

    :param count: connections.
    :ivar near: the host that sends.
    :ivar far: the one that receives.
    """

    def __init__(self, count: int) -> None:
        self.near, self.far = BusyHost(writes=True), BusyHost(writes=False)
        self.near.peer, self.far.peer = self.far, self.near
        for host, ids, numbers in (
            (self.near, (1, 2), (1000, 5000)),
            (self.far, (2, 1), (5000, 1000)),
        ):
            room, trip = Room(ROOM), SharedTrip()
            for _ in range(count):
                connection = Connection(
                    now=0.0,
                    local_id=ids[0],
                    peer_id=ids[1],
                    send_isn=numbers[0],
                    receive_isn=numbers[1],
                    send_mss=1500,
                    peer_window=8192,
                    receive_room=room,
                    shared_trip=trip,
                    sparing=True,
                )
                connection.expect_round_trip(0.001)
                host.add(connection)

    def run(self, until: float) -> None:
        """Let time pass."""
        while (host := min(self.near, self.far, key=BusyHost.next)).next() < until:
            host.run()
