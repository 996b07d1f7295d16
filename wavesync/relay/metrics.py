"""A relay's figures, as Prometheus reads them, and whether it is well; ``docs/operating.rst``."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import Metric

from wavesync.identity.verify import Reason
from wavesync.metrics.families import Families, closed
from wavesync.metrics.tunnels import add_tunnels
from wavesync.relay.pair import CLIENT_BROKE, DONE, SERVER_BROKE
from wavesync.relay.service import RelayService

__all__ = ["ENDS", "HEAD", "REASONS", "RelayMetrics"]

ENDS = (DONE, CLIENT_BROKE, SERVER_BROKE, "idle", "dead", "revoked", "stopped")
"""Why a pair ends."""

HEAD = "head"
"""The reason for every request that is no request, whatever is wrong with it."""

REASONS = (
    HEAD,
    "head-time",
    "heads",
    "connections",
    "connections-of-host",
    "crowd",
    "untrusted-proxy",
    "no-proof",
    "source",
    "replay",
    "replays-full",
    *(str(reason) for reason in Reason),
    "not-served",
    "enough-parked",
    "no-server",
    "no-connection",
    "too-many-waiting",
    "presence",
    "full",
    "system-quota",
    "client-quota",
    "address-quota",
    "draining",
    "list",
    "lists-full",
    "uploads",
)
"""Why a connection or a request is refused."""


class RelayMetrics:
    """Looks at a relay when it is asked.

    :param service: the relay.
    """

    def __init__(self, service: RelayService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Give all figures, as they are now."""
        house = self._service.house
        counted, found = house.statistics, Families("wavesync_relay_")
        up, down = house.pairs.moved
        certificate = self._service.certificate
        for name, text, value in (
            ("connections", "Connections now, those of pairs included.", self._connections),
            (
                "connections_limit",
                "Connections that there may be: as set, or as open files allow.",
                self._service.connections.most,
            ),
            ("parked", "Connections that servers keep waiting now.", house.pool.parked),
            ("waiting", "Clients that wait for a connection now.", house.pool.waiting),
            ("servers", "Servers that are here, or were a moment ago.", len(house.pool)),
            ("pairs", "Clients joined with a server now.", len(house.pairs)),
            (
                "presence_reachable",
                "1 when it can be known at which other relays servers are.",
                self._service.presence.reachable,
            ),
            (
                "presence_servers",
                "Servers here that other relays can send clients to.",
                self._service.presence.shown,
            ),
            (
                "certificate_expires_seconds",
                "When the certificate for TLS expires, seconds since the epoch; 0 without one.",
                certificate.not_after if certificate is not None else 0,
            ),
            ("draining", "1 when the relay is about to stop.", house.draining),
        ):
            found.gauge(name, text, value)
        for name, text, value in (
            ("accepted", "Connections accepted.", counted.connections),
            ("parkings", "Connections that servers parked.", counted.parked),
            ("parked_dead", "Parked connections that did not answer any more.", counted.dead),
            ("clients", "Clients with a good proof that asked for a server.", counted.asked),
            ("waited", "Those of them that had to wait for a connection.", counted.waited),
            (
                "retried",
                "Times that a server's connection did not take a client.",
                counted.retried,
            ),
            ("redirected", "Clients sent to another relay.", counted.redirected),
            ("joined", "Pairs begun.", counted.joined),
            ("revocation_lists", "Revocation lists taken.", counted.lists),
        ):
            found.counter(name, text, value)
        found.counters(
            "ended",
            "Pairs that are over, by reason.",
            "reason",
            closed(counted.ended, {reason: reason for reason in ENDS}),
        )
        found.counters(
            "refused",
            "Connections and requests refused, by reason.",
            "reason",
            closed(_without_status(counted.refused), {reason: reason for reason in REASONS}),
        )
        found.counters(
            "bytes",
            "Bytes of pairs, to servers (up) and to clients (down).",
            "direction",
            {"up": up, "down": down},
        )
        add_tunnels(found, self._service.connections.tunnels.statistics)
        return found.metrics

    def ailments(self) -> Sequence[str]:
        """Tell why servers or clients are turned away, if they are."""
        house = self._service.house
        limits = house.settings.limits
        wrong = []
        if house.draining:
            wrong.append("it is draining")
        elif not self._service.addresses:
            wrong.append("it does not listen")
        if self._connections >= self._service.connections.most:
            wrong.append("no room for more connections (limits.connections, or open files)")
        if len(house.pairs) >= limits.pairs:
            wrong.append("no room for more pairs (limits.pairs)")
        if house.pool.waiting >= limits.waiting:
            wrong.append("no room for more clients that wait (limits.waiting)")
        if not (house.draining or self._service.presence.reachable):
            wrong.append("the presence cannot be reached: clients are sent to no other relay")
        certificate = self._service.certificate
        if certificate is not None and self._service.date() > certificate.not_after:
            wrong.append("its certificate for TLS has expired")
        return wrong

    @property
    def _connections(self) -> int:
        return len(self._service.connections)


def _without_status(refused: Mapping[str, int]) -> Mapping[str, int]:
    """Put all requests that are no requests together."""
    found: dict[str, int] = {}
    for reason, count in refused.items():
        word = HEAD if reason.startswith("head-") and reason != "head-time" else reason
        found[word] = found.get(word, 0) + count
    return found
