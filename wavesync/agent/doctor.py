"""What an agent tells clients of its system about itself, and what it keeps for that."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from wavesync.agent.built_in import WithDoctor
from wavesync.agent.network import OwnNetwork
from wavesync.agent.recording import Recorder
from wavesync.agent.settings import AgentSettings
from wavesync.doctor.answering import Doctor
from wavesync.doctor.examine import Examination, examine
from wavesync.doctor.findings import EXAMINED, Findings, RouterFound
from wavesync.doctor.flights import Flights
from wavesync.doctor.kept import KeptExamination
from wavesync.doctor.summary import findings_of
from wavesync.interfaces import Address, IReactor
from wavesync.portmap.service import Standing
from wavesync.portmap.words import Reason
from wavesync.session.services import NamedServices, Services
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.listening import address_text
from wavesync.signalling.network import network_name
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.tunnel.proxies import Proxies

if TYPE_CHECKING:
    from wavesync.agent.service import AgentService

__all__ = ["AgentDoctor"]


class AgentDoctor:
    """Records what becomes of clients, knows the network, and answers questions.

    :param agent: the agent.
    :param flights: the ring; kept in memory when None.
    :param lifetimes: how long NATs keep mappings; nothing is known when None.
    :ivar recorder: notes what is done about each client.
    :ivar network: what is known of this server's network.
    """

    def __init__(
        self,
        reactor: IReactor,
        agent: "AgentService",
        settings: AgentSettings,
        *,
        wall_clock: Callable[[], float],
        flights: Flights | None = None,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._wall_clock = wall_clock
        self._lifetimes = lifetimes
        self.flights = Flights(reactor, wall_clock=wall_clock) if flights is None else flights
        self.recorder = Recorder(self.flights)
        self.network = OwnNetwork(
            reactor,
            mapped=self._mapped,
            registered=lambda: any(link.registered for link in agent.links),
            routers=(lambda: agent.port_mapping.standing) if settings.port_mapping else None,
            lan=settings.lan,
            examines=not settings.allow_loopback,
            lifetimes=lifetimes,
            proxied=lambda: agent.outward.proxied,
        )
        self._examination = KeptExamination(reactor, partial(self._examine, reactor))
        self._doctor = Doctor(reactor, self.findings, self.flights.find, wall_clock=wall_clock)

    def services(
        self, services: Mapping[str, IStreamClientEndpoint | IProtocolFactory] | Services
    ) -> Services:
        """Give what clients may open: *services*, and the one that asks."""
        found = NamedServices(services) if isinstance(services, Mapping) else services
        return WithDoctor(found, self._doctor) if self._settings.doctor else found

    def start(self) -> None:
        """The agent runs."""
        self.network.start()

    def stop(self) -> Deferred[None]:
        """It does not; fires when nothing is left open."""
        self.flights.close()
        ends = [self.network.stop(), self._examination.stop()]
        return DeferredList(ends).addCallback(lambda _: None)

    def summary(self) -> NetworkSummary | None:
        """What mediators and clients are told of the network; nothing where settings forbid it."""
        return self.network.summary if self._settings.doctor else None

    def findings(self) -> Deferred[Findings]:
        """What is known of this end: it is examined, unless it was just now."""
        if self._settings.allow_loopback:
            return succeed(self._with_ports(findings_of(self.network.summary or NetworkSummary())))
        return self._examination.findings().addCallback(self._with_ports)

    def _examine(self, reactor: IReactor) -> Deferred[Findings]:
        wanted = Examination(
            mediators=[link.mediator for link in self._agent.links],
            relays=self._agent.relays.candidates,
            proxy=Proxies(self._settings.proxy),
            lifetimes=self._lifetimes,
            map_ports=False,  # the agent does so itself, for as long as it runs
            discovery=self._settings.lan,
            wall_clock=self._wall_clock,
        )
        return Deferred.fromCoroutine(examine(reactor, wanted))

    def _with_ports(self, known: Findings) -> Findings:
        """Add what the agent knows of its own ports."""
        agent = self._agent
        tcp, udp = agent.port_mapping.addresses
        forwarded = [*self._settings.public_addresses, *(address_text(each) for each in tcp)]
        standing = agent.port_mapping.standing if self._settings.port_mapping else []
        return msgspec.structs.replace(
            known,
            source=EXAMINED,
            at=known.at or round(self._wall_clock(), 3),
            network=known.network or network_name(),
            port=agent.tcp_port,
            routers=tuple(map(_router, standing)) or known.routers,
            forwarded=(
                *(f"tcp {each}" for each in dict.fromkeys(forwarded)),
                *(f"udp {address_text(each)}" for each in udp),
            ),
        )

    def _mapped(self) -> list[tuple[Address, tuple[Address, ...]]]:
        warm = (link.warm for link in self._agent.links)
        return [(each.mediator, each.seen) for each in warm if each.mediator and each.seen]


def _router(standing: Standing) -> RouterFound:
    """What a router does for the agent, as findings."""
    return RouterFound(
        router=standing.router or standing.interface,
        speaks=(standing.method,) if standing.method else (),
        external=standing.leases[0].external[0] if standing.leases else "",
        maps=bool(standing.leases) if standing.method else None,
        another_nat=True if standing.state == Reason.ANOTHER_NAT else None,
        why=standing.why,
    )
