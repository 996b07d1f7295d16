"""The UDP port that the agent punches from, and a fresh one when a router has spoiled it.

A router that takes a packet for its own, because it comes before anybody inside has sent, may from
then on send everything new of that inside port from another port outside: the one that mediators
see and tell stays deaf to new peers (``docs/mediator.rst``, "Who punches when").  A new inside port
has a mapping of its own, so introductions get one after punching that heard nothing.  The old port
goes on as long as somebody uses it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger

from wavesync.agent.introductions import PUNCHES, RENDEZVOUS_TIMEOUT, Rendezvous, RendezvousPort
from wavesync.interfaces import Address
from wavesync.signalling.addresses import is_public

__all__ = ["FRESH_INTERVAL", "LOOK_INTERVAL", "MAX_OLD_PORTS", "UNHEARD", "PortLike", "UdpPorts"]

UNHEARD = 1.0
"""Seconds after the first punch in which a peer that can be heard is heard."""

FRESH_INTERVAL = 20.0
"""Seconds between fresh ports, at least: some peers are never heard by UDP, whatever the port."""

MAX_OLD_PORTS = 4
"""Old ports that somebody still uses; with so many, the newest stays, whatever is heard."""

LOOK_INTERVAL = 5.0
"""Seconds between looks at whether old ports are used."""


class PortLike(RendezvousPort, Protocol):
    """A UDP port that listens (:class:`wavesync.udt.port.Port`)."""

    @property
    def address(self) -> Address:
        """Its local address of the first family."""

    @property
    def connections(self) -> int:
        """Connections that stand."""

    def send_stun(self, data: bytes, address: Address) -> None:
        """Send a datagram that is not UDT's."""

    def stop_listening(self) -> None:
        """Accept no more."""

    def close_when_idle(self) -> Deferred[None]:
        """Close once there is no connection and no rendezvous."""

    def close(self) -> Deferred[None]:
        """Close everything."""


P = TypeVar("P", bound=PortLike)


class UdpPorts(Generic[P]):
    """The port for introductions, and older ones that are still in use.

    :param clock: gives the time and timers.
    :param open_port: opens a port that listens, or raises ``CannotListenError``.
    :param on_fresh: called when :attr:`newest` is another one; ``None`` where it must stay.
    :param on_closed: called when an old one is not used any more.
    :ivar newest: what introductions use, and mediators are told of.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        open_port: Callable[[], P],
        on_fresh: Callable[[], None] | None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.newest = open_port()
        self._clock = clock
        self._open_port = open_port
        self._on_fresh = on_fresh
        self._on_closed = on_closed
        self._old: list[P] = []
        self._ending: set[P] = set()
        self._changed: float | None = None
        self._look: IDelayedCall | None = None
        self._closed = False

    def __iter__(self) -> Iterator[P]:
        """All ports, the newest first."""
        return iter([self.newest, *reversed(self._old)])

    def at(self, number: int) -> P | None:
        """Return the port with this number."""
        return next((port for port in self if port.address[1] == number), None)

    def send_stun(self, data: bytes, address: Address) -> None:
        """Send a datagram from the newest port."""
        self.newest.send_stun(data, address)

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None,
        timeout: float = RENDEZVOUS_TIMEOUT,
        delay: float = 0.0,
        share: int = PUNCHES,
    ) -> Rendezvous:
        """Punch from the newest port, and judge by it whether that is still good."""
        rendezvous = self.newest.rendezvous(
            candidates, factory, token=token, timeout=timeout, delay=delay, share=share
        )
        # Addresses across routers are only those that the mediator has seen a client's UDP at.
        if self._on_fresh is not None and any(is_public(host) for host, _ in candidates):
            verdict = self._clock.callLater(delay + UNHEARD, self.unheard)
            rendezvous.connected.addBoth(_spare, verdict)
        return rendezvous

    def unheard(self) -> None:
        """Nothing was heard by UDP of a peer that had shown the mediator its UDP: change the port."""
        now = self._clock.seconds()
        # Whoever is judged by an older port is judged within this time, too.
        early = self._changed is not None and now < self._changed + FRESH_INTERVAL
        crowded = len(self._old) >= MAX_OLD_PORTS
        if self._on_fresh is None or self._closed or early or crowded:
            return
        self._changed = now
        try:
            fresh = self._open_port()
        except (CannotListenError, OSError) as error:
            self.log.warn("no fresh UDP port can be had: {why}", why=error)
            return
        port = self.newest
        self._old.append(port)
        self.newest = fresh
        self.log.info(
            "a client was not heard on UDP port {old}: the next ones are met on {new}",
            old=port.address[1],
            new=fresh.address[1],
        )
        if self._look is None or not self._look.active():
            self._look = self._clock.callLater(LOOK_INTERVAL, self._look_again)
        self._on_fresh()

    def close(self) -> Deferred[Any]:
        """Close all ports; fires when that is done."""
        self._closed = True
        if self._look is not None and self._look.active():
            self._look.cancel()
        return DeferredList([port.close() for port in self])

    def _look_again(self) -> None:
        """Close the old ports that nobody uses."""
        for port in self._old[:]:
            if port not in self._ending and not port.connections:
                self._ending.add(port)
                port.stop_listening()
                port.close_when_idle().addCallback(self._ended, port)
        if self._old:
            self._look = self._clock.callLater(LOOK_INTERVAL, self._look_again)

    def _ended(self, _: None, port: P) -> None:
        self._ending.discard(port)
        self._old.remove(port)
        self._on_closed()


def _spare(result: IProtocol, verdict: IDelayedCall) -> IProtocol:
    """The rendezvous is over, one way or the other: there is nothing left to judge."""
    if verdict.active():
        verdict.cancel()
    return result
