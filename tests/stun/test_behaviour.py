"""Whether a client finds out how the NAT in front of it behaves."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.stun.discovered import PAIR, World
from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    RESPONSE_PORT,
    XOR_MAPPED_ADDRESS,
    encode_address,
    encode_xor_address,
)
from wavesync.stun.behaviour import PRECISION, SENDINGS, BehaviourDiscovery
from wavesync.stun.behaviour_words import Behaviour, Dependence, Lifetime
from wavesync.stun.binding import KNOWN_IN_BINDING, answer_binding, binding_response
from wavesync.stun.binding_request import BindingFailed
from wavesync.stun.discover import discover_behaviour
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode
from wavesync.testing.network import Filtering, Mapping, PortChoice
from wavesync.testing.time import run_for

MAPPINGS = {
    Mapping.ENDPOINT_INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}
FILTERINGS = {
    Filtering.ENDPOINT_INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}
EIM, APDF = Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT


class Kinds(SynchronousTestCase):
    """NATs of every kind."""

    def test_every_kind(self) -> None:
        """Three mappings, three filterings: each of the nine is told from the others."""
        for mapping, dependence in MAPPINGS.items():
            for filtering, filters in FILTERINGS.items():
                world = World()
                found = world.discover(world.behind(mapping, filtering))
                with self.subTest(f"{mapping.value} {filtering.value}"):
                    self.assertEqual((found.mapping, found.filtering), (dependence, filters))
                    self.assertEqual((found.translated, found.hairpinning), (True, False))
                    self.assertEqual(len(found.mapped), 3)
                    self.assertEqual({host for host, _ in found.mapped}, {"198.51.100.7"})
                    self.assertEqual(set(found.unknown), {"lifetime"})

    def test_loss(self) -> None:
        """A tenth of all datagrams is lost, and no verdict is another."""
        for seed in range(10):
            for mapping, dependence in MAPPINGS.items():
                world = World(loss=0.1, seed=seed)
                filtering = list(FILTERINGS)[seed % 3]
                found = world.discover(world.behind(mapping, filtering))
                with self.subTest(f"{seed} {mapping.value} {filtering.value}"):
                    self.assertEqual(found.mapping, dependence)
                    self.assertEqual(found.filtering, FILTERINGS[filtering])

    def test_no_nat(self) -> None:
        """A public address, open to anybody: nothing is translated, so there is no hairpin."""
        world = World()
        found = world.discover(world.public(), lifetime=100.0)
        self.assertEqual(
            (found.translated, found.mapping, found.filtering),
            (False, Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT),
        )
        self.assertEqual(
            found.unknown,
            {"hairpinning": "Nothing is translated.", "lifetime": "Nothing is translated."},
        )

    def test_port_kept(self) -> None:
        """A NAT that keeps the port is a NAT."""
        world = World()
        host = world.behind(EIM, APDF, ports=PortChoice.PRESERVE)
        found = world.discover(host)
        self.assertEqual((found.translated, found.mapped[0][1]), (True, 49152))

    def test_quick_where_nothing_is_silent(self) -> None:
        """Behind a NAT that answers everything it takes two round trips."""
        world = World()
        host = world.behind(EIM, Filtering.ENDPOINT_INDEPENDENT, hairpin=True)
        found = world.discover(host, seconds=0.09)
        self.assertEqual(set(found.unknown), {"lifetime"})

    def test_other_port_silent(self) -> None:
        """An answer from another address says it all; nobody waits for one from the other port."""
        world = World()
        world.silent = {("192.0.2.1", 3346)}
        host = world.behind(EIM, Filtering.ENDPOINT_INDEPENDENT, hairpin=True)
        found = world.discover(host, seconds=0.09)
        self.assertEqual(found.filtering, Dependence.ENDPOINT_INDEPENDENT)

    def test_few_datagrams(self) -> None:
        """Without loss each test is one datagram; only what is silent is repeated."""
        world = World()
        world.discover(world.behind(EIM, Filtering.ENDPOINT_INDEPENDENT))
        first, *others = (world.asked[at] for at in PAIR.addresses)
        self.assertEqual((first, others), (4, [0, 1, 1]))


class Hairpinning(SynchronousTestCase):
    """Whether hosts behind the same NAT reach each other by outside addresses."""

    def test_each_filter(self) -> None:
        """A NAT that does it is found out behind any filter, because both ends send."""
        for filtering in FILTERINGS:
            world = World()
            found = world.discover(world.behind(EIM, filtering, hairpin=True))
            self.assertIs(found.hairpinning, True, filtering)

    def test_one_way_lost(self) -> None:
        """One way is enough, either of them, and nobody waits for the other."""
        for lost in (49152, 49153):

            def drop(data: bytes, source: Address, destination: Address, lost: int = lost) -> bool:
                return source == ("198.51.100.7", lost) and destination[0] == "10.0.0.2"

            world = World(drop=drop)
            open_filter = Filtering.ENDPOINT_INDEPENDENT
            host = world.behind(EIM, open_filter, hairpin=True, ports=PortChoice.PRESERVE)
            self.assertIs(world.discover(host, seconds=0.09).hairpinning, True)

    def test_reflected(self) -> None:
        """What comes back to the port that sent it has not been turned around."""

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            if source[0] != "198.51.100.7" or destination[0] != "10.0.0.2":
                return False
            world.network.inject(data, ("203.0.113.1", 5), source)
            return True

        world = World(drop=drop)
        host = world.behind(EIM, Filtering.ENDPOINT_INDEPENDENT, hairpin=True)
        self.assertIs(world.discover(host).hairpinning, False)

    def test_second_port_unheard(self) -> None:
        """Without answers to the second port the mapping is known, and the rest is not."""
        beside = 49153
        world = World(drop=lambda data, source, destination: beside in (source[1], destination[1]))
        host = world.behind(EIM, APDF, ports=PortChoice.PRESERVE)
        found = world.discover(host, lifetime=60.0)
        self.assertEqual(found.mapping, Dependence.ENDPOINT_INDEPENDENT)
        why = "The STUN server 192.0.2.1 port 3345 did not answer our second port."
        self.assertEqual(found.unknown["filtering"], why)
        self.assertEqual(found.unknown["hairpinning"], why)
        self.assertIn("not seen at one address", found.unknown["lifetime"])


class Lifetimes(SynchronousTestCase):
    """How long an unused mapping lives."""

    def _lifetime(self, timeout: float, longest: float) -> Lifetime:
        world = World()
        host = world.behind(EIM, APDF, timeout=timeout)
        found = world.discover(host, lifetime=longest, seconds=20 * longest)
        self.assertNotIn("lifetime", found.unknown)
        assert found.lifetime is not None
        return found.lifetime

    def test_found(self) -> None:
        """Lifetimes from seconds to minutes are found to a tenth, or to a second."""
        for timeout in (3.0, 20.0, 45.0, 120.0):
            alive, gone = self._lifetime(timeout, 300.0)
            assert gone is not None
            # What is asked several times can be heard a little later, too.
            self.assertLessEqual(alive - 0.1, timeout)
            self.assertGreaterEqual(gone + 0.1, timeout)
            self.assertLessEqual(gone - alive, max(1.0, PRECISION * gone))

    def test_outlives(self) -> None:
        """A mapping that outlives the search is said to have done so."""
        self.assertEqual(self._lifetime(500.0, 35.0), (35.0, None))
        self.assertEqual(self._lifetime(500.0, 4.0), (4.0, None))

    def test_refused(self) -> None:
        """A server that sends to no other port leaves it unknown, and is not asked for minutes."""

        class Refusing(World):
            def answer(self, data: bytes, source: Address, at: Address) -> None:
                if decode(data).get(RESPONSE_PORT) is None:
                    super().answer(data, source, at)
                else:
                    self.send(binding_response(data, source) or b"", source, at)

        world = Refusing()
        found = world.discover(world.behind(EIM, APDF), lifetime=300.0)
        self.assertEqual(
            found.unknown,
            {"lifetime": "The STUN server 192.0.2.1 port 3345 refused with error 420."},
        )

    def test_ignored(self) -> None:
        """Nor can one help that answers the asking port, or not at all."""

        class Ignoring(World):
            reply = True

            def answer(self, data: bytes, source: Address, at: Address) -> None:
                message = decode(data)
                if message.get(RESPONSE_PORT) is None:
                    super().answer(data, source, at)
                elif self.reply:
                    known = KNOWN_IN_BINDING | {RESPONSE_PORT}
                    self.send(answer_binding(message, source, known=known) or b"", source, at)

        for reply, expected in (
            (True, "answered to another port than it was asked to."),
            (False, "does not send answers to another port."),
        ):
            world = Ignoring()
            world.reply = reply
            found = world.discover(world.behind(EIM, APDF), lifetime=300.0)
            self.assertIn(expected, found.unknown["lifetime"])


class PoorServers(SynchronousTestCase):
    """Servers that cannot tell everything."""

    def test_silence(self) -> None:
        """Without any answer all is unknown after 5.5 seconds, and it was asked four times."""
        world = World(drop=lambda data, source, destination: True)
        host = world.behind(EIM, APDF)
        found = world.discover(host, seconds=5.6)
        why = "The STUN server 192.0.2.1 port 3345 did not answer over UDP."
        fields = ("translated", "mapping", "filtering", "hairpinning", "lifetime")
        self.assertEqual(found, Behaviour(unknown=dict.fromkeys(fields, why)))
        self.assertEqual(world.network.carried, 2 * SENDINGS)

    def test_one_address(self) -> None:
        """A server with one address leaves mapping and filtering unknown, hairpinning not."""

        class Plain(World):
            def answer(self, data: bytes, source: Address, at: Address) -> None:
                self.send(binding_response(data, source) or b"", source, at)

        world = Plain()
        found = world.discover(world.behind(EIM, APDF, hairpin=True))
        why = "The STUN server 192.0.2.1 port 3345 tells of no second address."
        self.assertEqual((found.unknown["mapping"], found.unknown["filtering"]), (why, why))
        self.assertEqual((found.translated, found.hairpinning, len(found.mapped)), (True, True, 1))
        self.assertEqual([world.asked[at] for at in PAIR.addresses], [2, 0, 0, 0])

    def test_impossible_second_address(self) -> None:
        """Nothing is sent to a second address that is none."""
        for wrong in (
            PAIR.primary,
            ("192.0.2.1", 3346),
            ("192.0.2.2", 3345),
            ("192.0.2.2", 0),
            ("224.0.0.1", 3346),
            ("0.0.0.0", 3346),
            ("2001:db8::1", 3346),
        ):

            class Liar(World):
                other = wrong

                def answer(self, data: bytes, source: Address, at: Address) -> None:
                    extra = ((OTHER_ADDRESS, encode_address(self.other)),)
                    answer = answer_binding(decode(data), source, extra=extra)
                    self.send(answer or b"", source, at)

            world = Liar()
            found = world.discover(world.behind(EIM, APDF))
            self.assertIn("tells of an impossible one", found.unknown["mapping"], wrong)
            self.assertIsNone(found.filtering)

    def test_change_refused(self) -> None:
        """A server that tells of a second address and does not answer from it: filtering unknown."""

        class Refusing(World):
            def answer(self, data: bytes, source: Address, at: Address) -> None:
                if decode(data).get(CHANGE_REQUEST) is None:
                    super().answer(data, source, at)
                else:
                    self.send(binding_response(data, source) or b"", source, at)

        world = Refusing()
        found = world.discover(world.behind(EIM, APDF))
        self.assertIsNone(found.filtering)
        self.assertIn("refused with error 420", found.unknown["filtering"])
        self.assertEqual(found.mapping, Dependence.ENDPOINT_INDEPENDENT)

    def test_change_ignored(self) -> None:
        """A server that answers from where it was asked does not make a NAT look open."""

        class Ignoring(World):
            def answer(self, data: bytes, source: Address, at: Address) -> None:
                reply = PAIR.answer(data, source, at)
                assert reply is not None
                self.send(reply.data, source, at)

        world = Ignoring()
        found = world.discover(world.behind(EIM, APDF))
        self.assertIsNone(found.filtering)
        self.assertIn("instead of 192.0.2.2 port 3346", found.unknown["filtering"])

    def test_second_address_silent(self) -> None:
        """A second address that is cut off does not make a NAT look strict."""
        world = World()
        world.silent = set(PAIR.addresses) - {PAIR.primary}
        found = world.discover(world.behind(EIM, Filtering.ENDPOINT_INDEPENDENT))
        self.assertEqual((found.mapping, found.filtering), (None, None))
        for name in ("mapping", "filtering"):
            self.assertIn("is silent on its second address", found.unknown[name])

    def test_half_of_the_second_address(self) -> None:
        """Where one port of the second address is silent, what can be concluded still is."""
        for mapping, expected in (
            (Mapping.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT),
            (Mapping.ADDRESS_DEPENDENT, None),
        ):
            world = World()
            world.silent = {("192.0.2.2", 3345)}
            found = world.discover(world.behind(mapping, Filtering.ENDPOINT_INDEPENDENT))
            self.assertEqual(found.mapping, expected)
            self.assertEqual(found.filtering, Dependence.ENDPOINT_INDEPENDENT)


class Forged(SynchronousTestCase):
    """Datagrams that are nobody's answers."""

    def setUp(self) -> None:
        """A discovery that has just asked."""
        self.count = 0
        self.discovery = BehaviourDiscovery(PAIR.primary, self._random, 0.0)
        self.first, self.beside = self.discovery.datagrams(0.0)

    def _random(self, size: int) -> bytes:
        self.count += 1
        return bytes([self.count]) * size

    def _answer(
        self,
        transaction_id: bytes,
        *,
        method: int = BINDING,
        kind: MessageClass = MessageClass.SUCCESS,
    ) -> bytes:
        mapped = (XOR_MAPPED_ADDRESS, encode_xor_address(("198.51.100.7", 7), transaction_id))
        return encode(Message(method, kind, transaction_id, (mapped,)))

    def test_dropped(self) -> None:
        """Garbage, other ids, methods and requests change nothing."""
        known = decode(self.first.data).transaction_id
        for data in (
            b"garbage",
            self._answer(bytes(12)),
            self._answer(known, method=2),
            self._answer(known, kind=MessageClass.REQUEST),
            self._answer(known, kind=MessageClass.INDICATION),
        ):
            self.discovery.datagram_received(data, PAIR.primary, 0.1)
        self.assertEqual(self.discovery.deadline(), 0.5)
        self.assertEqual(self.discovery.datagrams(0.1), [])

    def test_unusable_answer(self) -> None:
        """An answer without an address ends it with a sentence."""
        for outgoing, second in ((self.first, False), (self.beside, True)):
            known = decode(outgoing.data).transaction_id
            data = encode(Message(BINDING, MessageClass.SUCCESS, known))
            self.discovery.datagram_received(data, PAIR.primary, 0.1, second=second)
        assert self.discovery.outcome is not None
        self.assertIsNone(self.discovery.deadline())
        self.assertEqual(
            self.discovery.outcome.unknown["mapping"],
            "The STUN server 192.0.2.1 port 3345 sent an answer that cannot be used:"
            " It holds no address.",
        )

    def test_own_address_unknown(self) -> None:
        """Who does not say where it is bound cannot be told whether there is a NAT."""
        for outgoing, second in ((self.first, False), (self.beside, True)):
            data = self._answer(decode(outgoing.data).transaction_id)
            self.discovery.datagram_received(data, PAIR.primary, 0.1, second=second)
        self.discovery.datagrams(0.1)
        for at in (0.6, 1.6, 3.6):
            self.discovery.timer(at)
            self.discovery.datagrams(at)
        self.discovery.timer(5.7)
        assert self.discovery.outcome is not None
        self.assertIsNone(self.discovery.outcome.translated)
        self.assertEqual(
            self.discovery.outcome.unknown["translated"], "Our own address is not known."
        )

    def test_server_name(self) -> None:
        """The server is given by its number."""
        self.assertRaises(BindingFailed, BehaviourDiscovery, ("stun.example", 1), self._random, 0.0)


class Observers(SynchronousTestCase):
    """The shell on UDT ports."""

    def test_cancelled(self) -> None:
        """Whoever does not want to know any more is not sent for, and no timer is left."""
        world = World()
        observer = world.observe(world.behind(EIM, APDF))
        world.clock.advance(0.001)
        carried = world.network.carried
        observer.done.cancel()
        self.failureResultOf(observer.done, CancelledError)
        observer.datagram_received(b"", PAIR.primary)
        run_for(world.clock, 30.0)
        self.assertLessEqual(world.network.carried, carried + 4)  # what was under way


class RealSockets(TestCase):
    """The shell on sockets of its own."""

    timeout = 30

    def test_nobody_there(self) -> Deferred[None]:
        """A server that is not there is no failure; the sockets are closed."""
        from twisted.internet import reactor

        async def discover() -> None:
            found = await discover_behaviour(reactor, ("127.0.0.1", 9), rto=0.02)
            self.assertIn("did not answer over UDP", found.unknown["mapping"])

        return Deferred.fromCoroutine(discover())

    def test_cancelled(self) -> Deferred[None]:
        """Cancelling closes the sockets (trial complains of those that are left)."""
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        async def discover() -> None:
            asking = discover_behaviour(reactor, ("127.0.0.1", 9))
            await deferLater(reactor, 0.05)
            asking.cancel()
            await self.assertFailure(asking, CancelledError)

        return Deferred.fromCoroutine(discover())
