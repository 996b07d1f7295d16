"""``twist wavesync-mediator``: the mediator as a Twisted service."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python import usage

from wavesync.garbage import collect_seldom
from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.mediator.keeping import KeptLists
from wavesync.mediator.proxied import ProxiedLegs
from wavesync.mediator.settings import MediatorSettings
from wavesync.mediator.sockets import open_listening, open_pairs
from wavesync.mediator.stream import LegFactory
from wavesync.mediator.tunnels import Tunnels
from wavesync.mediator.udp import MediatorDatagrams, PairedDatagrams
from wavesync.mediator.udp_socket import PortSocket
from wavesync.services import from_settings
from wavesync.signalling.listening import Listening, address_text, open_streams
from wavesync.steady import keep_steady
from wavesync.tcp.doors import Door

__all__ = ["MediatorService", "Options", "makeService"]


class MediatorService(Service):
    """Listens on every configured address, UDP and TCP.

    :param settings: checked settings.
    :param reactor: sockets and time.
    :param random: gives that many unpredictable bytes.
    :param wall_clock: seconds since the epoch.
    :ivar mediator: the core, while the service runs (a new one each time it starts).
    :ivar addresses: what it listens on while it runs, UDP and TCP alike, with real port numbers.
    :ivar alternates: the second addresses for RFC 5780, likewise, UDP only.
    :ivar proxied: where proxies hand connections on, TCP only.
    :ivar tunnels: the HTTP ports (new ones each time it starts).
    :ivar http_addresses: where those are: without TLS, with it, and behind proxies.
    """

    log = Logger()

    def __init__(
        self,
        settings: MediatorSettings,
        reactor: IReactorSocket,
        random: Callable[[int], bytes] = os.urandom,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._random = random
        self._wall_clock = wall_clock
        self._kept: KeptLists | None = None
        self._doors: list[Door] = []
        self._proxied: list[ProxiedLegs] = []
        self._ports: list[PortSocket] = []
        self._timer: IDelayedCall | None = None
        self._timer_at: float | None = None
        self.mediator = Mediator(settings, random, wall=self._wall)
        self.legs = LegFactory(self.mediator, self._clock)
        self.tunnels = Tunnels(settings, self.legs, self._clock)
        self.addresses: tuple[Address, ...] = ()
        self.http_addresses: tuple[Address, ...] = ()
        self.alternates: tuple[Address, ...] = ()
        self.proxied: tuple[Address, ...] = ()

    def startService(self) -> None:
        """Begin to listen.

        :raises SettingsError: an address cannot be listened on, or what was kept cannot be read.
        """
        with ExitStack() as closing:
            self._open_kept(closing)
            self._listen()
            closing.pop_all()
        self.tunnels.start()
        super().startService()
        self.log.info(
            "mediator {name} is ready on {addresses}, UDP and TCP",
            name=self._settings.name,
            addresses=", ".join(map(address_text, self.addresses)),
        )
        if self.http_addresses:
            self.log.info(
                "it takes tunnels over HTTP on {addresses}, TCP",
                addresses=", ".join(map(address_text, self.http_addresses)),
            )
        if self.proxied:
            self.log.info(
                "it takes connections from proxies on {addresses}, TCP",
                addresses=", ".join(map(address_text, self.proxied)),
            )

    def _open_kept(self, closing: ExitStack) -> None:
        """Make the core, with the revocation lists that were kept."""
        directory = self._settings.state_directory
        if directory is not None:
            self._kept = KeptLists(directory)
            closing.callback(self._close_kept)
        self.mediator = Mediator(
            self._settings,
            self._random,
            wall=self._wall,
            kept=self._kept,
            started=self._wall_clock(),
        )

    def _close_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _listen(self) -> None:
        self.legs = LegFactory(self.mediator, self._clock)
        self.tunnels = Tunnels(self._settings, self.legs, self._clock)
        with ExitStack() as closing:  # Twisted works on duplicates of the sockets
            opened = open_listening(self._settings.listen)
            for each in opened:
                closing.callback(each.close)
            pairs = open_pairs(self._settings, opened)
            for pair in pairs:
                closing.callback(pair.close)
            sockets = {each.address: each.udp for each in opened}
            for pair in pairs:
                sockets.update(pair.udp)
            protocols = {
                address: MediatorDatagrams(self.mediator, self._clock, self._turn)
                for address in sockets
            }
            for pair in pairs:
                for at in pair.pair.addresses:
                    protocols[at] = PairedDatagrams(
                        self.mediator, self._clock, self._turn, pair.pair, at, protocols
                    )
            self._proxied = []
            told = [
                (open_streams((each.listen,)), each.networks) for each in self._settings.proxied
            ]
            for streams, _ in told:
                for stream in streams:
                    closing.callback(stream.close)
            tunnels: list[tuple[Listening, IProtocolFactory]] = []
            for listen, factory in self.tunnels.doors():
                for stream in open_streams(listen):
                    closing.callback(stream.close)
                    tunnels.append((stream, factory))
            for each in opened:
                self._adopt_stream(each.tcp, self.legs)
            for stream, factory in tunnels:
                self._adopt_stream(stream.tcp, factory)
            for streams, networks in told:
                legs = ProxiedLegs(self.legs, networks)
                self._proxied.append(legs)
                for stream in streams:
                    self._adopt_stream(stream.tcp, legs)
            for address, udp in sockets.items():
                self._adopt_datagrams(udp, protocols[address])
        self.addresses = tuple(each.address for each in opened)
        self.alternates = tuple(pair.pair.alternate for pair in pairs)
        self.http_addresses = tuple(stream.address for stream, _ in tunnels)
        self.proxied = tuple(stream.address for streams, _ in told for stream in streams)

    def _adopt_stream(self, tcp: socket.socket, factory: IProtocolFactory) -> None:
        self._doors.append(Door(IReactorFDSet(self._reactor), tcp, factory, self._crowd))

    def _crowd(self, host: str) -> None:
        self.mediator.drop(host, "too many connections at one time", self._clock.seconds())

    def _adopt_datagrams(self, udp: socket.socket, protocol: MediatorDatagrams) -> None:
        self._ports.append(PortSocket(IReactorFDSet(self._reactor), udp, protocol))

    def stopService(self) -> Deferred[None]:
        """Tell every server, close everything; fires when no socket is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        doors, self._doors = self._doors, []
        for door in doors:
            door.stopListening()
        ports, self._ports = self._ports, []
        self.addresses = self.alternates = self.proxied = self.http_addresses = ()
        self.tunnels.close()
        for port in ports:
            port.close()
        for legs in self._proxied:
            legs.leave()
        self.legs.leave()
        await self.legs.when_empty()
        await self.tunnels.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close_kept()

    def date(self) -> float:
        """Seconds since the epoch."""
        return self._wall_clock()

    def _wall(self, now: float) -> float:
        """The date of a moment, however the clock has been set since."""
        return now + self._wall_clock() - self._clock.seconds()

    def _turn(self) -> None:
        """Set the timer for what the core wants next."""
        at = self.mediator.deadline()
        if at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at is not None:
            delay = max(0.0, at - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self.mediator.timer(self._clock.seconds())
        self._turn()


class Options(usage.Options):
    """The options of ``twist wavesync-mediator``."""

    synopsis = "[--config FILE]"
    longdesc = (
        "Run a wavesync mediator: servers behind NAT register with it, clients ask it for them, "
        "and it tells each where the other is. It never sees their data. Without --config it "
        "listens on all addresses, port 3345, UDP and TCP, serves any system, and calls itself "
        "'localhost': fit for trying things on one machine. For real use write a file with at "
        'least name = "HOST", the host name by which agents and clients reach it (see '
        "etc/mediator.toml, which shows every setting with its default), and open port 3345 for "
        "UDP and TCP, and TCP port 3355, where whoever is let out by HTTP only comes through tunnels."
    )
    optParameters = [["config", "c", None, "Settings file (TOML)."]]


def makeService(options: Options) -> IService:
    """Return the service that *options* ask for, or end the process with one sentence."""
    from twisted.internet import reactor

    from wavesync.mediator.metrics import MediatorMetrics
    from wavesync.metrics.service import Measured

    keep_steady(IReactorTime(reactor))
    collect_seldom()

    def make(settings: MediatorSettings) -> IService:
        mediator = MediatorService(settings, IReactorSocket(reactor))
        observed = MediatorMetrics(mediator)
        return Measured(mediator, observed, IReactorSocket(reactor), settings.metrics)

    return from_settings("wavesync-mediator", options["config"], MediatorSettings, make)
