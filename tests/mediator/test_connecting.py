"""``connect`` and what follows it, as a mediator handles them."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, CONNECTION, SERVER_UDP, Client, Server, World
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server, system
from wavesync.identity.ids import Target
from wavesync.identity.proofs import PROOF_FRESHNESS, check_proof
from wavesync.identity.replays import REPLAY_LIFE
from wavesync.identity.verify import Role
from wavesync.mediator.core import MAX_DATAGRAM
from wavesync.mediator.introducing import INTRODUCTION_LIFE
from wavesync.mediator.registry import Registration
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import (
    Bind,
    ConnectAnswer,
    ConnectionAcked,
    Refusal,
    covered,
)
from wavesync.signalling.numbers import CONNECT_SIZE, MAX_STREAM_MESSAGE, Method
from wavesync.signalling.proved import encode_proved
from wavesync.stun.message import (
    Message,
    MessageClass,
    check_integrity,
    decode,
    encode,
    pad_message,
)

TID = b"transaction."


class ConnectTests(SynchronousTestCase):
    """A client's request: everything at once, to both sides."""

    def setUp(self) -> None:
        """A mediator with one server, and a client."""
        self.world = World()
        self.server = Server(self.world).ready()
        self.client = Client(self.world)

    def test_answer(self) -> None:
        """The client is told every address of the server, and its own."""
        answer = self.client.connect(self.server.target)
        self.assertEqual(answer.connection_id, CONNECTION)
        self.assertEqual(answer.server, self.server.target)
        self.assertEqual(answer.observed, (SERVER_UDP,))
        self.assertEqual(answer.mapped, CLIENT_UDP)
        self.assertNotEqual(answer.token, 0)
        bind = decode(answer.signed_addresses)
        self.assertEqual(Bind.decode(bind).tcp, (("192.168.1.2", 7001),))

    def test_signed_by_the_server(self) -> None:
        """The client can check that the addresses come from the server itself."""
        found = covered(decode(self.client.connect(self.server.target).signed_addresses))
        assert found is not None
        blob, covers = found
        checked = check_proof(
            blob,
            purpose="bind",
            audience=AUDIENCE,
            message=covers,
            role=Role.SERVER,
            now=None,
            at=NOW,
        )
        self.assertEqual(checked.peer.text, str(self.server.target))

    def test_server_is_told(self) -> None:
        """The server gets the client's whole request, its observed address and the same token."""
        raw = self.client.connect_bytes(self.server.target)
        answer = ConnectAnswer.decode(self.client.ask(raw))
        (requested,) = self.server.requested()
        self.assertEqual(requested.request, raw)
        self.assertEqual(requested.connection_id, CONNECTION)
        self.assertEqual(requested.observed, (CLIENT_UDP,))
        self.assertEqual(requested.token, answer.token)
        self.assertEqual(requested.start_delay, answer.start_delay)

    def test_server_that_told_nothing(self) -> None:
        """A server that has published nothing yet can be asked for: it will be heard punching."""
        bare = Server(self.world, server(2)).register()
        answer = self.client.connect(bare.target)
        self.assertEqual((answer.signed_addresses, answer.observed), (b"", ()))
        self.assertEqual(len(bare.requested()), 1)

    def test_whole_system(self) -> None:
        """Asked for a system, the mediator gives its servers in turn."""
        second = Server(self.world, server(2)).ready()
        chosen = [
            self.client.connect(Target(self.client.credentials.system), f"{i:032x}").server
            for i in range(4)
        ]
        self.assertEqual(set(chosen[:2]), {self.server.target, second.target})
        self.assertEqual(chosen[:2], chosen[2:])
        second.leg.lost()
        answer = self.client.connect(Target(self.client.credentials.system), "e" * 32)
        self.assertEqual(answer.server, self.server.target)

    def test_newly_bound(self) -> None:
        """Addresses that the server changed are the ones that the next client gets."""
        raw = self.server.bind_bytes((("192.168.9.9", 7001),))
        self.server.say(raw)
        self.assertEqual(self.client.connect(self.server.target).signed_addresses, raw)

    def test_short_request(self) -> None:
        """A request shorter than its answer gets none: a forged source gains nothing."""
        raw = self.client.connect_bytes(self.server.target)
        message = decode(raw)
        no_padding = tuple(pair for pair in message.attributes if pair[0] not in (0x26, 0x8028))
        bare = encode(Message(message.method, message.message_class, TID, no_padding[:3]))
        answer = self.world.datagram(bare, CLIENT_UDP)
        self.assertTrue(answer is None or len(answer.raw) <= len(bare))


class RefusedTests(SynchronousTestCase):
    """Who may not, gets nothing: neither the server's address nor word of its existence."""

    def setUp(self) -> None:
        """A mediator with one server."""
        self.world = World()
        self.server = Server(self.world).ready()
        self.unknown = Target(self.server.target.system, "9" * 32)

    def _no_introduction(self) -> None:
        self.assertEqual(self.server.requested(), [])
        self.assertEqual(len(self.world.mediator.introductions), 0)

    def test_other_system(self) -> None:
        """Another system's client cannot tell online from offline from unknown servers."""
        stranger = Client(self.world, client(of=2))
        answers = {
            stranger.ask(stranger.connect_bytes(target, transaction_id=TID)).raw
            for target in (
                self.server.target,
                self.unknown,
                Target(self.server.target.system),
                Target("d" * 32, "9" * 32),
            )
        }
        self.assertEqual(len(answers), 1)
        self.assertEqual(Refusal.decode(decode(answers.pop())), Refusal(404))
        self._no_introduction()

    def test_offline(self) -> None:
        """The system's own client is told 404 for a server that is not there."""
        own = Client(self.world)
        self.assertEqual(own.refused(self.unknown), Refusal(404))
        self.server.leg.lost()
        self.assertEqual(own.refused(self.server.target, "1" * 32), Refusal(404))

    def test_policy(self) -> None:
        """A system that the operator does not serve looks like one without servers."""
        world = World(systems=(system(2).system,))
        online = Registration(1, self.server.target, bytes(32), self.server.leg)
        world.mediator.registry.add(online)
        own = Client(world)
        self.assertEqual(own.refused(self.server.target), Refusal(404))

    def test_no_proof(self) -> None:
        """Without a proof the answer is 401 with a nonce, the same for every target."""
        kinds = set()
        for target in (self.server.target, self.unknown):
            message = decode(Client(self.world).connect_bytes(target))
            bare = tuple(pair for pair in message.attributes if pair[0] in (0xE004, 0xE200))
            request = Message(Method.CONNECT, MessageClass.REQUEST, TID, bare)
            raw = encode(pad_message(request, CONNECT_SIZE))
            answer = self.world.datagram(raw, CLIENT_UDP)
            assert answer is not None
            self.assertEqual(Refusal.decode(answer).code, 401)
            kinds.add(answer.raw)
        self.assertEqual(len(kinds), 1)
        self._no_introduction()

    def test_bad_proofs(self) -> None:
        """Expired, wrong role, wrong mediator, forged: each refused with its word."""
        target = self.server.target
        expired = Client(self.world, client(days=1))
        servers = Client(self.world, server())
        self.assertEqual(servers.refused(target).reason, "wrong-role")
        elsewhere = Client(self.world)
        refusal = Refusal.decode(
            elsewhere.ask(elsewhere.connect_bytes(target, audience="elsewhere.example"))
        )
        self.assertEqual((refusal.code, refusal.reason), (403, "bad-signature"))
        self.assertEqual(refusal.audience, AUDIENCE)
        raw = bytearray(Client(self.world).connect_bytes(target))
        message = decode(bytes(raw))
        pairs = [pair for pair in message.attributes if pair[0] != 0x8028]
        pairs[-1] = (0xE800, pairs[-1][1][:-1] + bytes([pairs[-1][1][-1] ^ 1]))
        forged = encode(Message(Method.CONNECT, MessageClass.REQUEST, TID, tuple(pairs)))
        answer = self.world.datagram(forged, CLIENT_UDP)
        assert answer is not None
        refusal = Refusal.decode(decode(answer.raw))
        self.assertIn(refusal.code, (403, 438))
        self.world.now += 2 * 86400
        self.assertEqual(expired.refused(target).reason, "expired")
        self._no_introduction()

    def test_malformed(self) -> None:
        """A request without a target is answered 400, one with a proof in the middle as well."""
        bare = encode(Message(Method.CONNECT, MessageClass.REQUEST, TID, ((0xE004, bytes(16)),)))
        answer = self.world.datagram(bare, CLIENT_UDP)
        assert answer is not None
        self.assertEqual(Refusal.decode(answer).code, 400)
        message = decode(Client(self.world).connect_bytes(self.server.target))
        pairs = [pair for pair in message.attributes if pair[0] != 0x8028]
        raw = encode(
            Message(Method.CONNECT, MessageClass.REQUEST, TID, (*pairs, (0xE0FF, b"more")))
        )
        answer = self.world.datagram(raw, CLIENT_UDP)
        assert answer is not None
        self.assertEqual(Refusal.decode(answer).code, 400)

    def test_not_understood(self) -> None:
        """An attribute that must be understood and is not, is named in a 420."""
        message = decode(Client(self.world).connect_bytes(self.server.target))
        raw = encode(Message(Method.CONNECT, MessageClass.REQUEST, TID, ((0x7ABC, b""),)))
        answer = self.world.datagram(raw, CLIENT_UDP)
        self.assertTrue(answer is None or Refusal.decode(answer).code == 420)
        padded = ((0x7ABC, b""), *message.attributes[:3])
        answer = self.world.datagram(
            encode(Message(Method.CONNECT, MessageClass.REQUEST, TID, padded)), CLIENT_UDP
        )
        assert answer is not None
        self.assertEqual(Refusal.decode(answer).code, 420)
        self.assertEqual(answer.get(0x000A), b"\x7a\xbc")


class ReplayTests(SynchronousTestCase):
    """One request is one introduction, however often and from wherever it comes."""

    def setUp(self) -> None:
        """A mediator with one server, and a client."""
        self.world = World()
        self.server = Server(self.world).ready()
        self.client = Client(self.world)
        self.raw = self.client.connect_bytes(self.server.target)

    def test_retransmission(self) -> None:
        """A repeated datagram gets the same bytes in answer, and the server hears of it once."""
        first, second = self.client.ask(self.raw), self.client.ask(self.raw)
        self.assertEqual(first.raw, second.raw)
        self.assertEqual(len(self.server.requested()), 1)

    def test_lost_answer_then_tcp(self) -> None:
        """The TCP copy of a request whose UDP answer was lost gets the same answer."""
        over_udp = ConnectAnswer.decode(self.client.ask(self.raw))
        over_tcp = ConnectAnswer.decode(self.client.over_tcp(self.raw))
        self.assertEqual(over_tcp.token, over_udp.token)
        self.assertEqual(over_tcp.signed_addresses, over_udp.signed_addresses)
        self.assertEqual(len(self.server.requested()), 1)
        self.assertEqual(self.server.updates(), [])

    def test_tcp_first(self) -> None:
        """When UDP comes after TCP, the server learns the client's mapping by an update."""
        over_tcp = ConnectAnswer.decode(self.client.over_tcp(self.raw))
        (requested,) = self.server.requested()
        self.assertEqual(requested.observed, ())
        over_udp = ConnectAnswer.decode(self.client.ask(self.raw))
        self.assertEqual(over_udp.token, over_tcp.token)
        (update,) = self.server.updates()
        self.assertEqual((update.connection_id, update.observed), (CONNECTION, (CLIENT_UDP,)))
        self.client.ask(self.raw)
        self.assertEqual(self.server.updates(), [])
        self.assertEqual(self.server.requested(), [])

    def test_another_mapping(self) -> None:
        """A retransmission that left the client's router by another port is passed on."""
        self.client.ask(self.raw)
        moved = (CLIENT_UDP[0], 5999)
        self.client.ask(self.raw, moved)
        (update,) = self.server.updates()
        self.assertEqual(update.observed, (moved,))

    def test_from_elsewhere(self) -> None:
        """A copied request from another host gets no address, only a demand to sign again."""
        self.client.ask(self.raw)
        refusal = Refusal.decode(self.client.ask(self.raw, ("192.0.2.66", 666)))
        self.assertEqual((refusal.code, len(refusal.nonce)), (438, 24))
        self.assertEqual(len(self.server.requested()), 1)
        self.assertEqual(self.server.updates(), [])

    def test_refused_from_elsewhere(self) -> None:
        """Even a copied request that came to nothing is worth nothing elsewhere later."""
        self.server.leg.lost()
        self.assertEqual(Refusal.decode(self.client.ask(self.raw)).code, 404)
        Server(self.world).ready()
        self.assertEqual(Refusal.decode(self.client.ask(self.raw, ("192.0.2.66", 1))).code, 438)
        self.assertEqual(Refusal.decode(self.client.ask(self.raw)).code, 404)

    def test_restarted(self) -> None:
        """What was signed before the mediator was started, and may have been used, is signed again."""
        world = World(started=NOW + 0.0005)  # times are told in milliseconds
        target = Server(world).ready().target
        late, punctual = Client(world, clock_error=-0.001), Client(world)
        refusal = Refusal.decode(late.ask(late.connect_bytes(target)))
        self.assertEqual((refusal.code, len(refusal.nonce)), (438, 24))
        ConnectAnswer.decode(late.ask(late.connect_bytes(target, nonce=refusal.nonce)))
        ConnectAnswer.decode(punctual.ask(punctual.connect_bytes(target, "1" * 32)))

    def test_signed_again(self) -> None:
        """A client that really moved signs again and is still in the one introduction."""
        token = ConnectAnswer.decode(self.client.ask(self.raw)).token
        elsewhere = ("2001:db8::77", 5100)
        nonce = Refusal.decode(self.client.ask(self.raw, elsewhere)).nonce
        again = self.client.connect_bytes(self.server.target, nonce=nonce)
        answer = ConnectAnswer.decode(self.client.ask(again, elsewhere))
        self.assertEqual(answer.token, token)
        self.assertEqual(len(self.server.requested()), 1)
        (update,) = self.server.updates()
        self.assertEqual(set(update.observed), {CLIENT_UDP, elsewhere})

    def test_clock_two_days_off(self) -> None:
        """A client whose clock is two days off gets its introduction at the second attempt."""
        for error in (-2 * 86400, 2 * 86400):
            late = Client(self.world, clock_error=error)
            connection = f"{abs(error) + (error > 0):032x}"
            refusal = Refusal.decode(late.ask(late.connect_bytes(self.server.target, connection)))
            self.assertEqual((refusal.code, refusal.audience), (438, AUDIENCE))
            self.assertEqual(refusal.time, self.world.now)
            raw = late.connect_bytes(self.server.target, connection, nonce=refusal.nonce)
            ConnectAnswer.decode(late.ask(raw))
            # The TCP copy of the same bytes is good as well.
            ConnectAnswer.decode(late.over_tcp(raw))

    def test_freshness(self) -> None:
        """A request is fresh for 30 s either way, and stale a moment later."""
        for error, code in (
            (PROOF_FRESHNESS - 0.1, None),
            (-PROOF_FRESHNESS + 0.1, None),
            (PROOF_FRESHNESS + 0.1, 438),
            (-PROOF_FRESHNESS - 0.1, 438),
        ):
            world = World()
            target = Server(world).ready().target
            late = Client(world, clock_error=error)
            answer = late.ask(late.connect_bytes(target))
            if code is None:
                ConnectAnswer.decode(answer)
            else:
                self.assertEqual(Refusal.decode(answer).code, code)

    def test_remembered_long_enough(self) -> None:
        """While a request from a fast clock is fresh, its copies elsewhere are worth nothing."""
        fast = Client(self.world, clock_error=PROOF_FRESHNESS - 1)
        raw = fast.connect_bytes(self.server.target, "1" * 32)
        fast.ask(raw)
        for _ in range(8):
            self.world.advance(10)
            refusal = Refusal.decode(fast.ask(raw, ("192.0.2.66", 666)))
            self.assertEqual(refusal.code, 438)

    def test_nonce_elsewhere(self) -> None:
        """A nonce is good for the host that it was given to."""
        late = Client(self.world, clock_error=-86400)
        first = late.connect_bytes(self.server.target)
        nonce = Refusal.decode(late.ask(first)).nonce
        raw = late.connect_bytes(self.server.target, nonce=nonce)
        self.assertEqual(Refusal.decode(late.ask(raw, ("192.0.2.66", 666))).code, 438)
        ConnectAnswer.decode(late.ask(raw))

    def test_id_of_another(self) -> None:
        """A client cannot enter another's introduction by its connection id."""
        self.client.ask(self.raw)
        mallory = Client(self.world, client("mallory"))
        self.assertEqual(mallory.refused(self.server.target).code, 400)

    def test_other_target(self) -> None:
        """The same id asked for again for another server still means the first one."""
        other = Server(self.world, server(2)).ready()
        self.client.ask(self.raw)
        answer = self.client.connect(other.target)
        self.assertEqual(answer.server, self.server.target)
        self.assertEqual(other.requested(), [])


class BoundTests(SynchronousTestCase):
    """Tables and buckets: full at their limit, and only then."""

    def _world(self, **limits: float) -> tuple[World, Server, Client]:
        world = World(limits=Limits(**limits))  # type: ignore[arg-type]
        return world, Server(world).ready(), Client(world)

    def test_introductions(self) -> None:
        """The last introduction that fits is made, one more is asked to come later."""
        world, target, asker = self._world(introductions=3)
        for i in range(3):
            asker.over_tcp(asker.connect_bytes(target.target, f"{i:032x}"))
        one_more = asker.over_tcp(asker.connect_bytes(target.target, "f" * 32))
        self.assertEqual(Refusal.decode(one_more).code, 508)
        world.advance(INTRODUCTION_LIFE)
        asker.connect(target.target, "e" * 32)

    def test_replays(self) -> None:
        """With no room to remember more proofs, only proofs over a nonce of ours are taken."""
        world, target, asker = self._world(replays=3)
        for i in range(3):
            asker.connect(target.target, f"{i:032x}")
        refusal = asker.refused(target.target, "f" * 32)
        self.assertEqual(refusal.code, 438)
        raw = asker.connect_bytes(target.target, "f" * 32, nonce=refusal.nonce)
        ConnectAnswer.decode(asker.ask(raw))
        self.assertEqual(world.mediator.replays, 3)
        world.advance(REPLAY_LIFE)
        asker.connect(target.target, "e" * 32)

    def test_client_bucket(self) -> None:
        """One client is introduced so often, not once more; another client still is."""
        world, target, asker = self._world(client_burst=3)
        for i in range(3):
            asker.connect(target.target, f"{i:032x}")
        self.assertEqual(asker.refused(target.target, "f" * 32).code, 486)
        Client(world, client("bob")).connect(target.target, "e" * 32)

    def test_target_bucket(self) -> None:
        """One server is asked for so often, not once more; another server still is."""
        world, target, _ = self._world(target_burst=3)
        other = Server(world, server(2)).ready()
        for i in range(3):
            Client(world, client(f"c{i}")).connect(target.target, f"{i:032x}")
        asker = Client(world)
        self.assertEqual(asker.refused(target.target, "f" * 32).code, 486)
        asker.connect(other.target, "e" * 32)

    def test_target_bucket_needs_proof(self) -> None:
        """Strangers cannot use up a server's bucket."""
        world, target, asker = self._world(target_burst=1)
        stranger = Client(world, client(of=2))
        for i in range(50):
            stranger.refused(target.target, f"{i:032x}", ("192.0.2.1", 1 + i))
        asker.connect(target.target)

    def test_source_bucket(self) -> None:
        """Beyond its bucket a source gets silence, other sources do not suffer."""
        world, target, asker = self._world(source_burst=5)
        for i in range(5):
            asker.connect(target.target, f"{i:032x}")
        raw = asker.connect_bytes(target.target, "f" * 32)
        self.assertIsNone(world.datagram(raw, CLIENT_UDP))
        asker.connect(target.target, "f" * 32, ("203.0.113.2", 5100))
        self.assertNotEqual(world.mediator.statistics.dropped, 0)

    def test_refused_forgotten(self) -> None:
        """What is remembered of a request that came to nothing is forgotten, too."""
        world, target, asker = self._world()
        target.leg.lost()
        asker.refused(target.target)
        self.assertEqual(world.mediator.replays, 1)
        world.advance(REPLAY_LIFE)
        self.assertEqual(world.mediator.replays, 0)
        self.assertIsNone(world.mediator.deadline())

    def test_all_forgotten(self) -> None:
        """Afterwards nothing of an introduction is left."""
        world, target, asker = self._world()
        asker.connect(target.target)
        world.advance(INTRODUCTION_LIFE + 1)
        self.assertEqual(len(world.mediator.introductions), 0)
        self.assertIsNone(world.mediator.deadline())
        self.assertEqual(world.mediator.replays, 0)


class SizeTests(SynchronousTestCase):
    """The rule of sizes."""

    def test_connect_is_padded(self) -> None:
        """Every request is 1200 bytes, and no answer is longer, whatever it says."""
        world = World()
        many = tuple((f"10.0.0.{i}", 7001) for i in range(1, 16))
        target = Server(world).register()
        target.say(target.bind_bytes(many))
        target.warm_up()
        target.warm_up(("2001:db8::1", 4100), 2)
        raw = Client(world).connect_bytes(target.target)
        self.assertEqual(len(raw), CONNECT_SIZE)
        answer = world.datagram(raw, ("2001:db8::2", 5100))
        assert answer is not None
        self.assertLessEqual(len(answer.raw), CONNECT_SIZE)
        self.assertEqual(ConnectAnswer.decode(answer).observed, (SERVER_UDP, ("2001:db8::1", 4100)))

    def test_other_sizes(self) -> None:
        """A proved request that is shorter, and so worth fewer packets than it causes, introduces
        nobody; nor does one that is too long to reach the server over its leg."""
        world = World()
        target = Server(world).ready()
        user = Client(world)
        fields = decode(user.connect_bytes(target.target)).attributes[:3]
        for size in (700, CONNECT_SIZE - 4, CONNECT_SIZE + 4, MAX_STREAM_MESSAGE):
            raw = encode_proved(
                Method.CONNECT,
                world.random(12),
                list(fields),
                prover(user.credentials),
                "connect",
                size=size,
            )
            self.assertEqual(len(raw), size)
            self.assertEqual(Refusal.decode(user.over_tcp(raw)).code, 400)
            if size <= MAX_DATAGRAM:
                self.assertEqual(Refusal.decode(user.ask(raw)).code, 400)
        self.assertEqual(target.requested(), [])
        self.assertEqual(len(world.mediator.introductions), 0)
        user.connect(target.target)
        (indication,) = target.channel.sent
        self.assertLessEqual(len(indication.raw), MAX_STREAM_MESSAGE)

    def test_ack(self) -> None:
        """The answer to ``connectionAck`` proves its sender and is no longer than the request."""
        world = World()
        target = Server(world).ready()
        Client(world).connect(target.target)
        raw = target.ack_bytes()
        answer = world.datagram(raw, SERVER_UDP)
        assert answer is not None
        ConnectionAcked.decode(answer)
        self.assertTrue(check_integrity(answer, target.key))
        self.assertLessEqual(len(answer.raw), len(raw))
