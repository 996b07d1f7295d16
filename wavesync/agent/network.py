"""What an agent knows of its own network, found out cheaply: for those who cannot reach it.

Most of it is known anyhow.  What routers do to UDP is asked of a mediator (RFC 5780, where that offers
it), once, and again when the mediators see the agent elsewhere.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.portmap.service import Standing
from wavesync.signalling.lifetimes import Lifetimes
from wavesync.signalling.local import local_hosts
from wavesync.signalling.network_summary import ROUTERS, NetworkSummary
from wavesync.stun.behaviour_words import Behaviour, Dependence
from wavesync.stun.discover import discover_behaviour

__all__ = ["AGAIN_AFTER", "BLOCKED_AFTER", "OwnNetwork"]

AGAIN_AFTER = 60.0
"""Seconds from one examination to the next at least, however often the network changes."""

BLOCKED_AFTER = 20.0
"""Seconds since the start after which UDP does not work, if no mediator has answered over it."""


class OwnNetwork:
    """Keeps the summary.

    :param reactor: gives the time, and sockets for the examination.
    :param mapped: gives, for each mediator that answers over UDP, its address and where it sees the
        agent's UDP port.
    :param registered: tells whether any mediator is registered with.
    :param routers: gives what each router does for the agent; ``None`` where none is asked.
    :param lan: whether searches on local networks are answered.
    :param examines: whether to examine at all.
    :param lifetimes: how long NATs keep mappings; nothing is known when None.
    :param proxied: tells whether mediators are reached through an HTTP proxy only; None without one.
    :param discover: asks a mediator what routers do to UDP.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        mapped: Callable[[], Sequence[tuple[Address, Sequence[Address]]]],
        registered: Callable[[], bool],
        routers: Callable[[], Sequence[Standing]] | None,
        lan: bool,
        examines: bool = True,
        lifetimes: Lifetimes | None = None,
        proxied: Callable[[], bool | None] = lambda: None,
        discover: Callable[[Any, Address], Deferred[Behaviour]] = discover_behaviour,
        hosts: Callable[[], Iterable[str]] = local_hosts,
    ) -> None:
        self._reactor = reactor
        self._mapped = mapped
        self._registered = registered
        self._routers = routers
        self._lan = lan
        self._examines = examines
        self._lifetimes = lifetimes
        self._proxied = proxied
        self._discover = discover
        self._hosts = hosts
        self._examining: Deferred[None] | None = None
        self._examined: tuple[Address, str] | None = None
        self._behaviour = Behaviour()
        self._again_at = 0.0
        self._began: float | None = None

    def start(self) -> None:
        """From now on silence means something."""
        self._began = self._reactor.seconds()

    def stop(self) -> Deferred[None]:
        """Examine nothing more; fires when all sockets are closed."""
        self._began = None
        over: Deferred[None] = Deferred()
        examining = self._examining
        if examining is None:
            over.callback(None)
        else:
            examining.addBoth(lambda _: over.callback(None))
            examining.cancel()
        return over

    @property
    def summary(self) -> NetworkSummary | None:
        """What is known now; None where nothing is.  May begin an examination."""
        seen = self._mapped()
        self._look(seen)
        hosts = list(self._hosts())
        found = self._behaviour
        lifetime = self._lifetimes.recall() if self._lifetimes is not None else None
        standing = [] if self._routers is None else self._routers()
        udp, proxied = self._udp(seen), self._proxied()
        summary = NetworkSummary(
            found.mapping or _compared(seen),
            found.filtering,
            0 if lifetime is None else int(lifetime[0].alive),
            _router(standing),
            translated=_translated(seen, hosts),
            udp=udp,
            ipv6=any(_is_global(host) for host in hosts if ":" in host),
            proxy=proxied,
            lan=self._lan,
            hairpinning=found.hairpinning,
            forwarded=any(each.leases for each in standing) if standing else None,
        )
        return summary if seen or udp is False or proxied else None

    def _udp(self, seen: Sequence[tuple[Address, Sequence[Address]]]) -> bool | None:
        if seen:
            return True
        if self._began is None or self._reactor.seconds() - self._began < BLOCKED_AFTER:
            return None
        return False if self._registered() else None

    def _look(self, seen: Sequence[tuple[Address, Sequence[Address]]]) -> None:
        """Examine if the network is another one than last time."""
        if not seen or self._examining is not None or self._began is None or not self._examines:
            return
        mediator, places = seen[0]
        now = self._reactor.seconds()
        here = mediator, places[0][0]
        if here == self._examined or now < self._again_at:
            return
        if not IReactorUDP.providedBy(self._reactor):
            return
        self._again_at = now + AGAIN_AFTER
        self._examined = here
        self._behaviour = Behaviour()
        examining = self._discover(self._reactor, mediator)
        # Whoever stops waits for the very end: it is kept until then.
        running: Deferred[None] = examining.addCallbacks(self._found, self._failed)
        if not running.called:
            self._examining = running
            running.addBoth(self._over)

    def _found(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def _failed(self, failure: Failure) -> None:
        self.log.debug("the network was not examined: {why}", why=failure.getErrorMessage())

    def _over(self, _: object) -> None:
        self._examining = None


def _compared(seen: Sequence[tuple[Address, Sequence[Address]]]) -> Dependence | None:
    """What two mediators tell of the mapping between them, where neither examines it."""
    places: dict[bool, dict[str, Address]] = {}
    for mediator, its in seen:
        for place in its:
            places.setdefault(":" in place[0], {})[mediator[0]] = place
    for each in places.values():
        if len(each) > 1:
            alike = len(set(each.values())) == 1
            return Dependence.ENDPOINT_INDEPENDENT if alike else Dependence.ADDRESS_DEPENDENT
    return None


def _translated(
    seen: Sequence[tuple[Address, Sequence[Address]]], hosts: Sequence[str]
) -> bool | None:
    """Whether the IPv4 address outside, or the only one, is another than this host's."""
    outside = sorted((":" in host, host) for _, its in seen for host, _ in its)
    return None if not outside else outside[0][1] not in hosts


def _router(standing: Sequence[Standing]) -> str:
    for each in standing:
        if each.method in ROUTERS[2:]:
            return each.method
    return "none" if standing and all(each.why for each in standing) else ""


def _is_global(host: str) -> bool:
    return ipaddress.ip_address(host).is_global
