"""``twist wavesync-relay``: the relay as a Twisted service."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFromThreads,
    IReactorSocket,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import usage

from wavesync.garbage import collect_seldom
from wavesync.interfaces import Address, IReactor
from wavesync.relay.descriptors import Descriptors
from wavesync.relay.factory import RelayFactory
from wavesync.relay.half_closing import HalfClosingTLS
from wavesync.relay.house import House
from wavesync.relay.presence import IPresence
from wavesync.relay.presences import open_presence
from wavesync.relay.settings import RelaySettings
from wavesync.relay.vitality import prepare
from wavesync.services import from_settings
from wavesync.signalling.certificate import LOOK_INTERVAL, HostCertificate
from wavesync.signalling.fronts import ProxiedFactory, SecuredFactory
from wavesync.signalling.listening import Listening, address_text, open_streams
from wavesync.steady import keep_steady
from wavesync.tcp.doors import Door
from wavesync.watch import take_lead, watch_of

__all__ = ["Options", "RelayService", "makeService", "on_next_signal"]


class RelayService(Service):
    """Listens on every configured address.

    :param settings: checked settings.
    :param reactor: sockets and time.
    :param random: gives that many unpredictable bytes.
    :param wall_clock: seconds since the epoch.
    :param presence: where else servers may be; what the settings say by default.
    :param next_signal: has a callable called when somebody is impatient while the relay drains.
    :ivar house: the core, while the service runs (a new one each time it starts).
    :ivar certificate: for TLS, if it is configured.
    :ivar addresses: where it listens, with real port numbers: plain ones, then TLS, then proxied.
    """

    log = Logger()

    def __init__(
        self,
        settings: RelaySettings,
        reactor: IReactor,
        random: Callable[[int], bytes] = os.urandom,
        *,
        wall_clock: Callable[[], float] = time.time,
        presence: IPresence | None = None,
        next_signal: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._random = random
        self._wall_clock = wall_clock
        self._presence = presence or open_presence(settings, reactor, random)
        self._next_signal = next_signal
        self._ports: list[Door] = []
        self._patience: IDelayedCall | None = None
        self.house, self.connections = self._build()
        self.addresses: tuple[Address, ...] = ()
        self.certificate: HostCertificate | None = None
        self._looking: LoopingCall | None = None
        if settings.tls_listen:
            self.certificate = HostCertificate(settings.certificate, settings.key)

    def _build(self) -> tuple[House, RelayFactory]:
        house = House(
            self._settings,
            self._reactor,
            self._random,
            wall=self._wall,
            presence=self._presence,
        )
        return house, RelayFactory(house, self._clock)

    def startService(self) -> None:
        """Begin to listen.

        :raises SettingsError: an address cannot be listened on.
        """
        settings = self._settings
        self.house, self.connections = self._build()
        descriptors = Descriptors(settings.limits.connections)
        self.connections.most = descriptors.connections
        refused = self.house.statistics.refused

        def crowd(host: str) -> None:
            refused["crowd"] += 1

        def untrusted() -> None:
            refused["untrusted-proxy"] += 1

        ways: list[tuple[tuple[str, ...], IProtocolFactory]] = [(settings.listen, self.connections)]
        if settings.tls_listen:
            self.certificate = HostCertificate(settings.certificate, settings.key)
            secured = SecuredFactory(
                self.certificate, self.connections, self._clock, HalfClosingTLS
            )
            ways.append((settings.tls_listen, secured))
        for each in settings.proxied:
            proxied = ProxiedFactory(self.connections, each.networks, untrusted)
            ways.append(((each.listen,), proxied))
        with ExitStack() as closing:  # Twisted works on duplicates of the sockets
            opened: list[tuple[Listening, IProtocolFactory]] = []
            for listen, factory in ways:
                for listening in open_streams(listen):
                    closing.callback(listening.close)
                    opened.append((listening, factory))
            for listening, factory in opened:
                prepare(listening.tcp)
                door = Door(
                    self._reactor,
                    listening.tcp,
                    factory,
                    crowd,
                    descriptors.waiting,
                    watch=watch_of(self._reactor),
                )
                self._ports.append(door)
        self.addresses = tuple(listening.address for listening, _ in opened)
        if self.certificate is not None:
            self._looking = LoopingCall(self.certificate.look)
            self._looking.clock = self._clock
            self._looking.start(LOOK_INTERVAL, now=False)
        self._presence.start()
        super().startService()
        self.log.info(
            "relay {name} is ready on {addresses}",
            name=settings.name,
            addresses=", ".join(map(address_text, self.addresses)),
        )

    def stopService(self) -> Deferred[None]:
        """Drain: send away whoever is not joined, leave pairs some time; fires when none is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def date(self) -> float:
        """Seconds since the epoch."""
        return self._wall_clock()

    @property
    def presence(self) -> IPresence:
        """Where else servers may be."""
        return self._presence

    def hurry(self) -> None:
        """End all pairs at once, instead of leaving them the rest of their time."""
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
            self._give_up()

    async def _stop(self) -> None:
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        ports, self._ports = self._ports, []
        self.addresses = ()
        for port in ports:
            port.stopListening()
        self.connections.tunnels.close()
        self.house.drain()
        gone = self._presence.stop()  # nobody is sent here while it drains
        pairs = len(self.house.pairs)
        grace = self._settings.drain_grace
        if pairs:
            self.log.info(
                "draining: pairs left: {pairs}; they have {grace} s", pairs=pairs, grace=grace
            )
        if self._next_signal is not None:
            self._next_signal(self.hurry)
        self._patience = self._clock.callLater(grace, self._give_up)
        await self.connections.when_empty()
        if self._patience.active():
            self._patience.cancel()
        await self.connections.let_go()
        self.connections.stop_timer()
        await gone

    def _give_up(self) -> None:
        if self.house.pairs:
            self.log.info("draining: pairs ended: {pairs}", pairs=len(self.house.pairs))
        self.connections.abort_all()

    def _wall(self, now: float) -> float:
        """The date of a moment, however the clock has been set since."""
        return now + self._wall_clock() - self._clock.seconds()


def on_next_signal(reactor: IReactorFromThreads, act: Callable[[], None]) -> None:
    """Call *act* in the reactor when SIGTERM or SIGINT comes; Twisted has had its own by then."""

    def handle(number: int, frame: object) -> None:
        reactor.callFromThread(act)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


class Options(usage.Options):
    """The options of ``twist wavesync-relay``."""

    synopsis = "[--config FILE]"
    longdesc = (
        "Run a wavesync relay: servers park connections here, clients ask for them, and the relay "
        "passes bytes between the two. What goes through is encrypted from end to end. Without "
        "--config it listens on all addresses, TCP port 3356, serves any system, and calls itself "
        "'localhost': fit for trying things on one machine. For real use write a file with at "
        'least name = "HOST", the host name by which agents and clients reach it (see '
        "etc/relay.toml, which shows every setting with its default), and open TCP port 3356."
    )
    optParameters = [["config", "c", None, "Settings file (TOML)."]]


def makeService(options: Options) -> IService:
    """Return the service that *options* ask for, or end the process with one sentence."""
    from twisted.internet import reactor

    from wavesync.metrics.service import Measured
    from wavesync.relay.metrics import RelayMetrics

    keep_steady(IReactorTime(reactor))
    collect_seldom()
    take_lead(reactor)

    def next_signal(act: Callable[[], None]) -> None:
        on_next_signal(IReactorFromThreads(reactor), act)

    def make(settings: RelaySettings) -> IService:
        relay = RelayService(settings, reactor, next_signal=next_signal)  # type: ignore[arg-type]
        return Measured(relay, RelayMetrics(relay), IReactorSocket(reactor), settings.metrics)

    return from_settings("wavesync-relay", options["config"], RelaySettings, make)
