"""Tests for :mod:`wavesync.stun.lifetime`, :mod:`wavesync.stun.elsewhere` and :mod:`wavesync.stun.pace`."""

from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.stun.attributes import PADDING, RESPONSE_PORT
from wavesync.stun.behaviour import Outgoing
from wavesync.stun.behaviour_words import Lifetime
from wavesync.stun.binding_request import mapped_address
from wavesync.stun.elsewhere import answer_elsewhere
from wavesync.stun.lifetime import LONGEST, PRECISION, SHORTEST, LifetimeSearch
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode
from wavesync.stun.pace import LONGEST_PAUSE, SHORTEST_PAUSE, Pace

SERVER: Address = ("192.0.2.1", 3345)
PUBLIC = "198.51.100.7"


def binding(*attributes: tuple[int, bytes]) -> bytes:
    """A Binding request."""
    return encode(Message(BINDING, MessageClass.REQUEST, b"t" * 12, attributes))


class Nat:
    """A NAT with two ports behind it, a server, and virtual time.

    :ivar lives: seconds that an unused mapping lives.
    :ivar sent: what the two ports sent, and when.
    """

    def __init__(self, lives: float, *, obeys: bool = True, lost: int | None = None) -> None:
        self.lives = lives
        self.obeys = obeys
        self.hosts = (PUBLIC, PUBLIC)
        self.deaf = False
        self.now = 0.0
        self.sent: list[tuple[float, Outgoing]] = []
        self._lost = lost
        self._mapped: dict[bool, tuple[int, float]] = {}
        self._ports = count(40000)
        numbers = count(1)
        self.search = LifetimeSearch(SERVER, lambda size: next(numbers).to_bytes(size, "big"), 0.0)

    def run_to_end(self) -> Lifetime | str | None:
        """Let time pass until there is an outcome."""
        while self.search.outcome is None:
            for outgoing in self.search.datagrams(self.now):
                self.sent.append((self.now, outgoing))
                self._carry(outgoing)
            due = self.search.deadline()
            if due is not None:
                self.now = max(self.now, due)
                self.search.timer(self.now)
        return self.search.outcome

    def _carry(self, outgoing: Outgoing) -> None:
        assert outgoing.destination == SERVER
        port, used = self._mapped.get(outgoing.second, (0, -1e9))
        if self.now - used > self.lives:
            port = next(self._ports)
        self._mapped[outgoing.second] = (port, self.now)
        if self.deaf or len(self.sent) == self._lost:
            return
        if not self.obeys and decode(outgoing.data).get(RESPONSE_PORT) is not None:
            return
        reply = answer_elsewhere(outgoing.data, (self.hosts[outgoing.second], port))
        if reply is None:
            return
        data, (_, at) = reply
        for second, (port, used) in self._mapped.items():
            if port == at and self.now - used <= self.lives:
                self.search.datagram_received(data, SERVER, self.now, second=second)


class LifetimeSearchTests(SynchronousTestCase):
    """How long a NAT keeps an unused mapping is found with few packets, as far as it matters."""

    def test_long(self) -> None:
        """A mapping that lives long is known for it after one silence and eight packets."""
        for lives in (LONGEST + 0.1, 30.0, 120.0):
            nat = Nat(lives)
            self.assertEqual(nat.run_to_end(), Lifetime(LONGEST, None))
            self.assertLess(nat.now, LONGEST + 1)
            self.assertLessEqual(len(nat.sent), 8)

    def test_short(self) -> None:
        """A shorter life is found to some seconds, in less than two minutes."""
        for lives in (8.0, 10.0, 15.0, 20.0, 24.0):
            nat = Nat(lives)
            found = nat.run_to_end()
            assert isinstance(found, Lifetime) and found.gone is not None
            self.assertLessEqual(found.alive, lives)
            self.assertGreater(found.gone, lives)
            self.assertTrue(found.gone - found.alive <= PRECISION or found.gone <= SHORTEST)
            self.assertLess(nat.now, 120)
            self.assertLess(len(nat.sent), 25)

    def test_very_short(self) -> None:
        """Nobody looks closer at what is below the shortest pause anyway."""
        nat = Nat(3.0)
        found = nat.run_to_end()
        assert isinstance(found, Lifetime) and found.gone is not None
        self.assertLessEqual(found.gone, SHORTEST)

    def test_lost(self) -> None:
        """A lost packet, whichever it is, does not make a life shorter."""
        for number in range(1, 7):
            nat = Nat(120.0, lost=number)
            self.assertEqual(nat.run_to_end(), Lifetime(LONGEST, None), number)

    def test_no_server(self) -> None:
        """Without answers nothing is learned, and little is sent."""
        nat = Nat(120.0)
        nat.deaf = True
        self.assertIn("does not answer", str(nat.run_to_end()))
        self.assertEqual(len(nat.sent), 8)

    def test_server_without_response_port(self) -> None:
        """A server that answers nowhere else cannot be used, and that is not taken for a short life."""
        self.assertIn("another port", str(Nat(120.0, obeys=False).run_to_end()))

    def test_server_that_refuses(self) -> None:
        """The same for one that says so."""
        nat = Nat(120.0, obeys=False)
        for _ in range(2):
            for outgoing in nat.search.datagrams(nat.now):
                nat.sent.append((nat.now, outgoing))
                nat._carry(outgoing)
            nat.search.timer(nat.now)
        (outgoing,) = [each for _, each in nat.sent if each.second][1:]
        request = decode(outgoing.data)
        error = Message(
            BINDING, MessageClass.ERROR, request.transaction_id, ((9, b"\0\0\x04\x14"),)
        )
        nat.search.datagram_received(encode(error), SERVER, nat.now, second=True)
        self.assertIn("another port", str(nat.search.outcome))

    def test_two_addresses(self) -> None:
        """Behind a NAT that gives each port another address nothing can be learned."""
        nat = Nat(120.0)
        nat.hosts = (PUBLIC, "198.51.100.8")
        self.assertIn("one address", str(nat.run_to_end()))

    def test_strangers(self) -> None:
        """What was not asked for, comes from elsewhere or to the wrong port changes nothing."""
        nat = Nat(120.0)
        ((first, *_),) = [nat.search.datagrams(0.0)]
        answer = answer_elsewhere(first.data, (PUBLIC, 1))
        assert answer is not None
        for data, source, second in (
            (b"", SERVER, False),
            (binding(), SERVER, False),
            (answer[0], ("192.0.2.9", 3345), False),
            (answer[0], SERVER, True),
        ):
            nat.search.datagram_received(data, source, 0.0, second=second)
        self.assertIsNone(nat.search.outcome)
        nat.search.datagram_received(answer[0], SERVER, 0.0)
        nat.search.datagram_received(answer[0], SERVER, 0.0)
        self.assertIsNone(nat.search.outcome)

    def test_requests_exceed_their_answers(self) -> None:
        """The longest answer, over IPv6, is not longer than what asks for it at another port."""
        nat = Nat(120.0)
        nat.run_to_end()
        asked = [each for _, each in nat.sent if decode(each.data).get(RESPONSE_PORT)]
        for outgoing in asked:
            self.assertIsNotNone(answer_elsewhere(outgoing.data, ("2001:db8::1", 40000)))


class ElsewhereTests(SynchronousTestCase):
    """A server with one address answers at another port of the same host, and nothing more."""

    def test_same_host(self) -> None:
        """The answer goes to the port asked for, says where the request came from, and is short."""
        data = binding((RESPONSE_PORT, b"\x9c\x40"), (0x8022, b"s" * 32))
        reply = answer_elsewhere(data, (PUBLIC, 5))
        assert reply is not None
        self.assertEqual(reply[1], (PUBLIC, 40000))
        self.assertEqual(mapped_address(decode(reply[0])), (PUBLIC, 5))
        self.assertLessEqual(len(reply[0]), len(data))

    def test_plain(self) -> None:
        """Without RESPONSE-PORT it answers as ever."""
        reply = answer_elsewhere(binding(), (PUBLIC, 5))
        assert reply is not None
        self.assertEqual(reply[1], (PUBLIC, 5))

    def test_silence(self) -> None:
        """No answer grows, none goes to a well-known port, none follows what is malformed."""
        filler = (0x8022, b"s" * 32)
        for attributes in (
            ((RESPONSE_PORT, b"\x9c\x40"),),
            ((RESPONSE_PORT, b"\x03\xff"), filler),
            ((RESPONSE_PORT, b"\x9c"), filler),
            ((RESPONSE_PORT, b"\x9c\x40"), (PADDING, b"p" * 32)),
        ):
            self.assertIsNone(answer_elsewhere(binding(*attributes), (PUBLIC, 5)), attributes)
        self.assertIsNone(answer_elsewhere(b"nonsense", (PUBLIC, 5)))
        self.assertIsNotNone(
            answer_elsewhere(binding((RESPONSE_PORT, b"\x04\x00"), filler), (PUBLIC, 5))
        )

    def test_unknown(self) -> None:
        """What else must be understood is refused, still at the sender's own port or not at all."""
        data = binding((RESPONSE_PORT, b"\x9c\x40"), (0x7FFF, b""), (0x8022, b"s" * 32))
        reply = answer_elsewhere(data, (PUBLIC, 5))
        assert reply is not None
        self.assertLessEqual(len(reply[0]), len(data))


class PaceTests(SynchronousTestCase):
    """Packets leave often enough, and not more often than that."""

    def test_bounds(self) -> None:
        """Three fifths of a life, five seconds at least, fifteen at most; five while nothing is known."""
        pace = Pace()
        self.assertEqual(pace.interval, SHORTEST_PAUSE)
        for alive, interval in (
            (0.0, SHORTEST_PAUSE),
            (8.0, SHORTEST_PAUSE),
            (10.0, 6.0),
            (20.0, 12.0),
            (LONGEST, LONGEST_PAUSE),
            (1e9, LONGEST_PAUSE),
        ):
            pace.learned(Lifetime(alive, None))
            self.assertAlmostEqual(pace.interval, interval)
