"""Floods of good requests: nobody takes all places, and forged sources get none."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, Client, Server, World
from tests.signalling.provers import client, server
from wavesync.identity.proofs import nonce_of
from wavesync.interfaces import Address
from wavesync.mediator.introducing import INTRODUCTION_LIFE
from wavesync.mediator.settings import Limits
from wavesync.shares import Shares
from wavesync.signalling.messages import ConnectAnswer, Refusal
from wavesync.stun.message import Message, MessageClass

_PLENTY = {
    "client_rate": 1e6,
    "client_burst": 1e6,
    "target_rate": 1e6,
    "target_burst": 1e6,
    "source_rate": 1e6,
    "source_burst": 1e6,
}


def source(number: int) -> Address:
    """An address of a host of its own."""
    return f"203.0.{number // 250}.{number % 250 + 1}", 5100


class FloodCase(SynchronousTestCase):
    """A mediator with a server, and a client."""

    def begin(self, **limits: float) -> None:
        """Make them."""
        self.world = World(limits=Limits(**{**_PLENTY, **limits}))  # type: ignore[arg-type]
        self.server = Server(self.world).ready()
        self.client = Client(self.world)
        self.asked = 0

    def ask(self, at: Address = CLIENT_UDP, nonce: bytes = b"") -> Message:
        """Ask for one more introduction."""
        self.asked += 1
        raw = self.client.connect_bytes(self.server.target, f"{self.asked:032x}", nonce=nonce)
        answer = self.client.ask(raw, at)
        self.assertLessEqual(len(answer.raw), len(raw))
        return answer

    def code(self, answer: Message) -> int:
        """The code of a refusal, 0 for an answer."""
        if answer.message_class is MessageClass.ERROR:
            return Refusal.decode(answer).code
        ConnectAnswer.decode(answer)
        return 0


class PlaceTests(FloodCase):
    """The table of introductions."""

    def test_one_host(self) -> None:
        """One host gets its share of places and not one more; others still get in."""
        self.begin(introductions_per_host=5)
        self.assertEqual([self.code(self.ask()) for _ in range(6)], [0] * 5 + [486])
        self.assertEqual(self.code(self.ask(source(1))), 0)
        self.world.advance(INTRODUCTION_LIFE)
        self.assertEqual(self.code(self.ask()), 0)

    def test_one_network(self) -> None:
        """All addresses of an IPv6 /64 are one host."""
        self.begin(introductions_per_host=2)
        codes = [self.code(self.ask((f"2001:db8::{i:x}", 5100))) for i in range(1, 4)]
        self.assertEqual(codes, [0, 0, 486])

    def test_one_system(self) -> None:
        """One system gets its share, wherever its clients are; another still gets in."""
        self.begin(introductions_per_system=5)
        codes = [self.code(self.ask(source(i))) for i in range(6)]
        self.assertEqual(codes, [0] * 5 + [486])
        other = Server(self.world, server(1, 2)).ready()
        theirs = Client(self.world, client(of=2))
        theirs.connect(other.target, "e" * 32, source(9))

    def test_forged_sources(self) -> None:
        """Half of the places are for anybody, the others for who can be reached at his address."""
        self.begin(introductions=20)
        codes = [self.code(self.ask(source(i))) for i in range(12)]
        self.assertEqual(codes, [0] * 10 + [438] * 2)
        nonce = Refusal.decode(self.ask(source(50))).nonce
        self.assertEqual(self.code(self.ask(source(51), nonce)), 438)
        self.assertEqual(self.code(self.ask(source(50), nonce)), 0)

    def test_over_tcp(self) -> None:
        """Over TCP nobody forges his address: no second signature is asked for."""
        self.begin(introductions=20)
        for i in range(10):
            self.ask(source(i))
        raw = self.client.connect_bytes(self.server.target, "e" * 32)
        ConnectAnswer.decode(self.client.over_tcp(raw))

    def test_nothing_stays(self) -> None:
        """Whoever held places once takes no memory."""
        self.begin()
        for i in range(50):
            self.assertEqual(self.code(self.ask(source(i))), 0)
        self.world.advance(INTRODUCTION_LIFE)
        table = self.world.mediator.introductions
        self.assertEqual((len(table._hosts), len(table._systems), table._owners), (0, 0, {}))

    def test_shares(self) -> None:
        """A place that is given back can be taken again."""
        shares = Shares(2)
        for _ in range(2):
            self.assertTrue(shares.room(b"a"))
            shares.take(b"a")
        self.assertFalse(shares.room(b"a"))
        self.assertTrue(shares.room(b"b"))
        shares.give_back(b"a")
        self.assertTrue(shares.room(b"a"))


class CheckTests(FloodCase):
    """The work of checking signatures."""

    def checked(self) -> int:
        """How many proofs of introductions were found good."""
        return len(self.world.mediator.introductions)

    def test_one_source(self) -> None:
        """So many proofs of one source are looked at, and then only with a nonce."""
        self.begin(unproven_burst=5)
        self.assertEqual([self.code(self.ask()) for _ in range(6)], [0] * 5 + [438])
        self.assertEqual(self.checked(), 5)
        nonce = Refusal.decode(self.ask()).nonce
        self.assertEqual([self.code(self.ask(nonce=nonce)) for _ in range(20)], [0] * 20)
        self.assertEqual(self.code(self.ask(source(1))), 0)

    def test_refill(self) -> None:
        """A little later it is looked at without one again."""
        self.begin(unproven_burst=1, unproven_rate=2)
        self.assertEqual([self.code(self.ask()) for _ in range(2)], [0, 438])
        self.world.advance(0.5)
        self.assertEqual([self.code(self.ask()) for _ in range(2)], [0, 438])

    def test_all_sources(self) -> None:
        """Many sources together do not keep the mediator busy: the rest has to show where it is."""
        self.begin(unproven_total_burst=50)
        codes = [self.code(self.ask(source(i))) for i in range(200)]
        self.assertEqual(codes, [0] * 50 + [438] * 150)
        nonce = Refusal.decode(self.ask(source(300))).nonce
        self.assertEqual(self.code(self.ask(source(300), nonce)), 0)

    def test_somebody_elses_nonce(self) -> None:
        """A nonce that another host was given spares nothing."""
        self.begin(unproven_burst=1)
        self.ask()
        nonce = Refusal.decode(self.ask()).nonce
        self.assertEqual(self.code(self.ask(source(1), nonce)), 0)
        self.assertEqual(self.code(self.ask(source(1), nonce)), 438)

    def test_over_tcp(self) -> None:
        """Over TCP the bucket of forged sources is not asked."""
        self.begin(unproven_burst=1)
        for number in range(3):
            raw = self.client.connect_bytes(self.server.target, f"{number:032x}")
            ConnectAnswer.decode(self.client.over_tcp(raw))

    def test_no_proof(self) -> None:
        """What is no proof has no nonce."""
        for blob in (b"", b"\x01", bytes(2000), b"\x01" + bytes(8) + b"\xff"):
            self.assertEqual(nonce_of(blob), b"")
