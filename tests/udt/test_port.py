"""Tests for L{wavesync.udt.port}, L{wavesync.udt.sorting}, L{wavesync.udt.accepting}."""

from collections import Counter
from random import Random

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IPullProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.udt.ends import Pair, memory_port, outcome
from wavesync.interfaces import Address
from wavesync.testing.time import run_for
from wavesync.udt.handshake import (
    ANSWER,
    REFUSED,
    REQUEST,
    Handshake,
    Offer,
    decode_handshake,
    is_handshake,
)
from wavesync.udt.packet import ControlType, DataPacket, encode_control
from wavesync.udt.port import Port

BINDING = bytes.fromhex("00010000 2112a442") + bytes(12)
STRANGER: Address = ("203.0.113.5", 999)


class Wire:
    """Notes every datagram of a network."""

    def __init__(self, pair: Pair) -> None:
        self.datagrams: list[tuple[bytes, Address, Address]] = []
        pair.network.drop = self.note

    def note(self, data: bytes, source: Address, destination: Address) -> bool:
        """Note one; none is lost."""
        self.datagrams.append((data, source, destination))
        return False

    def to(self, destination: Address) -> list[bytes]:
        """:return: what went there."""
        return [data for data, _, there in self.datagrams if there == destination]

    def handshakes(self) -> list[Handshake]:
        """:return: all handshakes."""
        return [decode_handshake(data) for data, _, _ in self.datagrams if is_handshake(data)]


class ConnectTests(SynchronousTestCase):
    """A client and a listener."""

    def setUp(self) -> None:
        """Two ports, 20 ms apart; one listens."""
        self.pair = Pair()
        self.served = self.pair.recorders(b"welcome", echo=True)
        self.pair.there.listen(self.served)

    def connect(self, greeting: bytes = b"") -> "Deferred[IProtocol]":
        """:return: a connect from one to the other."""
        self.ours = self.pair.recorders(greeting)
        return self.pair.here.connect(Pair.THERE, self.ours)

    def test_times(self) -> None:
        """A connect takes two round trips; data of both sides leave at once."""
        results = outcome(self.connect(b"hello"))
        run_for(self.pair.clock, 1.0)
        self.assertEqual(results, [self.ours.last])
        self.assertAlmostEqual(self.ours.last.connected_at or 0, 0.08)
        # The server is wavesync and so is the client: its greeting comes with the answer.
        self.assertAlmostEqual(self.ours.last.first_byte or 0, 0.08)
        self.assertAlmostEqual(self.served.last.first_byte or 0, 0.10)
        self.assertEqual(self.ours.last.received, b"welcomehello")

    def test_trusted(self) -> None:
        """From a source with an authenticated connection one round trip is enough."""
        self.pair.there.trust(Pair.HERE)
        self.connect()
        run_for(self.pair.clock, 1.0)
        self.assertAlmostEqual(self.ours.last.connected_at or 0, 0.04)
        self.pair.there.untrust(Pair.HERE)
        self.connect()
        run_for(self.pair.clock, 1.0)
        self.assertAlmostEqual((self.ours.last.connected_at or 0) - 1.0, 0.08)

    def test_few_packets(self) -> None:
        """A short exchange of wavesync ends is handshakes, data, and an ACK for each data packet."""
        wire = Wire(self.pair)
        self.connect(b"hello")
        run_for(self.pair.clock, 1.0)
        kinds = Counter(data[0] << 8 | data[1] for data, _, _ in wire.datagrams)
        data = sum(count for kind, count in kinds.items() if kind < 0x8000)
        self.assertEqual(data, 3)  # two greetings and an echo
        self.assertEqual(
            {kind & 0x7FFF: count for kind, count in kinds.items() if kind >= 0x8000},
            {ControlType.HANDSHAKE: 4, ControlType.ACK: data},
        )

    def test_nothing_to_say(self) -> None:
        """A client that does not speak at once sends a keep-alive at once."""
        wire = Wire(self.pair)
        self.connect()
        run_for(self.pair.clock, 0.1)
        kinds = [data[:2] for data in wire.to(Pair.THERE)]
        self.assertIn(encode_control(ControlType.KEEP_ALIVE, 0)[:2], kinds)

    def test_trust_is_counted(self) -> None:
        """A source stays trusted until its last authenticated connection has ended."""
        self.pair.there.trust(Pair.HERE)
        self.pair.there.trust(Pair.HERE)
        self.pair.there.untrust(Pair.HERE)
        self.connect()
        run_for(self.pair.clock, 0.05)
        self.assertEqual(len(self.ours.made), 1)

    def test_closing(self) -> None:
        """Each side may close; both are told, and nothing is left of the connection."""
        for closer in (0, 1):
            self.connect(b"x")
            run_for(self.pair.clock, 1.0)
            ends = [self.ours.last, self.served.last]
            ends[closer].transport.loseConnection()
            run_for(self.pair.clock, 10.0)
            for end in ends:
                assert end.lost is not None
                end.lost.trap(error.ConnectionDone)
        for port in (self.pair.here, self.pair.there):
            self.assertEqual((port.connections, port.attempts), (0, 0))
            self.assertFalse(port._sorter.links or port._sorter.calls)
        self.assertEqual(len(self.pair.there._acceptor.listener), 0)
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_silent_client(self) -> None:
        """A client that has nothing to say shows itself all the same, and keeps its place."""
        self.connect()
        run_for(self.pair.clock, 0.11)
        self.assertEqual(self.pair.there._acceptor.listener.half_open, 0)
        run_for(self.pair.clock, 60.0)
        self.assertIsNone(self.served.last.lost)

    def test_many(self) -> None:
        """Thirty connections between two ports, in both directions, do not mix."""
        serving = self.pair.recorders(echo=True)
        self.pair.here.listen(serving)
        ends = []
        for number in range(30):
            made = self.pair.recorders(bytes([number]) * 10_000)
            if number % 2:
                self.pair.here.connect(Pair.THERE, made)
            else:
                self.pair.there.connect(Pair.HERE, made)
            ends.append(made)
        run_for(self.pair.clock, 3.0)
        for number, made in enumerate(ends):
            welcome = b"welcome" if number % 2 else b""
            self.assertEqual(made.last.received, welcome + bytes([number]) * 10_000)

    def test_loss(self) -> None:
        """A quarter of the datagrams lost, the others out of order: everything arrives."""
        self.pair.network.loss = 0.25
        self.pair.network.jitter = 0.03
        self.connect(b"z" * 100_000)
        run_for(self.pair.clock, 60.0)
        self.assertEqual(self.ours.last.received, b"welcome" + b"z" * 100_000)

    def test_duplicates(self) -> None:
        """Every datagram twice: one connection, and every byte once."""
        self.pair.network.duplicate = 1.0
        self.connect(b"z" * 10_000)
        run_for(self.pair.clock, 1.0)
        self.assertEqual(len(self.served.made), 1)
        self.assertEqual(self.served.last.received, b"z" * 10_000)

    def test_nobody(self) -> None:
        """With nobody there the Deferred fails after 3 s."""
        results = outcome(self.pair.here.connect(("192.0.2.99", 1), self.pair.recorders()))
        run_for(self.pair.clock, 2.9)
        self.assertEqual(results, [])
        run_for(self.pair.clock, 0.2)
        self.assertIsInstance(results[0], error.TimeoutError)
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A factory that makes no protocol refuses the client."""
        self.served.refuse = True
        results = outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertIsInstance(results[0], error.ConnectionRefusedError)

    def test_failing_factories(self) -> None:
        """A factory that raises refuses the client, or fails the Deferred; the port lives on."""

        class Broken(Exception):
            """A programmer's mistake."""

        def build(addr: object) -> None:
            raise Broken

        good = self.served.buildProtocol
        self.served.buildProtocol = build  # type: ignore[method-assign]
        results = outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
        self.served.buildProtocol = good  # type: ignore[method-assign]
        made = self.pair.recorders()
        made.buildProtocol = build  # type: ignore[method-assign]
        broken = outcome(self.pair.here.connect(Pair.THERE, made))
        made = self.pair.recorders()
        made.refuse = True
        refused = outcome(self.pair.here.connect(Pair.THERE, made))
        run_for(self.pair.clock, 1.0)
        self.assertEqual(
            [type(result) for result in results + broken + refused],
            [error.ConnectionRefusedError, Broken, error.NoProtocol],
        )
        results = outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertEqual(results, [self.ours.last])

    def test_failing_protocols(self) -> None:
        """A protocol that fails as it is connected, or a producer as it is called, loses its own
        connection at most; the port goes on for everybody else."""

        class Broken(Exception):
            """A programmer's mistake."""

        class Refusing(Protocol):
            """Fails at once."""

            def connectionMade(self) -> None:
                """Fail."""
                raise Broken

        @implementer(IPullProducer)
        class Pull:
            """A producer that fails."""

            def resumeProducing(self) -> None:
                """Fail."""
                raise Broken

            def stopProducing(self) -> None:
                """Do nothing."""

        reading = outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertEqual(reading, [self.ours.last])
        steady = self.ours.last
        steady.transport.registerProducer(Pull(), False)
        broken = outcome(self.pair.here.connect(Pair.THERE, Factory.forProtocol(Refusing)))
        run_for(self.pair.clock, 0.5)
        self.assertIsInstance(broken[0], Refusing)
        self.assertGreater(len(self.flushLoggedErrors(Broken)), 1)
        steady.transport.unregisterProducer()
        steady.transport.write(b"still there")
        run_for(self.pair.clock, 1.0)
        self.assertIn(b"still there", steady.received)
        self.pair.there.stop_listening()
        self.pair.there.listen(Factory.forProtocol(Refusing))
        outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
        self.assertEqual(self.pair.there.connections, 1)

    def test_unforeseen(self) -> None:
        """Even a mistake of ours in taking one packet costs that packet and not the port."""
        results = outcome(self.connect())
        run_for(self.pair.clock, 1.0)
        self.assertEqual(results, [self.ours.last])

        class Broken(Exception):
            """Our own mistake."""

        def fail(arrival: object, now: float) -> None:
            raise Broken

        sorter = self.pair.there._sorter
        good = sorter._take
        sorter._take = fail  # type: ignore[method-assign]
        self.ours.last.transport.write(b"again")
        run_for(self.pair.clock, 0.03)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
        sorter._take = good  # type: ignore[method-assign]
        run_for(self.pair.clock, 2.0)
        self.assertIn(b"again", self.ours.last.received)

    def test_cancel(self) -> None:
        """Cancelling gives up at once."""
        connecting = self.connect()
        results = outcome(connecting)
        connecting.cancel()
        self.assertIsInstance(results[0], error.ConnectingCancelledError)
        self.assertEqual(self.pair.here.attempts, 0)

    def test_not_numeric(self) -> None:
        """A name is a mistake of the caller: endpoints resolve names."""
        self.assertRaises(ValueError, self.pair.here.connect, ("example.org", 1), self.served)

    def test_one_listener(self) -> None:
        """A port has one listener at a time."""
        self.assertRaises(ValueError, self.pair.there.listen, self.served)
        self.pair.there.stop_listening()
        self.pair.there.listen(self.served)

    def test_peer_vanishes(self) -> None:
        """A peer that falls silent is given up in the end."""
        self.connect()
        run_for(self.pair.clock, 1.0)
        self.pair.network.drop = lambda *_: True
        run_for(self.pair.clock, 120.0)
        for end in (self.ours.last, self.served.last):
            assert end.lost is not None
            end.lost.trap(error.ConnectionLost)


class LibudtCourtesyTests(SynchronousTestCase):
    """What a client gets that may be libudt: silence until it has the answer."""

    def setUp(self) -> None:
        """A client written by hand, which does not mark its handshakes."""
        self.pair = Pair(delay=0.0)
        self.wire = Wire(self.pair)
        self.served = self.pair.recorders()
        self.request = Offer(77, 1000).handshake(REQUEST, "192.0.2.2")

    def send(self, data: bytes) -> None:
        """Send as the client, from its address."""
        self.pair.network.inject(data, STRANGER, Pair.THERE)
        self.pair.clock.advance(0)
        self.pair.clock.advance(0)

    def got(self) -> list[bytes]:
        """:return: what came for the client since the last time."""
        found, self.wire.datagrams = self.wire.to(STRANGER), []
        return found

    def shake_hands(self, greeting: bytes = b"") -> int:
        """:return: our socket id, after the two requests."""
        self.served = self.pair.recorders(greeting)
        self.pair.there.listen(self.served)
        unmarked = Handshake(REQUEST, 77, 1000, timestamp=0)
        self.send(unmarked.encode())
        [challenge] = self.got()
        cookie = decode_handshake(challenge).cookie
        self.second = Handshake(ANSWER, 77, 1000, cookie=cookie, timestamp=0).encode()
        self.send(self.second)
        [answer] = self.got()
        self.answer = answer
        return decode_handshake(answer).socket_id

    def test_silence(self) -> None:
        """Nothing follows the answer until the client has shown itself."""
        ours = self.shake_hands()
        run_for(self.pair.clock, 0.3)
        self.assertEqual(self.got(), [])
        self.send(encode_control(ControlType.KEEP_ALIVE, ours))
        self.served.last.transport.write(b"now")
        run_for(self.pair.clock, 0.01)
        self.assertEqual([data[16:] for data in self.got() if data[0] < 0x80], [b"now"])

    def test_server_speaks_first(self) -> None:
        """If the server must speak first, the answer goes twice, and the words 20 ms later."""
        self.shake_hands(b"hello")
        run_for(self.pair.clock, 0.006)
        self.assertEqual(self.got(), [self.answer])
        run_for(self.pair.clock, 0.018)
        self.assertEqual(self.got(), [])
        run_for(self.pair.clock, 0.004)
        [data] = self.got()
        self.assertEqual(data[16:], b"hello")

    def test_numbered_acks(self) -> None:
        """Its data are acknowledged as libudt has it: with a number, and all four words."""
        ours = self.shake_hands()
        self.send(DataPacket(1000, 1, ours, b"hello").encode())
        run_for(self.pair.clock, 0.01)
        [ack] = [data for data in self.got() if data[:2] == encode_control(ControlType.ACK, 0)[:2]]
        self.assertEqual(int.from_bytes(ack[4:8], "big"), 1)
        self.assertGreaterEqual(len(ack), 32)

    def test_repeated_request(self) -> None:
        """A client that missed the answer gets the same one, and one connection."""
        self.shake_hands()
        self.send(self.second)
        self.assertEqual(self.got(), [self.answer])
        self.assertEqual(len(self.served.made), 1)

    def test_request_to_our_id(self) -> None:
        """A request sent to our new socket id is answered, too."""
        ours = self.shake_hands()
        again = Handshake(REQUEST, 77, 1000, destination=ours, timestamp=0)
        self.send(again.encode())
        self.assertEqual(self.got(), [self.answer])

    def test_never_shown(self) -> None:
        """A client that never shows itself loses its place after 10 s."""
        self.shake_hands()
        self.assertEqual(self.pair.there._acceptor.listener.half_open, 1)
        run_for(self.pair.clock, 14.0)
        assert self.served.last.lost is not None
        self.served.last.lost.trap(error.TimeoutError)
        self.assertEqual(len(self.pair.there._acceptor.listener), 0)
        self.assertEqual(self.pair.there._sorter.links, {})

    def test_data_shows(self) -> None:
        """Data show the client, and are delivered at once."""
        ours = self.shake_hands()
        self.send(DataPacket(1000, 1, ours, b"payload").encode())
        self.assertEqual(self.served.last.received, b"payload")
        self.assertEqual(self.pair.there._acceptor.listener.half_open, 0)


class SortingTests(SynchronousTestCase):
    """Telling packets apart on one port."""

    def setUp(self) -> None:
        """Two connected ports; one takes STUN."""
        self.pair = Pair(delay=0.0)
        self.stun: list[tuple[bytes, Address]] = []
        self.pair.there.stun_handler = lambda data, source: self.stun.append((data, source))
        self.served = self.pair.recorders(echo=True)
        self.pair.there.listen(self.served)
        self.ours = self.pair.recorders()
        self.pair.here.connect(Pair.THERE, self.ours)
        run_for(self.pair.clock, 1.0)
        self.wire = Wire(self.pair)

    def inject(self, data: bytes, source: Address = STRANGER) -> None:
        """Let a datagram come to the listening port."""
        self.pair.network.inject(data, source, Pair.THERE)
        run_for(self.pair.clock, 0.001)

    def test_stun(self) -> None:
        """STUN goes to its handler, between strangers and from a connected peer alike."""
        self.inject(BINDING)
        self.pair.here.send_stun(BINDING, Pair.THERE)
        run_for(self.pair.clock, 0.001)
        self.assertEqual(self.stun, [(BINDING, STRANGER), (BINDING, Pair.HERE)])
        self.assertEqual(self.pair.there.dropped, 0)

    def test_stun_handler_fails(self) -> None:
        """A handler's mistake is logged and harms nothing else."""

        def fail(data: bytes, source: Address) -> None:
            raise RuntimeError

        self.pair.there.stun_handler = fail
        self.inject(BINDING)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.ours.last.transport.write(b"still there")
        run_for(self.pair.clock, 0.1)
        self.assertEqual(self.served.last.received, b"still there")

    def test_stun_without_handler(self) -> None:
        """Without a handler STUN is dropped."""
        self.pair.there.stun_handler = None
        self.inject(BINDING)
        self.assertEqual(self.pair.there.dropped, 1)

    def test_data_that_looks_like_stun(self) -> None:
        """A live socket id and source go before STUN, whatever the packet looks like."""
        [ours] = self.pair.there._sorter.links
        fake = bytes.fromhex("0001000c 2112a442 00000000") + ours.to_bytes(4, "big") + bytes(16)
        self.inject(fake, Pair.HERE)
        self.assertEqual(self.stun, [])

    def test_wrong_source(self) -> None:
        """Packets for a live id from elsewhere are dropped: not delivered, not answered."""
        [ours] = self.pair.there._sorter.links
        received = self.served.last.received
        self.inject(encode_control(ControlType.SHUTDOWN, ours))
        self.inject(DataPacket(5, 1, ours, b"evil").encode())
        self.assertEqual(self.served.last.received, received)
        self.assertIsNone(self.served.last.lost)
        self.assertEqual(self.pair.there.dropped, 2)
        self.assertEqual(self.wire.to(STRANGER), [])

    def test_burst_for_several(self) -> None:
        """Datagrams of one size for several connections, STUN and a handshake, all in one burst,
        are told apart."""
        second = self.pair.recorders()
        self.pair.here.connect(Pair.THERE, second)
        run_for(self.pair.clock, 1.0)
        self.wire.datagrams.clear()
        links = [link.agreement for link in self.pair.there._sorter.links.values()]
        payload = b"p" * 48
        packets = [
            DataPacket(agreed.receive_isn, 1, agreed.local_id, payload).encode() for agreed in links
        ]
        packets.append(bytes.fromhex("0001002c 2112a442") + bytes(12) + bytes(44))
        packets.append(Handshake(REQUEST, 5, 6).encode())
        packets.append(b"short")
        for packet in packets:
            self.pair.network.inject(packet, Pair.HERE, Pair.THERE)
        run_for(self.pair.clock, 0.5)
        self.assertEqual([end.received for end in self.served.made], [payload, payload])
        self.assertEqual(len(self.stun), 1)
        self.assertEqual(self.pair.there.dropped, 1)
        self.assertEqual([h.request for h in self.wire.handshakes()], [REQUEST] * 2)

    def test_lost_shutdown(self) -> None:
        """A peer that missed our SHUTDOWN and goes on is told again, up to a limit."""
        [link] = self.pair.there._sorter.links.values()
        ours = link.agreement.local_id
        self.pair.there.forget(link)
        self.wire.datagrams.clear()
        self.ours.last.transport.write(b"are you there?")
        run_for(self.pair.clock, 1.0)
        assert self.ours.last.lost is not None
        self.ours.last.lost.trap(error.ConnectionDone)
        self.wire.datagrams.clear()
        for _ in range(100):
            self.inject(encode_control(ControlType.KEEP_ALIVE, ours), Pair.HERE)
            run_for(self.pair.clock, 0.1)
        shutdowns = self.wire.to(Pair.HERE)
        self.assertTrue(0 < len(shutdowns) <= 16)
        self.assertEqual({data[:2] for data in shutdowns}, {b"\x80\x05"})


class AbuseTests(SynchronousTestCase):
    """Garbage and floods leave nothing behind and get less than they give."""

    def setUp(self) -> None:
        """A listening port, and every byte that goes in and out counted."""
        self.pair = Pair(delay=0.0)
        self.pair.there.listen(self.pair.recorders())
        self.random = Random(5)
        self.answers: list[tuple[bytes, Address]] = []
        self.asked = 0
        self.pair.network.drop = self.note

    def note(self, data: bytes, source: Address, destination: Address) -> bool:
        """Count what comes back."""
        if source == Pair.THERE:
            self.answers.append((data, destination))
        return False

    def inject(self, data: bytes, source: Address) -> None:
        """Send a forged datagram and look at what it brought."""
        self.answers.clear()
        self.pair.network.inject(data, source, Pair.THERE)
        self.pair.clock.advance(0)
        for answer, destination in self.answers:
            self.assertEqual(destination, source)
            self.assertLessEqual(len(answer), len(data))
        self.assertLessEqual(len(self.answers), 1)

    def assert_baseline(self) -> None:
        """Nothing may be left."""
        port = self.pair.there
        self.assertEqual((port.connections, port.attempts), (0, 0))
        sorter = port._sorter
        self.assertFalse(sorter.links or sorter.calls or sorter.tokens or len(sorter.closed))
        self.assertFalse(sorter.tokenless)
        self.assertEqual(len(port._acceptor.listener), 0)
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_garbage(self) -> None:
        """1,000 datagrams of random bytes, many with a head that looks right."""
        heads = [
            b"",
            b"\x80\x00",
            b"\x80\x05",
            b"\x80\x03\0\0",
            b"\x00\x01\x00\x00\x21\x12\xa4\x42",
        ]
        for _ in range(1000):
            body = self.random.randbytes(self.random.randrange(1600))
            self.inject(self.random.choice(heads) + body, ("203.0.113.1", 1))
        self.assertGreater(self.pair.there.dropped, 900)
        self.assert_baseline()

    def test_oversize(self) -> None:
        """1,000 datagrams of 9 to 65 kB."""
        blob = self.random.randbytes(65507)
        for number in range(1000):
            self.inject(b"\x80\x00" + blob[: 9000 + number * 50], ("203.0.113.1", 1))
        self.assert_baseline()

    def test_half_open(self) -> None:
        """10,000 first requests from spoofed sources are answered alike and leave nothing."""
        for number in range(10_000):
            request = Handshake(REQUEST, number + 1, number, timestamp=number & 1)
            self.inject(request.encode(), (f"203.0.{number >> 8}.{number & 255}", 5))
            self.assertEqual(len(self.answers), 1)
        self.assert_baseline()

    def test_wrong_cookies(self) -> None:
        """1,000 second requests with guessed cookies get silence."""
        for number in range(1000):
            request = Handshake(ANSWER, number + 1, 5, cookie=self.random.getrandbits(32))
            self.inject(request.encode(), ("203.0.113.1", number))
            self.assertEqual(self.answers, [])
        self.assert_baseline()

    def test_rendezvous_tokens(self) -> None:
        """1,000 calls with guessed tokens get silence while a rendezvous waits."""
        waiting = self.pair.there.rendezvous([("192.0.2.77", 1)], self.pair.recorders(), token=9)
        outcome(waiting.connected)
        run_for(self.pair.clock, 5.0)
        self.answers.clear()
        for number in range(1000):
            token = self.random.randrange(10, 2**32)
            call = Handshake(0, number + 1, 5, cookie=token)
            self.inject(call.encode(), ("203.0.113.1", number + 1))
            self.assertEqual(self.answers, [])
        # Nor does looking for its rendezvous cost more the more there are.
        self.assertEqual(self.pair.there._sorter.tokenless, {})
        waiting.cancel()
        run_for(self.pair.clock, 1.0)
        self.assert_baseline()

    def test_refusals_are_not_answered(self) -> None:
        """Refusals and finals to nobody are not answered: no two ports talk for ever."""
        for request in (REFUSED, -2, 5):
            self.inject(Handshake(request, 3, 4, destination=7).encode(), ("203.0.113.1", 5))
            self.assertEqual(self.answers, [])


class ClosingTests(SynchronousTestCase):
    """The end of a port."""

    def setUp(self) -> None:
        """Two connected ports."""
        self.pair = Pair()
        self.served = self.pair.recorders()
        self.pair.there.listen(self.served)
        self.ours = self.pair.recorders()
        self.pair.here.connect(Pair.THERE, self.ours)
        run_for(self.pair.clock, 1.0)

    def test_close(self) -> None:
        """Closing ends connections, attempts and the socket; all are told."""
        attempt = outcome(self.pair.here.connect(("192.0.2.9", 9), self.ours))
        waiting = outcome(self.pair.here.rendezvous([("192.0.2.9", 9)], self.ours).connected)
        self.ours.last.transport.write(b"last words")
        done = outcome(self.pair.here.close())
        run_for(self.pair.clock, 2.0)
        self.assertEqual(done, [None])
        self.assertEqual(self.served.last.received, b"last words")
        self.assertIsInstance(attempt[0], error.ConnectingCancelledError)
        self.assertIsInstance(waiting[0], CancelledError)
        assert self.ours.last.lost is not None and self.served.last.lost is not None
        self.assertEqual(outcome(self.pair.here.close()), [None])
        self.assertRaises(ValueError, self.pair.here.connect, Pair.THERE, self.ours)
        # The address is free again.
        memory_port(self.pair.clock, self.pair.network.members["192.0.2.1"], 1000)  # type: ignore[arg-type]

    def test_close_repeats_the_end(self) -> None:
        """A closing port says the end more than once: one lost datagram does not keep the peer."""
        lost: list[bytes] = []

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            if data[:2] == b"\x80\x05" and not lost:
                lost.append(data)
                return True
            return False

        self.pair.network.drop = drop
        self.pair.here.close()
        run_for(self.pair.clock, 0.3)
        self.assertEqual(len(lost), 1)
        self.assertIsNotNone(self.served.last.lost)

    def test_close_with_silent_peer(self) -> None:
        """A peer that acknowledges nothing does not hold the port open."""
        self.pair.network.drop = lambda *_: True
        self.ours.last.transport.write(b"never arrives")
        done = outcome(self.pair.here.close(grace=1.0))
        run_for(self.pair.clock, 0.9)
        self.assertEqual(done, [])
        run_for(self.pair.clock, 0.5)
        self.assertEqual(done, [None])
        assert self.ours.last.lost is not None
        self.ours.last.lost.trap(error.ConnectionAborted)

    def test_close_when_idle(self) -> None:
        """A port that is to close when idle waits for its last connection."""
        done = outcome(self.pair.here.close_when_idle())
        run_for(self.pair.clock, 5.0)
        self.assertEqual(done, [])
        self.ours.last.transport.loseConnection()
        run_for(self.pair.clock, 1.0)
        self.assertEqual(done, [None])

    def test_carriers(self) -> None:
        """A port needs at least one carrier and at most one a family."""
        host = self.pair.network.host("192.0.2.50")
        self.assertRaises(ValueError, Port, self.pair.clock, [])
        self.assertRaises(ValueError, Port, self.pair.clock, [host.carrier(), host.carrier()])

    def test_dual_stack(self) -> None:
        """A port with two carriers serves both families."""
        clock, network = self.pair.clock, self.pair.network
        both = Port(
            clock,
            [network.host("2001:db8::1").carrier(7), network.host("192.0.2.60").carrier(7)],
        )
        self.assertEqual(both.addresses, [("192.0.2.60", 7), ("2001:db8::1", 7)])
        served = self.pair.recorders(b"hi")
        both.listen(served)
        six = memory_port(clock, network.host("2001:db8::2"), 8)
        made = self.pair.recorders()
        six.connect(("2001:db8:0::1", 7), made)
        self.pair.here.connect(("192.0.2.60", 7), made)
        run_for(clock, 1.0)
        self.assertEqual([end.received for end in made.made], [b"hi", b"hi"])
        self.assertEqual(
            sorted(end.transport.getHost().host for end in served.made),
            ["192.0.2.60", "2001:db8::1"],
        )
