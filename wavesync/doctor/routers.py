"""What the routers in front of this host can be asked for: which protocols they speak, and whether a
port that is asked for is mapped.  One is, for less than a second, and is given back."""

import random
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from wavesync.doctor.findings import RouterFound
from wavesync.doctor.limits import within
from wavesync.interfaces import IReactor
from wavesync.portmap.gateways import Gateway, find_gateways
from wavesync.portmap.service import methods_for
from wavesync.portmap.words import UDP, Lease, Method, PortMapError, Reason, Wanted, is_public
from wavesync.signalling.local import route_source

__all__ = ["look_at_routers"]

_DISCOVER, _MAP, _UNMAP = 2.3, 1.5, 0.5
_FIRST, _LAST = 40000, 60000


def _gateways() -> Sequence[Gateway]:
    return find_gateways(source=route_source)


async def look_at_routers(
    reactor: IReactor,
    *,
    gateways: Callable[[], Sequence[Gateway]] = _gateways,
    methods: Callable[[IReactor, Gateway], Sequence[Method]] = methods_for,
) -> tuple[RouterFound, ...]:
    """Ask all routers that may map ports."""
    looking = [
        Deferred.fromCoroutine(_look(reactor, gateway, list(methods(reactor, gateway))))
        for gateway in gateways()
    ]
    return tuple([await each for each in looking])


async def _look(reactor: IReactor, gateway: Gateway, methods: Sequence[Method]) -> RouterFound:
    found = _Found()
    try:
        running = [Deferred.fromCoroutine(_discover(reactor, each, found)) for each in methods]
        for each in running:
            await each
        speaking = [each for each in methods if each.name in found.speaks]
        lease = await _map(reactor, speaking[0], found) if speaking else None
    finally:
        for method in methods:
            method.close()
    external = lease.external[0] if lease is not None else ""
    return RouterFound(
        router=gateway.router or gateway.interface,
        speaks=tuple(each.name for each in methods if each.name in found.speaks),
        external=external,
        maps=lease is not None if speaking else None,
        another_nat=not is_public(external) if external else found.another_nat,
        why=found.why,
    )


class _Found:
    def __init__(self) -> None:
        self.speaks: set[str] = set()
        self.why = ""
        self.another_nat: bool | None = None


async def _discover(reactor: IReactor, method: Method, found: _Found) -> None:
    try:
        # None is what takes too long, and what a method discovers, too.
        asked = method.discover().addCallback(lambda _: True)
        if await within(reactor, _DISCOVER, asked):
            found.speaks.add(method.name)
    except PortMapError as error:
        if error.reason not in (Reason.NO_ANSWER, Reason.NO_GATEWAY):
            # It is there, and says no.
            found.speaks.add(method.name)
            found.why = found.why or str(error)


async def _map(reactor: IReactor, method: Method, found: _Found) -> Lease | None:
    port = random.randrange(_FIRST, _LAST)
    try:
        lease = await within(reactor, _MAP, method.map(Wanted(UDP, port), port))
    except PortMapError as error:
        found.why = str(error)
        found.another_nat = True if error.reason == Reason.ANOTHER_NAT else None
        return None
    if lease is None:
        found.why = "it does not answer in time"
        return None
    try:
        await within(reactor, _UNMAP, method.unmap(lease))
    except PortMapError as error:
        found.why = f"it does not give a port back: {error}"
    return lease
