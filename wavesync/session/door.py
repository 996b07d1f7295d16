"""How many TLS handshakes a server begins for one source: each costs it signatures.

A stranger's handshake takes some tenths of a millisecond of a processor, and nothing of whoever only
begins it.  A source that has a session of a known client is let in much more often: many clients may
sit behind one NAT, and one client may open hundreds of sessions over one hole.
"""

from collections import Counter

from wavesync.stun.buckets import SourceBuckets, source_key

__all__ = ["HANDSHAKES_AT_ONCE", "HANDSHAKES_A_SECOND", "KNOWN_COST", "Door"]

HANDSHAKES_A_SECOND = 20.0
"""Handshakes a second with one source (an IPv4 address, the /64 of an IPv6 address), on average."""

HANDSHAKES_AT_ONCE = 100.0
"""The same at once."""

KNOWN_COST = 0.05
"""What one counts from a source at which a client is known: 400 a second, 2000 at once."""


class Door:
    """Decides who may begin a handshake.

    Clients that are known are counted by source; their number is bounded by that of sessions.

    :param rate: handshakes a second.
    :param burst: handshakes at once.
    """

    def __init__(
        self, rate: float = HANDSHAKES_A_SECOND, burst: float = HANDSHAKES_AT_ONCE
    ) -> None:
        self._buckets = SourceBuckets(rate, burst)
        self._known: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Count the sources with known clients."""
        return len(self._known)

    def admit(self, host: str, now: float) -> bool:
        """Tell whether one more handshake with *host* may begin."""
        cost = KNOWN_COST if source_key(host) in self._known else 1.0
        return self._buckets.allow(host, now, cost)

    def greet(self, host: str) -> None:
        """A client at *host* has shown who he is."""
        self._known[source_key(host)] += 1

    def part(self, host: str) -> None:
        """The session of such a client is over."""
        key = source_key(host)
        self._known[key] -= 1
        if self._known[key] <= 0:
            del self._known[key]
