"""What TCP reaches: mediators, relays, tunnels, the proxy."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from wavesync.doctor.datagrams import (
    Answered,
    ask_binding,
    ask_clock,
    binding_request,
    clock_request,
)
from wavesync.doctor.findings import ProxyFound, Trial
from wavesync.doctor.limits import within
from wavesync.errors import WavesyncError
from wavesync.interfaces import Address, IReactor
from wavesync.signalling.leg import Leg
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.probing import probe_relay
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import RAW, Road, Route, Way

__all__ = ["TIMEOUT", "TRIED", "Outside", "ask_stream", "look_at_proxy", "try_relay", "try_tunnels"]

TIMEOUT = 3.5
"""Seconds for one connection and what is asked through it."""

TRIED = ("upgrade", "poll")
"""The tunnels that are tried: the best one, and the one that passes where nothing else does."""

_MAX_WHY = 240


class Outside(NamedTuple):
    """How to get out.

    :ivar roads: makes connections.
    :ivar proxy: tells which proxy leads to a URL.
    """

    roads: Roads
    proxy: Callable[[TunnelURL], Proxy | None]


async def ask_stream(
    reactor: IReactor, address: Address, wall_clock: Callable[[], float]
) -> tuple[Answered, str]:
    """Ask one mediator over TCP.

    :returns: what it answered, :attr:`Answered.ms` with the connection counted in, and why nothing.
    """
    found = Answered()
    stands: Deferred[None] = Deferred()
    leg = Leg(reactor, lambda _: stands.callback(None), lambda _: None, lambda *_: None)
    endpoint = (TCP6ClientEndpoint if ":" in address[0] else TCP4ClientEndpoint)(
        reactor, *address, timeout=TIMEOUT
    )
    factory = Factory.forProtocol(lambda: leg)
    factory.noisy = False
    began = reactor.seconds()

    async def ask() -> None:
        await endpoint.connect(factory)
        await stands
        small, big = leg.ask(binding_request()), leg.ask(clock_request())
        await gatherResults(
            [
                Deferred.fromCoroutine(ask_binding(small, found)),
                Deferred.fromCoroutine(ask_clock(big, found, wall_clock)),
            ]
        )

    why = "no answer comes"
    try:
        await within(reactor, TIMEOUT, ask())
        if found.ms is not None:
            found.ms = round(1000 * (reactor.seconds() - began), 1)
    except Exception as error:
        why = _sentence(error)
    if leg.transport is not None:
        leg.abandon()
    return found, why


async def try_relay(
    reactor: IReactor, outside: Outside, url: TunnelURL
) -> tuple[Trial, Trial | None]:
    """Ask a relay for a challenge, directly, and through a proxy that leads there.

    One that refuses to connect may pass tunnels on.
    """
    trying = [
        Deferred.fromCoroutine(_ask_relay(reactor, outside.roads, way.road))
        for way in _ways(outside, url, (RAW,))
    ]
    trying += [
        Deferred.fromCoroutine(_open(reactor, outside.roads, way))
        for way in _ways(outside, url, TRIED)
        if way.route is Route.ABSOLUTE
    ]
    trials = [await each for each in trying]
    return trials[0], _best(trials[1:])


async def _ask_relay(reactor: IReactor, roads: Roads, road: Road) -> Trial:
    began = reactor.seconds()
    probe = probe_relay(road.url, os.urandom)
    return await _trial(
        reactor, Deferred.fromCoroutine(_probed(probe(roads.dial(road, timeout=TIMEOUT)))), began
    )


async def _probed(probing: Deferred[object]) -> bool:
    await probing
    return True


async def try_tunnels(reactor: IReactor, outside: Outside, url: TunnelURL) -> Trial | None:
    """Open tunnels to a place, directly and through a proxy that leads there."""
    trying = [
        Deferred.fromCoroutine(_open(reactor, outside.roads, way))
        for way in _ways(outside, url, TRIED)
    ]
    return _best([await each for each in trying])


async def _open(reactor: IReactor, roads: Roads, way: Way) -> Trial:
    began = reactor.seconds()
    opened: list[_Silent] = []

    def make() -> _Silent:
        opened.append(_Silent())
        return opened[-1]

    factory = Factory.forProtocol(make)
    factory.noisy = False
    opening = roads.open(way, factory, timeout=TIMEOUT, arrived=lambda: None)
    trial = await _trial(reactor, opening.addCallback(lambda _: True), began)
    for protocol in opened:
        if protocol.transport is not None:
            protocol.transport.abortConnection()
    return trial


async def look_at_proxy(
    reactor: IReactor, roads: Roads, proxy: Proxy, urls: Sequence[TunnelURL]
) -> ProxyFound:
    """Have a proxy connect to the first of these places.

    A proxy that refuses that, and passes requests on, is a good one all the same.
    """
    url = str(proxy)
    if not urls:
        return ProxyFound(url=url)
    try:
        factory = Factory.forProtocol(_Silent)
        factory.noisy = False
        connecting = roads.dial(Road(urls[0], Route.CONNECT), timeout=TIMEOUT).connect(factory)
        protocol = await within(reactor, TIMEOUT, connecting)
    except TunnelError as error:
        reached = error.reason is not Why.UNREACHABLE or error.status is not None
        return ProxyFound(
            url=url,
            reached=reached,
            wants_password=error.reason is Why.PROXY_PASSWORD,
            why=str(error)[:_MAX_WHY],
        )
    except Exception as error:
        return ProxyFound(url=url, reached=False, why=_sentence(error))
    if protocol is None:
        return ProxyFound(url=url, reached=False, why="no answer comes")
    assert isinstance(protocol, _Silent)
    protocol.transport.abortConnection()
    return ProxyFound(url=url, reached=True, wants_password=False)


class _Silent(Protocol):
    """Takes what comes."""

    transport: Any


def _ways(outside: Outside, url: TunnelURL, methods: Sequence[str]) -> list[Way]:
    """The ways to a URL: directly, and through a proxy if one leads there."""
    routes = [Route.DIRECT]
    if outside.proxy(url) is not None:
        routes.append(Route.CONNECT)
        if url.scheme == "http":
            routes.append(Route.ABSOLUTE)
    return [
        Way(url, route, method)
        for route in routes
        for method in methods
        if not (method == RAW and route is Route.ABSOLUTE)
    ]


async def _trial(reactor: IReactor, trying: Deferred[bool], began: float) -> Trial:
    try:
        works = await within(reactor, TIMEOUT, trying)
    except Exception as error:
        return Trial(works=False, why=_sentence(error))
    if not works:
        return Trial(works=False, why="no answer comes")
    return Trial(works=True, ms=round(1000 * (reactor.seconds() - began), 1))


def _best(trials: Sequence[Trial]) -> Trial | None:
    """The fastest that works; else the first."""
    good = sorted((each for each in trials if each.works), key=lambda each: each.ms or 0.0)
    return next(iter((*good, *trials)), None)


def _sentence(error: Exception) -> str:
    """Say why, in a few words and without a full stop."""
    if isinstance(error, CancelledError | ConnectingCancelledError | TimeoutError):
        return "no answer comes"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    text = str(error) if isinstance(error, WavesyncError) else Failure(error).getErrorMessage()
    text = "".join(each if each.isprintable() else "?" for each in text).strip()
    return (text or type(error).__name__).rstrip(".")[:_MAX_WHY]
