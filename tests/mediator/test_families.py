"""A client that asks over IPv4 and IPv6 at once is one client, and seen in both."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, CONNECTION, Client, Server, World
from wavesync.signalling.messages import ConnectAnswer, ConnectionUpdate, Refusal
from wavesync.signalling.numbers import ErrorCode

CLIENT_SIX = ("2001:db8::7", 5100)


class FamiliesTests(SynchronousTestCase):
    """One introduction, whatever it came by; and still no proof works from two hosts."""

    def setUp(self) -> None:
        self.world = World()
        self.server = Server(self.world).ready()
        self.client = Client(self.world)
        self.four, self.six = (self.client.connect_bytes(self.server.target) for _ in range(2))

    def test_merged(self) -> None:
        """The server is asked once, and told of the other family at once; the client gets the same
        answer twice, but for how it was seen itself."""
        first = ConnectAnswer.decode(self.client.ask(self.four))
        (requested,) = self.server.requested()
        self.assertEqual(requested.observed, (CLIENT_UDP,))
        second = ConnectAnswer.decode(self.client.ask(self.six, CLIENT_SIX))
        self.assertEqual(self.server.requested(), [])
        self.assertEqual(
            self.server.updates(), [ConnectionUpdate(CONNECTION, 1, (CLIENT_UDP, CLIENT_SIX))]
        )
        self.assertEqual((first.mapped, second.mapped), (CLIENT_UDP, CLIENT_SIX))
        self.assertEqual((first.token, first.server), (second.token, second.server))
        self.assertEqual(self.world.mediator.statistics.introductions, 1)

    def test_other_order(self) -> None:
        """Whichever comes first."""
        self.client.ask(self.six, CLIENT_SIX)
        self.client.ask(self.four)
        (requested,) = self.server.requested()
        self.assertEqual(requested.observed, (CLIENT_SIX,))
        (update,) = self.server.updates()
        self.assertEqual(set(update.observed), {CLIENT_UDP, CLIENT_SIX})

    def test_repeated(self) -> None:
        """Retransmissions in either family cause nothing."""
        for _ in range(3):
            self.client.ask(self.four)
            self.client.ask(self.six, CLIENT_SIX)
        self.assertEqual(len(self.server.requested()), 1)
        self.assertEqual(len(self.server.updates()), 1)

    def test_copied(self) -> None:
        """One proof sent from both is still taken from the first only: nobody can copy it."""
        self.client.ask(self.four)
        refusal = Refusal.decode(self.client.ask(self.four, CLIENT_SIX))
        self.assertEqual(refusal.code, ErrorCode.STALE_NONCE)
        self.assertEqual(self.server.updates(), [])
