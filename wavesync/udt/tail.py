"""When the unacknowledged tail of what was sent is sent again, unasked."""

import math
from collections import OrderedDict

from wavesync.interfaces import Address
from wavesync.udt.estimators import Lowest, RoundTrip

__all__ = [
    "ACK_DELAY",
    "FEW",
    "HURRY",
    "LAPSE",
    "MANY",
    "MAX_TAIL_TIMEOUT",
    "MIN_TAIL_TIMEOUT",
    "NEAR",
    "NEAR_PERIOD",
    "RESEND_ALL_AFTER",
    "SETUP",
    "SETUP_RTT",
    "SharedTrip",
    "SharedTrips",
    "tail_timeout",
]

MIN_TAIL_TIMEOUT = 0.03
"""Seconds; the unacknowledged tail is never sent again sooner."""

MAX_TAIL_TIMEOUT = 1.0
"""Seconds between repeats of the tail, or two round trips if that is longer."""

ACK_DELAY = 0.02
"""Seconds that a peer may take to acknowledge; libudt and we do so every 10 ms."""

FEW = 4
"""Unacknowledged packets up to which a tail is repeated sooner."""

HURRY = (1.25, 1.5)
"""Round trips after which so small a tail is repeated for the first times."""

RESEND_ALL_AFTER = 2
"""Fruitless repeats of only the ends of the tail before all of it is sent again."""

SETUP = 16
"""Packets at the beginning that are repeated as if the round trip were no longer than
:data:`SETUP_RTT`: a handshake waits for each of them."""

SETUP_RTT = 0.1
"""Seconds."""

MANY = 16
"""Round trips that connections with one address measure, none of them :data:`LAPSE` after the one before,
until they are a crowd: what one of them misses waits in a queue, rather than being lost."""

LAPSE = 0.5
"""Seconds."""

NEAR = 0.005
"""Seconds; a peer is near if a round trip has taken no more: what takes longer then waits for a busy
process, or in a queue that has room for many times what fills the path."""

NEAR_PERIOD = 60.0
"""Seconds, and up to twice as many, that the shortest round trip is remembered: many connections at a time may
keep both processes busy for long."""

MAX_ADDRESSES = 256
"""Addresses of which the shared round trip is kept."""


def tail_timeout(trip: RoundTrip, waiting: int, sent: int, tries: int) -> float:
    """Give the seconds without progress after which the tail is sent again.

    The first repeats only ask for news: the first of all after two round trips (RFC 8985,
    7.2), sooner where so little is on its way that a needless copy costs next to nothing, and
    soonest at the beginning: that is while somebody waits for a connection.

    :param trip: the round trip.
    :param waiting: unacknowledged packets.
    :param sent: packets since the connection began.
    :param tries: fruitless repeats so far.
    """
    rtt = trip.rtt
    if waiting <= FEW:
        if tries < len(HURRY):
            wait = HURRY[tries] * rtt
            if sent <= SETUP:
                wait = min(wait, HURRY[tries] * SETUP_RTT)
            return max(wait + ACK_DELAY, MIN_TAIL_TIMEOUT)
        tries -= 1
    if not tries:
        return max(2 * rtt + ACK_DELAY, MIN_TAIL_TIMEOUT)
    base = max(2 * rtt, trip.repeat_interval) + ACK_DELAY
    base = max(base, MIN_TAIL_TIMEOUT)
    return min(math.ldexp(base, tries - 1), max(base, MAX_TAIL_TIMEOUT))


class SharedTrip:
    """What connections with one address know of the round trip, and a crowd of them knows of it now.

    Where many connections begin at a time, their packets wait for the two processes.  None of them has
    measured that yet, and copies would only make the wait longer.

    :ivar near: whether a short while ago a round trip took no longer than :data:`NEAR`.
    """

    __slots__ = ("_count", "_last", "_lowest", "_trip", "near")

    def __init__(self) -> None:
        """Begin without a crowd."""
        self._trip = RoundTrip()
        self._count = 0
        self._last = -math.inf
        self._lowest = Lowest(NEAR_PERIOD)
        self.near = False

    def expect(self, sample: float, now: float) -> None:
        """Take the round trip of a handshake, in seconds."""
        self._lowest.add(sample, now)
        self.near = self._lowest.value <= NEAR

    def add(self, sample: float, now: float) -> None:
        """Take a round trip that one of them measured.

        :param sample: seconds; from the first copy that was sent, if there are several.
        """
        if now > self._last + LAPSE:
            self._count = 0
            self._trip = RoundTrip()
        self._last = now
        self._count += 1
        self._trip.add(sample)
        self.expect(sample, now)

    def patience(self, now: float) -> float:
        """:return: seconds before which nothing can be called lost, at most 1; 0 without a crowd."""
        if self._count < MANY or now > self._last + LAPSE:
            return 0.0
        return min(HURRY[-1] * self._trip.rtt, MAX_TAIL_TIMEOUT)


class SharedTrips:
    """The shared round trips of a port, by the peer's address."""

    def __init__(self) -> None:
        self._trips: OrderedDict[Address, SharedTrip] = OrderedDict()

    def __len__(self) -> int:
        """:return: how many are kept."""
        return len(self._trips)

    def of(self, address: Address) -> SharedTrip:
        """:return: that of connections with *address*; the one asked for longest ago is forgotten."""
        trip = self._trips.get(address)
        if trip is None:
            trip = self._trips[address] = SharedTrip()
            if len(self._trips) > MAX_ADDRESSES:
                self._trips.popitem(last=False)
        else:
            self._trips.move_to_end(address)
        return trip
