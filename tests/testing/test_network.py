"""Tests for L{wavesync.testing.network}."""

from collections.abc import Iterable
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.interfaces import Address, Burst
from wavesync.testing.network import Filtering, Mapping, MemoryCarrier, Nat, Network, PortChoice
from wavesync.testing.time import run_for
from wavesync.udt.carrier import Arrival, ICarrier

SERVER: Address = ("192.0.2.1", 80)


class Inbox:
    """Takes what a carrier brings."""

    def __init__(self, clock: Clock, carrier: MemoryCarrier) -> None:
        self.got: list[tuple[bytes, Address]] = []
        self.bursts: list[Arrival] = []
        self.times: list[float] = []
        self.carrier = carrier
        self._clock = clock
        carrier.start(self)

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Note them."""
        for arrival in arrivals:
            self.bursts.append(arrival)
            data, _size, source, _ = arrival
            self.got.append((bytes(data), source))
            self.times.append(self._clock.seconds())

    def carrier_ready(self) -> None:
        """Never congested."""

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """Never too large."""
        return False

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram."""
        self.carrier.send(Burst(data, len(data)), destination)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """Make an internet of 10 ms with a server on it."""
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.01, random=Random(1))
        self.server = self.inbox(self.network.host(SERVER[0]).carrier(SERVER[1]))

    def inbox(self, carrier: MemoryCarrier) -> Inbox:
        """:return: what takes the datagrams of a carrier."""
        return Inbox(self.clock, carrier)

    def behind(self, nat: Nat, host: str = "10.0.0.2") -> Inbox:
        """:return: an inbox on a host behind a NAT."""
        return self.inbox(nat.host(host).carrier(5000))

    def passes(self) -> None:
        """Let time pass."""
        run_for(self.clock, 0.1)


class NetworkTests(_Case):
    """Hosts on one network."""

    def test_delay(self) -> None:
        """Datagrams arrive after the delay, those of one moment as one burst."""
        client = self.inbox(self.network.host("192.0.2.2").carrier())
        client.carrier.send(Burst(b"aabbc", 2), SERVER)
        self.passes()
        self.assertEqual(self.server.bursts, [Arrival(b"aabbc", 2, ("192.0.2.2", 49152))])
        self.assertEqual(self.server.times, [0.01])
        self.assertEqual((client.carrier.sent, self.network.carried), (3, 3))

    def test_interface(self) -> None:
        """A memory carrier has the interface of a socket's."""
        self.assertTrue(verifyObject(ICarrier, self.server.carrier))

    def test_nobody(self) -> None:
        """Datagrams for hosts and ports that are not there are lost, without a word."""
        for there in (("192.0.2.99", 1), (SERVER[0], 81)):
            self.server.send(b"x", there)
        self.passes()
        self.assertEqual(self.server.got, [])

    def test_stop(self) -> None:
        """A stopped carrier gets nothing more, and its port is free."""
        self.server.carrier.stop()
        self.server.send(b"x", SERVER)
        self.passes()
        self.assertEqual(self.server.got, [])
        self.network.members[SERVER[0]].carrier(SERVER[1])  # type: ignore[union-attr]

    def test_taken(self) -> None:
        """Addresses and ports are given once."""
        self.assertRaises(ValueError, self.network.host, SERVER[0])
        host = self.network.members[SERVER[0]]
        self.assertRaises(ValueError, host.carrier, SERVER[1])  # type: ignore[union-attr]

    def test_loss(self) -> None:
        """About so much is lost as was asked for, the same each time."""
        self.network.loss = 0.25
        for _ in range(1000):
            self.server.send(b"x", SERVER)
        self.passes()
        count = len(b"".join(data for data, _ in self.server.got))
        self.assertTrue(700 < count < 800, count)

    def test_duplicate(self) -> None:
        """Duplicates arrive twice."""
        self.network.duplicate = 1.0
        self.server.send(b"x", SERVER)
        self.passes()
        self.assertEqual(self.server.bursts, [Arrival(b"xx", 1, SERVER)])

    def test_jitter(self) -> None:
        """With jitter datagrams overtake each other; none is lost."""
        self.network.jitter = 0.05
        sent = [bytes([number]) for number in range(50)]
        for data in sent:
            self.server.send(data, SERVER)
        self.passes()
        got = [data for data, _ in self.server.got]
        self.assertNotEqual(got, sent)
        self.assertEqual(sorted(got), sent)

    def test_drop(self) -> None:
        """A test may choose what is lost, and forge sources."""
        self.network.drop = lambda data, source, destination: data == b"bad"
        for data in (b"bad", b"good"):
            self.network.inject(data, ("203.0.113.1", 9), SERVER)
        self.passes()
        self.assertEqual(self.server.got, [(b"good", ("203.0.113.1", 9))])


class NatTests(_Case):
    """NAT boxes."""

    def reach(self, nat: Nat, *others: Address) -> list[bool]:
        """:return: whether packets from these sources reach a host that called the server."""
        inside = self.behind(nat)
        inside.send(b"out", SERVER)
        self.passes()
        outside = self.server.got[-1][1]
        found = []
        for other in others:
            inside.got.clear()
            self.network.inject(b"in", other, outside)
            self.passes()
            found.append(bool(inside.got))
        return found

    def test_filtering(self) -> None:
        """Who may answer depends on the filter."""
        others = [SERVER, (SERVER[0], 81), ("203.0.113.1", 9)]
        expected = {
            Filtering.ENDPOINT_INDEPENDENT: [True, True, True],
            Filtering.ADDRESS_DEPENDENT: [True, True, False],
            Filtering.ADDRESS_AND_PORT_DEPENDENT: [True, False, False],
        }
        for number, (filtering, passing) in enumerate(expected.items()):
            nat = self.network.nat(f"198.51.100.{number}", filtering=filtering)
            self.assertEqual(self.reach(nat, *others), passing)

    def test_mapping(self) -> None:
        """How many outside ports one inside port gets depends on the mapping."""
        second = self.inbox(self.network.host("192.0.2.3").carrier(80))
        for mapping, count in (
            (Mapping.ENDPOINT_INDEPENDENT, 1),
            (Mapping.ADDRESS_DEPENDENT, 2),
            (Mapping.ADDRESS_AND_PORT_DEPENDENT, 3),
        ):
            other = self.inbox(self.network.members[SERVER[0]].carrier(81))  # type: ignore[union-attr]
            nat = self.network.nat(f"198.51.100.{count}", mapping=mapping)
            inside = self.behind(nat)
            for there in (SERVER, other.carrier.address, second.carrier.address):
                inside.send(b"x", there)
            self.passes()
            ports = {box.got[-1][1] for box in (self.server, other, second)}
            self.assertEqual(len(ports), count)
            other.carrier.stop()

    def test_ports(self) -> None:
        """Outside ports are kept, counted up, or random."""
        inside = self.behind(self.network.nat("198.51.100.1", ports=PortChoice.PRESERVE))
        inside.send(b"x", SERVER)
        self.passes()
        self.assertEqual(self.server.got[-1][1], ("198.51.100.1", 5000))
        nat = self.network.nat("198.51.100.2", ports=PortChoice.SEQUENTIAL)
        for host in ("10.0.0.2", "10.0.0.3"):
            self.behind(nat, host).send(b"x", SERVER)
            self.passes()
        ports = [source[1] for _, source in self.server.got[-2:]]
        self.assertEqual(ports[1] - ports[0], 1)

    def test_timeout(self) -> None:
        """A mapping without outbound packets is forgotten; so are all at a reboot."""
        nat = self.network.nat("198.51.100.1", timeout=30.0)
        self.assertEqual(self.reach(nat, SERVER), [True])
        outside = self.server.got[-1][1]
        member = nat.members["10.0.0.2"]
        run_for(self.clock, 31.0)
        self.network.inject(b"late", SERVER, outside)
        self.passes()
        nat.reboot()
        self.network.inject(b"late", SERVER, outside)
        self.passes()
        carrier = member.carriers[5000]  # type: ignore[union-attr]
        carrier.send(Burst(b"again", 5), SERVER)
        self.passes()
        self.assertEqual(self.server.got[-1][0], b"again")
        self.assertNotEqual(self.server.got[-1][1], outside)

    def test_hairpin(self) -> None:
        """Hosts behind one NAT reach each other by outside addresses only with hairpin."""
        for hairpin in (False, True):
            nat = self.network.nat(
                f"198.51.100.{1 + hairpin}",
                hairpin=hairpin,
                filtering=Filtering.ENDPOINT_INDEPENDENT,
            )
            one, two = self.behind(nat), self.behind(nat, "10.0.0.3")
            one.send(b"x", SERVER)
            self.passes()
            two.send(b"hello", self.server.got[-1][1])
            self.passes()
            self.assertEqual(len(one.got), hairpin)

    def test_behind_another(self) -> None:
        """A NAT may stand behind another; answers find their way back through both."""
        home = self.network.nat("198.51.100.1").nat("100.64.0.2")
        inside = self.behind(home)
        inside.send(b"out", SERVER)
        self.passes()
        self.server.send(b"back", self.server.got[-1][1])
        self.passes()
        self.assertEqual(inside.got, [(b"back", SERVER)])


class RunForTests(SynchronousTestCase):
    """Time that passes step by step."""

    def test_each_call_sees_its_time(self) -> None:
        """Delayed calls run at their own time, also those that come up meanwhile."""
        clock = Clock()
        seen: list[float] = []
        clock.callLater(0.5, lambda: clock.callLater(0.25, lambda: seen.append(clock.seconds())))
        clock.callLater(2.0, seen.append, -1)
        run_for(clock, 1.0)
        self.assertEqual((seen, clock.seconds()), ([0.75], 1.0))
