"""A server's way into the registry and out of it, as a mediator's leg handles it."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import SERVER_UDP, Server, World
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server, system
from wavesync.identity.ids import Target
from wavesync.identity.nonces import NONCE_LIFE
from wavesync.mediator.leg import IDLE_LIFE, SERVER_BURST, UPDATE_COST
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import (
    Bind,
    Bound,
    ConnectionUpdate,
    Listen,
    Refusal,
    Registered,
    RegistrationEnded,
    WarmedUp,
    WarmUp,
    keep_alive_request,
)
from wavesync.signalling.numbers import BINDING, DEFAULT_KEEP_ALIVE, SILENCE_FACTOR, Method
from wavesync.stun.message import Message, MessageClass, check_integrity, decode, encode


class ListenTests(SynchronousTestCase):
    """``listen``: challenged, proved, registered."""

    def setUp(self) -> None:
        """A mediator."""
        self.world = World()

    def _refusal(self, message: Message) -> Refusal:
        return Refusal.decode(message)

    def test_registers(self) -> None:
        """A server with good credentials is registered at the second ``listen``."""
        asked = Server(self.world)
        challenge = self._refusal(asked.listen())
        self.assertEqual((challenge.code, challenge.audience), (401, AUDIENCE))
        self.assertEqual(challenge.time, NOW)
        self.assertIsNone(self.world.mediator.registry.choose(asked.target))
        registered = Registered.decode(asked.listen(challenge.nonce))
        self.assertEqual(registered.keep_alive, DEFAULT_KEEP_ALIVE)
        self.assertEqual(registered.time, NOW)
        found = self.world.mediator.registry.choose(asked.target)
        assert found is not None
        self.assertEqual(found.id, registered.registration_id)

    def test_both_have_the_key(self) -> None:
        """Server and mediator hold the same key afterwards, without it ever being sent."""
        ready = Server(self.world).register()
        found = self.world.mediator.registry.by_id(ready.id)
        assert found is not None
        self.assertEqual(found.key, ready.key)

    def test_clock_two_days_off(self) -> None:
        """A server whose clock is two days off registers all the same, and binds."""
        for error in (-2 * 86400, 2 * 86400):
            late = Server(self.world, clock_error=error).register()
            refusal = self._refusal(late.say(late.bind_bytes()))
            self.assertEqual(refusal.code, 438)
            again = Bind(9, (), ()).encode(bytes(12), late.proving(refusal.nonce))
            Bound.decode(late.say(again))

    def test_proof_without_nonce(self) -> None:
        """A fresh proof without our nonce is not enough to register: it may be a copy."""
        refusal = self._refusal(Server(self.world).listen(b""))
        self.assertEqual(refusal.code, 438)
        self.assertEqual(len(self.world.mediator.registry), 0)

    def test_nonce_of_another_leg(self) -> None:
        """A recorded ``listen`` is worth nothing on another connection, even from one host."""
        first, second = Server(self.world), Server(self.world)
        nonce = self._refusal(first.listen()).nonce
        self.assertEqual(self._refusal(second.listen(nonce)).code, 438)
        Registered.decode(first.listen(nonce))

    def test_nonce_ages(self) -> None:
        """A nonce is good for its life and not longer; the answer then brings a new one."""
        asked = Server(self.world)
        nonce = self._refusal(asked.listen()).nonce
        self.world.now += NONCE_LIFE + 0.1
        refusal = self._refusal(asked.listen(nonce))
        self.assertEqual(refusal.code, 438)
        self.world.now += NONCE_LIFE
        Registered.decode(asked.listen(refusal.nonce))

    def test_nonce_of_another_process(self) -> None:
        """After a restart of the mediator, older nonces are not good any more."""
        nonce = self._refusal(Server(self.world).listen()).nonce
        self.assertEqual(self._refusal(Server(World(seed=2)).listen(nonce)).code, 438)

    def test_expired_certificate(self) -> None:
        """A server whose certificate has expired is refused with that word, and hung up on."""
        expired = Server(self.world, server(days=1))
        self.world.now += 2 * 86400
        refusal = self._refusal(expired.listen(self._refusal(expired.listen()).nonce))
        self.assertEqual((refusal.code, refusal.reason), (403, "expired"))
        self.assertTrue(expired.channel.closed)

    def test_other_mediator(self) -> None:
        """A proof made for a mediator of another name is refused, and told our name."""
        asked = Server(self.world)
        nonce = self._refusal(asked.listen()).nonce
        signing = prover(asked.credentials, nonce=nonce, audience="elsewhere.example")
        refusal = self._refusal(
            asked.say(Listen(asked.target, b"k" * 32).encode(bytes(12), signing))
        )
        self.assertEqual((refusal.code, refusal.reason), (403, "bad-signature"))
        self.assertEqual(refusal.audience, AUDIENCE)

    def test_client_is_no_server(self) -> None:
        """A client's credentials cannot register a server."""
        asked = Server(self.world, client())
        nonce = self._refusal(asked.listen(as_server=server().target)).nonce
        refusal = self._refusal(asked.listen(nonce, as_server=server().target))
        self.assertEqual((refusal.code, refusal.reason), (403, "wrong-role"))

    def test_another_server(self) -> None:
        """A server cannot register as its neighbour, nor as one of another system."""
        for victim in (server(2).target, server(1, of=2).target):
            thief = Server(self.world)
            nonce = self._refusal(thief.listen(as_server=victim)).nonce
            refusal = self._refusal(thief.listen(nonce, as_server=victim))
            self.assertEqual((refusal.code, refusal.reason), (403, "other-server"))
            self.assertIsNone(self.world.mediator.registry.choose(victim))

    def test_low_order_key(self) -> None:
        """A key that would give everybody the same secret is refused."""
        asked = Server(self.world)
        nonce = self._refusal(asked.listen()).nonce
        listen = Listen(asked.target, bytes(32)).encode(bytes(12), asked.proving(nonce))
        self.assertEqual(self._refusal(asked.say(listen)).code, 400)
        self.assertEqual(len(self.world.mediator.registry), 0)

    def test_listening_twice(self) -> None:
        """A registered leg cannot register again; it stays what it is."""
        ready = Server(self.world).register()
        self.assertEqual(self._refusal(ready.listen()).code, 400)
        self.assertEqual(len(self.world.mediator.registry), 1)
        self.assertFalse(ready.channel.closed)

    def test_policy(self) -> None:
        """A mediator for some systems refuses servers of others, and says why."""
        world = World(systems=(system(1).system,))
        Server(world).register()
        other = Server(world, server(1, of=2))
        refusal = self._refusal(other.listen(self._refusal(other.listen()).nonce))
        self.assertEqual((refusal.code, refusal.reason), (403, "system-not-allowed"))

    def test_limits(self) -> None:
        """The last server that fits is registered, one more is asked to come later."""
        for limits in (Limits(registrations=2), Limits(registrations_per_system=2)):
            world = World(limits=limits)
            Server(world, server(1)).register()
            Server(world, server(2)).register()
            one_more = Server(world, server(3))
            refusal = self._refusal(one_more.listen(self._refusal(one_more.listen()).nonce))
            self.assertEqual(refusal.code, 508)
            # A server that is registered already may always come again.
            Server(world, server(2)).register()


class LegTests(SynchronousTestCase):
    """A registered server's leg until its end."""

    def setUp(self) -> None:
        """A mediator with one server."""
        self.world = World()
        self.server = Server(self.world).register()

    def _online(self) -> bool:
        return self.world.mediator.registry.choose(self.server.target) is not None

    def test_newer_wins(self) -> None:
        """A newer registration takes over; the older leg is told so and closed."""
        newer = Server(self.world).register()
        (ended,) = self.server.channel.take(Method.LISTEN, MessageClass.INDICATION)
        self.assertEqual(RegistrationEnded.decode(ended), RegistrationEnded(409, "superseded"))
        self.assertTrue(self.server.channel.closed)
        found = self.world.mediator.registry.choose(newer.target)
        assert found is not None
        self.assertEqual(found.id, newer.id)
        # The old leg's end does not unregister the new one.
        self.server.leg.lost()
        self.assertTrue(self._online())
        self.assertIsNone(self.server.warm_up())
        self.assertEqual(self.world.mediator.statistics.superseded, 1)

    def test_clock_is_set(self) -> None:
        """When somebody sets the clock of the mediator's host, nobody is dropped; the new date is
        what proofs are judged by, and what is told."""
        self.world.set_by = 2 * 86400.0
        self.server.leg.timer(self.world.now)
        self.assertTrue(self._online())
        self.assertFalse(self.server.channel.closed)
        newer = Server(self.world, server(2))
        refusal = Refusal.decode(newer.listen())
        self.assertEqual(refusal.time, self.world.now + self.world.set_by)
        newer.registered_with(refusal)
        assert newer.registered is not None
        self.assertEqual(newer.registered.time, self.world.now + self.world.set_by)
        stale = newer.say(newer.bind_bytes())
        self.assertEqual(Refusal.decode(stale).code, 438)

    def test_standby(self) -> None:
        """An agent that was superseded does not take the other one's place, only an empty one."""
        older = Server(self.world)
        nonce = Refusal.decode(older.listen(standby=True)).nonce
        refusal = Refusal.decode(older.listen(nonce, standby=True))
        self.assertEqual((refusal.code, refusal.reason), (409, "registered"))
        self.assertTrue(older.channel.closed)
        self.assertFalse(self.server.channel.closed)
        self.assertTrue(self._online())
        self.server.leg.lost()
        older = Server(self.world)
        nonce = Refusal.decode(older.listen(standby=True)).nonce
        self.assertEqual(older.listen(nonce, standby=True).message_class, MessageClass.SUCCESS)
        self.assertTrue(self._online())

    def test_gone_at_once(self) -> None:
        """A server whose connection closes is offline in the same moment."""
        self.assertTrue(self._online())
        self.server.leg.lost()
        self.assertFalse(self._online())

    def test_leaving(self) -> None:
        """A mediator that shuts down says so to its servers."""
        self.server.leg.leave()
        (ended,) = self.server.channel.take(Method.LISTEN, MessageClass.INDICATION)
        self.assertEqual(RegistrationEnded.decode(ended).reason, "shutting-down")
        self.assertTrue(self.server.channel.closed)
        self.assertFalse(self._online())

    def test_keep_alives(self) -> None:
        """The mediator sends a keep-alive each interval as long as it hears the server."""
        for _ in range(5):
            self.assertEqual(self.server.leg.deadline(), self.world.now + DEFAULT_KEEP_ALIVE)
            self.world.now += DEFAULT_KEEP_ALIVE
            answer = self.server.say(keep_alive_request(self.world.random(12)))
            self.assertIs(answer.message_class, MessageClass.SUCCESS)
            self.server.leg.timer(self.world.now)
            sent = self.server.channel.take(BINDING, MessageClass.INDICATION)
            self.assertEqual(len(sent), 1)
        self.assertTrue(self._online())

    def test_silence(self) -> None:
        """A server that is silent for 2.5 intervals is offline and hung up on, not earlier."""
        end = self.world.now + SILENCE_FACTOR * DEFAULT_KEEP_ALIVE
        while (at := self.server.leg.deadline()) < end:
            self.server.leg.timer(at)
        self.assertEqual(at, end)
        self.assertTrue(self._online())
        self.server.leg.timer(end)
        self.assertFalse(self._online())
        self.assertTrue(self.server.channel.aborted)

    def test_idle(self) -> None:
        """A connection that never registers is closed after a while."""
        leg, channel = self.world.leg()
        self.assertEqual(leg.deadline(), self.world.now + IDLE_LIFE)
        leg.timer(self.world.now + IDLE_LIFE - 0.1)
        self.assertFalse(channel.closed)
        leg.timer(self.world.now + IDLE_LIFE)
        self.assertTrue(channel.closed)

    def test_too_much(self) -> None:
        """A server may send a burst over its leg, one message more ends it."""
        # listen twice was charged to the source, not to the server.
        for _ in range(int(SERVER_BURST)):
            self.server.say(keep_alive_request(self.world.random(12)))
        self.assertTrue(self._online())
        self.server.leg.receive(decode(keep_alive_request(bytes(12))), self.world.now)
        self.assertFalse(self._online())
        self.assertTrue(self.server.channel.aborted)

    def test_returned_updates(self) -> None:
        """Clients that move about cannot make a server say too much: the updates that it returns
        hardly count, though not for nothing."""
        update = decode(ConnectionUpdate("c0" * 16, 1, ()).encode(bytes(12)))
        most = int(SERVER_BURST / UPDATE_COST)
        for _ in range(most - 1):
            self.server.leg.receive(update, self.world.now)
        self.assertTrue(self._online())
        for _ in range(2):
            self.server.leg.receive(update, self.world.now)
        self.assertFalse(self._online())

    def test_neighbours(self) -> None:
        """Whoever floods from a server's address cannot make the server go offline."""
        for _ in range(1000):
            self.world.datagram(bytes(20), ("198.51.100.1", 9))
            self.world.datagram(keep_alive_request(bytes(12)), ("198.51.100.1", 9))
        self.server.say(keep_alive_request(self.world.random(12)))
        self.assertTrue(self._online())

    def test_not_understood(self) -> None:
        """An attribute that must be understood and is not, is named in a 420 here as well."""
        odd = encode(Message(Method.BIND, MessageClass.REQUEST, bytes(12), ((0x7ABC, b""),)))
        answer = self.server.say(odd)
        self.assertEqual(Refusal.decode(answer).code, 420)
        self.assertEqual(answer.get(0x000A), b"\x7a\xbc")
        odd = encode(Message(Method.BIND, MessageClass.INDICATION, bytes(12), ((0x7ABC, b""),)))
        self.server.leg.receive(decode(odd), self.world.now)
        self.assertEqual(self.server.channel.sent, [])

    def test_unknown_request(self) -> None:
        """A request that no server makes is answered 400, an unknown indication not at all."""
        odd = encode(Message(0x1AB, MessageClass.REQUEST, bytes(12)))
        self.assertEqual(Refusal.decode(self.server.say(odd)).code, 400)
        indication = Message(0x1AB, MessageClass.INDICATION, bytes(12))
        self.server.leg.receive(decode(encode(indication)), self.world.now)
        self.assertEqual(self.server.channel.sent, [])


class BindTests(SynchronousTestCase):
    """``bind``: the addresses that clients will be told."""

    def setUp(self) -> None:
        """A mediator with one server."""
        self.world = World()
        self.server = Server(self.world).register()

    def _signed(self) -> bytes:
        found = self.world.mediator.registry.choose(self.server.target)
        assert found is not None
        return found.signed_addresses

    def test_kept_whole(self) -> None:
        """The mediator keeps the request byte for byte: clients check its signature."""
        raw = self.server.bind_bytes()
        Bound.decode(self.server.say(raw))
        self.assertEqual(self._signed(), raw)

    def test_again(self) -> None:
        """A later ``bind`` replaces an earlier one; an old one comes to nothing."""
        old, new = self.server.bind_bytes(), self.server.bind_bytes()
        self.server.say(new)
        self.assertEqual(Refusal.decode(self.server.say(old)).code, 400)
        self.assertEqual(self._signed(), new)

    def test_not_registered(self) -> None:
        """``bind`` before ``listen`` is refused."""
        early = Server(self.world, server(2))
        self.assertEqual(Refusal.decode(early.say(early.bind_bytes())).code, 400)

    def test_of_another(self) -> None:
        """A server cannot publish what another has signed."""
        other = Server(self.world, server(2))
        refusal = Refusal.decode(self.server.say(other.bind_bytes()))
        self.assertEqual((refusal.code, refusal.reason), (403, "other-server"))
        self.assertEqual(self._signed(), b"")

    def test_unsigned(self) -> None:
        """``bind`` without a proof is refused, and the leg stays."""
        bare = encode(Message(Method.BIND, MessageClass.REQUEST, bytes(12), ((0xE809, bytes(4)),)))
        self.assertEqual(Refusal.decode(self.server.say(bare)).code, 401)
        self.assertFalse(self.server.channel.closed)

    def test_malformed(self) -> None:
        """``bind`` without a sequence number is refused."""
        bare = encode(Message(Method.BIND, MessageClass.REQUEST, bytes(12)))
        self.assertEqual(Refusal.decode(self.server.say(bare)).code, 400)


class WarmUpTests(SynchronousTestCase):
    """``bind`` over UDP: where the server's punching port is seen."""

    def setUp(self) -> None:
        """A mediator with one server."""
        self.world = World()
        self.server = Server(self.world).register()

    def _observed(self) -> tuple[tuple[str, int], ...]:
        found = self.world.mediator.registry.choose(self.server.target)
        assert found is not None
        return found.observed

    def test_observed(self) -> None:
        """The server learns its mapping, the mediator remembers it, each family by itself."""
        v6 = ("2001:db8::5", 4100)
        for sequence, source in ((1, SERVER_UDP), (2, v6)):
            answer = self.server.warm_up(source, sequence)
            assert answer is not None
            self.assertTrue(check_integrity(answer, self.server.key))
            self.assertEqual(WarmedUp.decode(answer).mapped, source)
        self.assertEqual(self._observed(), (SERVER_UDP, v6))

    def test_moved(self) -> None:
        """A new mapping replaces the old one."""
        moved = ("198.51.100.1", 4999)
        self.server.warm_up(SERVER_UDP, 1)
        self.server.warm_up(moved, 2)
        self.assertEqual(self._observed(), (moved,))

    def test_copied(self) -> None:
        """A copy of an old packet from elsewhere moves nothing."""
        self.server.warm_up(SERVER_UDP, 5)
        self.server.warm_up(("203.0.113.66", 666), 5)
        self.assertEqual(self._observed(), (SERVER_UDP,))

    def test_wrong_key(self) -> None:
        """Without the registration's key there is no answer and no effect."""
        forged = WarmUp(self.server.id, 9).encode(bytes(12), b"x" * 32)
        self.assertIsNone(self.world.datagram(forged, SERVER_UDP))
        unknown = WarmUp(self.server.id ^ 1, 9).encode(bytes(12), self.server.key)
        self.assertIsNone(self.world.datagram(unknown, SERVER_UDP))
        self.assertEqual(self._observed(), ())

    def test_after_the_end(self) -> None:
        """The key dies with the leg."""
        self.server.leg.lost()
        self.assertIsNone(self.server.warm_up())


class SystemTargetTests(SynchronousTestCase):
    """Names of servers and systems in the registry."""

    def test_two_systems(self) -> None:
        """Servers of two systems with the same server id are two servers."""
        world = World()
        one, two = Server(world, server(1)).register(), Server(world, server(1, of=2)).register()
        registry = world.mediator.registry
        for each in (one, two):
            found = registry.choose(each.target)
            assert found is not None
            self.assertEqual(found.id, each.id)
            whole = registry.choose(Target(each.target.system))
            assert whole is not None
            self.assertEqual(whole.id, each.id)
