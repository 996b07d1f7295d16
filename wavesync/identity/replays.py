"""Proofs seen lately, so that a copied one is of no use (docs/mediator)."""

from collections import OrderedDict
from typing import Generic, TypeVar

from wavesync.identity.proofs import PROOF_FRESHNESS

__all__ = ["MAX_REPLAYS", "REPLAY_LIFE", "Replays", "Seen"]

MAX_REPLAYS = 20_000
"""Proofs remembered unless the settings say otherwise."""

REPLAY_LIFE = 2 * PROOF_FRESHNESS + 5.0
"""Seconds for which a proof is remembered: longer than one from the future stays fresh."""

T = TypeVar("T")


class Seen(Generic[T]):
    """One proof.

    :ivar host: from where it came first.
    :ivar outcome: what became of the request.
    """

    __slots__ = ("expires", "host", "outcome")

    def __init__(self, host: str, outcome: T, expires: float) -> None:
        self.host = host
        self.outcome = outcome
        self.expires = expires


class Replays(Generic[T]):
    """Remembers what became of each proof, for :data:`REPLAY_LIFE`.

    :param limit: how many.
    """

    def __init__(self, limit: int = MAX_REPLAYS) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, Seen[T]] = OrderedDict()

    def __len__(self) -> int:
        """Count the proofs remembered."""
        return len(self._seen)

    def find(self, digest: bytes) -> Seen[T] | None:
        """Return what is known of a proof."""
        return self._seen.get(digest)

    def full(self, now: float) -> bool:
        """Forget what is old, and tell whether there is room for one more."""
        self.forget_old(now)
        return len(self._seen) >= self._limit

    def add(self, digest: bytes, host: str, outcome: T, now: float) -> None:
        """Remember a proof, where there is room."""
        if not self.full(now):
            self._seen[digest] = Seen(host, outcome, now + REPLAY_LIFE)

    def deadline(self) -> float | None:
        """Return when :meth:`forget_old` has something to do next."""
        for seen in self._seen.values():
            return seen.expires
        return None

    def forget_old(self, now: float) -> None:
        """Forget what is old."""
        while self._seen:
            seen = next(iter(self._seen.values()))
            if seen.expires > now:
                return
            self._seen.popitem(last=False)
