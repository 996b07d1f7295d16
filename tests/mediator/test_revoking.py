"""Tests for :mod:`wavesync.mediator.revoking`: revocation lists at the mediator."""

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CONNECTION, Client, Server, World
from tests.signalling.provers import NOW, client, prover, server, system
from wavesync.identity.credentials import Credentials
from wavesync.identity.crl import MAX_CRL, RevocationList, make_crl
from wavesync.identity.lists import Lists, ListsFull
from wavesync.mediator.leg import PROOF_BURST
from wavesync.mediator.revoking import MAX_ASSEMBLIES
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import (
    ConnectAnswer,
    CrlFetch,
    CrlNews,
    CrlPiece,
    CrlPush,
    CrlPushed,
    Refusal,
    RegistrationEnded,
)
from wavesync.signalling.numbers import MAX_CRL_PIECE, Method
from wavesync.signalling.revoking import piece_of
from wavesync.stun.message import Message, MessageClass, decode

T = bytes(range(12))
BOB = client("bob")


def revocation_list(
    *credentials: Credentials, number: int = 1, of: int = 1, more: Iterable[int] = ()
) -> RevocationList:
    """Make a list of a system of the tests."""
    serials = [each.leaf.serial for each in credentials] + list(more)
    return make_crl(system(of).private_key, dict.fromkeys(serials, NOW), number=number, now=NOW)


def push(holder: Server, crl: RevocationList, number: int | None = None) -> CrlPushed | Refusal:
    """Push a list over a server's leg, give the last answer."""
    claimed = crl.number if number is None else number
    for offset in range(0, len(crl.der), MAX_CRL_PIECE):
        answer = holder.say(
            CrlPush(*piece_of(claimed, crl.der, offset)).encode(holder.world.random(12))
        )
        if answer.message_class is MessageClass.ERROR:
            return Refusal.decode(answer)
    return CrlPushed.decode(answer)


def news(holder: Server) -> list[int]:
    """The numbers that a server was told of, which are forgotten."""
    found = holder.channel.take(Method.CRL_PUSH, MessageClass.INDICATION)
    return [CrlNews.decode(message).number for message in found]


class ProvedFetchTests(SynchronousTestCase):
    """A client that was introduced long ago can ask for newer lists all the same."""

    def setUp(self) -> None:
        """A mediator that holds a list which takes two messages, and a client's connection."""
        self.world = World()
        self.list = revocation_list(BOB, number=4, more=range(1, 200))
        push(Server(self.world).ready(), self.list)
        self.leg, self.channel = self.world.leg(("203.0.113.1", 5200))

    def fetch(
        self, fetch: CrlFetch, credentials: Credentials | None = None, **proving: float | bytes
    ) -> Message:
        """Ask, signed if there are credentials; give the answer."""
        signs = None
        if credentials is not None:
            signs = prover(credentials, **{"now": self.world.now, **proving})  # type: ignore[arg-type]
        self.leg.receive(decode(fetch.encode(T, signs)), self.world.now)
        return self.channel.sent.pop()

    def refused(self, *args: CrlFetch | Credentials, **proving: float | bytes) -> Refusal:
        """The same, and be refused."""
        return Refusal.decode(self.fetch(*args, **proving))  # type: ignore[arg-type]

    def test_whole(self) -> None:
        """One proof is enough for all pieces."""
        self.assertEqual(self.refused(CrlFetch(0)).code, 404)
        first = CrlPiece.decode(self.fetch(CrlFetch(0), client()))
        rest = CrlPiece.decode(self.fetch(CrlFetch(len(first.piece))))
        self.assertEqual(first.piece + rest.piece, self.list.der)

    def test_newer_only(self) -> None:
        """Whoever has the newest list is not given it again."""
        self.assertEqual(self.refused(CrlFetch(0, "", 4), client()).code, 404)
        self.assertEqual(CrlPiece.decode(self.fetch(CrlFetch(0, "", 3), client())).number, 4)

    def test_other_clock(self) -> None:
        """A clock that is two days off costs another signature."""
        wrong = self.world.now - 2 * 86400
        refusal = self.refused(CrlFetch(0), client(), now=wrong)
        self.assertEqual(refusal.code, 438)
        answer = self.fetch(CrlFetch(0), client(), now=wrong, nonce=refusal.nonce)
        self.assertEqual(CrlPiece.decode(answer).number, 4)

    def test_others(self) -> None:
        """A revoked client gets none, nor does one of another system, nor a server by this."""
        self.assertEqual(self.refused(CrlFetch(0), BOB).reason, "revoked")
        self.assertEqual(self.refused(CrlFetch(0), server()).reason, "wrong-role")
        self.assertEqual(self.refused(CrlFetch(0), client(of=2)).code, 404)

    def test_budget(self) -> None:
        """Proofs cost what other proofs cost."""
        answers = [self.fetch(CrlFetch(0), client()) for _ in range(2 * int(PROOF_BURST))]
        refused = [each for each in answers if each.message_class is MessageClass.ERROR]
        self.assertGreaterEqual(len(refused), int(PROOF_BURST) - 1)


class PushTests(SynchronousTestCase):
    """A server brings a list; everybody it concerns feels it at once."""

    def setUp(self) -> None:
        """Register a server."""
        self.world = World()
        self.server = Server(self.world).ready()

    def test_revoked_client(self) -> None:
        """A revoked client is refused with the reason, others are introduced as before."""
        bob, alice = Client(self.world, BOB), Client(self.world)
        bob.connect(self.server.target, "b0" * 16)
        self.assertEqual(push(self.server, revocation_list(BOB)), CrlPushed(1))
        refusal = bob.refused(self.server.target, "b1" * 16)
        self.assertEqual((refusal.code, refusal.reason), (403, "revoked"))
        # Nor does a repetition of what was answered before help.
        self.assertEqual(bob.refused(self.server.target, "b0" * 16).code, 403)
        alice.connect(self.server.target)

    def test_reissued(self) -> None:
        """A new certificate under a revoked name works."""
        push(self.server, revocation_list(BOB))
        anew = system(1).add_client("bob", now=NOW)
        Client(self.world, anew).connect(self.server.target)

    def test_other_servers_hear(self) -> None:
        """All servers of the system are told of the new list, those of other systems are not."""
        second = Server(self.world, server(2)).register()
        foreign = Server(self.world, server(1, of=2)).register()
        push(self.server, revocation_list(BOB, number=4))
        self.assertEqual((news(second), news(foreign)), ([4], []))
        fetched = CrlPiece.decode(second.say(CrlFetch(0).encode(T)))
        self.assertEqual(fetched.piece, revocation_list(BOB, number=4).der)
        other = Refusal.decode(foreign.say(CrlFetch(0).encode(T)))
        self.assertEqual(other.code, 404)

    def test_told_again(self) -> None:
        """With each keep-alive a server hears of the list, should the first word have been lost."""
        interval = self.world.mediator.settings.keep_alive
        self.server.leg.timer(self.world.now + interval)
        self.assertEqual(news(self.server), [])
        push(self.server, revocation_list(BOB, number=4))
        news(self.server)
        self.server.leg.timer(self.world.now + 2 * interval)
        self.assertEqual(news(self.server), [4])

    def test_later_servers_hear(self) -> None:
        """A server that registers later learns the number with its registration."""
        push(self.server, revocation_list(BOB, number=4))
        second = Server(self.world, server(2)).register()
        assert second.registered is not None
        self.assertEqual(second.registered.crl_number, 4)

    def test_revoked_server(self) -> None:
        """A revoked server is told why, unregistered, and refused from then on."""
        lost = server(2)
        second = Server(self.world, lost).ready()
        push(self.server, revocation_list(lost))
        ended = second.channel.take(Method.LISTEN, MessageClass.INDICATION)
        self.assertEqual(
            [RegistrationEnded.decode(m) for m in ended], [RegistrationEnded(403, "revoked")]
        )
        self.assertTrue(second.channel.closed)
        self.assertFalse(self.server.channel.closed)
        self.assertEqual(Client(self.world).refused(lost.target).code, 404)
        again = Server(self.world, lost)
        refusal = Refusal.decode(again.listen(Refusal.decode(again.listen()).nonce))
        self.assertEqual((refusal.code, refusal.reason), (403, "revoked"))
        self.assertTrue(again.channel.closed)
        replaced = system(1).add_server(now=NOW, server_id=lost.server)
        Server(self.world, replaced).register()

    def test_revokes_itself(self) -> None:
        """A server that brings the list which revokes it is unregistered too."""
        crl = revocation_list(self.server.credentials)
        self.server.leg.receive(decode(CrlPush(*piece_of(1, crl.der, 0)).encode(T)), NOW)
        self.assertTrue(self.server.channel.closed)
        self.assertEqual(len(self.world.mediator.registry), 0)

    def test_older_is_not_taken(self) -> None:
        """An older list changes nothing, and whoever brings it learns that there is a newer."""
        push(self.server, revocation_list(BOB, number=5))
        news(self.server)
        for number in (4, 5):
            self.assertEqual(push(self.server, revocation_list(number=number)), CrlPushed(5))
        self.assertEqual(news(self.server), [])
        self.assertEqual(Client(self.world, BOB).refused(self.server.target).code, 403)

    def test_older_in_newer_clothes(self) -> None:
        """An older list under a higher number is not taken either."""
        push(self.server, revocation_list(BOB, number=5))
        self.assertEqual(push(self.server, revocation_list(number=4), number=9), CrlPushed(5))
        self.assertEqual(Client(self.world, BOB).refused(self.server.target).code, 403)

    def test_foreign_list(self) -> None:
        """Nobody can revoke another system's members, nor bring garbage."""
        foreign = Server(self.world, server(1, of=2)).register()
        refusal = push(foreign, revocation_list(BOB))
        assert isinstance(refusal, Refusal)
        self.assertEqual((refusal.code, refusal.reason), (403, "bad-signature"))
        garbage = RevocationList("", 1, 0.0, {}, b"garbage" * 1000)
        refusal = push(foreign, garbage)
        assert isinstance(refusal, Refusal)
        self.assertEqual((refusal.code, refusal.reason), (403, "malformed"))
        self.assertEqual(len(self.world.mediator.revoking.lists), 0)
        self.assertFalse(foreign.channel.closed)

    def test_long_list(self) -> None:
        """A list of thousands arrives in pieces, within what a server may send."""
        crl = revocation_list(BOB, more=range(1 << 158, (1 << 158) + 4990))
        self.assertEqual(push(self.server, crl), CrlPushed(1))
        self.assertFalse(self.server.channel.aborted)
        self.assertEqual(self.world.mediator.revoking.assemblies, 0)
        self.assertEqual(Client(self.world, BOB).refused(self.server.target).code, 403)

    def test_pieces_out_of_turn(self) -> None:
        """A piece in the wrong place is malformed."""
        crl = revocation_list(more=range(1, 500))
        piece = CrlPush(*piece_of(1, crl.der, MAX_CRL_PIECE))
        self.assertEqual(Refusal.decode(self.server.say(piece.encode(T))).code, 400)

    def test_before_listening(self) -> None:
        """Who is not registered brings nothing."""
        raw = CrlPush(*piece_of(1, revocation_list(BOB).der, 0)).encode(T)
        stranger = Server(self.world, server(3))
        self.assertEqual(Refusal.decode(stranger.say(raw)).code, 400)
        self.assertEqual(len(self.world.mediator.revoking.lists), 0)

    def test_broken_off(self) -> None:
        """What was begun to be pushed is forgotten with the leg."""
        crl = revocation_list(more=range(1, 500))
        self.server.say(CrlPush(*piece_of(1, crl.der, 0)).encode(T))
        self.assertEqual(self.world.mediator.revoking.assemblies, 1)
        self.server.leg.lost()
        self.assertEqual(self.world.mediator.revoking.assemblies, 0)

    def test_many_at_once(self) -> None:
        """Lists being pushed take a bounded place: the oldest has to begin anew."""
        crl = revocation_list(more=range(1, 500))
        servers = [
            Server(self.world, server(n), source=(f"198.51.100.{n}", 9)).register()
            for n in range(2, MAX_ASSEMBLIES + 3)
        ]
        first, rest = piece_of(1, crl.der, 0), piece_of(1, crl.der, MAX_CRL_PIECE)
        for each in servers:
            each.say(CrlPush(*first).encode(self.world.random(12)))
        self.assertEqual(self.world.mediator.revoking.assemblies, MAX_ASSEMBLIES)
        self.assertEqual(Refusal.decode(servers[0].say(CrlPush(*rest).encode(T))).code, 400)
        CrlPushed.decode(servers[-1].say(CrlPush(*rest).encode(T)))

    def test_storm(self) -> None:
        """A server that pushes garbage without end is given up, having cost little; others go on."""
        hostile = Server(self.world, server(2), source=("198.51.100.66", 9)).register()
        revoking = self.world.mediator.revoking
        pieces = 0
        while not hostile.channel.aborted and pieces < 10_000:
            number, offset = 1 + pieces // 86, pieces % 86 * MAX_CRL_PIECE
            garbage = self.world.random(min(MAX_CRL_PIECE, MAX_CRL - offset))
            raw = CrlPush(number, offset, MAX_CRL, garbage).encode(self.world.random(12))
            hostile.leg.receive(decode(raw), self.world.now)
            pieces += 1
            self.assertLessEqual(revoking.assemblies, 1)
        self.assertLess(pieces, 600)
        self.assertEqual((revoking.lists.size, revoking.assemblies), (0, 0))
        self.assertEqual(push(self.server, revocation_list(BOB)), CrlPushed(1))
        Client(self.world).connect(self.server.target)


class FetchTests(SynchronousTestCase):
    """Clients learn of a newer list with their answer."""

    def setUp(self) -> None:
        """Register a server that has brought a list."""
        self.world = World()
        self.server = Server(self.world).ready()
        self.crl = revocation_list(BOB, number=3)
        self.client = Client(self.world)

    def answer(self, number: int, connection: str = CONNECTION) -> ConnectAnswer:
        """Connect, holding the list with that number."""
        raw = self.client.connect_bytes(self.server.target, connection, crl_number=number)
        return ConnectAnswer.decode(self.client.ask(raw))

    def test_short_list_comes_along(self) -> None:
        """A short list is in the answer itself, for those that do not have it."""
        push(self.server, self.crl)
        answer = self.answer(2)
        self.assertEqual((answer.crl_number, answer.crl), (3, self.crl.der))
        for number in (3, 4):
            answer = self.answer(number, f"{number:032x}")
            self.assertEqual((answer.crl_number, answer.crl), (0, b""))

    def test_long_list_is_announced(self) -> None:
        """Of a longer list the answer has the number; the client fetches it over TCP."""
        longer = revocation_list(BOB, number=3, more=range(1, 100))
        push(self.server, longer)
        answer = self.answer(0)
        self.assertEqual((answer.crl_number, answer.crl), (3, b""))
        raw = CrlFetch(0, CONNECTION).encode(T)
        piece = CrlPiece.decode(self.client.over_tcp(raw))
        self.assertEqual((piece.number, piece.total), (3, len(longer.der)))
        self.assertEqual(piece.piece, longer.der[:MAX_CRL_PIECE])
        beyond = CrlFetch(len(longer.der), CONNECTION).encode(T)
        self.assertEqual(Refusal.decode(self.client.over_tcp(beyond)).code, 404)

    def test_every_length(self) -> None:
        """However long list and addresses are, no answer outgrows its request."""
        for entries in range(24):
            world = World()
            holder = Server(world).register()
            many = tuple((f"2001:db8::{n:x}", 9) for n in range(1, 1 + entries % 15))
            holder.say(holder.bind_bytes(many))
            crl = revocation_list(more=range(1 << 158, (1 << 158) + entries))
            push(holder, crl)
            for source in (("203.0.113.1", 5100), ("2001:db8:9::1", 5100)):
                connection = world.random(16).hex()
                answer = Client(world).connect(holder.target, connection, source)
                self.assertEqual(answer.crl_number, 1)
                self.assertIn(answer.crl, (b"", crl.der))

    def test_without_introduction(self) -> None:
        """Who was not introduced is given nothing."""
        push(self.server, self.crl)
        for connection in ("", "ee" * 16):
            raw = CrlFetch(0, connection).encode(T)
            self.assertEqual(Refusal.decode(self.client.over_tcp(raw)).code, 404)


class ListsTests(SynchronousTestCase):
    """Lists take a bounded place."""

    def test_room(self) -> None:
        """The oldest lists make room, unless their system has a server here."""
        crls = [revocation_list(of=n) for n in (11, 12, 13)]
        size = len(crls[0].der)
        used: set[str] = set()
        lists = Lists(2 * size, lambda system: system in used)
        for each in crls[:2]:
            lists.add(each)
        self.assertEqual((lists.size, len(lists)), (2 * size, 2))
        used.add(crls[0].system)
        lists.add(crls[2])
        self.assertEqual((lists.size, len(lists)), (2 * size, 2))
        self.assertEqual([lists.number(each.system) for each in crls], [1, 0, 1])
        used.add(crls[2].system)
        with self.assertRaises(ListsFull):
            lists.add(crls[1])
        self.assertEqual((lists.size, len(lists)), (2 * size, 2))

    def test_replacing(self) -> None:
        """A newer list takes the place of the older one."""
        first, second = revocation_list(), revocation_list(BOB, number=2)
        lists = Lists(len(second.der))
        lists.add(first)
        lists.add(second)
        self.assertEqual((lists.size, len(lists)), (len(second.der), 1))
        self.assertTrue(lists.revoked(second.system, BOB.leaf.serial))
        self.assertFalse(lists.revoked("0" * 32, BOB.leaf.serial))

    def test_no_room(self) -> None:
        """A server whose list has no room is told so, and stays registered."""
        world = World(limits=Limits(crl_bytes=100))
        holder = Server(world).ready()
        refusal = push(holder, revocation_list(BOB))
        assert isinstance(refusal, Refusal)
        self.assertEqual(refusal.code, 508)
        self.assertFalse(holder.channel.closed)
