"""Signatures that are checked over TCP: a source, and a connection, can ask for so many."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import Client, MemoryChannel, Server, World
from tests.mediator.test_revoking import BOB, push, revocation_list
from tests.signalling.provers import client, prover, server
from wavesync.identity.crl import MAX_CRL
from wavesync.identity.lists import LIST_SHARE
from wavesync.interfaces import Address
from wavesync.mediator.leg import PROOF_BURST, PROOF_RATE, Leg
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import ConnectAnswer, CrlPushed, OpenStream, Refusal
from wavesync.stun.message import MessageClass, decode

_HERE: Address = ("203.0.113.1", 44000)
_ELSEWHERE: Address = ("203.0.113.2", 44000)
_BURST = int(PROOF_BURST)


class StreamProofTests(SynchronousTestCase):
    """A mediator's processor is not for one who connects by TCP and sends signatures."""

    def begin(self, **limits: float) -> None:
        """Make a mediator, a server at another source than the attacker's, and a client."""
        plenty = {"client_burst": 1e6, "target_burst": 1e6, "source_burst": 1e6}
        self.world = World(limits=Limits(**{**plenty, **limits}))  # type: ignore[arg-type]
        self.server = Server(self.world).register()
        self.client = Client(self.world)
        self.asked = 0

    def request(self) -> bytes:
        """A good ``connect``."""
        self.asked += 1
        return self.client.connect_bytes(self.server.target, f"{self.asked:032x}")

    def bad_request(self) -> bytes:
        """A ``connect`` whose signature does not hold: to find that out is all the work."""
        self.asked += 1
        return self.client.connect_bytes(
            self.server.target, f"{self.asked:032x}", audience="elsewhere.example"
        )

    def send(self, leg: tuple[Leg, MemoryChannel], request: bytes) -> int:
        """Send a request over a leg: the code of the refusal, 0 for another answer."""
        leg[0].receive(decode(request), self.world.now)
        answer = leg[1].sent.pop()
        failed = answer.message_class is MessageClass.ERROR
        return Refusal.decode(answer).code if failed else 0

    def test_one_leg(self) -> None:
        """So many proofs of one connection are looked at, not one more; later again some."""
        self.begin(stream_proof_burst=1e6)
        leg = self.world.leg(_HERE)
        codes = [self.send(leg, self.bad_request()) for _ in range(_BURST + 1)]
        self.assertEqual(codes, [403] * _BURST + [486])
        self.world.advance(1.0)
        codes = [self.send(leg, self.request()) for _ in range(int(PROOF_RATE) + 1)]
        self.assertEqual(codes, [0] * int(PROOF_RATE) + [486])
        self.assertEqual(self.send(self.world.leg(_HERE), self.request()), 0)
        self.assertFalse(leg[1].closed or leg[1].aborted)

    def test_one_source(self) -> None:
        """However many connections a source has: so many proofs, not one more."""
        self.begin(stream_proof_burst=5, stream_proof_rate=2)
        codes = [self.send(self.world.leg(_HERE), self.bad_request()) for _ in range(6)]
        self.assertEqual(codes, [403] * 5 + [486])
        self.assertEqual(self.send(self.world.leg(_HERE), self.request()), 486)
        self.assertEqual(self.send(self.world.leg(_ELSEWHERE), self.request()), 0)
        self.world.advance(0.5)
        codes = [self.send(self.world.leg(_HERE), self.request()) for _ in range(2)]
        self.assertEqual(codes, [0, 486])

    def test_without_proof(self) -> None:
        """What has no proof, or one that cannot be read, costs nothing of that."""
        self.begin(stream_proof_burst=1)
        listening = Server(self.world, server(2), source=_HERE)
        for _ in range(5):
            self.assertEqual(Refusal.decode(listening.listen()).code, 401)
        leg = self.world.leg(_HERE)
        self.assertEqual(self.send(leg, self.server.bind_bytes()), 400)
        self.assertEqual(self.send(leg, self.request()), 0)

    def test_datagrams(self) -> None:
        """Over UDP other rules count: the same host may ask there."""
        self.begin(stream_proof_burst=1)
        leg = self.world.leg(_HERE)
        self.assertEqual([self.send(leg, self.request()) for _ in range(2)], [0, 486])
        ConnectAnswer.decode(self.client.ask(self.request(), _HERE))

    def test_listen(self) -> None:
        """A server beyond it is told to wait and hung up on; a registered one stays."""
        self.begin(stream_proof_burst=2)
        first = Server(self.world, server(2), source=_HERE).register()
        second = Server(self.world, server(3), source=_HERE).register()
        third = Server(self.world, server(4), source=_HERE)
        refusal = Refusal.decode(third.listen(Refusal.decode(third.listen()).nonce))
        self.assertEqual((refusal.code, third.channel.closed), (486, True))
        for each in (first, second):
            self.assertFalse(each.channel.closed)
        # Listening once more is out of turn, whatever the proof is like.
        self.assertEqual(Refusal.decode(first.listen()).code, 400)
        self.assertIsNotNone(self.world.mediator.registry.choose(first.target))

    def test_bind(self) -> None:
        """A server that tells new addresses too often is told to wait; the last ones stand."""
        self.begin(stream_proof_burst=2)
        asked = Server(self.world, server(2), source=_HERE).register()
        last = asked.bind_bytes()
        self.assertIs(asked.say(last).message_class, MessageClass.SUCCESS)
        self.assertEqual(Refusal.decode(asked.say(asked.bind_bytes())).code, 486)
        registration = self.world.mediator.registry.by_id(asked.id)
        assert registration is not None
        self.assertEqual(registration.signed_addresses, last)

    def test_open_stream(self) -> None:
        """So does a client that asks to be dialled."""
        self.begin(stream_proof_burst=1)
        self.client.connect(self.server.target, "e" * 32)
        signs = prover(client(), now=self.world.now)
        raw = OpenStream("e" * 32, self.server.target, 0.0).encode(self.world.random(12), signs)
        leg = self.world.leg(_HERE)
        self.assertEqual([self.send(leg, raw) for _ in range(2)], [0, 486])

    def test_lists(self) -> None:
        """A revocation list counts by its length; beyond, it is not looked at, and may come later."""
        self.assertLessEqual(1 + MAX_CRL // LIST_SHARE, PROOF_BURST)
        self.begin(stream_proof_burst=5)
        asked = Server(self.world, server(2), source=_HERE).register()
        long = revocation_list(BOB, more=range(1, 1000))
        self.assertEqual(len(long.der) // LIST_SHARE, 2)
        self.assertEqual(push(asked, long), CrlPushed(1))
        self.assertEqual(
            push(asked, revocation_list(BOB, number=2, more=range(1, 1000))), Refusal(486)
        )
        self.assertEqual(self.world.mediator.revoking.lists.number(asked.target.system), 1)
        self.assertEqual(push(asked, revocation_list(BOB, number=2)), CrlPushed(2))
