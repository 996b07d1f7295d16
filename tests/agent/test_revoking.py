"""Tests for :mod:`wavesync.agent.revoking`, through the link that it belongs to."""

from collections.abc import Iterable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import LogListener, MemoryEndpoint, ScriptedMediator
from tests.signalling.provers import AUDIENCE, NOW, client, server, system
from wavesync.agent.link import Link
from wavesync.agent.waits import Waits
from wavesync.identity.crl import RevocationList, make_crl
from wavesync.identity.revocations import Revocations
from wavesync.signalling.messages import (
    CrlFetch,
    CrlNews,
    CrlPiece,
    CrlPush,
    CrlPushed,
    Listen,
    Refusal,
    Registered,
    RegistrationEnded,
    registration_key,
)
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.revoking import CrlAssembly, piece_of
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message

BOB = client("bob")


def revocation_list(number: int, more: Iterable[int] = (), of: int = 1) -> RevocationList:
    """A list that revokes bob."""
    serials = [BOB.leaf.serial, *more]
    return make_crl(system(of).private_key, dict.fromkeys(serials, NOW), number=number, now=NOW)


class NoTaker:
    """Nobody asks for this server."""

    def requested(self, link: Link, message: Message) -> None:
        """Never called."""

    def updated(self, link: Link, message: Message) -> None:
        """Never called."""


class CrlExchangeTests(SynchronousTestCase):
    """The newer list goes where the older one is."""

    def setUp(self) -> None:
        """An agent that knows no list."""
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.revocations = Revocations(server().system_key_bytes)
        self.link = Link(
            self.clock,
            Mediator(AUDIENCE, 3345, 3345),
            self.endpoint,
            server(),
            lambda data, to: None,
            lambda: ((), ()),
            NoTaker(),
            wall_clock=lambda: NOW + self.clock.seconds(),
            waits=Waits(jitter=lambda: 1.0),
            revocations=self.revocations,
        )
        self.revocations.changed.append(self.link.revocations_changed)
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said

    def register(self, held: int = 0) -> tuple[ScriptedMediator, int]:
        """Register with a mediator that holds that list; give the number that the agent told."""
        self.link.start()
        mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
        mediator.challenge()
        request = mediator.one(Method.LISTEN)
        listen = Listen.decode(request)
        public = mediator.exchange.public_key().public_bytes_raw()
        mediator.key = registration_key(mediator.exchange, listen.exchange_key, 5)
        answer = Registered(5, public, 15.0, NOW, held)
        mediator.send(answer.encode(request.transaction_id))
        return mediator, listen.crl_number

    def about_lists(self, mediator: ScriptedMediator) -> list[Message]:
        """What came about lists since the last look."""
        methods = (Method.CRL_PUSH, Method.CRL_FETCH)
        return [message for message in mediator.received() if message.method in methods]

    def serve(self, mediator: ScriptedMediator, number: int, der: bytes) -> int:
        """Answer all requests for a list; count them."""
        count = 0
        while requests := self.about_lists(mediator):
            for request in requests:
                count += 1
                piece = CrlPiece(*piece_of(number, der, CrlFetch.decode(request).offset))
                mediator.send(piece.encode(request.transaction_id))
        return count

    def take(self, mediator: ScriptedMediator, *, forgets: bool = False) -> list[bytes]:
        """Take all lists that are pushed, and say so unless *forgets*."""
        assembly, lists = CrlAssembly(), []
        while requests := self.about_lists(mediator):
            for request in requests:
                push = CrlPush.decode(request)
                whole = assembly.add(push)
                if whole is not None:
                    lists.append(whole)
                answer = CrlPushed(push.number if whole is not None and not forgets else 0)
                mediator.send(answer.encode(request.transaction_id))
        return lists

    def test_both_have_none(self) -> None:
        """Nothing is said about lists while there are none."""
        mediator, number = self.register()
        self.assertEqual((number, self.about_lists(mediator)), (0, []))

    def test_push_on_registering(self) -> None:
        """A mediator that has forgotten is told again."""
        crl = revocation_list(3)
        self.revocations.offer(crl.der)
        mediator, number = self.register()
        self.assertEqual(number, 3)
        self.assertEqual(self.take(mediator), [crl.der])

    def test_push_when_changed(self) -> None:
        """A list handed in goes to the mediator at once; a long one in pieces."""
        mediator, _ = self.register()
        for crl in (revocation_list(1), revocation_list(2, range(1, 3000))):
            self.revocations.offer(crl.der)
            self.assertEqual(self.take(mediator), [crl.der])

    def test_taken_and_forgotten(self) -> None:
        """A mediator that takes a list and says that it has none gets it once, not for ever."""
        mediator, _ = self.register()
        crl = revocation_list(1)
        self.revocations.offer(crl.der)
        self.assertEqual(self.take(mediator, forgets=True), [crl.der])

    def test_changed_while_pushing(self) -> None:
        """A list that comes while another is pushed follows."""
        mediator, _ = self.register()
        first, second = revocation_list(1), revocation_list(2)
        self.revocations.offer(first.der)
        self.revocations.offer(second.der)
        self.assertEqual(self.take(mediator), [first.der, second.der])

    def test_fetch_on_registering(self) -> None:
        """An agent that was away learns what happened meanwhile."""
        crl = revocation_list(3, range(1, 300))
        mediator, _ = self.register(held=3)
        self.assertGreater(self.serve(mediator, 3, crl.der), 1)
        self.assertEqual(self.revocations.number, 3)
        self.assertTrue(self.revocations.revoked(BOB.leaf.serial))
        self.assertEqual(self.about_lists(mediator), [])

    def test_fetch_at_news(self) -> None:
        """What another server of the system has brought comes at once."""
        mediator, _ = self.register()
        mediator.send(CrlNews(4).encode(bytes(12)))
        self.assertEqual(self.serve(mediator, 4, revocation_list(4).der), 1)
        self.assertEqual(self.revocations.number, 4)
        mediator.send(CrlNews(4).encode(bytes(12)))
        self.assertEqual(self.about_lists(mediator), [])

    def test_fetched_at_last(self) -> None:
        """A fetch that failed is tried again when the mediator speaks of the list again."""
        mediator, _ = self.register()
        mediator.send(CrlNews(4).encode(bytes(12)))
        (request,) = self.about_lists(mediator)
        mediator.refuse(request, Refusal(ErrorCode.SERVER_ERROR))
        self.assertEqual(self.about_lists(mediator), [])
        mediator.send(CrlNews(4).encode(bytes(12)))
        self.serve(mediator, 4, revocation_list(4).der)
        self.assertEqual(self.revocations.number, 4)

    def test_news_while_fetching(self) -> None:
        """A second change under way is fetched too."""
        mediator, _ = self.register()
        mediator.send(CrlNews(4).encode(bytes(12)))
        (request,) = self.about_lists(mediator)
        mediator.send(CrlNews(5).encode(bytes(12)))
        piece = CrlPiece(*piece_of(4, revocation_list(4).der, 0))
        mediator.send(piece.encode(request.transaction_id))
        self.serve(mediator, 5, revocation_list(5).der)
        self.assertEqual(self.revocations.number, 5)

    def test_rollback(self) -> None:
        """A mediator cannot make an agent forget, and does not keep it busy trying."""
        self.revocations.offer(revocation_list(5).der)
        mediator, _ = self.register(held=9)
        self.assertEqual(self.serve(mediator, 9, revocation_list(4).der), 1)
        self.assertEqual(self.revocations.number, 5)
        self.assertIn("older one is not taken", self.said[-1])
        self.assertTrue(self.link.registered)

    def test_forged(self) -> None:
        """Nor can it revoke anybody by itself."""
        mediator, _ = self.register(held=9)
        self.serve(mediator, 9, revocation_list(9, of=2).der)
        self.assertEqual(self.revocations.number, 0)
        self.assertIn("not signed by the system", self.said[-1])

    def test_refused(self) -> None:
        """A mediator that does not take a list, or knows no lists, is left in peace."""
        mediator, _ = self.register()
        self.revocations.offer(revocation_list(1).der)
        (request,) = self.about_lists(mediator)
        mediator.refuse(request, Refusal(ErrorCode.INSUFFICIENT_CAPACITY))
        self.assertEqual(self.about_lists(mediator), [])
        self.assertIn("508", self.said[-1])
        self.assertTrue(self.link.registered)

    def test_lost_on_the_way(self) -> None:
        """After a broken connection it begins anew with the next registration."""
        mediator, _ = self.register()
        self.revocations.offer(revocation_list(1).der)
        mediator.lose()
        self.clock.advance(60)
        again = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
        again.challenge()
        self.assertEqual(Listen.decode(again.one(Method.LISTEN)).crl_number, 1)

    def test_revoked_itself(self) -> None:
        """A server that was revoked is told so in words, and stays away for minutes."""
        mediator, _ = self.register()
        mediator.send(RegistrationEnded(ErrorCode.FORBIDDEN, "revoked").encode(bytes(12)))
        self.assertIn("its certificate was revoked", self.said[-1])
        self.assertTrue(mediator.closed)
        dialled = len(self.endpoint.dialled)
        self.clock.advance(60)
        self.assertEqual(len(self.endpoint.dialled), dialled)
        self.flushLoggedErrors()
