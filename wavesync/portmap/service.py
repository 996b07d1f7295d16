"""Has routers forward the ports of an agent, and tells where they lead."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wavesync.interfaces import Address, IReactor
from wavesync.portmap.asking import Asker
from wavesync.portmap.fetching import RouterHTTP
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.keeper import Keeper
from wavesync.portmap.natpmp_method import NATPMP
from wavesync.portmap.pcp_method import PCP
from wavesync.portmap.sockets import Datagrams, hear_announcements, link_to, open_search
from wavesync.portmap.upnp_method import UPnP
from wavesync.portmap.words import TCP, Lease, Method, Reason, Wanted, is_public

__all__ = [
    "LOOK_INTERVAL",
    "MAPPED",
    "SEARCHING",
    "STATES",
    "PortMapper",
    "Standing",
    "methods_for",
]

LOOK_INTERVAL = 10.0
"""Seconds between looks at which routers there are."""

_PORT = 5351

MAPPED: Final = "mapped"
"""Ports are forwarded, and lead here from the internet."""

SEARCHING: Final = "searching"
"""It is not known yet whether a router maps ports."""

STATES = (
    MAPPED,
    SEARCHING,
    Reason.NO_ANSWER,
    Reason.REFUSED,
    Reason.MALFORMED,
    Reason.NO_ADDRESS,
    Reason.ANOTHER_NAT,
    Reason.NO_GATEWAY,
)
"""All that :attr:`PortMapper.state` may be."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one router does for us.

    :ivar router: its address; empty where it is not known.
    :ivar interface: by which it is reached.
    :ivar method: ``PCP``, ``NAT-PMP`` or ``UPnP``; empty while none works.
    :ivar leases: what it forwards.
    :ivar state: one of :data:`STATES`.
    :ivar why: a sentence; empty when all is well, or nothing is known yet.
    """

    router: str
    interface: str
    method: str
    leases: tuple[Lease, ...]
    state: str
    why: str


class PortMapper:
    """Keeps ports mapped at all routers that this host is behind.

    :param on_change: called when :attr:`addresses` may be others.
    :param gateways: finds the routers.
    :param methods: makes the protocols to speak with one.
    :param observed: the addresses outside at which others have seen this host; a router that names
        another public one is not believed.  Empty while nothing is known.
    :param announcements: opens what hears announcements of routers.
    :param fraction: gives a fraction from 0 to 1.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        on_change: Callable[[], None],
        *,
        gateways: Callable[[], Sequence[Gateway]],
        methods: Callable[[Gateway], Sequence[Method]],
        observed: Callable[[], Collection[str]] = tuple,
        announcements: Callable[[Callable[[str], None]], Sequence[Datagrams]] = lambda heard: (),
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._gateways = gateways
        self._methods = methods
        self._observed = observed
        self._announcements = announcements
        self._fraction = fraction
        self._keepers: dict[Gateway, Keeper] = {}
        self._ending: set[Deferred[Any]] = set()
        self._wanted: tuple[Wanted, ...] = ()
        self._kept: tuple[Wanted, ...] = ()
        self._heard: Sequence[Datagrams] = ()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._told: dict[str, str] = {}
        self._running = False

    @classmethod
    def on(
        cls,
        reactor: IReactor,
        on_change: Callable[[], None],
        *,
        gateways: Callable[[], Sequence[Gateway]],
        observed: Callable[[], Collection[str]] = tuple,
    ) -> PortMapper:
        """Make one that uses real sockets."""
        return cls(
            reactor,
            on_change,
            gateways=gateways,
            methods=partial(methods_for, reactor),
            observed=observed,
            announcements=partial(hear_announcements, reactor),
        )

    def start(self, wanted: Collection[Wanted]) -> None:
        """Begin to map these ports."""
        self._running = True
        self._wanted = tuple(wanted)
        self._heard = self._announcements(self._announced)
        self._looking.start(LOOK_INTERVAL)

    def want(self, wanted: Collection[Wanted], kept: Collection[Wanted] = ()) -> None:
        """Map these ports from now on, and others no more.

        :param kept: ports that stay mapped for whoever knows of them already, and are told to nobody.
        """
        self._wanted, self._kept = tuple(wanted), tuple(kept)
        for keeper in self._keepers.values():
            keeper.want((*self._wanted, *self._kept))

    def stop(self) -> Deferred[Any]:
        """Give all mappings back; fires in bounded time (:data:`.keeper.STOP_TIMEOUT`)."""
        self._running = False
        if self._looking.running:
            self._looking.stop()
        for each in self._heard:
            each.close()
        self._heard = ()
        keepers, self._keepers = self._keepers, {}
        return DeferredList([keeper.stop() for keeper in keepers.values()] + list(self._ending))

    @property
    def addresses(self) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
        """Where routers forward TCP to this host, and UDP: public addresses first.

        A private address of a router leads here from its neighbours behind the same ISP's router.
        """
        leases = [lease for standing in self.standing for lease in standing.leases]
        leases = [each for each in leases if each.wanted in self._wanted and self._believed(each)]
        leases.sort(key=lambda lease: not is_public(lease.external[0]))
        tcp = [lease.external for lease in leases if lease.wanted.transport == TCP]
        udp = [lease.external for lease in leases if lease.wanted.transport != TCP]
        return tuple(tcp), tuple(udp)

    @property
    def standing(self) -> list[Standing]:
        """What each router does for us."""
        return [self._standing(keeper) for keeper in self._keepers.values()]

    @property
    def state(self) -> str:
        """In a word: the best of all routers; one of :data:`STATES`."""
        states = {each.state for each in self.standing}
        if not states:
            return Reason.NO_GATEWAY
        return next(state for state in (*STATES, "") if state in states or not state)

    def _standing(self, keeper: Keeper) -> Standing:
        state, why = SEARCHING, ""
        hosts = {lease.external[0] for lease in keeper.leases}
        if any(is_public(lease.external[0]) and self._believed(lease) for lease in keeper.leases):
            state = MAPPED
            why = "" if keeper.why is None else str(keeper.why)
        elif hosts:
            state = Reason.ANOTHER_NAT
            why = _another_nat(min(hosts), self._observed())
        elif keeper.why is not None:
            state, why = keeper.why.reason, str(keeper.why)
        gateway = keeper.gateway
        return Standing(gateway.router, gateway.interface, keeper.method, keeper.leases, state, why)

    def _believed(self, lease: Lease) -> bool:
        """Whether others see us at the address that the router says it has."""
        host = lease.external[0]
        same = [each for each in self._observed() if (":" in each) == (":" in host)]
        return not is_public(host) or not same or host in same

    def _look(self) -> None:
        """See which routers there are now."""
        found = list(self._gateways())
        for gateway in [each for each in self._keepers if each not in found]:
            ending = self._keepers.pop(gateway).stop()
            self._told.pop(gateway.router or gateway.interface, None)
            self._ending.add(ending)
            ending.addBoth(self._gone, ending)
            self._changed()
        for gateway in found:
            if gateway not in self._keepers:
                keeper = Keeper(
                    self._clock, gateway, self._methods(gateway), self._changed, self._fraction
                )
                self._keepers[gateway] = keeper
                keeper.start((*self._wanted, *self._kept))

    def _gone(self, result: object, ending: Deferred[Any]) -> object:
        self._ending.discard(ending)
        return result

    def _announced(self, host: str) -> None:
        for gateway, keeper in self._keepers.items():
            if gateway.router == host:
                keeper.poke()

    def _changed(self) -> None:
        if not self._running:
            return
        self._tell()
        self._on_change()

    def _tell(self) -> None:
        """Log what is new."""
        for each in self.standing:
            name = each.router or each.interface
            what = ", ".join(
                f"{lease.wanted.transport.upper()} {lease.external[0]} port {lease.external[1]}"
                for lease in each.leases
            )
            if self._told.get(name) == (what or each.why):
                continue
            self._told[name] = what or each.why
            if what:
                self.log.info(
                    "the router {router} forwards to here ({method}): {what}",
                    router=name,
                    method=each.method,
                    what=what,
                )
            if each.why:
                self.log.info(
                    "the router {router} does not let the internet in: {why}",
                    router=name,
                    why=each.why,
                )


def methods_for(reactor: IReactor, gateway: Gateway) -> list[Method]:
    """Make the protocols to speak with a router: over IPv6 only PCP opens anything."""
    asker = partial(
        Asker, reactor, partial(link_to, reactor, gateway, _PORT), f"the router {gateway.router}"
    )
    methods: list[Method] = []
    if gateway.router:
        methods.append(PCP(asker(), reactor, gateway.own, os.urandom))
    if ip_address(gateway.own).version == 6:
        return methods
    if gateway.router:
        methods.append(NATPMP(asker(), reactor))
    http = RouterHTTP(reactor, gateway.own)
    search = partial(open_search, reactor, gateway.own)
    methods.append(UPnP(reactor, gateway, search, http, random.random, http.close))
    return methods


def _another_nat(host: str, observed: Collection[str]) -> str:
    if is_public(host):
        return (
            f"the router says that its address is {host}, but others see this site at"
            f" {', '.join(sorted(observed))}: there is one more router in between"
        )
    return (
        f"the router has a private address itself ({host}): there is one more router between it and"
        " the internet, so that only neighbours behind that one get in"
    )
