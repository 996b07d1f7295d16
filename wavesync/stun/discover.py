"""Finding out how the NAT in front of us behaves, with real sockets or with a UDT port.

Thin shells around :class:`wavesync.stun.behaviour.BehaviourDiscovery`: they send, receive and keep
one timer.
"""

import secrets
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol

from wavesync.interfaces import Address
from wavesync.stun.behaviour import BehaviourDiscovery, Outgoing
from wavesync.stun.behaviour_words import Behaviour, Lifetime
from wavesync.stun.binding_request import numeric
from wavesync.stun.lifetime import LONGEST, LifetimeSearch
from wavesync.stun.transactions import DEFAULT_RTO

__all__ = ["BehaviourObserver", "Discovery", "discover_behaviour", "discover_lifetime"]

Send: TypeAlias = Callable[[bytes, Address], object]

_Found_co = TypeVar("_Found_co", covariant=True)
_Found = TypeVar("_Found")


class Discovery(Protocol[_Found_co]):
    """What asks with two local ports.

    Such as :class:`wavesync.stun.behaviour.BehaviourDiscovery` and
    :class:`wavesync.stun.lifetime.LifetimeSearch`.
    """

    @property
    def outcome(self) -> _Found_co | None:
        """What was found; None while asking."""

    def datagrams(self, now: float) -> list[Outgoing]:
        """What to send at *now*."""

    def datagram_received(
        self, data: bytes, source: Address, now: float, *, second: bool = False
    ) -> None:
        """Take a datagram."""

    def timer(self, now: float) -> None:
        """The deadline came."""

    def deadline(self) -> float | None:
        """When there is something to do next."""


class BehaviourObserver(Generic[_Found]):
    """Drives a discovery on ports that belong to somebody else.

    With a :class:`wavesync.udt.port.Port`: *send* is its ``send_stun``, and its ``stun_handler``
    hands what is for nobody else to :meth:`datagram_received`.

    :param clock: the reactor, or a virtual clock.
    :param discovery: what to find out.
    :param send: sends a datagram from the first port.
    :param send_second: sends one from the second port.
    :ivar done: fires with what was found.  Cancelling it ends the discovery.
    """

    def __init__(
        self,
        clock: IReactorTime,
        discovery: Discovery[_Found],
        send: Send,
        send_second: Send,
    ) -> None:
        self._clock = clock
        self._discovery = discovery
        self._send = send
        self._send_second = send_second
        self._timer: IDelayedCall | None = None
        self._over = False
        self.done: Deferred[_Found] = Deferred(lambda _: self._cancelled())

    def start(self) -> None:
        """Begin to ask."""
        self._turn()

    def datagram_received(self, data: bytes, source: Address) -> None:
        """A datagram came to the first port."""
        self._received(data, source, False)

    def second_datagram_received(self, data: bytes, source: Address) -> None:
        """A datagram came to the second port."""
        self._received(data, source, True)

    def _received(self, data: bytes, source: Address, second: bool) -> None:
        if not self._over:
            now = self._clock.seconds()
            self._discovery.datagram_received(data, source[:2], now, second=second)
            self._turn()

    def _turn(self) -> None:
        """After each stimulus: send what is due, and finish or wait."""
        now = self._clock.seconds()
        self._discovery.timer(now)
        for data, destination, second in self._discovery.datagrams(now):
            (self._send_second if second else self._send)(data, destination)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._discovery.deadline()
        if deadline is not None:
            self._timer = self._clock.callLater(max(0.0, deadline - now), self._timer_came)
        elif not self._over and self._discovery.outcome is not None:
            self._over = True
            self.done.callback(self._discovery.outcome)

    def _timer_came(self) -> None:
        self._timer = None
        self._turn()

    def _cancelled(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Socket(DatagramProtocol):
    """One of the two sockets."""

    transport: Any
    noisy = False

    def __init__(self) -> None:
        self.receiver: Callable[[bytes, Address], None] | None = None

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand on what came."""
        if self.receiver is not None:
            self.receiver(datagram, addr[:2])

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram; what the host cannot send is as lost as on any network."""
        try:
            self.transport.write(data, destination)
        except OSError:
            return


def discover_behaviour(
    reactor: Any,
    server: Address,
    *,
    interface: str = "",
    lifetime: float = 0.0,
    rto: float = DEFAULT_RTO,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Deferred[Behaviour]:
    """Find out how the NAT between us and *server* behaves.

    :param reactor: provides ``IReactorTime`` and ``IReactorUDP``.
    :param server: numeric host and port of a server with two addresses.
    :param interface: the local address to ask from; that of the route to the server if empty.
    :param lifetime: the longest lifetime of a mapping to look for, in seconds; 0 for not at all.
    :param rto: seconds to the first retransmission.
    :param random: gives so many random bytes.
    :returns: fires with what was found, when the sockets are closed; what nobody answers is
        unknown, not a failure.  Fails with :exc:`BindingFailed` where the server's host is not
        numeric, and with ``CannotListenError``.  Cancelling it closes the sockets.
    """

    def discovery(own: Address | None) -> BehaviourDiscovery:
        now = reactor.seconds()
        return BehaviourDiscovery(server, random, now, local=own, lifetime=lifetime, rto=rto)

    return Deferred.fromCoroutine(_discover(reactor, server, interface, discovery))


def discover_lifetime(
    reactor: Any,
    server: Address,
    *,
    interface: str = "",
    longest: float = LONGEST,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Deferred[Lifetime | str]:
    """Find out how long the NAT between us and *server* keeps an unused mapping.

    :param reactor: provides ``IReactorTime`` and ``IReactorUDP``.
    :param server: numeric host and port of a server that obeys RESPONSE-PORT.
    :param interface: the local address to ask from; that of the route to the server if empty.
    :param longest: seconds after which it does not matter any more.
    :param random: gives so many random bytes.
    :returns: fires with what was found, or a sentence that says why nothing was, when the sockets
        are closed.  Fails with :exc:`BindingFailed` where the server's host is not numeric, and
        with ``CannotListenError``.  Cancelling it closes the sockets.
    """

    def search(own: Address | None) -> LifetimeSearch:
        return LifetimeSearch(server, random, reactor.seconds(), longest=longest)

    return Deferred.fromCoroutine(_discover(reactor, server, interface, search))


async def _discover(
    reactor: Any,
    server: Address,
    interface: str,
    make: Callable[[Address | None], Discovery[_Found]],
) -> _Found:
    server = numeric(server)
    interface = interface or await _local_host(reactor, server)
    first, second = _Socket(), _Socket()
    ports = []
    try:
        ports.append(reactor.listenUDP(0, first, interface=interface))
        ports.append(reactor.listenUDP(0, second, interface=interface))
        own = (interface, ports[0].getHost().port) if interface not in _ANY else None
        observer = BehaviourObserver(reactor, make(own), first.send, second.send)
        first.receiver = observer.datagram_received
        second.receiver = observer.second_datagram_received
        observer.start()
        return await observer.done
    finally:
        for port in ports:
            await maybeDeferred(port.stopListening)


_ANY = ("0.0.0.0", "::")


async def _local_host(reactor: Any, server: Address) -> str:
    """The local address that packets to *server* leave from, any if there is no way to it."""
    wildcard = "::" if ":" in server[0] else "0.0.0.0"
    probe = DatagramProtocol()
    port = reactor.listenUDP(0, probe, interface=wildcard)
    try:
        port.connect(*server)
        host: str = port.getHost().host
    except OSError:
        host = wildcard
    finally:
        await maybeDeferred(port.stopListening)
    return host
