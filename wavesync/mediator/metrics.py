"""A mediator's figures, as Prometheus reads them, and whether it is well; ``docs/operating.rst``."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import Metric

from wavesync.mediator.service import MediatorService
from wavesync.mediator.statistics import OUTCOMES, PATHS
from wavesync.metrics.families import Families, closed
from wavesync.metrics.tunnels import add_tunnels
from wavesync.signalling.numbers import ErrorCode

__all__ = ["MediatorMetrics"]

_REASONS = {int(code): code.name.lower().replace("_", "-") for code in ErrorCode}
_RESULTS = [(path, outcome) for path in PATHS for outcome in OUTCOMES]


class MediatorMetrics:
    """Looks at a mediator when it is asked.

    :param service: the mediator.
    """

    def __init__(self, service: MediatorService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Give all figures, as they are now."""
        mediator = self._service.mediator
        counted, found = mediator.statistics, Families("wavesync_mediator_")
        found.gauge("registered", "Servers registered now.", len(mediator.registry))
        found.gauge("legs", "TCP connections of servers and clients now.", len(self._service.legs))
        found.gauge(
            "introductions_remembered",
            "Introductions that are remembered now (90 s each).",
            len(mediator.introductions),
        )
        found.gauge(
            "revocation_list_bytes",
            "Bytes of all systems' revocation lists now.",
            mediator.revoking.lists.size,
        )
        for name, text, value in (
            ("registrations", "Times that a server registered.", counted.registrations),
            (
                "superseded",
                "Registrations ended by a newer one of the same server.",
                counted.superseded,
            ),
            ("introductions", "Clients introduced to a server.", counted.introductions),
            (
                "acknowledged",
                "Introductions whose server began to punch.",
                counted.acknowledged,
            ),
            (
                "unreported",
                "Introductions that ended without a result from the client.",
                counted.unreported,
            ),
            ("updates", "Address updates sent, repeats included.", counted.updates),
            (
                "streams",
                "Introductions whose two sides were asked to dial each other over TCP.",
                counted.streams,
            ),
            (
                "dropped",
                "Messages dropped as garbage, out of turn, or beyond a limit.",
                counted.dropped,
            ),
        ):
            found.counter(name, text, value)
        found.counters(
            "refused",
            "Requests answered with an error, by reason.",
            "reason",
            closed(counted.refused, _REASONS),
        )
        found.counters(
            "connects",
            "Connects as clients report them, by the path that won and the outcome.",
            ("path", "outcome"),
            {
                (path, outcome.replace(" ", "-")): counted.results[path, outcome]
                for path, outcome in _RESULTS
            },
        )
        add_tunnels(found, self._service.tunnels.statistics)
        certificate = self._service.tunnels.certificate
        found.gauge(
            "certificate_expires_seconds",
            "When the certificate for TLS expires, seconds since the epoch; 0 without one.",
            certificate.not_after if certificate is not None else 0,
        )
        found.histograms(
            "connect_seconds",
            "From asking to the verified path, as clients report it, by path.",
            "path",
            counted.durations.items(),
        )
        return found.metrics

    def ailments(self) -> Sequence[str]:
        """Tell why servers or clients are turned away, if they are."""
        service = self._service
        limits = service.mediator.settings.limits
        wrong = []
        if not service.addresses:
            wrong.append("it does not listen")
        if len(service.mediator.registry) >= limits.registrations:
            wrong.append("no room for more servers (limits.registrations)")
        if service.mediator.introductions.full:
            wrong.append("no room for more introductions (limits.introductions)")
        if len(service.legs) >= limits.legs:
            wrong.append("no room for more connections (limits.legs)")
        if len(service.tunnels.server) >= service.tunnels.server.limits.tunnels:
            wrong.append("no room for more tunnels over HTTP (tunnels.tunnels)")
        certificate = service.tunnels.certificate
        if certificate is not None and service.date() > certificate.not_after:
            wrong.append("its certificate for TLS has expired")
        if service.mediator.revoking.broken:
            wrong.append("revocation lists are not kept across restarts (state)")
        return wrong
