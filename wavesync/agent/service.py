"""``twist wavesync-agent``: the server agent as a Twisted service."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IReactorUDP,
    IStreamClientEndpoint,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import usage

from wavesync.agent.doctor import AgentDoctor
from wavesync.agent.introductions import Introductions
from wavesync.agent.lan import LAN
from wavesync.agent.link import Link, Listed
from wavesync.agent.outward import Outward
from wavesync.agent.own_addresses import listen_tcp, own_addresses
from wavesync.agent.port_mapping import PortMapping
from wavesync.agent.relays import Relays
from wavesync.agent.settings import AgentSettings, parse_address
from wavesync.agent.statistics import Statistics
from wavesync.agent.stream_openings import StreamOpenings
from wavesync.agent.trusting import TrustedClients
from wavesync.agent.udp_ports import UdpPorts
from wavesync.doctor.flights import Flights
from wavesync.errors import SettingsError
from wavesync.garbage import collect_seldom
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations
from wavesync.identity.verify import Leaf, Role
from wavesync.interfaces import Address, IReactor
from wavesync.portmap.service import PortMapper
from wavesync.services import or_exit
from wavesync.session.liveness import Timing
from wavesync.session.server import ServerSessionFactory, Services
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.local import local_hosts
from wavesync.signalling.relay_urls import parse_relays
from wavesync.signalling.resolving import resolve
from wavesync.signalling.urls import Mediator
from wavesync.steady import keep_steady
from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.discover import discover_lifetime
from wavesync.stun.learning import LifetimeLearner
from wavesync.stun.message import StunError, decode
from wavesync.stun.pace import Pace
from wavesync.tunnel.destinations import Destinations
from wavesync.udt.dual import open_carriers
from wavesync.udt.port import Port
from wavesync.udt.receive_buffer import EARLY_WINDOW
from wavesync.watch import take_lead

__all__ = ["REFRESH_INTERVAL", "AgentService", "Options", "makeService"]

REFRESH_INTERVAL = 10.0
"""Seconds between looks at this host's own addresses."""


class AgentService(Service):
    """Registers with mediators, accepts over TCP and UDP, serves named services.

    :param credentials: a server's.
    :param services: what clients may open: by name, or what finds it.
    :param mediators: whom to register with.
    :param wall_clock: seconds since the epoch.
    :param revocations: the system's revoked certificates; in memory only when None.
    :param lifetimes: how long NATs keep mappings, as was found before; nothing is kept when None.
    :param mapper: has routers forward the ports; made as the settings say when None.
    :param flights: what becomes of each client; in memory only when None.
    :param destinations: leads to mediators and relays; made as the settings say when None.
    :raises SettingsError: the credentials are no server's, or nothing can be listened on.
    :ivar doctor: what it records, and answers to questions.
    :ivar links: one for each mediator, while the service runs.
    :ivar ports: its UDP ports, while it runs.
    :ivar port_mapping: its ports at routers.
    :ivar lan: its answers to clients on its own networks.
    :ivar relays: where it parks connections, while it runs.
    :ivar leaf: the server's certificate.
    :ivar statistics: what is counted of clients on their way here.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        services: Mapping[str, IStreamClientEndpoint | IProtocolFactory] | Services,
        mediators: tuple[Mediator, ...],
        *,
        settings: AgentSettings = AgentSettings(),  # noqa: B008
        wall_clock: Callable[[], float] = time.time,
        revocations: Revocations | None = None,
        lifetimes: Lifetimes | None = None,
        mapper: PortMapper | None = None,
        flights: Flights | None = None,
        destinations: Destinations | None = None,
    ) -> None:
        if credentials.role is not Role.SERVER:
            raise SettingsError(
                "these are a client's credentials; an agent needs a server's"
                " (wavesync system add-server)"
            )
        self.links: list[Link] = []
        self.leaf: Leaf = credentials.leaf
        self.statistics = Statistics()
        self.ports: UdpPorts[Port] | None = None
        self._reactor = reactor
        self._credentials = credentials
        self._mediators = mediators
        self._settings = settings
        self._wall_clock = wall_clock
        self._listening: list[IListeningPort] = []
        self._introductions: Introductions | None = None
        self._streams: StreamOpenings | None = None
        self._refresh: LoopingCall | None = None
        self.port_mapping = PortMapping(
            reactor, settings, self._look_again, self._observed_hosts, mapper
        )
        self.lan = LAN(reactor, settings, credentials.target)
        self.doctor = AgentDoctor(
            reactor, self, settings, wall_clock=wall_clock, flights=flights, lifetimes=lifetimes
        )
        trusted = TrustedClients(lambda: self.ports)
        self._pace = Pace()
        self._learner = LifetimeLearner(reactor, self._search_lifetime, self._pace, kept=lifetimes)
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self.revocations = revocations
        self.revocations.changed.append(self._revoked)
        self._looking = LoopingCall(self.revocations.look)
        self._looking.clock = reactor
        self._sessions = ServerSessionFactory(
            credentials,
            self.doctor.services(services),
            reactor,
            on_authenticated=trusted.authenticated,
            on_lost=trusted.lost,
            timing=Timing(pace=self._pace),
            wall_clock=wall_clock,
            revoked=self.revocations.revoked,
            max_sessions=settings.max_sessions,
            watcher=self.doctor.recorder,
        )
        self.outward = Outward(reactor, settings, destinations, wall_clock)
        chosen = settings.chosen_relays
        self.relays = Relays(
            reactor,
            credentials,
            self.outward.relay,
            self._sessions,
            self._look_again,
            own=parse_relays(credentials.relays) if chosen is None else chosen,
            no_others=chosen is not None,
            wall_clock=wall_clock,
            revocations=self.revocations,
            allow_loopback=settings.allow_loopback,
            statistics=self.statistics,
            recorder=self.doctor.recorder,
        )
        self.outward.on_better_relay = self.relays.better

    def startService(self) -> None:
        """Listen and register."""
        settings = self._settings
        try:
            fresh = None if settings.udp_port else self._udp_moved
            ports = self.ports = UdpPorts(self._reactor, self._open_udp, fresh, self._map_udp)
        except CannotListenError as error:
            raise SettingsError(
                f"UDP port {settings.udp_port} cannot be used: {error.socketError}"
            ) from None
        try:
            self._listening = [listen_tcp(self._reactor, settings.tcp_port, self._sessions)]
        except CannotListenError as error:
            ports.close()
            raise SettingsError(
                f"TCP port {settings.tcp_port} cannot be used: {error.socketError}"
            ) from None
        introductions = self._introductions = Introductions(
            self._reactor,
            self._credentials,
            ports,
            self._sessions,
            wall_clock=self._wall_clock,
            allow_loopback=settings.allow_loopback,
            revoked=self.revocations.revoked,
            statistics=self.statistics,
            recorder=self.doctor.recorder,
        )
        streams = self._streams = StreamOpenings(
            self._reactor,
            self._credentials.target,
            self._sessions,
            introductions.check_client,
            allow_loopback=settings.allow_loopback,
            statistics=self.statistics,
            recorder=self.doctor.recorder,
        )
        for mediator in self._mediators:
            if not mediator.streams:
                self.log.warn(
                    "{mediator} is named for UDP only; registering needs TCP", mediator=mediator
                )
                continue
            link = Link(
                self._reactor,
                mediator,
                self.outward.mediator(mediator),
                self._credentials,
                ports.send_stun,
                self.addresses,
                introductions,
                wall_clock=self._wall_clock,
                resolve=partial(resolve, self._reactor)
                if len(ports.newest.addresses) > 1
                else None,
                locate=partial(resolve, self._reactor),
                revocations=self.revocations,
                streams=streams,
                pace=self._pace,
                relays=self.relays,
                network=self.doctor.summary,
            )
            self.outward.uses(link)
            self.links.append(link)
            link.start()
        self.relays.start()
        self.doctor.start()
        self._refresh = LoopingCall(self._look_again)
        self._refresh.clock = self._reactor
        self._refresh.start(REFRESH_INTERVAL, now=False)
        if IReactorUDP.providedBy(self._reactor):
            self._learner.start()
        self.port_mapping.start(self.tcp_port, ports.newest.address[1])
        self.lan.start(self._listening[0].getHost())
        if self.revocations.has_files:
            self._looking.start(LOOK_INTERVAL, now=False)
        super().startService()
        self.log.info(
            "agent {server} accepts on TCP port {tcp} and UDP port {udp}",
            server=self._credentials.target,
            tcp=self.tcp_port,
            udp=ports.newest.address[1],
        )

    def stopService(self) -> Deferred[Any]:
        """Leave the mediators, end all sessions, close the ports."""
        super().stopService()
        if self._refresh is not None and self._refresh.running:
            self._refresh.stop()
        self._learner.stop()
        if self._looking.running:
            self._looking.stop()
        self.relays.stop()
        self.lan.stop()
        links, self.links = self.links, []
        for link in links:
            link.stop()
        for taker in (self._introductions, self._streams):
            if taker is not None:
                taker.stop()
        self.outward.stop()
        self._sessions.close_all()
        ends: list[Deferred[Any]] = [self.port_mapping.stop(), self.doctor.stop()]
        for listening in self._listening:
            stopped = listening.stopListening()
            if isinstance(stopped, Deferred):
                ends.append(stopped)
        self._listening = []
        ports, self.ports = self.ports, None
        if ports is not None:
            ends.append(ports.close())
        return DeferredList(ends)

    @property
    def sessions(self) -> ServerSessionFactory:
        """Makes the server's end of every session."""
        return self._sessions

    def date(self) -> float:
        """Seconds since the epoch."""
        return self._wall_clock()

    @property
    def port(self) -> Port | None:
        """The UDP port that introductions use; ``None`` while the agent does not run."""
        return None if self.ports is None else self.ports.newest

    @property
    def tcp_port(self) -> int:
        """The TCP port that is listened on."""
        return int(self._listening[0].getHost().port)  # type: ignore[attr-defined]

    def addresses(self) -> Listed:
        """Where this server accepts now, as it tells mediators."""
        assert self.port is not None
        return own_addresses(
            local_hosts(loopback=self._settings.allow_loopback),
            self.tcp_port,
            self.port.addresses,
            [parse_address(text) for text in self._settings.public_addresses],
            self.port_mapping.addresses,
        )

    def _open_udp(self) -> Port:
        """Open a UDP port that accepts sessions."""
        carriers = open_carriers(self._reactor, self._settings.udp_port, self._settings.udp)
        port = Port(
            self._reactor, carriers, early_window=EARLY_WINDOW, stun_handler=self._stun_received
        )
        port.listen(self._sessions)
        return port

    def _udp_moved(self) -> None:
        """Another UDP port is used from now on: show it to the mediators, and publish it."""
        self._map_udp()
        for link in self.links:
            link.warm.renew()
            link.refresh()

    def _map_udp(self) -> None:
        """Have the UDP ports mapped that are in use now."""
        if self.ports is not None:
            self.port_mapping.moved([port.address[1] for port in self.ports])

    def _search_lifetime(self) -> Deferred[Lifetime | str]:
        """Find out how long the NAT keeps mappings, with a mediator that has answered."""
        for link in self.links:
            if link.warm.mapped is not None and link.warm.mediator is not None:
                return discover_lifetime(self._reactor, link.warm.mediator)
        return succeed("no mediator answers over UDP")

    def _observed_hosts(self) -> set[str]:
        return {host for link in self.links for host, _ in link.warm.seen}

    def _look_again(self) -> None:
        for link in self.links:
            link.refresh()

    def _revoked(self) -> None:
        """A newer revocation list: whom it names goes, and the mediators hear of it."""
        self._sessions.turn_out_revoked()
        if self.revocations.revoked(self.leaf.serial):
            self.log.error(
                "the certificate of this server was revoked: clients will not connect to it;"
                " give it new credentials (wavesync system add-server --server-id {server})",
                server=self._credentials.server,
            )
        self.relays.revocations_changed()
        for link in self.links:
            link.revocations_changed()

    def _stun_received(self, data: bytes, source: Address) -> None:
        try:
            message = decode(data)
        except StunError:
            return
        for link in self.links:
            if link.warm.received(message, source):
                return


class Options(usage.Options):
    """The options of ``twist wavesync-agent``."""

    synopsis = "--config FILE"
    longdesc = (
        "Run a wavesync agent beside the services of this site: it registers with mediators and "
        "lets clients of its system open the services that its settings name, whatever NAT is in "
        'between. The settings need a table [services], such as web = "tcp:127.0.0.1:8080"; '
        "the credentials come from 'wavesync system add-server'. Clients that find no direct way come "
        "through the relays that credentials and mediators name; relays = [URL, ...] allows these only, "
        'relays = "none" allows none (see etc/agent.toml, which shows every setting with its default).'
    )
    optParameters = [["config", "c", None, "Settings file (TOML)."]]


def makeService(options: Options) -> IService:
    """Return the service that *options* ask for, or end the process with one sentence."""
    from twisted.internet import reactor

    from wavesync.agent.making import make_agent

    keep_steady(IReactorTime(reactor))
    collect_seldom()
    take_lead(reactor)
    return or_exit("wavesync-agent", lambda: make_agent(options["config"], reactor))  # type: ignore[arg-type]
