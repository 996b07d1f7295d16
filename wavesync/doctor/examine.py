"""Examines the network of this host: everything at once, each with its own time, all in five seconds."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from wavesync.doctor.datagrams import ask_all, behave, of_family
from wavesync.doctor.findings import (
    Family,
    Findings,
    Place,
    ProxyFound,
    RouterFound,
)
from wavesync.doctor.gathered import Gathered, addresses_of, place_of_mediator, place_of_relay
from wavesync.doctor.limits import LIMIT, within
from wavesync.doctor.portal import NOBODY, look_for_portal
from wavesync.doctor.routers import look_at_routers
from wavesync.doctor.streams import (
    Outside,
    ask_stream,
    look_at_proxy,
    try_relay,
    try_tunnels,
)
from wavesync.doctor.surroundings import look_at_interfaces
from wavesync.interfaces import Address, IReactor
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.local import local_hosts
from wavesync.signalling.network import network_name
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.resolving import resolve
from wavesync.signalling.urls import Mediator
from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.discover import discover_lifetime
from wavesync.tunnel.proxies import Proxies, Proxy
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.urls import TunnelURL

__all__ = ["MAX_PLACES", "STEPS", "Examination", "examine", "examine_relays"]

MAX_PLACES = 8
"""Mediators that are examined, and relays."""

STEPS = ("addresses", "UDP", "TCP", "tunnels", "relays", "routers", "proxy", "router's behaviour")
"""What :class:`Examination` tells progress of."""

_RESOLVE = 1.5
_SLOW = 180.0


@dataclass(frozen=True)
class Examination:
    """What is to be examined.

    :ivar mediators: whom to ask.
    :ivar relays: which relays have to be reached.
    :ivar proxy: tells which proxy leads to a URL.
    :ivar lifetimes: where it is kept how long routers keep mappings.
    :ivar slow: look for that anew, which takes up to two minutes.
    :ivar map_ports: have a router map a port, for less than a second.
    :ivar discovery: whether this end can be found, or looks, on local networks.
    :ivar forwarded: what an agent knows of ports that lead to it.
    :ivar port: an agent's TCP port.
    :ivar progress: called with each of :data:`STEPS` when it is done.
    :ivar nobody: where nobody but a captive portal answers.
    """

    mediators: Sequence[Mediator]
    relays: Sequence[Relay] = ()
    proxy: Callable[[TunnelURL], Proxy | None] = field(default_factory=Proxies)
    lifetimes: Lifetimes | None = None
    slow: bool = False
    map_ports: bool = True
    discovery: bool | None = None
    forwarded: Collection[str] = ()
    port: int | None = None
    wall_clock: Callable[[], float] = time.time
    progress: Callable[[str], object] = lambda step: None
    nobody: TunnelURL = NOBODY


async def examine(reactor: IReactor, wanted: Examination) -> Findings:
    """Examine this host's network.

    :returns: what is known after :data:`~.limits.LIMIT` seconds at most; only ``slow`` takes longer.
    """
    began, at = reactor.seconds(), wanted.wall_clock()
    mediators = list(wanted.mediators)[:MAX_PLACES]
    relays = list(wanted.relays)[:MAX_PLACES]
    gathered = Gathered()
    outside = Outside(
        Roads(reactor, proxy=wanted.proxy, random=os.urandom),
        wanted.proxy,
    )
    tried: Deferred[None] = Deferred()

    async def reach() -> None:
        """Try all ways to mediators."""
        tunnels = _step(wanted, "tunnels", _tunnels(reactor, outside, mediators, gathered))
        await _all((tunnels, _mediators(reactor, wanted, mediators, gathered)))
        if not tried.called:
            tried.callback(None)

    async def portal() -> None:
        gathered.portal = await look_for_portal(
            reactor,
            outside.roads,
            tried,
            lambda: gathered.reached or not gathered.far,
            wanted.nobody,
        )

    alone = [
        _step(wanted, "addresses", _look_here(reactor, gathered)),
        reach(),
        portal(),
        _step(wanted, "relays", _relays(reactor, outside, relays, gathered)),
        _step(wanted, "proxy", _proxy(reactor, outside, mediators, relays, gathered)),
    ]
    if wanted.map_ports:
        alone.append(_step(wanted, "routers", _routers(reactor, gathered)))
    left = LIMIT
    for each in [Deferred.fromCoroutine(within(reactor, left, work)) for work in alone]:
        await each
    lifetime = await _lifetime(reactor, wanted, mediators, gathered)
    findings = _put_together(wanted, mediators, gathered, lifetime)
    return replace(findings, at=at, took=round(reactor.seconds() - began, 3))


async def _step(wanted: Examination, name: str, work: Any) -> None:
    await work
    wanted.progress(name)


async def _look_here(reactor: IReactor, gathered: Gathered) -> None:
    gathered.interfaces = await look_at_interfaces(reactor)


async def _routers(reactor: IReactor, gathered: Gathered) -> None:
    gathered.routers = await look_at_routers(reactor)


async def _mediators(
    reactor: IReactor, wanted: Examination, mediators: Sequence[Mediator], gathered: Gathered
) -> None:
    """Find their addresses, then ask them in all ways at once."""

    async def find(mediator: Mediator) -> None:
        found = await within(reactor, _RESOLVE, resolve(reactor, mediator.host))
        gathered.hosts[mediator.host] = found or ()

    await _all(map(find, mediators))
    by_udp = [
        address for each in mediators for address in addresses_of(gathered, each, each.udp_port)
    ]
    by_tcp = [
        address for each in mediators for address in addresses_of(gathered, each, each.tcp_port)
    ]

    async def over_udp() -> None:
        await _all(
            ask_all(
                reactor,
                [each for each in by_udp if (":" in each[0]) is six],
                asked,
                wanted.wall_clock,
            )
            for six, asked in gathered.asked.items()
        )

    async def over_tcp(address: Address) -> None:
        gathered.streams[address] = await ask_stream(reactor, address, wanted.wall_clock)

    async def behaviour(address: Address) -> None:
        found = await behave(reactor, address)
        if found is not None and found.mapped:
            gathered.behaviours[":" in address[0]].append(found)

    await _all(
        (
            _step(wanted, "UDP", over_udp()),
            _step(wanted, "TCP", _all(map(over_tcp, by_tcp))),
            _step(wanted, "router's behaviour", _all(map(behaviour, by_udp))),
        )
    )


async def _tunnels(
    reactor: IReactor, outside: Outside, mediators: Sequence[Mediator], gathered: Gathered
) -> None:
    async def one(mediator: Mediator, url: TunnelURL) -> None:
        trial = await try_tunnels(reactor, outside, url)
        if trial is not None:
            gathered.tunnels.setdefault(mediator, []).append(trial)

    await _all(one(each, url) for each in mediators for url in each.tunnels)


async def _relays(
    reactor: IReactor, outside: Outside, relays: Sequence[Relay], gathered: Gathered
) -> None:
    async def one(relay: Relay) -> None:
        gathered.relays[relay] = await try_relay(reactor, outside, _relay_url(relay))

    await _all(map(one, relays))


async def _proxy(
    reactor: IReactor,
    outside: Outside,
    mediators: Sequence[Mediator],
    relays: Sequence[Relay],
    gathered: Gathered,
) -> None:
    urls = [url for each in mediators for url in (*each.tunnels, *each.raw)]
    urls += map(_relay_url, relays)
    # A proxy most probably lets connect to where TLS is.
    urls.sort(key=lambda url: url.scheme != "https")
    for url in urls:
        proxy = outside.proxy(url)
        if proxy is not None:
            gathered.proxy = ProxyFound(url=str(proxy))
            gathered.proxy = await look_at_proxy(reactor, outside.roads, proxy, [url])
            return


async def _lifetime(
    reactor: IReactor, wanted: Examination, mediators: Sequence[Mediator], gathered: Gathered
) -> Lifetime | None:
    """How long the router keeps mappings: as is known, or looked for now."""
    if wanted.slow:
        for mediator in mediators:
            for address in addresses_of(gathered, mediator, mediator.udp_port):
                if ":" in address[0]:
                    continue
                found = await within(reactor, _SLOW, discover_lifetime(reactor, address))
                if isinstance(found, Lifetime):
                    return found
    kept = wanted.lifetimes.recall() if wanted.lifetimes is not None else None
    return None if kept is None else kept[0]


def _put_together(
    wanted: Examination,
    mediators: Sequence[Mediator],
    gathered: Gathered,
    lifetime: Lifetime | None,
) -> Findings:
    hosts = _own_hosts()
    families: list[Family | None] = []
    for six in (False, True):
        streams = [
            answered
            for address, (answered, _) in gathered.streams.items()
            if (":" in address[0]) is six
        ]
        own = [host for host in hosts if (":" in host) is six]
        found = of_family(own, gathered.asked[six], gathered.behaviours[six], streams)
        families.append(found)
    ipv4, ipv6 = families
    if ipv4 is not None and ipv4.translated:
        ipv4 = replace(ipv4, lifetime=lifetime)
    return Findings(
        network=network_name(),
        ipv4=ipv4,
        ipv6=ipv6,
        interfaces=gathered.interfaces,
        discovery=wanted.discovery,
        routers=tuple(_doubted(each, ipv4) for each in gathered.routers),
        forwarded=tuple(wanted.forwarded),
        port=wanted.port,
        proxy=gathered.proxy,
        portal=gathered.portal,
        mediators=tuple(place_of_mediator(each, gathered) for each in mediators),
        relays=tuple(place_of_relay(*each) for each in gathered.relays.items()),
    )


def _own_hosts() -> list[str]:
    """This host's addresses, those for itself last: a mediator may be on it."""
    hosts = local_hosts()
    return [*hosts, *(each for each in local_hosts(loopback=True) if each not in hosts)]


def _doubted(router: RouterFound, ipv4: Family | None) -> RouterFound:
    """A router that names a public address at which nobody sees us is not the last one."""
    seen = ipv4.mapped if ipv4 is not None else ""
    if seen and router.external and ":" not in router.external and router.external != seen:
        return replace(router, another_nat=True)
    return router


def _relay_url(relay: Relay) -> TunnelURL:
    return TunnelURL("https" if relay.tls else "http", relay.host, relay.port)


async def _all(works: Iterable[Any]) -> None:
    """Do everything at once; cancelled, it ends all of it."""
    running = [Deferred.fromCoroutine(work) for work in works]
    try:
        for each in running:
            await each
    finally:
        for each in running:
            each.addErrback(lambda _: None)
            each.cancel()


async def examine_relays(
    reactor: IReactor,
    relays: Sequence[Relay],
    proxy: Callable[[TunnelURL], Proxy | None] | None = None,
) -> tuple[Place, ...]:
    """Look at relays only."""
    gathered = Gathered()
    proxy = proxy if proxy is not None else Proxies()
    outside = Outside(Roads(reactor, proxy=proxy, random=os.urandom), proxy)
    await within(reactor, LIMIT, _relays(reactor, outside, list(relays)[:MAX_PLACES], gathered))
    return tuple(place_of_relay(*each) for each in gathered.relays.items())
