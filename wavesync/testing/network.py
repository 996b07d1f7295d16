"""A UDP network in memory, on virtual time: hosts, NAT boxes, loss, delay, reordering.

Put a :class:`wavesync.udt.port.Port` on ``host.carrier()`` and everything above it runs without a
socket and without waiting::

    clock = Clock()
    network = Network(clock, delay=0.02, loss=0.01, random=Random(1))
    server = network.host("192.0.2.1")
    home = network.nat("198.51.100.7", mapping=Mapping.ENDPOINT_INDEPENDENT)
    client = home.host("10.0.0.2")
    port = Port(clock, client.carrier())
    run_for(clock, 1.0)
"""

import enum
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from wavesync.interfaces import Address, Burst, Oversized
from wavesync.udt.carrier import Arrival, BurstAssembler, ICarrier, Receiver, slices

__all__ = [
    "Filtering",
    "Host",
    "InFragments",
    "Mapping",
    "MemoryCarrier",
    "Nat",
    "Network",
    "PortChoice",
]

EPHEMERAL = 49152
"""First port given where none was asked for."""


class Mapping(enum.Enum):
    """How a NAT chooses the outside port of a flow (RFC 4787 section 4.1)."""

    ENDPOINT_INDEPENDENT = "EIM"
    ADDRESS_DEPENDENT = "ADM"
    ADDRESS_AND_PORT_DEPENDENT = "APDM"


class Filtering(enum.Enum):
    """Which outside packets a NAT lets in to a mapped port (RFC 4787 section 5)."""

    ENDPOINT_INDEPENDENT = "EIF"
    ADDRESS_DEPENDENT = "ADF"
    ADDRESS_AND_PORT_DEPENDENT = "APDF"


class PortChoice(enum.Enum):
    """Which outside port a new mapping gets."""

    PRESERVE = "the inside port while it is free"
    SEQUENTIAL = "one more than the last"
    RANDOM = "any"


class InFragments(bytes):
    """A datagram that is sent in fragments: it passes where one of its size would not."""


Drop = Callable[[bytes, Address, Address], bool]
"""Given a datagram, its source and its destination: whether it is lost."""


class _Realm:
    """A network with its own addresses: the internet, or what is behind a NAT."""

    def __init__(self, network: "Network", delay: float) -> None:
        self.network = network
        self.delay = delay
        self.members: dict[str, Host | Nat] = {}

    def host(self, address: str) -> "Host":
        """:return: a new host with this numeric address."""
        host = Host(self, address)
        self._join(address, host)
        return host

    def nat(
        self,
        address: str,
        *,
        mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT,
        filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT,
        ports: PortChoice = PortChoice.RANDOM,
        hairpin: bool = False,
        timeout: float = 120.0,
        delay: float = 0.0,
    ) -> "Nat":
        """:return: a new NAT with this outside address; more hosts and NATs may stand behind it.

        :param hairpin: whether inside hosts reach each other by outside addresses.
        :param timeout: seconds without an outbound packet after which a mapping is forgotten.
        :param delay: seconds that a datagram takes among the hosts behind.
        """
        nat = Nat(self, address, mapping, filtering, ports, hairpin, timeout, delay)
        self._join(address, nat)
        return nat

    def _join(self, address: str, member: "Host | Nat") -> None:
        if address in self.members:
            raise ValueError(f"{address} is taken")
        self.members[address] = member

    def route(self, data: bytes, source: Address, destination: Address) -> None:
        """Carry a datagram that a member sends."""
        member = self.members.get(destination[0])
        if member is not None:
            self.network.carry(self.delay, member, data, source, destination)
        else:
            self.route_out(data, source, destination)

    def route_out(self, data: bytes, source: Address, destination: Address) -> None:
        """Carry a datagram to an address that is not a member's: here it is lost."""


class Network(_Realm):
    """The internet of a test.

    :param clock: virtual time.
    :param delay: one-way delay between hosts and NATs, seconds.
    :param jitter: up to this much more, random: datagrams then overtake each other.
    :param loss: part of the datagrams that is lost, 0 .. 1.
    :param duplicate: part of the datagrams that arrives twice, 0 .. 1.
    :param random: seeded by the test.
    :param drop: asked for every datagram before chance is.
    :ivar carried: datagrams sent so far, lost ones too.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        random: Random | None = None,
        drop: Drop | None = None,
    ) -> None:
        super().__init__(self, delay)
        self.clock = clock
        self.jitter = jitter
        self.loss = loss
        self.duplicate = duplicate
        self.random = random or Random(0)
        self.drop = drop
        self.carried = 0
        self._heap: list[tuple[float, int, Host | Nat, bytes, Address, Address]] = []
        self._order = 0
        self._call: IDelayedCall | None = None

    def route_out(self, data: bytes, source: Address, destination: Address) -> None:
        """Lose a datagram for an address that nobody has."""
        self.carried += 1
        if self.drop is not None:
            self.drop(data, source, destination)

    def inject(self, data: bytes, source: Address, destination: Address) -> None:
        """Send a datagram with any source address, as a forger does."""
        self.route(data, source, destination)

    def carry(
        self, delay: float, member: "Host | Nat", data: bytes, source: Address, destination: Address
    ) -> None:
        """Bring a datagram to a member after *delay*, unless it is lost."""
        self.carried += 1
        if self.drop is not None and self.drop(data, source, destination):
            return
        if self.loss and self.random.random() < self.loss:
            return
        copies = 1 + (bool(self.duplicate) and self.random.random() < self.duplicate)
        for _copy in range(copies):
            self._order += 1
            arrival = self.clock.seconds() + delay
            if self.jitter:
                arrival += self.random.random() * self.jitter
            heapq.heappush(self._heap, (arrival, self._order, member, data, source, destination))
        self._arm()

    def _arm(self) -> None:
        if not self._heap:
            return
        wait = max(0.0, self._heap[0][0] - self.clock.seconds())
        if self._call is None or not self._call.active():
            self._call = self.clock.callLater(wait, self._deliver)
        elif self._call.getTime() > self._heap[0][0]:
            self._call.reset(wait)

    def _deliver(self) -> None:
        now = self.clock.seconds() + 1e-9
        carriers: dict[int, MemoryCarrier] = {}
        while self._heap and self._heap[0][0] <= now:
            _time, _order, member, data, source, destination = heapq.heappop(self._heap)
            carrier = member.arrive(data, source, destination)
            if carrier is not None:
                carriers[id(carrier)] = carrier
        for carrier in carriers.values():
            carrier.flush()
        self._arm()


@dataclass
class _Mapped:
    """One mapping of a NAT."""

    inside: Address
    outside_port: int
    used: float
    remotes: set[Address] = field(default_factory=set)


class Nat(_Realm):
    """A NAT box with a realm behind it; made by :meth:`Network.nat`.

    :ivar address: the outside address.
    """

    def __init__(
        self,
        outer: _Realm,
        address: str,
        mapping: Mapping,
        filtering: Filtering,
        ports: PortChoice,
        hairpin: bool,
        timeout: float,
        delay: float,
    ) -> None:
        super().__init__(outer.network, delay)
        self.address = address
        self._outer = outer
        self._mapping = mapping
        self._filtering = filtering
        self._ports = ports
        self._hairpin = hairpin
        self._timeout = timeout
        self._by_flow: dict[tuple[Address, str, int], _Mapped] = {}
        self._by_port: dict[int, _Mapped] = {}
        self._last_port = EPHEMERAL

    def reboot(self) -> None:
        """Forget every mapping."""
        self._by_flow.clear()
        self._by_port.clear()

    def route_out(self, data: bytes, source: Address, destination: Address) -> None:
        """Give an inside datagram an outside source and send it on."""
        if destination[0] == self.address and not self._hairpin:
            return
        mapped = self._map(source, destination)
        outside = (self.address, mapped.outside_port)
        if destination[0] == self.address:
            self.arrive(data, outside, destination)
        else:
            self._outer.route(data, outside, destination)

    def arrive(self, data: bytes, source: Address, destination: Address) -> None:
        """Let an outside datagram in, if there is a mapping and the filter lets it pass."""
        mapped = self._by_port.get(destination[1])
        if mapped is None or self._expired(mapped) or not self._passes(mapped, source):
            return
        # Answers leave by the mapping that the flow came in by, as connection tracking does it.
        self._by_flow[self._flow(mapped.inside, source)] = mapped
        member = self.members.get(mapped.inside[0])
        if member is not None:
            self.network.carry(self.delay, member, data, source, mapped.inside)

    def _flow(self, inside: Address, remote: Address) -> tuple[Address, str, int]:
        """:return: what a mapping is found by."""
        if self._mapping is Mapping.ENDPOINT_INDEPENDENT:
            return (inside, "", 0)
        if self._mapping is Mapping.ADDRESS_DEPENDENT:
            return (inside, remote[0], 0)
        return (inside, *remote)

    def _passes(self, mapped: _Mapped, source: Address) -> bool:
        if self._filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        if self._filtering is Filtering.ADDRESS_DEPENDENT:
            return any(remote[0] == source[0] for remote in mapped.remotes)
        return source in mapped.remotes

    def _expired(self, mapped: _Mapped) -> bool:
        return self.network.clock.seconds() - mapped.used > self._timeout

    def _map(self, source: Address, destination: Address) -> _Mapped:
        key = self._flow(source, destination)
        mapped = self._by_flow.get(key)
        if mapped is not None and self._expired(mapped):
            self._by_port.pop(mapped.outside_port, None)
            mapped = None
        if mapped is None:
            mapped = _Mapped(source, self._free_port(source[1]), 0.0)
            self._by_flow[key] = self._by_port[mapped.outside_port] = mapped
        mapped.used = self.network.clock.seconds()
        mapped.remotes.add(destination)
        return mapped

    def _free_port(self, inside: int) -> int:
        if self._ports is PortChoice.PRESERVE and inside not in self._by_port:
            return inside
        while True:
            if self._ports is PortChoice.SEQUENTIAL:
                self._last_port += 1
                port = self._last_port
            else:
                port = self.network.random.randrange(1024, 65536)
            if port not in self._by_port:
                return port


class Host:
    """A computer with one address; made by :meth:`Network.host` or :meth:`Nat.host`."""

    def __init__(self, realm: _Realm, address: str) -> None:
        self.address = address
        self.realm = realm
        self.carriers: dict[int, MemoryCarrier] = {}

    def carrier(self, port: int = 0) -> "MemoryCarrier":
        """:return: a new carrier on this host.

        :param port: local port, 0 for the next free one.
        """
        if port == 0:
            port = next(p for p in range(EPHEMERAL, 65536) if p not in self.carriers)
        if port in self.carriers:
            raise ValueError(f"port {port} of {self.address} is taken")
        carrier = self.carriers[port] = MemoryCarrier(self, port)
        return carrier

    def arrive(self, data: bytes, source: Address, destination: Address) -> "MemoryCarrier | None":
        """Take a datagram; nobody hears those for ports that nobody has."""
        carrier = self.carriers.get(destination[1])
        if carrier is not None:
            carrier.arrive(data, source)
        return carrier


@implementer(ICarrier)
class MemoryCarrier:
    """A carrier on a memory network; has the interface of a socket's.

    :ivar address: the host's address and the port.
    :ivar sent: datagrams sent so far.
    """

    congested = False
    room = 1 << 17

    def __init__(self, host: Host, port: int) -> None:
        self.address: Address = (host.address, port)
        self.sent = 0
        self._host = host
        self._receiver: Receiver | None = None
        self._assembler = BurstAssembler()

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        self._receiver = receiver

    def stop(self) -> None:
        """Give the port back."""
        self._receiver = None
        if self._host.carriers.get(self.address[1]) is self:
            del self._host.carriers[self.address[1]]

    def send(self, burst: Burst, destination: Address) -> None:
        """Put each datagram of the burst on the network."""
        kind = InFragments if type(burst) is Oversized else bytes
        for datagram in slices(burst):
            self.sent += 1
            self._host.realm.route(kind(datagram), self.address, destination)

    def arrive(self, data: bytes, source: Address) -> None:
        """Take a datagram; it is handed on by :meth:`flush`."""
        self._assembler.add(data, source)

    def flush(self) -> None:
        """Hand on what came at this moment."""
        arrivals: list[Arrival] = self._assembler.take()
        if arrivals and self._receiver is not None:
            self._receiver.bursts_received(arrivals)
