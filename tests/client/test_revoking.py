"""Tests of revoked servers as a client meets them."""

from collections.abc import Iterable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import MemoryEndpoint, ScriptedMediator
from tests.client.support import CONNECTION, MEDIATOR, SERVER_TCP, AskingWorld, answer
from tests.client.world import World
from tests.signalling.provers import NOW, client, server, system
from wavesync.client.revoking import FETCH_TIMEOUT, RevocationWatch
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.identity.credentials import Credentials
from wavesync.identity.crl import RevocationList, make_crl
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations, list_path, save_list
from wavesync.signalling.messages import Connect, CrlFetch, CrlPiece, Refusal
from wavesync.signalling.numbers import Method
from wavesync.signalling.revoking import piece_of


def revocation_list(
    *credentials: Credentials, number: int = 1, of: int = 1, more: Iterable[int] = ()
) -> RevocationList:
    """Make a list of a system of the tests."""
    serials = [each.leaf.serial for each in credentials] + list(more)
    return make_crl(system(of).private_key, dict.fromkeys(serials, NOW), number=number, now=NOW)


class AnswerTests(SynchronousTestCase):
    """What comes with the mediator's answer."""

    def test_in_the_answer(self) -> None:
        """A list that comes along counts before the addresses that come with it."""
        world = AskingWorld()
        request = world.one()
        self.assertEqual(Connect.decode(request).crl_number, 0)
        crl = revocation_list(server(), number=2)
        world.receive(answer(request, news=(2, crl.der)))
        introduction = self.successResultOf(world.asking.result)
        self.assertEqual(introduction.tcp, ())
        self.assertEqual(introduction.crl_number, 2)

    def test_bad_list(self) -> None:
        """A list that is none, or of another system, changes nothing."""
        for der in (b"garbage", revocation_list(server(), of=2).der):
            world = AskingWorld()
            world.receive(answer(world.one(), news=(2, der)))
            introduction = self.successResultOf(world.asking.result)
            self.assertEqual(introduction.tcp, (SERVER_TCP,))


class FetchTests(SynchronousTestCase):
    """Longer lists are fetched over TCP."""

    def setUp(self) -> None:
        """A client that knows the list with number 3."""
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.revocations = Revocations(client().system_key_bytes)
        self.revocations.offer(revocation_list(number=3).der)
        self.watch = RevocationWatch(self.clock, self.revocations)  # type: ignore[arg-type]

    def fetch(self) -> ScriptedMediator:
        """Begin, and come to a connection."""
        self.watch.fetch(self.endpoint, MEDIATOR, CONNECTION)
        return ScriptedMediator(self.endpoint.dialled[-1], now=NOW)

    def serve(self, mediator: ScriptedMediator, crl: RevocationList) -> None:
        """Answer all requests."""
        while requests := mediator.received():
            for request in requests:
                self.assertEqual(request.method, Method.CRL_FETCH)
                fetch = CrlFetch.decode(request)
                self.assertEqual(fetch.connection_id, CONNECTION)
                piece = CrlPiece(*piece_of(crl.number, crl.der, fetch.offset))
                mediator.send(piece.encode(request.transaction_id))

    def assert_over(self, mediator: ScriptedMediator) -> None:
        """The connection is closed, and nothing goes on."""
        self.assertTrue(mediator.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fetch(self) -> None:
        """A long list comes whole, and the connection is closed."""
        mediator = self.fetch()
        crl = revocation_list(server(), number=4, more=range(1, 500))
        self.serve(mediator, crl)
        self.assertEqual(self.revocations.number, 4)
        self.assertTrue(self.revocations.revoked(server().leaf.serial))
        self.assert_over(mediator)

    def test_rollback(self) -> None:
        """A mediator that hands out an older list is not listened to."""
        mediator = self.fetch()
        self.serve(mediator, revocation_list(server(), number=2))
        self.assertEqual(self.revocations.number, 3)
        self.assert_over(mediator)

    def test_refused(self) -> None:
        """A mediator that gives none is left in peace."""
        mediator = self.fetch()
        (request,) = mediator.received()
        mediator.refuse(request, Refusal(404))
        self.assert_over(mediator)

    def test_silent(self) -> None:
        """A mediator that does not answer is given up."""
        mediator = self.fetch()
        self.clock.advance(FETCH_TIMEOUT)
        self.assert_over(mediator)

    def test_no_connection(self) -> None:
        """A mediator that cannot be reached over TCP either."""
        self.watch.fetch(self.endpoint, MEDIATOR, CONNECTION)
        self.clock.advance(FETCH_TIMEOUT)
        self.assertTrue(self.endpoint.dialled[-1].cancelled)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """A client that ends does not wait for it."""
        mediator = self.fetch()
        self.watch.close()
        self.assert_over(mediator)


class ConnectorTests(SynchronousTestCase):
    """A client does not connect, nor stay connected, to a revoked server."""

    def make(self, revocations: Revocations | None = None) -> World:
        """A client, a server and a mediator."""
        world = World(revocations=revocations)
        self.addCleanup(lambda: self.assertEqual(world.shut(), []))
        return world

    def test_refused(self) -> None:
        """A server that is on the list is refused, whatever the mediator says."""
        revocations = Revocations(client().system_key_bytes)
        revocations.offer(revocation_list(server(), number=7).der)
        world = self.make(revocations)
        talker, opening = world.open()
        world.run(5)
        error = self.failureResultOf(opening, ConnectFailed).value
        self.assertIn("the certificate was revoked", str(error))
        self.assertEqual(talker.heard, b"")
        self.assertEqual(world.requests[0].crl_number, 7)

    def test_list_with_the_answer(self) -> None:
        """The list that comes with the introduction counts for that very connection."""
        world = self.make()
        world.news = 7, revocation_list(server(), number=7).der
        _, opening = world.open()
        world.run(5)
        self.assertIn("was revoked", str(self.failureResultOf(opening, ConnectFailed).value))

    def test_running(self) -> None:
        """A running session ends within the time between two looks at a file, others go on."""
        directory = Path(self.mktemp())
        path = list_path(directory, client().system)
        revocations = Revocations(client().system_key_bytes, state=path)
        world = self.make(revocations)
        talker, opening = world.open()
        world.run(1)
        self.assertIs(self.successResultOf(opening), talker)
        save_list(path, revocation_list(server(2)))
        world.run(LOOK_INTERVAL + 1)
        self.assertFalse(talker.lost)
        save_list(path, revocation_list(server(), number=2))
        world.run(LOOK_INTERVAL + 1)
        self.assertTrue(talker.lost)
        _, opening = world.open()
        world.run(5)
        self.failureResultOf(opening, ConnectFailed)

    def test_revoked_client(self) -> None:
        """A client that was revoked itself is told so, with exit status 3."""
        world = self.make()
        world.refusal = Refusal(403, "revoked")
        _, opening = world.open()
        world.run(1)
        error = self.failureResultOf(opening, NotAllowed).value
        self.assertIn("does not accept these credentials: they were revoked", str(error))
        self.assertEqual(error.exit_status, 3)
