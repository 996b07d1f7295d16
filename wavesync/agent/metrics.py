"""An agent's figures, as Prometheus reads them, and whether it is well; ``docs/operating.rst``."""

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client.core import Metric

from wavesync.agent.port_mapping import OFF
from wavesync.agent.service import AgentService
from wavesync.agent.statistics import ASKED, BEGUN, ENDED, REFUSED, TAKEN, TOO_MANY
from wavesync.metrics.families import Families, closed
from wavesync.portmap.service import STATES
from wavesync.session.errors import Refusal
from wavesync.session.statistics import KINDS

__all__ = ["AgentMetrics"]

_REFUSALS = {
    code: name.lower().replace("_", "-")
    for name, code in vars(Refusal).items()
    if isinstance(code, int)
}


class AgentMetrics:
    """Looks at an agent when it is asked.

    :param service: the agent.
    """

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Give all figures, as they are now."""
        found = Families("wavesync_agent_")
        self._standing(found)
        self._introductions(found)
        self._sessions(found)
        return found.metrics

    def _standing(self, found: Families) -> None:
        service = self._service
        parkings = list(service.relays.parkings.values())
        for name, text, value in (
            ("mediators", "Mediators to register with.", len(service.links)),
            (
                "registered",
                "Mediators with which it is registered now.",
                sum(link.registered for link in service.links),
            ),
            ("relays", "Relays to park at.", len(parkings)),
            (
                "parked_relays",
                "Relays at which clients find it now.",
                sum(parking.usable for parking in parkings),
            ),
            (
                "parked",
                "Connections parked at relays now.",
                sum(parking.idle for parking in parkings),
            ),
            (
                "certificate_expires_seconds",
                "When the server's certificate expires, seconds since the epoch.",
                service.leaf.not_after,
            ),
            (
                "revocation_list_number",
                "Number of the newest revocation list, 0 without one.",
                service.revocations.number,
            ),
        ):
            found.gauge(name, text, value)
        found.gauge(
            "lan_interfaces",
            "Interfaces on which clients on the same network find it now.",
            service.lan.interfaces,
        )
        found.counter(
            "lan_answers",
            "Answers to searches of clients on the same network.",
            service.lan.answered,
        )
        tcp, udp = service.port_mapping.addresses
        found.gauges(
            "forwarded_ports",
            "Addresses at which routers forward a port to this host now.",
            "transport",
            {"tcp": len(tcp), "udp": len(udp)},
        )
        state = service.port_mapping.state
        found.gauges(
            "port_mapping",
            "1 for the state of port mapping, 0 for all others.",
            "state",
            {each: float(each == state) for each in (*STATES, OFF)},
        )

    def _introductions(self, found: Families) -> None:
        counted = self._service.statistics
        for name, text, counts, words in (
            (
                "introductions",
                "Clients that mediators told of, to be met over UDP.",
                counted.introductions,
                ASKED,
            ),
            ("rendezvous", "Meetings over UDP that are over.", counted.rendezvous, ENDED),
            (
                "openings",
                "Clients that mediators told of, to be dialled over TCP from both ends.",
                counted.openings,
                (BEGUN, TOO_MANY, REFUSED),
            ),
            ("streams", "Such dialling that is over.", counted.streams, ENDED),
            ("relayed", "Clients that came through relays.", counted.relayed, (TAKEN, REFUSED)),
        ):
            found.counters(name, text, "outcome", {word: counts[word] for word in words})

    def _sessions(self, found: Families) -> None:
        counted = self._service.sessions.statistics
        running = Counter(session.path_kind for session in counted)
        found.gauges(
            "sessions",
            "Sessions with an open service now, by what carries them.",
            "path",
            {kind: running[kind] for kind in KINDS},
        )
        for name, text, counts in (
            ("clients", "Paths on which a client proved who it is.", counted.authenticated),
            ("opened", "Services opened.", counted.opened),
            ("holes", "Sessions begun that only hold a path open.", counted.holes),
        ):
            found.counters(name, text, "path", {kind: counts[kind] for kind in KINDS})
        found.counters(
            "refused",
            "Services not opened, by reason.",
            "reason",
            closed(counted.refused, _REFUSALS),
        )
        moved = counted.moved
        found.counters(
            "bytes",
            "Bytes of services, from clients (in) and to them (out).",
            ("path", "direction"),
            {
                (kind, direction): moved[kind][index]
                for kind in KINDS
                for index, direction in enumerate(("in", "out"))
            },
        )
        found.histograms(
            "first_byte_seconds",
            "From a client's OPEN to the first byte of the service's answer.",
            "path",
            counted.first_byte.items(),
        )

    def ailments(self) -> Sequence[str]:
        """Tell why clients cannot come, if they cannot."""
        service = self._service
        parkings = list(service.relays.parkings.values())
        wrong = []
        if not service.running:
            wrong.append("it does not run")
        elif not any(link.registered for link in service.links):
            wrong.append("not registered with any mediator")
        if parkings and not any(parking.usable for parking in parkings):
            wrong.append("parked at no relay")
        if service.revocations.revoked(service.leaf.serial):
            wrong.append("its certificate was revoked")
        if service.date() > service.leaf.not_after:
            wrong.append("its certificate has expired")
        return wrong
