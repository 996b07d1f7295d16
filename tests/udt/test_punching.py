"""Tests for L{wavesync.udt.punching} and L{wavesync.udt.paths}."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet import error
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tools.diagrams import transitions
from tests.udt.ends import Pair, Recorders, memory_port, outcome
from wavesync.interfaces import Address
from wavesync.testing.network import Filtering, Host, Mapping, Nat, Network, PortChoice
from wavesync.testing.time import run_for
from wavesync.udt.handshake import ANSWER, CALL, FINAL, Handshake, Offer, decode_handshake
from wavesync.udt.paths import (
    MAX_UNCONFIRMED,
    MAX_UNHEARD,
    Path,
)
from wavesync.udt.punching import (
    DOUBT,
    MAX_ADOPTED,
    MAX_CANDIDATES,
    PunchAttempt,
)
from wavesync.udt.punching_machine import punching

ONE: Address = ("192.0.2.2", 2000)
TWO: Address = ("198.51.100.2", 2222)
TOKEN = 0xC0FFEE
LOW, MIDDLE, HIGH = 10, 77, 900

IDLE = {
    "calling": "completed chosen nominated confirmed doubt",
    "talking": "confirmed doubt",
    "choosing": "completed nominated",
    "settled": "completed chosen confirmed doubt expire",
    "failed": "heard completed chosen nominated confirmed doubt expire",
}
TABLE = {(state, name): state for state, names in IDLE.items() for name in names.split()}
TABLE |= {
    ("calling", "heard"): "talking",
    ("calling", "expire"): "failed",
    ("talking", "heard"): "talking",
    ("talking", "completed"): "talking",
    ("talking", "chosen"): "choosing",
    ("talking", "nominated"): "settled",
    ("talking", "expire"): "settled",
    ("choosing", "heard"): "choosing",
    ("choosing", "chosen"): "choosing",
    ("choosing", "confirmed"): "settled",
    ("choosing", "doubt"): "choosing",
    ("choosing", "expire"): "failed",
    ("settled", "heard"): "settled",
    ("settled", "nominated"): "settled",
}


class MachineTests(SynchronousTestCase):
    """The machine as a table."""

    def test_table(self) -> None:
        """Every input leads from every state where it should."""
        found = {(start, symbol): end for start, symbol, end, _ in transitions(punching)}
        self.assertEqual(found, TABLE)


class PathTests(SynchronousTestCase):
    """When an address is called."""

    def times(self, path: Path, until: float) -> list[int]:
        """:return: when handshakes go out, in milliseconds."""
        found = []
        while (due := path.deadline()) is not None and due < until:
            self.assertTrue(path.due(due))
            self.assertFalse(path.due(due))
            found.append(round(due * 1000))
        return found

    def test_schedule(self) -> None:
        """Quickly at first, then every 250 ms, and never more than 12 to the unheard."""
        path = Path(ONE, 0.0)
        self.assertEqual(self.times(path, 1.0), [0, 10, 30, 70, 150, 400, 650, 900])
        self.assertEqual(len(self.times(path, 100.0)), MAX_UNHEARD - 8)
        self.assertTrue(path.silent)
        self.assertIsNone(path.deadline())

    def test_heard(self) -> None:
        """An address that was heard is called anew, even if it had been given up."""
        path = Path(ONE, 0.0)
        self.times(path, 100.0)
        path.heard = True
        path.restart(5.0)
        self.assertEqual(self.times(path, 5.2), [5000, 5010, 5030, 5070, 5150])
        self.assertFalse(path.silent)

    def test_late_turn(self) -> None:
        """After a busy moment one handshake goes out, not one for each that was missed."""
        path = Path(ONE, 0.0)
        self.assertTrue(path.due(0.1))
        self.assertFalse(path.due(0.1))


class AttemptTests(SynchronousTestCase):
    """One end, its packets written by hand."""

    def begin(self, *candidates: Address, peer: int = HIGH) -> None:
        """Begin at time 0 with id 77; the peer's id decides who chooses."""
        self.now = 0.0
        self.challenges: dict[Address, int] = {}
        self.attempt = PunchAttempt(
            candidates or (ONE,),
            Offer(MIDDLE, 1000),
            TOKEN,
            0.0,
            15.0,
            randbits=Random(1).getrandbits,
        )
        self.peer = Handshake(CALL, peer, 2000, cookie=TOKEN)
        self.sent()

    def sent(self) -> list[tuple[int, int, Address]]:
        """:return: request type, destination id and address of what is sent now."""
        found = []
        for datagram, address in self.attempt.datagrams(self.now):
            packet = decode_handshake(datagram)
            self.assertEqual((packet.cookie, packet.socket_id), (TOKEN, MIDDLE))
            found.append((packet.request, packet.destination, address))
            self.challenges[address] = int.from_bytes(packet.peer_ip[:4], "big")
        return found

    def hear(
        self, request: int, source: Address = ONE, destination: int = MIDDLE, **changes: Any
    ) -> list[tuple[int, int, Address]]:
        """:return: what is sent at once upon a handshake of the peer; it returns challenges."""
        words = (5).to_bytes(4, "big") + self.challenges.get(source, 0).to_bytes(4, "big")
        changes.setdefault("peer_ip", words.ljust(16, b"\0"))
        packet = replace(self.peer, request=request, destination=destination, **changes)
        self.attempt.receive(packet, source, self.now)
        return self.sent()

    def test_token_range(self) -> None:
        """0 is libudt's and no token; 32 bits are the most."""
        for token in (0, -1, 2**32):
            self.assertRaises(
                ValueError,
                PunchAttempt,
                [ONE],
                Offer(1, 1),
                token,
                0.0,
                1.0,
                randbits=Random(1).getrandbits,
            )
        PunchAttempt([ONE], Offer(1, 1), 2**32 - 1, 0.0, 1.0, randbits=Random(1).getrandbits)

    def test_round_trip(self) -> None:
        """The first word that we were heard tells how long the way is at most."""
        self.begin()
        self.now = 0.06
        self.hear(CALL, destination=0)
        self.assertIsNone(self.attempt.round_trip)
        self.now = 0.09
        self.hear(ANSWER)
        self.assertEqual(self.attempt.round_trip, 0.09)
        self.now = 0.2
        self.hear(ANSWER)
        self.assertEqual(self.attempt.round_trip, 0.09)

    def test_connected_by_any(self) -> None:
        """One handshake of any type makes the peer known: data may flow, and it is answered."""
        for request in (CALL, ANSWER, FINAL):
            self.begin()
            sent = self.hear(request, destination=0 if request == CALL else MIDDLE)
            self.assertEqual(len(sent), 1)
            assert self.attempt.agreement is not None
            self.assertEqual(self.attempt.agreement.peer_id, HIGH)
            self.assertEqual(self.attempt.agreement.receive_isn, 2000)
            self.assertEqual(self.attempt.remote, ONE)

    def test_wrong_token(self) -> None:
        """Without the token there is no answer and no state."""
        self.begin()
        for token in (0, TOKEN ^ 1):
            self.assertEqual(self.hear(CALL, TWO, 0, cookie=token), [])
        self.assertIsNone(self.attempt.agreement)
        self.assertEqual(self.attempt.sources, set())

    def test_ignored(self) -> None:
        """Other ids, odd types, impossible values and our own echo (a candidate may turn out to
        be ourselves) do nothing."""
        self.begin()
        self.assertEqual(self.hear(CALL, destination=78), [])
        self.assertEqual(self.hear(1), [])
        self.assertEqual(self.hear(CALL, mss=75), [])
        self.assertEqual(self.hear(CALL, destination=0, socket_id=MIDDLE), [])
        self.assertIsNone(self.attempt.agreement)

    def test_other_socket(self) -> None:
        """Once a peer is known, another socket with the same token is not."""
        self.begin()
        self.hear(CALL)
        self.assertEqual(self.hear(CALL, socket_id=HIGH + 1), [])

    def test_follower(self) -> None:
        """The end with the smaller id uses the path that the other chose, and confirms it."""
        self.begin(ONE, TWO)
        self.hear(CALL, destination=0)
        self.assertEqual(self.hear(ANSWER, TWO), [(ANSWER, HIGH, TWO)])
        self.assertEqual(self.attempt.remote, TWO)
        self.assertEqual(self.hear(FINAL), [(FINAL, HIGH, ONE)])
        self.assertEqual(self.attempt.remote, ONE)
        self.assertTrue(self.attempt.settled)
        self.assertIsNone(self.attempt.deadline())
        self.assertEqual(self.hear(FINAL, TWO), [(FINAL, HIGH, TWO)])
        self.assertEqual(self.attempt.remote, TWO)

    def test_chooser(self) -> None:
        """The end with the greater id chooses the first path that works both ways, and repeats
        it until it is confirmed."""
        self.begin(ONE, TWO, peer=LOW)
        self.assertEqual(self.hear(CALL, destination=0), [(ANSWER, LOW, ONE)])
        self.assertEqual(self.hear(ANSWER, TWO), [(FINAL, LOW, TWO)])
        self.assertEqual(self.attempt.remote, TWO)
        self.hear(ANSWER, ONE)
        self.assertEqual(self.attempt.remote, TWO)
        self.now = 0.01
        self.assertIn((FINAL, LOW, TWO), self.sent())
        self.assertEqual(self.hear(FINAL, TWO), [])
        self.assertTrue(self.attempt.settled)

    def test_missed_choice(self) -> None:
        """A peer that still answers after all is settled has missed the choice."""
        self.begin(peer=LOW)
        self.hear(ANSWER)
        self.hear(FINAL)
        self.assertEqual(self.hear(ANSWER), [(FINAL, LOW, ONE)])
        self.assertEqual(self.hear(CALL, TWO), [])

    def test_unconfirmed_choice(self) -> None:
        """A chosen path that is not confirmed in half a second yields to another."""
        self.begin(ONE, TWO, peer=LOW)
        self.hear(ANSWER, ONE)
        self.hear(ANSWER, TWO)
        self.now = DOUBT
        self.attempt.timer(self.now)
        self.assertIn((FINAL, LOW, TWO), self.sent())
        self.assertEqual(self.attempt.remote, TWO)

    def test_traffic(self) -> None:
        """Data along the chosen path confirms it; data also completes a path."""
        self.begin(peer=LOW)
        self.hear(CALL, destination=0)
        self.attempt.traffic(ONE, 0.1)
        self.assertTrue(self.attempt.settled)
        self.assertEqual(self.sent(), [(FINAL, LOW, ONE)])

    def test_traffic_of_strangers(self) -> None:
        """Data from where no token came from changes nothing."""
        self.begin(peer=LOW)
        self.hear(CALL, destination=0)
        self.attempt.traffic(TWO, 0.1)
        self.assertFalse(self.attempt.settled)

    def test_adopted(self) -> None:
        """An unannounced source with the token is answered, and may become the way."""
        self.begin()
        self.assertEqual(self.hear(CALL, TWO, 0), [(ANSWER, HIGH, TWO)])
        self.assertEqual(self.attempt.remote, TWO)
        events = self.attempt.events()
        self.assertIn(("adopted", TWO), events)
        self.assertFalse(self.attempt.add_candidate(TWO, 0.0))

    def test_adoption_limit(self) -> None:
        """So many unannounced sources are answered, one more is not."""
        self.begin()
        for number in range(MAX_ADOPTED):
            self.assertNotEqual(self.hear(CALL, ("203.0.113.1", number), 0), [])
        self.assertEqual(self.hear(CALL, ("203.0.113.1", MAX_ADOPTED), 0), [])
        self.assertEqual(len(self.attempt.sources), MAX_ADOPTED)

    def test_candidate_limit(self) -> None:
        """So many candidates are called, one more is not."""
        self.begin()
        added = [self.attempt.add_candidate(("203.0.113.1", n), 0.0) for n in range(MAX_CANDIDATES)]
        self.assertEqual(added, [True] * (MAX_CANDIDATES - 1) + [False])

    def test_flood_limit(self) -> None:
        """An address that never answers gets 12 handshakes in all."""
        self.begin()
        count = 1
        while (due := self.attempt.deadline()) is not None:
            self.now = due
            self.attempt.timer(due)
            count += len(self.sent())
        self.assertEqual(count, MAX_UNHEARD)
        self.assertIn(("silent", ONE), self.attempt.events())
        self.assertIsInstance(self.attempt.failure, error.TimeoutError)

    def test_forged_call(self) -> None:
        """One packet with the token, be its source forged, has no more than a handful sent there:
        12 beside its answers where the address was announced, its answer where it was not."""
        for source, most in ((ONE, MAX_UNCONFIRMED), (TWO, 1)):
            self.begin()
            sent = self.hear(CALL, source, 0)
            while (due := self.attempt.deadline()) is not None:
                self.now = due
                self.attempt.timer(due)
                sent += self.sent()
            there = [address for _, _, address in sent if address == source]
            self.assertEqual(len(there), most)
            self.begin()
            for _ in range(3 * most):
                self.now += 0.3
                self.hear(CALL, source, 0)
            self.now += 0.3
            self.sent()
            self.assertEqual(len(self.hear(CALL, source, 0)), 1)

    def test_copies(self) -> None:
        """What the peer sent along one path, sent again by somebody else from elsewhere, has one
        answer for each, and changes nothing: it does not return what only that path has seen."""
        for peer in (LOW, HIGH):
            self.begin(peer=peer)
            self.hear(CALL, destination=0)
            returned = (5).to_bytes(4, "big") + self.challenges[ONE].to_bytes(4, "big")
            copied = returned.ljust(16, b"\0")
            for number, request in enumerate((CALL, ANSWER, FINAL) * 5):
                stranger = ("203.0.113.9", 1000 + number // 9)
                sent = self.hear(request, stranger, peer_ip=copied)
                self.assertLessEqual(len([each for each in sent if each[2] == stranger]), 1)
                self.assertEqual([each for each in sent if each[2] not in (stranger, ONE)], [])
                self.attempt.traffic(stranger, self.now)
                self.assertEqual(self.attempt.remote, ONE)
            self.hear(ANSWER, peer_ip=copied)
            self.hear(FINAL, peer_ip=copied)
            self.assertTrue(self.attempt.settled)
            for request in (CALL, ANSWER, FINAL):
                stranger = ("203.0.113.9", 1000)
                self.assertEqual(self.hear(request, stranger, peer_ip=copied), [])
                self.assertEqual(self.attempt.remote, ONE)

    def test_challenges(self) -> None:
        """Each path has a challenge of its own, and returns what came along it."""
        self.begin(ONE, TWO)
        self.assertEqual(len(set(self.challenges.values())), 2)
        self.hear(CALL, TWO, 0)
        self.now = 0.01
        for datagram, address in self.attempt.datagrams(self.now):
            packet = decode_handshake(datagram)
            expected = 5 if address == TWO else 0
            self.assertEqual(int.from_bytes(packet.peer_ip[4:8], "big"), expected)
            self.assertEqual(packet.peer_ip[8:], bytes(8))

    def test_expected(self) -> None:
        """An address that nobody announced is expected once it has shown that it hears us."""
        self.begin()
        self.assertFalse(self.attempt.expected)
        self.hear(CALL, TWO, 0)
        self.assertFalse(self.attempt.expected)
        self.hear(ANSWER, TWO)
        self.assertTrue(self.attempt.expected)
        self.begin()
        self.hear(CALL, ONE, 0)
        self.assertTrue(self.attempt.expected)

    def test_one_way(self) -> None:
        """A peer that was heard but never hears us is an error in the end."""
        for peer in (LOW, HIGH):
            self.begin(peer=peer)
            self.hear(CALL, destination=0)
            self.attempt.timer(15.0)
            self.assertIn("did not hear us", str(self.attempt.failure))

    def test_no_choice(self) -> None:
        """A follower that is never told stays on a path that works."""
        self.begin()
        self.hear(ANSWER)
        self.attempt.timer(15.0)
        self.assertIsNone(self.attempt.failure)
        self.assertTrue(self.attempt.settled)
        self.assertEqual(self.attempt.remote, ONE)


class TwoEndsTests(SynchronousTestCase):
    """Two ports that meet by the wavesync rules."""

    def meet(self, pair: Pair, lag: float = 0.0) -> tuple[float, float]:
        """:return: seconds until each end had its first byte."""
        ours, theirs = pair.recorders(b"here"), pair.recorders(b"there")
        first = pair.here.rendezvous([Pair.THERE], ours, token=TOKEN)
        run_for(pair.clock, lag)
        start = pair.clock.seconds()
        second = pair.there.rendezvous([Pair.HERE], theirs, token=TOKEN)
        run_for(pair.clock, 10.0)
        self.assertEqual((len(ours.made), len(theirs.made)), (1, 1))
        self.assertEqual((ours.last.received, theirs.last.received), (b"there", b"here"))
        self.assertFalse(first.unsettled or second.unsettled)
        assert ours.last.first_byte is not None and theirs.last.first_byte is not None
        return ours.last.first_byte - start, theirs.last.first_byte - start

    def test_together(self) -> None:
        """Both begin at once: the first data arrive after two one-way delays, the least there is."""
        times = self.meet(Pair())
        self.assertAlmostEqual(times[0], 0.04)
        self.assertAlmostEqual(times[1], 0.04)

    def test_one_after_the_other(self) -> None:
        """The later end's first call is answered with handshake and data together."""
        times = self.meet(Pair(), lag=0.5)
        self.assertAlmostEqual(times[1], 0.04)
        self.assertAlmostEqual(times[0], 0.06)

    def test_loss(self) -> None:
        """A third of the datagrams lost, and the rest out of order, only costs time."""
        self.meet(Pair(loss=0.3, jitter=0.05))

    def test_early_data(self) -> None:
        """Data that overtakes the handshake is kept, not dropped."""
        pair = Pair()
        seen: Counter[str] = Counter()

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            """Lose the first two handshakes of the first end after its data began."""
            kind = "data" if data[0] < 0x80 else "control"
            seen[kind] += 1
            return source == Pair.HERE and len(data) == 64 and data[36:40] != bytes(4)

        pair.network.drop = drop
        ours, theirs = pair.recorders(b"early"), pair.recorders()
        pair.here.rendezvous([Pair.THERE], ours, token=TOKEN)
        run_for(pair.clock, 2.0)  # all its calls are over before the other end begins
        pair.there.rendezvous([Pair.HERE], theirs, token=TOKEN)
        run_for(pair.clock, 0.1)
        self.assertEqual(theirs.made, [])
        pair.network.drop = None
        run_for(pair.clock, 0.3)
        self.assertEqual(theirs.last.received, b"early")

    def test_strangers_data(self) -> None:
        """What a stranger sends to the id of a connection that stands is not kept."""
        pair = Pair()
        made = pair.here.rendezvous([Pair.THERE], pair.recorders(), token=TOKEN)
        pair.there.rendezvous([Pair.HERE], pair.recorders(), token=TOKEN)
        for size in (100, 0):
            stranger = ("203.0.113.9", 9)
            made.traffic(bytes(100), 100, stranger, pair.clock.seconds())
            self.assertEqual(made._early._size, size)
            run_for(pair.clock, 1.0)

    def test_token_in_use(self) -> None:
        """One token is for one rendezvous at a time."""
        pair = Pair()
        made = pair.here.rendezvous([Pair.THERE], pair.recorders(), token=TOKEN)
        self.assertRaises(
            ValueError, pair.here.rendezvous, [Pair.THERE], pair.recorders(), token=TOKEN
        )
        results = outcome(made.connected)
        made.cancel()
        pair.here.rendezvous([Pair.THERE], pair.recorders(), token=TOKEN)
        self.assertEqual(len(results), 1)

    def test_closed(self) -> None:
        """When the connection is over nothing is kept of the rendezvous."""
        pair = Pair()
        ours = pair.recorders()
        pair.here.rendezvous([Pair.THERE], ours, token=TOKEN)
        pair.there.rendezvous([Pair.HERE], pair.recorders(), token=TOKEN)
        run_for(pair.clock, 1.0)
        ours.last.transport.loseConnection()
        run_for(pair.clock, 10.0)
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        for port in (pair.here, pair.there):
            self.assertFalse(port._sorter.calls or port._sorter.tokens or port._sorter.links)


class NatTests(SynchronousTestCase):
    """Two ends behind NATs of all kinds."""

    MAPPINGS = (Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)

    def setUp(self) -> None:
        """Make the internet and a server on it that tells what it observes."""
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.02, random=Random(3))
        self.observed: list[Address] = []
        server = memory_port(self.clock, self.network.host("192.0.2.9"), 3345)
        server.stun_handler = lambda _data, source: self.observed.append(source)

    def meet(
        self, here: Host, there: Host, loss: float = 0.0
    ) -> tuple[Recorders, Recorders, list[Any]]:
        """Let two hosts meet with local and observed addresses as candidates."""
        ports = [
            memory_port(self.clock, host, 5000, seed) for seed, host in ((1, here), (2, there))
        ]
        request = bytes.fromhex("00010000 2112a442") + bytes(12)
        for port in ports:
            port.send_stun(request, ("192.0.2.9", 3345))
            run_for(self.clock, 0.1)
        self.network.loss = loss
        ends = [Recorders(self.clock, b"x" * 20_000) for _ in ports]
        made = []
        for k, port in enumerate(ports):
            candidates = [ports[1 - k].address, self.observed[1 - k]]
            made.append(port.rendezvous(candidates, ends[k], token=TOKEN))
            made[-1].connected.addErrback(lambda _failure: None)
        run_for(self.clock, 20.0)
        return ends[0], ends[1], made

    def behind(self, number: int, mapping: Mapping, filtering: Filtering) -> Nat:
        """:return: a NAT."""
        return self.network.nat(f"198.51.100.{number}", mapping=mapping, filtering=filtering)

    def test_kinds(self) -> None:
        """Every pair of NATs in which a call of one end can reach the other is traversed."""

        def reaches(one: tuple[Mapping, Filtering], other: tuple[Mapping, Filtering]) -> bool:
            if other[1] is Filtering.ENDPOINT_INDEPENDENT:
                return True
            if other[0] is not Mapping.ENDPOINT_INDEPENDENT:
                return False
            strict = other[1] is Filtering.ADDRESS_AND_PORT_DEPENDENT
            return not strict or one[0] is Mapping.ENDPOINT_INDEPENDENT

        kinds = [(mapping, filtering) for mapping in self.MAPPINGS for filtering in Filtering]
        for first in kinds:
            for second in kinds:
                self.setUp()
                ends = [
                    self.behind(n, *kind).host(f"10.{n}.0.2")
                    for n, kind in ((1, first), (2, second))
                ]
                possible = reaches(first, second) or reaches(second, first)
                with self.subTest(first=first, second=second):
                    here, there, made = self.meet(ends[0], ends[1])
                    if possible:
                        self.assertEqual(len(here.last.received), 20_000)
                        self.assertEqual(len(there.last.received), 20_000)
                        self.assertFalse(made[0].unsettled or made[1].unsettled)
                    else:
                        self.assertEqual((here.made, there.made), ([], []))

    def test_one_lan(self) -> None:
        """Two hosts behind one NAT without hairpin meet by their local addresses."""
        nat = self.behind(1, Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
        here, there, made = self.meet(nat.host("10.0.0.2"), nat.host("10.0.0.3"))
        self.assertEqual(len(here.last.received), 20_000)
        self.assertEqual(made[0].remote, ("10.0.0.3", 5000))
        self.assertEqual(made[1].remote, ("10.0.0.2", 5000))
        self.assertEqual(len(there.made), 1)

    def test_own_address(self) -> None:
        """Both have the same local address: calling it reaches ourselves, which is not the peer."""
        nats = [
            self.behind(n, Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
            for n in (1, 2)
        ]
        here, there, _made = self.meet(nats[0].host("10.0.0.2"), nats[1].host("10.0.0.2"))
        self.assertEqual((len(here.last.received), len(there.last.received)), (20_000, 20_000))

    def test_same_path(self) -> None:
        """With several ways between them both ends end on the same pair of addresses."""
        for seed in range(20):
            self.setUp()
            self.network.random = Random(seed)
            self.network.jitter = 0.03
            nat = self.network.nat("198.51.100.1", hairpin=True, ports=PortChoice.PRESERVE)
            here, there, made = self.meet(nat.host("10.0.0.2"), nat.host("10.0.0.3"), 0.1)
            self.assertEqual(len(there.last.received), 20_000)
            pair = (made[0].remote, made[1].remote)
            # A local address answers from itself; an outside one from the outside.
            self.assertEqual(*((address[0] == nat.address) for address in pair if address))
            self.assertEqual(len(here.made), 1)
