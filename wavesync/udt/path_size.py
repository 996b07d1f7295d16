"""How large packets may be: found out by probes, never by data (RFC 8899).

Data begins in packets that every path carries.  Who has much to send asks whether larger ones
arrive, too: with the agreed size first, with several smaller ones at once if no answer comes.  A
sequence number stands for a packet, so that what was sent in a packet that is too large could never
be sent in smaller ones: only sizes that have arrived are used.

A path can become a black hole for them all the same, when a router on it changes.  Where nothing is
acknowledged any more while the peer is heard, small packets are sent again until something is
acknowledged; what has left in larger ones follows in IP fragments.
"""

import math

from wavesync.interfaces import Burst
from wavesync.udt.outgoing import Outgoing
from wavesync.udt.packet import (
    HEADER_SIZE,
    IP_UDP_OVERHEAD,
    ControlType,
    Subtype,
    encode_control,
)
from wavesync.udt.send_buffer import SendBuffer

__all__ = [
    "BASE",
    "DOUBT",
    "ENOUGH",
    "MIN_WAIT",
    "RAISE_AFTER",
    "ROUNDS",
    "STEPS",
    "PathSize",
    "SizeSearch",
]

BASE = 1232
"""Bytes of the datagrams that are sent unasked: 1280, which IPv6 promises, less its headers."""

STEPS = (1464, 1432, 1412, 1392, 1372, 1312)
"""Bytes of datagrams that are tried beside the agreed size: what is left of 1500 by PPPoE (1492) and
of paths with an MTU of 1460, 1440, 1420 (WireGuard), 1400 and 1340."""

ROUNDS = 3
"""Times that is asked: for the agreed size, then twice for all that may be."""

MIN_WAIT = 0.1
"""Seconds to the next round, or three round trips if that is longer."""

RAISE_AFTER = 600.0
"""Seconds after which is asked again where less than the agreed size passes (RFC 8899, 5.1.1)."""

DOUBT = 3
"""Times that data are repeated in vain, while the peer is heard, before the path counts as a black hole."""

ENOUGH = 16 * 1024
"""Bytes written and not acknowledged above which it is worth while to ask."""


class SizeSearch:
    """One end's search along one path.

    :param most: bytes of the largest datagram that the peer takes.
    :ivar size: bytes of the largest datagram that is known to arrive.
    :ivar due: when :meth:`probes` has some to ask for; infinity for never.
    """

    __slots__ = ("_asked", "_most", "_round", "due", "size")

    def __init__(self, most: int) -> None:
        """Take the agreed size, as with a peer that answers no probes."""
        self._most = most
        self.size = most
        self._asked: list[int] = []
        self._round = 0
        self.due = math.inf

    def begin(self, now: float, *, ask: bool) -> None:
        """Nothing is known of the path (any more): take :data:`BASE`.

        :param ask: whether to ask for more from *now* on.
        """
        self.size = min(BASE, self._most)
        self._asked = []
        self._round = 0
        self.due = now if ask and self.size < self._most else math.inf

    def probes(self, now: float, rtt: float) -> list[int]:
        """Give the sizes to ask for now; calling it means that they are asked for.

        :param rtt: round-trip time, seconds.
        """
        if now < self.due:
            return []
        self._round += 1
        sizes = [self._most]
        if self._round > 1:
            sizes += [step for step in STEPS if self.size < step < self._most]
        self._asked = list({*self._asked, *sizes})
        self.due = now + max(MIN_WAIT, 3 * rtt)
        if self._round == ROUNDS:
            self._round = 0
            self.due = now + RAISE_AFTER
        return sizes

    def arrived(self, size: int) -> bool:
        """Take the peer's word that a probe of *size* bytes came; returns whether that is news."""
        if size not in self._asked or size <= self.size:
            return False
        self.size = size
        if size == self._most:
            self.due = math.inf
        return True


class PathSize:
    """The search of one connection: its packets, and the size of data packets that it leads to.

    :param peer_id: destination id of what leaves.
    :param buffer: cuts the data packets.
    :param mss: IP packet size that the peer takes.
    """

    __slots__ = (
        "_asks",
        "_buffer",
        "_came",
        "_doubted",
        "_peer_id",
        "_search",
        "_stuck_since",
        "_verify",
    )

    def __init__(self, peer_id: int, buffer: SendBuffer, mss: int) -> None:
        """Begin with the agreed size."""
        self._peer_id = peer_id
        self._buffer = buffer
        self._search = SizeSearch(mss - IP_UDP_OVERHEAD)
        self._asks = False
        self._came = 0  # the largest probe that came, to be answered
        self._stuck_since = math.inf
        self._doubted = False
        self._verify = False

    def begin(self, now: float, *, ask: bool) -> None:
        """Go back to what every path carries; see :meth:`SizeSearch.begin`."""
        self._asks = ask
        self._doubted = False
        self._stuck_since = math.inf
        self._search.begin(now, ask=ask)
        self._buffer.resize(self._search.size - HEADER_SIZE)

    def too_large(self, size: int, now: float) -> None:
        """The way takes no data packets of so many bytes (any more): begin again.

        What has left in larger ones keeps its sequence numbers, and has to be sent in fragments.
        """
        if BASE < size <= self._search.size:
            self.begin(now, ask=self._asks)

    def watch(self, repeats: int, heard_at: float, now: float) -> None:
        """Look for a black hole: nothing of the data arrives, yet the path is not dead.

        :param repeats: how often data have been sent again in vain; 0 once something is acknowledged.
        :param heard_at: when the peer was last heard.
        """
        if not repeats:
            if self._doubted:
                self._search.begin(now, ask=self._asks)
            self._doubted = False
            self._stuck_since = math.inf
        elif not self._doubted and self._search.size > BASE:
            if self._stuck_since == math.inf:
                # Has the peer something to say?  This much passes everywhere.
                self._stuck_since = now
                self._verify = self._asks
            elif repeats >= DOUBT and heard_at > self._stuck_since:
                self._doubted = True
                self._search.begin(now, ask=False)
                self._buffer.resize(self._search.size - HEADER_SIZE)

    @property
    def watching(self) -> bool:
        """Whether :meth:`watch` wants to know that something was acknowledged."""
        return self._stuck_since < math.inf

    def take(self, subtype: int, info: int, size: int) -> None:
        """Take a user-defined control packet.

        :param subtype: which one.
        :param info: its information word.
        :param size: bytes of the whole datagram.
        """
        if subtype == Subtype.SIZE_PROBE:
            self._came = max(self._came, size)
        elif subtype == Subtype.SIZE_ANSWER and self._search.arrived(info):
            self._buffer.resize(self._search.size - HEADER_SIZE)

    @property
    def owes(self) -> bool:
        """Whether a probe waits for its answer."""
        return self._came > 0

    def control(self, now: float, rtt: float, out: Outgoing) -> None:
        """Append the answer and the probes that are due."""
        if self._came:
            self._put(out, Subtype.SIZE_ANSWER, self._came)
            self._came = 0
        if self._verify:
            self._verify = False
            self._put(out, Subtype.SIZE_PROBE, BASE, bytes(BASE - HEADER_SIZE))
        if now >= self._search.due and self._buffer.unacknowledged > ENOUGH:
            for size in self._search.probes(now, rtt):
                self._put(out, Subtype.SIZE_PROBE, size, bytes(size - HEADER_SIZE))

    def _put(self, out: Outgoing, subtype: int, size: int, body: bytes = bytes(4)) -> None:
        packet = encode_control(ControlType.USER_DEFINED, self._peer_id, size, body, subtype)
        out.append(Burst(packet, len(packet)))

    def deadline(self) -> float:
        """Tell when :meth:`control` has a probe to send; infinity while there is little to send."""
        due = self._search.due
        return due if due < math.inf and self._buffer.unacknowledged > ENOUGH else math.inf
