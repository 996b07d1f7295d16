"""``connect`` with a source that is not its sender's: what the victim gets is never more than was sent."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, Client, Server, World
from tests.signalling.provers import client
from wavesync.agent.introductions import PUNCHES
from wavesync.interfaces import Address
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import Bind, Refusal
from wavesync.signalling.numbers import CONNECT_SIZE, UPDATE_SCHEDULE, Method
from wavesync.stun.message import Message, MessageClass, encode
from wavesync.udt.handshake import HANDSHAKE_SIZE

_VICTIM: Address = ("192.0.2.66", 666)

_UPDATE = 68
"""Bytes of a ``connectionUpdate`` with one IPv4 address."""


class SpoofCase(SynchronousTestCase):
    """A mediator, a server with as many addresses as a list holds, and a client's proof."""

    limits = Limits()

    def setUp(self) -> None:
        """Register the server."""
        self.world = World(limits=self.limits)
        self.server = Server(self.world).register()
        listed = tuple((f"192.168.1.{n}", 4100) for n in range(1, 9))
        bind = Bind(1, listed, listed)
        self.server.say(bind.encode(self.world.random(12), self.server.proving()))
        self.server.warm_up()
        self.client = Client(self.world)
        self.spent = self.got = 0

    def forge(self, request: bytes) -> Message | None:
        """Send a request as if it came from the victim; what it is answered goes there."""
        self.spent += len(request)
        answer = self.world.datagram(request, _VICTIM)
        if answer is not None:
            self.got += len(answer.raw)
        self.count_updates()
        return answer

    def count_updates(self) -> None:
        """Count what is sent to the victim without being an answer."""
        sent, self.world.port.sent = self.world.port.sent, []
        self.got += sum(len(message.raw) for message, to in sent if to == _VICTIM)

    def wait(self) -> None:
        """Let everything be repeated that is repeated."""
        self.world.advance(100.0)
        self.count_updates()


class WireTests(SpoofCase):
    """A proof that was seen on the wire."""

    def test_copied(self) -> None:
        """It is good for no other source: the victim gets a short refusal for each copy, and the
        server is not told of it."""
        request = self.client.connect_bytes(self.server.target)
        self.client.ask(request, CLIENT_UDP)
        self.assertEqual(len(self.server.requested()), 1)
        for _ in range(100):
            answer = self.forge(request)
            assert answer is not None and answer.message_class is MessageClass.ERROR
            self.assertEqual(Refusal.decode(answer).code, 438)
        self.wait()
        self.assertLess(self.got, self.spent / 4)
        self.assertEqual((self.server.requested(), self.server.updates()), ([], []))

    def test_copied_first(self) -> None:
        """A copy that comes before the original: the victim gets one answer, the client asks
        again with a nonce that only he is sent."""
        request = self.client.connect_bytes(self.server.target)
        self.forge(request)
        refusal = Refusal.decode(self.client.ask(request, CLIENT_UDP))
        self.assertEqual(refusal.code, 438)
        again = self.client.connect_bytes(self.server.target, nonce=refusal.nonce)
        self.assertIs(self.client.ask(again, CLIENT_UDP).message_class, MessageClass.SUCCESS)
        self.wait()
        self.assertLessEqual(self.got, self.spent)


class OwnProofTests(SpoofCase):
    """A client of the system that names somebody else as the source of its requests."""

    def test_answers(self) -> None:
        """Answers are shorter than requests, however often they are asked for."""
        request = self.client.connect_bytes(self.server.target)
        for _ in range(100):
            self.forge(request)
        self.wait()
        self.assertGreater(self.got, 0)
        self.assertLessEqual(self.got, self.spent)

    def test_updates(self) -> None:
        """A server that moves again and again (it may be the forger's) adds nothing to that."""
        for number in range(20):
            self.forge(self.client.connect_bytes(self.server.target, f"{number:032x}"))
            for port in range(40):
                ack = self.server.ack_bytes(f"{number:032x}")
                self.world.datagram(ack, ("198.51.100.1", 5000 + port))
                self.world.advance(0.2)
                self.count_updates()
        self.wait()
        self.assertLessEqual(self.got, self.spent)

    def test_exact(self) -> None:
        """Answers and updates are charged to the byte: as many updates as there is room for, and
        not one more until another request has paid for it."""
        request = self.client.connect_bytes(self.server.target)
        for paid in (1, 2):
            answer = self.forge(request)
            assert answer is not None
            for port in range(2):
                ack = self.server.ack_bytes()
                self.world.datagram(ack, ("198.51.100.1", 5000 + 10 * paid + port))
                self.world.advance(4.0)
                self.count_updates()
            self.assertEqual(self.spent, paid * CONNECT_SIZE)
            updates = self.got - paid * len(answer.raw)
            room = self.spent - paid * len(answer.raw)
            self.assertEqual(updates, room // _UPDATE * _UPDATE)
        self.assertGreater(room // _UPDATE, len(UPDATE_SCHEDULE))

    def test_short_requests(self) -> None:
        """A request that is shorter than what would have to be said of it is not answered."""
        for method in (Method.CONNECT, Method.BIND, Method.CONNECTION_ACK):
            for size in (0, 8, 16, 64):
                unknown = (0x7777, bytes(size))
                request = encode(Message(method, MessageClass.REQUEST, bytes(12), (unknown,)))
                # As the port has it: the driver of these tests looks at sizes itself.
                answer = self.world.mediator.datagram(
                    request, _VICTIM, self.world.port, self.world.now
                )
                self.assertEqual(answer is not None, size > 16, size)
                self.assertLessEqual(len(answer or b""), len(request))

    def test_many_ids(self) -> None:
        """New connection ids are charged to the client: then there are only short refusals."""
        answers = []
        for number in range(150):
            answer = self.forge(self.client.connect_bytes(self.server.target, f"{number:032x}"))
            assert answer is not None
            answers.append(answer.message_class)
        self.wait()
        self.assertLessEqual(answers.count(MessageClass.SUCCESS), self.limits.client_burst)
        self.assertEqual(len(self.server.requested()), answers.count(MessageClass.SUCCESS))
        self.assertLessEqual(self.got, self.spent)

    def test_with_punches(self) -> None:
        """The answer and all that the agent sends there are no more than the one request."""
        self.forge(self.client.connect_bytes(self.server.target))
        self.wait()
        self.assertLessEqual(self.got + PUNCHES * HANDSHAKE_SIZE, self.spent)

    def test_two_victims(self) -> None:
        """Another source for the same introduction is answered for what came from it."""
        request = self.client.connect_bytes(self.server.target)
        self.client.ask(request, CLIENT_UDP)
        for number in range(5):
            refusal = self.client.ask(request, ("192.0.2.70", number + 1))
            self.assertLess(len(refusal.raw), len(request) / 4)

    def test_not_ours(self) -> None:
        """A proof of another system gets the same short refusal as any."""
        eve = Client(self.world, client("eve", of=2))
        for number in range(50):
            self.forge(eve.connect_bytes(self.server.target, f"{number:032x}"))
        self.wait()
        self.assertLess(self.got, self.spent / 4)
        self.assertEqual(self.server.requested(), [])
