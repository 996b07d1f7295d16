"""How often each source may ask: a token bucket for every source, a bounded number of them."""

import socket
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache

__all__ = ["MAX_SOURCES", "Bucket", "SourceBuckets", "source_key"]

MAX_SOURCES = 16384
"""Most sources remembered unless said otherwise; the one heard longest ago is forgotten first."""

_KEPT_KEYS = 4096
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=_KEPT_KEYS)
def source_key(host: str) -> bytes:
    """What of *host* counts as one source: an IPv4 address, the /64 of an IPv6 address.

    An IPv4 address in IPv6 form counts as IPv4.  A host that is not numeric counts as it is
    written.
    """
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return b"name:" + host.encode("utf-8", "surrogateescape")
    return packed[12:] if packed.startswith(_IPV4_IN_IPV6) else packed[:8]


class Bucket:
    """One token bucket, full at first.

    :param rate: tokens a second that flow in.
    :param burst: tokens that it holds at most.
    """

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._since = 0.0

    def allow(self, now: float, cost: float = 1.0) -> bool:
        """Take *cost* tokens.

        :param now: seconds; a time before the last one counts as the last one.
        :returns: false where fewer are left; then none is taken.
        """
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
            self._since = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True


class SourceBuckets:
    """One token bucket for each source that was heard lately.

    A source that was forgotten starts again with a full bucket, so *max_sources* bounds memory
    and not fairness.

    :param rate: tokens a second that flow into a bucket.
    :param burst: tokens that a bucket holds at most; a new one is full.
    :param max_sources: most buckets.
    """

    def __init__(self, rate: float, burst: float, max_sources: int = MAX_SOURCES) -> None:
        if rate < 0 or burst <= 0 or max_sources < 1:
            raise ValueError("A bucket needs a rate of 0 or more, a burst and room for a source.")
        self._rate = rate
        self._burst = burst
        self._max_sources = max_sources
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._buckets)

    def allow(self, source_host: str, now: float, cost: float = 1.0) -> bool:
        """Take *cost* tokens from the bucket of *source_host*.

        :param now: seconds; a time before the last one counts as the last one.
        :returns: false where fewer are left; then none is taken.
        """
        return self.allow_key(source_key(source_host), now, cost)

    def allow_key(self, key: bytes, now: float, cost: float = 1.0) -> bool:
        """As :meth:`allow`, for whatever else than a host is to be counted, or is known by its key.

        :param key: from :func:`source_key`, or any bytes if all keys of these buckets are such.
        """
        buckets = self._buckets
        bucket = buckets.get(key)
        if bucket is None:
            tokens = self._burst
            if len(buckets) >= self._max_sources:
                buckets.popitem(last=False)
        else:
            tokens, since = bucket
            if now > since:
                tokens += (now - since) * self._rate
                if tokens > self._burst:
                    tokens = self._burst
            else:
                now = since
        allowed = tokens >= cost
        buckets[key] = (tokens - cost if allowed else tokens, now)
        buckets.move_to_end(key)
        return allowed

    def allow_all(self, counts: Mapping[bytes, int], now: float) -> bool:
        """Take tokens from several buckets: from each as many as are asked for, or none from any.

        :param counts: how many, by the key that :func:`source_key` gives.
        :param now: seconds, as for :meth:`allow`.
        """
        buckets, rate, burst = self._buckets, self._rate, self._burst
        left: list[tuple[bytes, tuple[float, float]]] = []
        for key, count in counts.items():
            bucket = buckets.get(key)
            at = now
            if bucket is None:
                tokens = burst - count
            else:
                tokens, since = bucket
                if now > since:
                    tokens += (now - since) * rate
                    if tokens > burst:
                        tokens = burst
                else:
                    at = since
                tokens -= count
            if tokens < 0:
                return False
            left.append((key, (tokens, at)))
        move = buckets.move_to_end
        for key, changed in left:
            buckets[key] = changed
            move(key)
        while len(self._buckets) > self._max_sources:
            self._buckets.popitem(last=False)
        return True
