"""How the default congestion control shares a bottleneck with other flows.

Flows are to become equal though none knows how fast the bottleneck is.  What one takes on top of
what it has grows with the square root of that only (:func:`eagerness`), so the smaller of two gains
on the larger, be they of ours or not.  Three things depend on it: how much faster a probe is; how
fast the window comes back after yielding; and how much each keeps waiting in a queue that is there
anyway, because others fill it.
"""

import math

__all__ = ["Sharing"]

EAGER_FLIGHT = 50.0
"""Packets; up to so many in flight fill the path at our rate, a flow is as eager as it gets."""

MIN_EAGERNESS = 0.15
"""However many they are."""

LOSSY = 0.02
"""After a round trip that showed a queue and lost more than this for each packet delivered, and
more than is usual here ..."""

YIELD = 0.7
"""... this remains of the window, though no less than fills the path ..."""

RECOVERY_ROUNDS = 32
"""... and in this many round trips an eager flow's has grown by a bandwidth-delay product again."""

USUAL_ROUNDS = 16
"""Round trips over which the usual loss is averaged; what is more than ``LOSSY`` counts as that."""

CHANCE = 3.0
"""Standard deviations of the usual loss that are put down to chance."""

PEACE_ROUNDS = 64
"""Only so many round trips after the last yielding do probes get larger and windows fill a queue:
flows that go by loss get no peace from that."""

PEACE_PROBE = 3.5
"""What probes are multiplied by in peace ..."""

MAX_PROBE = 2.0
"""... though they are no more than this many ordinary ones."""

CROWD_SHARE = 0.1
"""Bandwidth-delay products of ours that wait in a queue which others fill ..."""

CROWD_EAGER_SHARE = 1.2
"""... and as many for an eager flow on top; together no more than ``MAX_CROWD_SHARE``."""

MAX_CROWD_SHARE = 0.75
"""See ``CROWD_EAGER_SHARE``."""


def eagerness(flight: float) -> float:
    """Tell how much a flow is after more, 0 .. 1: what it takes on top over what it has.

    :param flight: its bandwidth-delay product, packets, more than 0.
    """
    if flight <= EAGER_FLIGHT:
        return 1.0
    return max(MIN_EAGERNESS, math.sqrt(EAGER_FLIGHT / flight))


class Sharing:
    """What one flow knows of the others at its bottleneck; see the module.

    :ivar cap: packets; the window that others have left us, infinity before we ever yielded.
    :ivar crowded: whether others keep a queue even while we let ours empty.
    """

    __slots__ = ("_round", "_usual_loss", "_yielded", "cap", "crowded")

    def __init__(self) -> None:
        """Begin alone."""
        self.cap = math.inf
        self.crowded = False
        self._round = 0
        self._yielded = -PEACE_ROUNDS  # the round in which we last did
        self._usual_loss = 0.0  # for each packet delivered

    def end_round(
        self, gained: int, lost: int, queued: bool, flight: float, floor: float, window: float
    ) -> None:
        """Yield when a queue overflows, as flows that go by loss do; then come back slowly.

        :param gained: packets delivered in this round trip; less than 0 when some were not after all.
        :param lost: packets lost in it.
        :param queued: whether all of it showed a queue.
        :param flight: the bandwidth-delay product, packets.
        :param floor: packets; no window gets smaller by yielding.
        :param window: packets, as it was.
        """
        self._round += 1
        usual = self._usual_loss * max(0, gained)
        much = lost > LOSSY * gained + usual + CHANCE * math.sqrt(usual)
        if gained > 0:
            self._usual_loss += (min(lost / gained, LOSSY) - self._usual_loss) / USUAL_ROUNDS
        if queued and much:
            self.cap = max(floor, YIELD * min(self.cap, window))
            self._yielded = self._round
        else:
            self.cap += flight * eagerness(flight) / RECOVERY_ROUNDS + 1

    @property
    def peaceful(self) -> bool:
        """Whether it is long since we yielded."""
        return self._round > self._yielded + PEACE_ROUNDS

    def probe(self, flight: float) -> float:
        """Tell how large a probe is to be, in ordinary ones.

        :param flight: the bandwidth-delay product, packets.
        """
        eager = eagerness(flight)
        return min(MAX_PROBE, PEACE_PROBE * eager) if self.peaceful else eager

    def headroom(self, flight: float) -> float:
        """Tell how many packets shall wait in a queue that others fill.

        :param flight: the bandwidth-delay product, packets.
        """
        return min(MAX_CROWD_SHARE, CROWD_SHARE + CROWD_EAGER_SHARE * eagerness(flight)) * flight
