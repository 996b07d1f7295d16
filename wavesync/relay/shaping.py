"""Bytes a second, kept to by reading less: token buckets that a pair asks how long to rest.

Nothing is dropped and nothing is stored: a pair that has taken more than it may stops reading its
sources for a while, and TCP tells them.  A bucket may go into debt by what one turn took; who takes
from it next waits until all the debt before is paid, so that pairs with much to send take turns.
"""

from collections.abc import Sequence

__all__ = ["MAX_GRAIN", "MIN_GRAIN", "Bucket", "Shaper"]

MIN_GRAIN = 4096
"""Bytes that a turn may take however low the rate is."""
MAX_GRAIN = 256 * 1024
"""Bytes that a turn may take at most where a rate is kept to."""
_TURN = 0.02
"""Seconds that one turn's bytes should last."""
_BURST = 0.1
"""Seconds' worth of bytes that may be saved up."""


class Bucket:
    """Tokens, one a byte.

    :param rate: bytes a second, more than 0.
    :param now: seconds, on the clock that :meth:`take` will be told.
    :ivar grain: how many bytes one turn should take at most.
    """

    __slots__ = ("_burst", "_since", "_tokens", "grain", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.grain = int(min(max(rate * _TURN, MIN_GRAIN), MAX_GRAIN))
        self._burst = max(rate * _BURST, float(self.grain))
        self._tokens = self._burst
        self._since = now

    def take(self, n: int, now: float) -> float:
        """Take tokens, also more than there are.

        :return: seconds until the debt is paid; 0.0 when there is none.
        """
        self._fill(now)
        self._tokens -= n
        return max(0.0, -self._tokens / self.rate)

    def full(self, now: float) -> bool:
        """:return: whether all is saved up that can be: a new bucket would be the same."""
        self._fill(now)
        return self._tokens >= self._burst

    def _fill(self, now: float) -> None:
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self.rate)
            self._since = now


class Shaper:
    """The buckets that one pair takes from: its system's, its client's, its address's.

    :param buckets: shared with other pairs; none at all means no limit.
    :ivar grain: how many bytes one turn should take at most.
    """

    __slots__ = ("_buckets", "grain")

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = tuple(buckets)
        self.grain = min((bucket.grain for bucket in buckets), default=MAX_GRAIN)

    def take(self, n: int, now: float) -> float:
        """Take tokens from every bucket.

        :param n: bytes that were moved.
        :param now: seconds.
        :return: seconds to wait before reading again; 0.0 to go on.
        """
        wait = 0.0
        for bucket in self._buckets:
            wait = max(wait, bucket.take(n, now))
        return wait
