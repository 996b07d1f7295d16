"""Tests of revoked servers as a client meets them."""

from collections.abc import Iterable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import NONCE, LogListener, MemoryEndpoint, ScriptedMediator
from tests.client.support import CONNECTION, MEDIATOR, SERVER_TCP, AskingWorld, answer
from tests.client.world import World
from tests.signalling.provers import NOW, client, server, system
from wavesync.client.revoking import CHECK_INTERVAL, FETCH_TIMEOUT, RevocationWatch
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.identity.credentials import Credentials
from wavesync.identity.crl import RevocationList, make_crl
from wavesync.identity.proofs import check_proof
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations, list_path, save_list
from wavesync.identity.verify import Role
from wavesync.session.client import ClientSession
from wavesync.signalling.messages import Connect, CrlFetch, CrlPiece, Refusal, covered
from wavesync.signalling.numbers import Method, Purpose
from wavesync.signalling.revoking import piece_of
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message

OTHER = Mediator("other.example", 3345, 3345)


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
        self.watch = RevocationWatch(
            self.clock,  # type: ignore[arg-type]
            self.revocations,
            client(),
            [MEDIATOR],
            lambda: NOW,
            endpoint=lambda mediator: self.endpoint,
            random=lambda: 0.5,
        )

    def fetch(self) -> ScriptedMediator:
        """Begin, and come to a connection."""
        self.watch.fetch(MEDIATOR, CONNECTION)
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
        self.watch.fetch(MEDIATOR, CONNECTION)
        self.clock.advance(FETCH_TIMEOUT)
        self.assertTrue(self.endpoint.dialled[-1].cancelled)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """A client that ends does not wait for it."""
        mediator = self.fetch()
        self.watch.close()
        self.assert_over(mediator)


class CheckTests(SynchronousTestCase):
    """Whoever has a session and needs no introduction asks for newer lists now and then."""

    def setUp(self) -> None:
        """A client that knows the list with number 3, and two mediators."""
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.asked: list[Mediator] = []
        self.revocations = Revocations(client().system_key_bytes)
        self.revocations.offer(revocation_list(number=3).der)
        self.watch = RevocationWatch(
            self.clock,  # type: ignore[arg-type]
            self.revocations,
            client(),
            [MEDIATOR, OTHER],
            lambda: NOW,
            endpoint=self.to,
            random=lambda: 0.5,
        )
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.watch.close)
        self.session = self.watch.add(ClientSession(self.clock))

    def to(self, mediator: Mediator) -> MemoryEndpoint:
        """The way to a mediator."""
        self.asked.append(mediator)
        return self.endpoint

    def request(self, mediator: ScriptedMediator, nonce: bytes) -> Message:
        """Take a request, whose proof holds for this very mediator."""
        request = mediator.one(Method.CRL_FETCH)
        self.assertEqual(CrlFetch.decode(request), CrlFetch(0, "", self.revocations.number))
        found = covered(request)
        assert found is not None
        proof = check_proof(
            found[0],
            purpose=Purpose.CRL_FETCH,
            audience=self.asked[-1].audience,
            message=found[1],
            role=Role.CLIENT,
            now=NOW,
        )
        self.assertEqual(proof.nonce, nonce)
        return request

    def test_check(self) -> None:
        """After some minutes, the next mediator in turn gives the list, wherever its clock is."""
        for number, which in ((4, MEDIATOR), (5, OTHER), (6, MEDIATOR)):
            self.clock.advance(CHECK_INTERVAL - 1)
            self.assertEqual(len(self.asked), number - 4)
            self.clock.advance(1)
            self.assertEqual(self.asked[-1], which)
            mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
            stale = Refusal(438, "", NONCE, which.audience, NOW)
            mediator.refuse(self.request(mediator, b""), stale)
            request = self.request(mediator, NONCE)
            crl = revocation_list(server(), number=number)
            piece = CrlPiece(*piece_of(crl.number, crl.der, 0))
            mediator.send(piece.encode(request.transaction_id))
            self.assertEqual(self.revocations.number, number)
            self.assertTrue(mediator.closed)

    def test_at_once(self) -> None:
        """Where there is a reason, a list is asked for at once, and then after the usual time."""
        self.watch.check()
        self.assertEqual(self.asked, [MEDIATOR])
        mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
        mediator.refuse(self.request(mediator, b""), Refusal(404))
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(self.asked, [MEDIATOR, OTHER])
        self.watch.close()
        self.watch.check()
        self.assertEqual(len(self.asked), 2)

    def test_nothing_newer(self) -> None:
        """No news is nothing to tell of, and is asked for again."""
        listener = LogListener("wavesync.client")
        self.addCleanup(listener.stop)
        for count in (1, 2, 3):
            self.clock.advance(CHECK_INTERVAL)
            self.assertEqual(len(self.asked), count)
            mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
            mediator.refuse(self.request(mediator, b""), Refusal(404))
            self.assertTrue(mediator.closed)
        self.assertEqual(listener.said, [])

    def test_nonce_after_nonce(self) -> None:
        """A mediator that asks for one signature after the other is not answered without end."""
        self.clock.advance(CHECK_INTERVAL)
        mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
        stale = Refusal(438, "", NONCE, MEDIATOR.audience, NOW)
        mediator.refuse(self.request(mediator, b""), stale)
        mediator.refuse(self.request(mediator, NONCE), stale)
        self.assertTrue(mediator.closed)

    def test_introduced(self) -> None:
        """An introduction tells of newer lists anyway: the next check is that much later."""
        world = AskingWorld()
        world.receive(answer(world.one()))
        introduction = self.successResultOf(world.asking.result)
        self.clock.advance(CHECK_INTERVAL - 1)
        self.watch.introduced(introduction)
        self.clock.advance(CHECK_INTERVAL - 1)
        self.assertEqual(self.asked, [])
        self.clock.advance(1)
        self.assertEqual(len(self.asked), 1)

    def test_closed(self) -> None:
        """A client that is closed, even twice, asks nobody, whatever session ends up with it."""
        self.watch.close()
        self.watch.close()
        self.watch.add(ClientSession(self.clock))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_session(self) -> None:
        """Without a session nobody is asked, and with a new one it begins again."""
        self.session.lost = True
        self.clock.advance(2 * CHECK_INTERVAL)
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), ([], []))
        self.watch.add(ClientSession(self.clock))
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(len(self.asked), 1)


class ConnectorTests(SynchronousTestCase):
    """A client does not connect, nor stay connected, to a revoked server."""

    def make(self, revocations: Revocations | None = None, tcp: int | None = None) -> World:
        """A client, a server and a mediator."""
        world = World(revocations=revocations, mediator_tcp=tcp)
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

    def test_asks(self) -> None:
        """Minutes after the last introduction, its mediator is asked over TCP for a newer list."""
        world = self.make(tcp=3345)
        talker, opening = world.open()
        world.run(1)
        self.assertIs(self.successResultOf(opening), talker)
        before = len(world.reactor.tcpClients)
        world.run(1.5 * CHECK_INTERVAL)
        self.assertGreater(len(world.reactor.tcpClients), before)
        self.assertFalse(talker.lost)

    def test_revoked_client(self) -> None:
        """A client that was revoked itself is told so, with exit status 3."""
        world = self.make()
        world.refusal = Refusal(403, "revoked")
        _, opening = world.open()
        world.run(1)
        error = self.failureResultOf(opening, NotAllowed).value
        self.assertIn("does not accept these credentials: they were revoked", str(error))
        self.assertEqual(error.exit_status, 3)
