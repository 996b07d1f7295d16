"""``openStream``, as a mediator handles it."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, CONNECTION, Client, MemoryChannel, Server, World
from tests.signalling.provers import client, prover, server
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.mediator.introducing import INTRODUCTION_LIFE
from wavesync.mediator.leg import Leg
from wavesync.mediator.leg_time import LegTime
from wavesync.signalling.messages import OpenStream, Refusal, StreamAnswer, StreamRequested
from wavesync.signalling.numbers import MAX_START_DELAY, ErrorCode, Method
from wavesync.stun.message import Message, MessageClass, decode, encode

SERVER_LEG: Address = ("198.51.100.1", 33000)
CLIENT_LEG: Address = ("203.0.113.1", 44000)
CLIENT_LEG_6: Address = ("2001:db8::5", 44000)


class StreamOpeningTests(SynchronousTestCase):
    """A client that was introduced asks for a TCP connection that both sides open."""

    def setUp(self) -> None:
        """A client introduced to a server, over UDP."""
        self.world = World()
        self.server = Server(self.world, source=SERVER_LEG).ready()
        self.client = Client(self.world)
        self.client.connect(self.server.target)
        self.server.requested()

    def request(
        self,
        by: Credentials | None = None,
        *,
        connection: str = CONNECTION,
        target: Target | None = None,
        start: float = 0.0,
        ahead: float = 0.0,
        nonce: bytes = b"",
    ) -> bytes:
        """A request as a client makes it."""
        signs = prover(client() if by is None else by, now=self.world.now + ahead, nonce=nonce)
        open_stream = OpenStream(
            connection, self.server.target if target is None else target, start
        )
        return open_stream.encode(self.world.random(12), signs)

    def over(self, data: bytes, leg: tuple[Leg, MemoryChannel]) -> Message:
        """Send a request over a leg and return the answer."""
        leg[0].receive(decode(data), self.world.now)
        return leg[1].sent.pop()

    def ask(self, data: bytes, source: Address = CLIENT_LEG) -> Message:
        """The same over a leg of its own."""
        return self.over(data, self.world.leg(source))

    def told(self) -> list[StreamRequested]:
        """What the server was told since the last look."""
        found = self.server.channel.take(Method.STREAM_REQUESTED, MessageClass.INDICATION)
        return [StreamRequested.decode(message) for message in found]

    def refused(self, answer: Message) -> int:
        """The code of a refusal, of which the server knows nothing."""
        self.assertEqual(self.told(), [])
        return Refusal.decode(answer).code

    def test_tunnels(self) -> None:
        """Nobody is told to dial a proxy or a web server: what a tunnel comes from is nobody's own."""
        leg = self.world.leg(CLIENT_LEG, tunnelled=True)
        self.assertEqual(self.refused(self.over(self.request(), leg)), ErrorCode.NOT_FOUND)
        self.server.leg.tunnelled = True
        self.assertEqual(self.refused(self.ask(self.request())), ErrorCode.NOT_FOUND)

    def test_both_are_told(self) -> None:
        """Each side is told where the mediator sees the other side's TCP connection come from."""
        raw = self.request()
        answer = StreamAnswer.decode(self.ask(raw))
        self.assertEqual(answer, StreamAnswer((SERVER_LEG,)))
        self.assertEqual(self.told(), [StreamRequested(CONNECTION, raw, (CLIENT_LEG,))])
        self.assertEqual(self.world.mediator.statistics.streams, 1)

    def test_start_together(self) -> None:
        """The side that hears of it first waits for the other, within bounds."""
        registration = self.world.mediator.registry.by_id(self.server.id)
        assert registration is not None
        registration.leg_time = LegTime()
        registration.leg_time.measured(0.2)
        for start, waits in ((0.05, 0.0), (0.25, 0.15), (30.0, MAX_START_DELAY)):
            self.client.connect(self.server.target, f"{round(start * 100):032x}")
            raw = self.request(connection=f"{round(start * 100):032x}", start=start)
            answer = StreamAnswer.decode(self.ask(raw))
            (told,) = self.told()
            self.assertAlmostEqual(told.start_delay, waits)
            self.assertAlmostEqual(answer.start_delay, 0.1 + waits)

    def test_once(self) -> None:
        """A server is asked to dial once for an introduction, however often a client asks."""
        self.ask(self.request())
        self.assertEqual(len(self.told()), 1)
        self.assertEqual(self.refused(self.ask(self.request())), ErrorCode.QUOTA_REACHED)

    def test_other_family(self) -> None:
        """Over IPv6 a client learns that the server's leg has IPv4, and asks again over that."""
        answer = StreamAnswer.decode(self.ask(self.request(), CLIENT_LEG_6))
        self.assertEqual(answer.observed, (SERVER_LEG,))
        self.assertEqual(self.told(), [])
        self.ask(self.request())
        self.assertEqual(len(self.told()), 1)

    def test_not_ones_own(self) -> None:
        """Unknown introductions, those of another client, and other servers look all the same."""
        for raw in (
            self.request(connection="d0" * 16),
            self.request(client("bob")),
            self.request(client(of=2)),
            self.request(target=server(2).target),
        ):
            self.assertEqual(self.refused(self.ask(raw)), ErrorCode.NOT_FOUND)
        self.world.advance(INTRODUCTION_LIFE + 1)
        self.assertEqual(self.refused(self.ask(self.request())), ErrorCode.NOT_FOUND)

    def test_server_gone(self) -> None:
        """A server that has left cannot be asked."""
        self.server.leg.lost()
        self.assertEqual(self.refused(self.ask(self.request())), ErrorCode.NOT_FOUND)

    def test_no_client(self) -> None:
        """A server's proof is none for this."""
        self.assertEqual(self.refused(self.ask(self.request(server()))), ErrorCode.FORBIDDEN)

    def test_wrong_clock(self) -> None:
        """A client whose clock is wrong signs again over a nonce."""
        leg = self.world.leg(CLIENT_LEG)
        stale = Refusal.decode(self.over(self.request(ahead=172_800), leg))
        self.assertEqual(stale.code, ErrorCode.STALE_NONCE)
        signed = self.request(ahead=172_800, nonce=stale.nonce)
        self.assertEqual(StreamAnswer.decode(self.over(signed, leg)).observed, (SERVER_LEG,))
        self.assertEqual(len(self.told()), 1)

    def test_not_proved(self) -> None:
        """Without a proof there is a challenge; what cannot be read is refused."""
        message = decode(self.request())
        for keep, code in ((3, ErrorCode.UNAUTHENTICATED), (1, ErrorCode.BAD_REQUEST)):
            attributes = message.attributes[:keep]
            cut = Message(message.method, message.message_class, bytes(12), attributes)
            self.assertEqual(self.refused(self.ask(encode(cut))), code)

    def test_never_over_udp(self) -> None:
        """Over UDP it is not answered: a datagram's source proves nothing."""
        self.assertIsNone(self.world.datagram(self.request(), CLIENT_UDP))
        self.assertEqual(self.told(), [])
