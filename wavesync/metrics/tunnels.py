"""The figures of tunnels over HTTP, which mediators and relays have alike; ``docs/operating.rst``."""

from wavesync.metrics.families import Families, closed
from wavesync.tunnel.guests import TunnelStatistics
from wavesync.tunnel.place import METHODS

__all__ = ["REASONS", "add_tunnels"]

REASONS = (
    "connections",
    "connections-of-host",
    "going",
    "half-made",
    "head-time",
    "heads",
    "hello-time",
    "idle",
    "path",
    "tunnels",
    "tunnels-of-host",
    "untrusted-proxy",
)
"""Why requests and tunnels come to nothing, as far as an operator can do something about it."""


def add_tunnels(found: Families, statistics: TunnelStatistics) -> None:
    """Add them to a scrape."""
    methods = {method: method for method in METHODS}
    found.gauges(
        "tunnels", "Tunnels over HTTP now, by method.", "method", closed(statistics.open, methods)
    )
    found.counters(
        "tunnels_opened",
        "Tunnels through which a client's bytes came, by method.",
        "method",
        closed(statistics.opened, methods),
    )
    found.counters(
        "tunnels_refused",
        "Requests for tunnels, and tunnels, that came to nothing, by reason.",
        "reason",
        closed(statistics.refused, {reason: reason for reason in REASONS}),
    )
