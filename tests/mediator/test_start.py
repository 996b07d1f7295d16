"""When both sides punch first: leg times, as a mediator measures them and tells of them."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CONNECTION, SERVER_UDP, Client, Server, World
from wavesync.mediator.leg_time import MAX_ROUND_TRIP, LegTime
from wavesync.signalling.messages import Refusal


class LegTimeTests(SynchronousTestCase):
    """How a round trip is smoothed."""

    def measured(self, *seconds: float) -> float:
        """What is believed after these measurements, as a round trip."""
        leg = LegTime()
        for each in seconds:
            leg.measured(each)
        return 2 * leg.one_way

    def test_nothing(self) -> None:
        """Without a measurement nobody waits."""
        self.assertEqual(self.measured(), 0.0)

    def test_first(self) -> None:
        """The first is taken as it is."""
        self.assertEqual(self.measured(0.4), 0.4)

    def test_shorter(self) -> None:
        """A shorter one is the network; a longer one may be a busy host."""
        self.assertEqual(self.measured(0.4, 0.1), 0.1)
        self.assertAlmostEqual(self.measured(0.1, 0.5), 0.15)
        self.assertAlmostEqual(self.measured(0.1, *[0.5] * 50), 0.5, places=2)

    def test_bounds(self) -> None:
        """Neither a dawdling server nor a clock that jumps means anything beyond the limit."""
        self.assertEqual(self.measured(MAX_ROUND_TRIP), MAX_ROUND_TRIP)
        self.assertEqual(self.measured(MAX_ROUND_TRIP + 1), MAX_ROUND_TRIP)
        self.assertEqual(self.measured(-3.0), 0.0)
        self.assertEqual(self.measured(0.2, -3.0), 0.2)


class StartTests(SynchronousTestCase):
    """What client and server are told of when to begin."""

    def setUp(self) -> None:
        self.world = World()
        self.client = Client(self.world)

    def server(self, leg: float) -> Server:
        """A server that does what it is told after *leg* seconds, there and back."""
        server = Server(self.world)
        challenge = Refusal.decode(server.listen())
        self.world.advance(leg)
        return server.registered_with(challenge)

    def introduced(self, server: Server) -> tuple[float, float]:
        """What the client is told, and the server, in seconds."""
        answer = self.client.connect(server.target)
        (requested,) = server.requested()
        return answer.start_delay, requested.start_delay

    def test_far_server(self) -> None:
        """The client learns how long the server takes to hear of it; the server never waits."""
        self.assertEqual(self.introduced(self.server(0.4)), (0.2, 0.0))

    def test_near_server(self) -> None:
        """A server that the mediator can tell at once begins at once."""
        self.assertEqual(self.introduced(self.server(0.0)), (0.0, 0.0))

    def test_acknowledged(self) -> None:
        """Each introduction measures again; only the first ack of one counts."""
        server = self.server(0.4)
        self.introduced(server)
        self.world.advance(0.1)
        self.world.datagram(server.ack_bytes(), SERVER_UDP)
        self.world.advance(0.5)
        self.world.datagram(server.ack_bytes(), SERVER_UDP)
        again = self.client.connect(server.target, "1" * 32)
        self.assertAlmostEqual(again.start_delay, 0.05)

    def test_same_answer(self) -> None:
        """A repeated request gets the answer that it got, whatever was measured meanwhile."""
        server = self.server(0.4)
        raw = self.client.connect_bytes(server.target)
        first = self.client.ask(raw).raw
        self.world.advance(0.1)
        self.world.datagram(server.ack_bytes(CONNECTION), SERVER_UDP)
        self.assertEqual(self.client.ask(raw).raw, first)
