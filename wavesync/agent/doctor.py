"""What an agent tells clients of its system about itself, and what it keeps for that."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from wavesync.agent.built_in import WithDoctor
from wavesync.agent.network import OwnNetwork
from wavesync.agent.recording import Recorder
from wavesync.agent.settings import AgentSettings
from wavesync.doctor.answering import Doctor
from wavesync.doctor.findings import EXAMINED, Findings
from wavesync.doctor.flights import Flights
from wavesync.doctor.summary import findings_of
from wavesync.interfaces import Address, IReactor
from wavesync.session.services import NamedServices, Services
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.listening import address_text
from wavesync.signalling.network import network_name
from wavesync.signalling.network_summary import NetworkSummary

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
        )
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
        return self.network.stop()

    def summary(self) -> NetworkSummary | None:
        """What mediators and clients are told of the network; nothing where settings forbid it."""
        return self.network.summary if self._settings.doctor else None

    def findings(self) -> Deferred[Findings]:
        """What is known of this end."""
        agent = self._agent
        known = findings_of(self.network.summary or NetworkSummary())
        tcp, udp = agent.port_mapping.addresses
        forwarded = [*self._settings.public_addresses, *(address_text(each) for each in tcp)]
        return succeed(
            msgspec.structs.replace(
                known,
                source=EXAMINED,
                at=round(self._wall_clock(), 3),
                network=network_name(),
                port=agent.tcp_port,
                forwarded=(
                    *(f"tcp {each}" for each in dict.fromkeys(forwarded)),
                    *(f"udp {address_text(each)}" for each in udp),
                ),
            )
        )

    def _mapped(self) -> list[tuple[Address, tuple[Address, ...]]]:
        warm = (link.warm for link in self._agent.links)
        return [(each.mediator, each.seen) for each in warm if each.mediator and each.seen]
