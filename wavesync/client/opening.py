"""A connector on real sockets, from credentials alone."""

import time
from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from wavesync.client.connector import Connector
from wavesync.client.memory import Memory
from wavesync.client.options import PATHS, check_client, check_paths
from wavesync.client.outward import Outward
from wavesync.client.race import LAN
from wavesync.client.recent import Recent, Recording
from wavesync.client.relay_path import Relaying
from wavesync.client.stream_opening import StreamOpener
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations
from wavesync.interfaces import Address, IReactor
from wavesync.lan.discovery import Discovery
from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.local import local_hosts
from wavesync.signalling.numbers import MAX_ADDRESSES
from wavesync.signalling.resolving import resolve
from wavesync.signalling.urls import Mediator, parse_mediators
from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.discover import discover_lifetime
from wavesync.stun.learning import LifetimeLearner
from wavesync.stun.pace import Pace
from wavesync.tunnel.destinations import Destinations
from wavesync.udt.dual import mode_from, open_carriers
from wavesync.udt.port import Port
from wavesync.udt.receive_buffer import EARLY_WINDOW

__all__ = ["open_connector"]


def open_connector(
    reactor: IReactor,
    credentials: Credentials,
    *,
    mediators: Sequence[str] = (),
    paths: Collection[str] = PATHS,
    allow_loopback: bool = False,
    wall_clock: Callable[[], float] = time.time,
    revocations: Revocations | None = None,
    memory: Memory | None = None,
    lifetimes: Lifetimes | None = None,
    recent: Recent | None = None,
    destinations: Destinations | None = None,
) -> Connector:
    """Bind a UDP port and make a connector that uses it.

    :param mediators: URLs to use instead of those that the credentials name.
    :param paths: the kinds of path to take.
    :param allow_loopback: use loopback addresses too (everything on one host).
    :param revocations: what this client knows of revoked servers; in memory only when None.
    :param memory: what worked before; as long as the connector lives when None.
    :param lifetimes: how long NATs keep mappings, as was found before; likewise.
    :param recent: where the last connects are kept for people; nowhere when None.
    :param destinations: leads to mediators and relays by any way; by way of the proxies that the
        environment names, if any, when None.  It is closed with the connector.
    :raises SettingsError: a URL or path cannot be understood, no mediator is named, or UDP cannot
        be had.
    """
    where = parse_mediators(mediators or credentials.mediators)
    check_paths(paths)
    check_client(credentials)
    opener = StreamOpener(
        reactor, credentials, wall_clock=wall_clock, allow_loopback=allow_loopback
    )
    if destinations is None:
        destinations = open_destinations(reactor, wall_clock=wall_clock)
    outward = Outward(destinations, where)
    relaying = Relaying(
        reactor,
        credentials,
        outward.relay,
        wall_clock=wall_clock,
        text=outward.text,
    )
    recording = Recording(reactor, recent, wall_clock=wall_clock)
    finder = None
    if LAN in paths:
        finder = Discovery.on(reactor, credentials.system, loopback=allow_loopback)
    if "udp" not in paths:
        return Connector(
            reactor,
            credentials,
            where,
            port=None,
            paths=paths,
            wall_clock=wall_clock,
            allow_loopback=allow_loopback,
            opener=opener,
            revocations=revocations,
            relaying=relaying,
            memory=memory,
            finder=finder,
            recording=recording,
            outward=outward,
        )
    try:
        port = Port(reactor, open_carriers(reactor, mode=mode_from()), early_window=EARLY_WINDOW)
    except CannotListenError as error:
        raise SettingsError(f"no UDP port can be used: {error.socketError}") from None
    families = {":" in host: number for host, number in port.addresses}

    def search() -> Deferred[Lifetime | str]:
        return Deferred.fromCoroutine(_search_lifetime(reactor, where, families))

    def own_addresses() -> Sequence[Address]:
        hosts = local_hosts(loopback=allow_loopback)
        own = [(host, families[":" in host]) for host in hosts if (":" in host) in families]
        return own[:MAX_ADDRESSES]

    connector = Connector(
        reactor,
        credentials,
        where,
        port=port,
        own_addresses=own_addresses,
        families=lambda: set(families),
        paths=paths,
        wall_clock=wall_clock,
        allow_loopback=allow_loopback,
        opener=opener,
        learner=LifetimeLearner(reactor, search, Pace(), kept=lifetimes),
        revocations=revocations,
        relaying=relaying,
        memory=memory,
        finder=finder,
        recording=recording,
        outward=outward,
    )
    port.stun_handler = connector.stun_received
    return connector


async def _search_lifetime(
    reactor: IReactor, mediators: Sequence[Mediator], families: Collection[bool]
) -> Lifetime | str:
    """Find out how long the NAT keeps mappings, with the first mediator that has a UDP port."""
    for mediator in mediators:
        if mediator.udp_port is None:
            continue
        for host in await resolve(reactor, mediator.host):
            if (":" in host) in families:
                return await discover_lifetime(reactor, (host, mediator.udp_port))
    return "no mediator is known by an address that can be used"
