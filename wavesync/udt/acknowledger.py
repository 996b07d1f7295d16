"""When to acknowledge, and the round trip that the answers (ACK2) measure.

* every 10 ms while data comes (sooner on paths with a short round trip), by a real timer;
* at once for a short packet, which ends a burst, but not for each of many;
* a light ACK at least every 64 packets, which needs no answer;
* again after RTT + 4 deviations until an ACK2 says that it was heard.

ACKs are full (with rates) at most every 10 ms and short in between, as libudt expects.  To a
wavesync end they are light as long as little comes: if one is lost, the data come again.  While much comes,
one is numbered every 50 ms; others are light.  They say, too, that there is as much room behind their point as
the last numbered one told; where there is less, they are numbered.
"""

import math

from wavesync.udt.estimators import ArrivalRate, Capacity, Lowest, RoundTrip
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    encode_acknowledgement,
    encode_control,
)
from wavesync.udt.room import Room
from wavesync.udt.sequence import SEQUENCE_MASK, to_wire

__all__ = ["Acknowledger"]

ACK_INTERVAL = 0.01
"""Seconds between numbered ACKs while data comes; libudt's SYN time."""

MIN_ACK_INTERVAL = 0.002
"""Seconds; a quarter of a short round trip is used, but no less than this."""

FULL_INTERVAL = 0.01
"""Seconds between full ACKs at least."""

LIGHT_PACKETS = 64
"""Packets after which a light ACK leaves at the latest (half of what a wavesync end has room for, if that is
less: it may wait for that) ..."""

NEAR_TRIP = 0.005
"""Seconds; to a wavesync end that is nearer a light ACK leaves after :data:`AMPLE` packets, which are less than a
burst: what it hears of each sooner lets it find the path's speed sooner."""

LIGHT_TIME = 0.001
"""... or, to a wavesync end, as many as come in so many seconds, if those are more: each ACK costs the
peer as much as a burst ..."""

LIGHT_SHARE = 8
"""... and no more than this fraction of the window."""

FEW_PACKETS = 16
"""Packets since the last numbered ACK for fewer of which a light one does, to a wavesync end."""

START_PACKETS = 512
"""Packets after which a wavesync end hears of fewer than :data:`FEW_PACKETS` only every
:data:`ACK_INTERVAL`: until then it waits for ACKs to become faster."""

NUMBERED_INTERVAL = 0.05
"""Seconds between numbered ACKs to a wavesync end that has sent so many, while data comes: each needs an
answer, and with many connections these answers are a third of all packets."""

AMPLE = 2 * FEW_PACKETS
"""Free packets below which every ACK is numbered."""

SHORT_TRIP = 0.02
"""Seconds; where packets take less than this there and back, all that are in flight may be waiting in
the system's buffer for us to read them.  The window told is no more than there is room for there.  On
longer paths they are on their way, and there must be more of them to fill it."""

MAX_HISTORY = 1024
"""ACK numbers remembered to recognise their ACK2."""

MIN_REPEAT = 0.02
"""Seconds before an ACK is repeated, at least."""

MAX_REPEATS = 12
"""Repeats of an unanswered ACK, ever less often, until something new comes."""

MIN_WINDOW_WORD = 2
"""Free packets told at least: libudt would never ask again at 0."""

_MAX_MICROSECONDS = 0xFFFF_FFFF


class Acknowledger:
    """See the module.

    :param peer_id: destination id of the ACKs.
    :param isn: extended sequence number of the first packet.
    :param room: what the system keeps until we read it; ``None`` for any amount.
    :param sparing: the peer is a wavesync end, which takes a light ACK for as good as any.
    :ivar round_trip: from an ACK to its ACK2.
    :ivar arrival: the arrival rate.
    :ivar capacity: the capacity by packet pairs.
    """

    __slots__ = (
        "_acked_at",
        "_confirmed",
        "_due",
        "_full_at",
        "_grown",
        "_history",
        "_light",
        "_number",
        "_numbered",
        "_numbered_at",
        "_peer_id",
        "_point",
        "_promised",
        "_repeats",
        "_room",
        "_room_mark",
        "_since_light",
        "_sparing",
        "_told",
        "_trip",
        "arrival",
        "capacity",
        "round_trip",
    )

    def __init__(
        self, peer_id: int, isn: int, sparing: bool = False, room: Room | None = None
    ) -> None:
        """Begin with nothing to acknowledge."""
        self._room = room
        self._room_mark = 0
        self._promised = 0  # packets of room that the peer may count on behind a light ACK
        self._trip = Lowest()
        self._sparing = sparing
        self._peer_id = peer_id
        self._point = isn
        self._grown = isn + START_PACKETS
        self._told = isn  # by any ACK
        self._numbered = isn  # by a numbered ACK
        self._confirmed = isn  # by an ACK2
        self._number = 0
        self._acked_at = self._numbered_at = -math.inf
        self._full_at = -math.inf
        self._due = math.inf
        self._repeats = 0
        self._since_light = 0
        self._light = AMPLE if sparing else LIGHT_PACKETS
        self._history: dict[int, tuple[float, int, int]] = {}  # when, point and room told
        self.round_trip = RoundTrip()
        self.arrival = ArrivalRate()
        self.capacity = Capacity()

    def on_data(self, point: int, packets: int, short: bool, now: float) -> None:
        """Note that data came.

        :param point: the ACK point after it.
        :param packets: packets that came; 0 when all were duplicates.
        :param short: whether one of them ended a burst.
        """
        self._since_light += packets
        if point > self._point:
            self._point = point
            self._repeats = 0
            if short and now >= self._acked_at + MIN_ACK_INTERVAL:
                self._due = now
                return
            if self._sparing and point - self._told < FEW_PACKETS and point >= self._grown:
                interval = ACK_INTERVAL
            else:
                interval = min(ACK_INTERVAL, max(MIN_ACK_INTERVAL, self.round_trip.rtt / 4))
            due = self._acked_at + interval
            if due < self._due:
                self._due = due if due > now else now
        elif not packets and point > self._confirmed:
            # The peer repeats what we have: our ACK may be lost.
            self._repeats = 0
            self._due = min(self._due, max(now, self._acked_at + ACK_INTERVAL))

    def window_opened(self, now: float) -> None:
        """Tell the peer at once, and until it has heard, that there is room again."""
        self._confirmed = min(self._confirmed, self._point - 1)
        self._repeats = 0
        self._due = now

    def window_widened(self) -> None:
        """Let the next ACK tell the window, if another one was told before."""
        if self._number:
            self._numbered = self._point - FEW_PACKETS
            self._numbered_at = -math.inf

    def on_ack2(self, number: int, now: float) -> bool:
        """Take an ACK2; returns whether we had sent that ACK number and not had its answer."""
        entry = self._history.pop(number, None)
        if entry is None:
            return False
        sent_at, point, told = entry
        if number == self._number:
            self._promised = told
        self.round_trip.add(now - sent_at)
        self._trip.add(now - sent_at, now)
        self._confirmed = max(self._confirmed, point)
        if self._confirmed >= self._point:
            self._due = math.inf
        return True

    def due(self, now: float, free: int) -> bytes | None:
        """Give the ACK packet to send now, if any.

        :param free: packets that there is room for.
        """
        due = now >= self._due
        if not due and self._since_light < self._light:
            return None
        free = self._limited(free, now)
        news = self._point > self._told
        if due:
            quiet = self._is_quiet
            spare = self._sparing and news and free >= max(AMPLE, self._promised)
            numbered_next = self._numbered_at + self._numbered_interval
            if not (spare and (quiet or now < numbered_next)):
                return self._full_or_short(now, free)
            self._due = math.inf if quiet else numbered_next
            self._acked_at = now
        self._since_light = 0
        if not news:
            return None
        if self._sparing and free < max(AMPLE, self._promised):
            return self._full_or_short(now, free)
        self._told = self._point
        body = encode_acknowledgement(Acknowledgement(to_wire(self._point)))
        return encode_control(ControlType.ACK, self._peer_id, 0, body)

    def _limited(self, free: int, now: float) -> int:
        """:return: how much room the peer is told."""
        if self._room is not None and self._trip.value < SHORT_TRIP:
            free = min(free, self._room.share(now))
        return max(MIN_WINDOW_WORD, free)

    @property
    def _is_quiet(self) -> bool:
        """Whether little has come since the last numbered ACK, and that one has been heard."""
        return self._point - self._numbered < FEW_PACKETS and self._confirmed >= self._numbered

    @property
    def _numbered_interval(self) -> float:
        """Seconds between numbered ACKs to a wavesync end that sends much."""
        return ACK_INTERVAL if self._point < self._grown else NUMBERED_INTERVAL

    def _full_or_short(self, now: float, free: int) -> bytes:
        self._number = (self._number + 1) & SEQUENCE_MASK
        self._history[self._number] = (now, self._point, free)
        self._promised = max(self._promised, free)
        if self._room is not None and self._point - self._numbered >= FEW_PACKETS:
            self._room_mark = self._room.take_part(self._room_mark, now)
        if len(self._history) > MAX_HISTORY:
            del self._history[next(iter(self._history))]
        full = now >= self._full_at + FULL_INTERVAL
        rate = self.arrival.rate if full else 0
        trip = self.round_trip
        ack = Acknowledgement(
            to_wire(self._point),
            min(round(trip.rtt * 1e6), _MAX_MICROSECONDS),
            min(round(trip.variance * 1e6), _MAX_MICROSECONDS),
            free,
            min(rate, _MAX_MICROSECONDS) if full else None,
            min(self.capacity.rate(rate), _MAX_MICROSECONDS) if full else None,
        )
        if full:
            self._full_at = now
            if self._sparing:
                most = min(int(rate * LIGHT_TIME), free // LIGHT_SHARE)
                least = AMPLE if self._trip.value < NEAR_TRIP else LIGHT_PACKETS
                self._light = max(min(least, free // 2), AMPLE, most)
        self._acked_at = self._numbered_at = now
        self._told = self._numbered = self._point
        self._since_light = 0
        self._repeats += 1
        self._due = math.inf
        if self._repeats <= MAX_REPEATS:
            wait = max(MIN_REPEAT, trip.repeat_interval) * 1.5 ** (self._repeats - 1)
            self._due = now + wait
        return encode_control(
            ControlType.ACK, self._peer_id, self._number, encode_acknowledgement(ack)
        )

    def deadline(self) -> float:
        """Tell when :meth:`due` will have an ACK; infinity for never."""
        return self._due if self._since_light < self._light else -math.inf
