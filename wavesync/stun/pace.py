"""How often a host has to send through its NAT's mappings so that none of them is forgotten."""

from wavesync.stun.behaviour_words import Lifetime

__all__ = ["LONGEST_PAUSE", "SHARE", "SHORTEST_PAUSE", "Pace"]

SHORTEST_PAUSE = 5.0
"""Seconds between two packets through a mapping of which nothing is known, or that lives shortly:
those that live ten seconds survive, even where one packet is lost and sent again."""

LONGEST_PAUSE = 15.0
"""Seconds between two packets at most, however long the mapping lives."""

SHARE = 0.6
"""Part of a mapping's lifetime that may pass without a packet: one has to be sent again in the rest
if it is lost."""


class Pace:
    """The pause between two packets, shared by whatever holds a mapping open on this host.

    :param interval: seconds to begin with.
    :ivar interval: seconds.
    """

    __slots__ = ("interval",)

    def __init__(self, interval: float = SHORTEST_PAUSE) -> None:
        self.interval = interval

    def learned(self, lifetime: Lifetime) -> None:
        """Take note of how long mappings live."""
        self.interval = min(max(SHARE * lifetime.alive, SHORTEST_PAUSE), LONGEST_PAUSE)
