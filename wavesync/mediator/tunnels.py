"""The mediator's HTTP ports: what comes through a tunnel is a leg like that of a TCP connection."""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall

from wavesync.mediator.settings import MediatorSettings
from wavesync.mediator.stream import LegFactory, LegProtocol
from wavesync.signalling.certificate import LOOK_INTERVAL, HostCertificate
from wavesync.signalling.fronts import ProxiedFactory, SecuredFactory
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.guests import TunnelStatistics
from wavesync.tunnel.server import TunnelServer

__all__ = ["PARTING", "Tunnels"]

PARTING = 1.0
"""Seconds that HTTP connections have to end by themselves when no leg is left."""


class _TunnelledLegs(ServerFactory):
    """Makes legs whose far end is that of an HTTP connection: a proxy's, often."""

    noisy = False

    def __init__(self, legs: LegFactory) -> None:
        self._legs = legs

    def buildProtocol(self, addr: IAddress | None) -> LegProtocol | None:
        """A protocol for one more leg (IProtocolFactory)."""
        return self._legs.make(addr, tunnelled=True)


class Tunnels:
    """Everything behind those ports.

    :param settings: checked settings.
    :param legs: makes the legs.
    :param clock: gives the time and timers.
    :raises SettingsError: the certificate or its key cannot be read.
    :ivar front: the HTTP connections.
    :ivar server: the tunnels.
    :ivar certificate: for TLS, if it is configured.
    """

    def __init__(self, settings: MediatorSettings, legs: LegFactory, clock: IReactorTime) -> None:
        self.server = TunnelServer(_TunnelledLegs(legs), clock, limits=settings.tunnels)
        self.front = FrontFactory(self.server, clock)
        self.certificate: HostCertificate | None = None
        self._settings = settings
        self._clock = clock
        self._looking: LoopingCall | None = None
        if settings.https_listen:
            self.certificate = HostCertificate(settings.certificate, settings.key)

    @property
    def statistics(self) -> TunnelStatistics:
        """Counts by method and by reason."""
        return self.server.statistics

    def doors(self) -> Sequence[tuple[tuple[str, ...], IProtocolFactory]]:
        """Give where to listen, and for what."""
        found: list[tuple[tuple[str, ...], IProtocolFactory]] = [
            (self._settings.http_addresses, self.front)
        ]
        if self.certificate is not None:
            secured = SecuredFactory(self.certificate, self.front, self._clock)
            found.append((self._settings.https_listen, secured))
        for each in self._settings.http_proxied:
            proxied = ProxiedFactory(self.front, each.networks, self._untrusted)
            found.append(((each.listen,), proxied))
        return found

    def start(self) -> None:
        """Look after the certificate."""
        if self.certificate is not None:
            self._looking = LoopingCall(self.certificate.look)
            self._looking.clock = self._clock
            self._looking.start(LOOK_INTERVAL, now=False)

    def close(self) -> None:
        """Take no more tunnels; those that are open end with their legs."""
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        self.server.close()

    async def end(self) -> None:
        """End all connections, once no leg is left; what was said last has a moment to leave."""
        empty: Deferred[None] = self.front.when_empty()
        late = self._clock.callLater(PARTING, empty.cancel)
        try:
            await empty
        except CancelledError:
            self.front.abort_all()
            await self.front.when_empty()
        else:
            late.cancel()
        self.server.abort_all()

    def _untrusted(self) -> None:
        self.statistics.refused["untrusted-proxy"] += 1
