"""A memory network with a STUN server of two addresses, a NAT, and a client that discovers it."""

from random import Random

from twisted.internet.task import Clock

from wavesync.interfaces import Address
from wavesync.stun.alternate import AddressPair
from wavesync.stun.behaviour import BehaviourDiscovery
from wavesync.stun.behaviour_words import Behaviour
from wavesync.stun.discover import BehaviourObserver
from wavesync.testing.network import Drop, Filtering, Host, Mapping, Network, PortChoice
from wavesync.testing.time import run_for
from wavesync.udt.port import Port
from wavesync.udt.sorting import StunHandler

__all__ = ["PAIR", "World"]

PAIR = AddressPair(("192.0.2.1", 3345), ("192.0.2.2", 3346))


class World:
    """A server with two addresses, and room for a client.

    :param loss: part of the datagrams that is lost.
    :param drop: says which datagrams are lost besides.
    :ivar silent: sockets of the server that send nothing.
    :ivar asked: the requests that came to each of its sockets.
    """

    def __init__(self, *, loss: float = 0.0, drop: Drop | None = None, seed: int = 1) -> None:
        self.clock = Clock()
        self.random = Random(seed)
        self.network = Network(self.clock, delay=0.02, loss=loss, random=self.random, drop=drop)
        self.silent: set[Address] = set()
        self.asked: dict[Address, int] = dict.fromkeys(PAIR.addresses, 0)
        self.ports: list[Port] = []
        hosts = {host: self.network.host(host) for host in ("192.0.2.1", "192.0.2.2")}
        self._server = {at: self._port(hosts[at[0]], at[1]) for at in PAIR.addresses}
        for at in PAIR.addresses:
            self._server[at].stun_handler = self._handler(at)

    def answer(self, data: bytes, source: Address, at: Address) -> None:
        """Answer a request; tests make other servers of this."""
        reply = PAIR.answer(data, source, at)
        if reply is not None:
            self.send(reply.data, reply.destination, reply.origin)

    def send(self, data: bytes, destination: Address, origin: Address) -> None:
        """Send from one of the server's sockets, unless it is silent."""
        if origin not in self.silent:
            self._server[origin].send_stun(data, destination)

    def behind(
        self,
        mapping: Mapping,
        filtering: Filtering,
        *,
        ports: PortChoice = PortChoice.RANDOM,
        hairpin: bool = False,
        timeout: float = 120.0,
    ) -> Host:
        """A host behind a NAT."""
        nat = self.network.nat(
            "198.51.100.7",
            mapping=mapping,
            filtering=filtering,
            ports=ports,
            hairpin=hairpin,
            timeout=timeout,
        )
        return nat.host("10.0.0.2")

    def public(self) -> Host:
        """A host with a public address."""
        return self.network.host("203.0.113.9")

    def observe(self, host: Host, *, lifetime: float = 0.0) -> BehaviourObserver[Behaviour]:
        """A client that has begun to ask."""
        port = self._port(host)
        beside = self._port(host)
        discovery = BehaviourDiscovery(
            PAIR.primary,
            self.random.randbytes,
            self.clock.seconds(),
            local=port.address,
            lifetime=lifetime,
        )
        observer = BehaviourObserver(self.clock, discovery, port.send_stun, beside.send_stun)
        port.stun_handler = observer.datagram_received
        beside.stun_handler = observer.second_datagram_received
        observer.start()
        return observer

    def discover(self, host: Host, *, lifetime: float = 0.0, seconds: float = 20.0) -> Behaviour:
        """What a client on *host* finds out within *seconds*."""
        observer = self.observe(host, lifetime=lifetime)
        found: list[Behaviour] = []
        observer.done.addCallback(found.append)
        run_for(self.clock, seconds)
        assert found, "it has not ended"
        return found[0]

    def _port(self, host: Host, number: int = 0) -> Port:
        port = Port(self.clock, host.carrier(number))
        self.ports.append(port)
        return port

    def _handler(self, at: Address) -> StunHandler:
        def received(data: bytes, source: Address) -> None:
            self.asked[at] += 1
            self.answer(data, source, at)

        return received
