"""Tests for the short way of small packets: :mod:`wavesync.udt.exchange`, and links that take it."""

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.test_link_turns import Ports, make
from tests.udt.test_sender import Recorder as Strategy
from wavesync.interfaces import Burst
from wavesync.udt.acknowledger import LIGHT_PACKETS
from wavesync.udt.congestion import PeerReport
from wavesync.udt.gathering import PACING_CREDIT
from wavesync.udt.link import Link
from wavesync.udt.packet import HEADER, HEADER_SIZE, ControlType, DataPacket
from wavesync.udt.receiver import PROBE_PERIOD, Receiver
from wavesync.udt.send_buffer import LITTLE, SendBuffer
from wavesync.udt.sender import Sender
from wavesync.udt.sequence import MODULUS
from wavesync.udt.statistics import Statistics


class Side:
    """One of two links, and what a port would do for it."""

    def __init__(self, number: int, other: int, *, echo: bool = False) -> None:
        self.ports = Ports()
        self.link, self.protocol = make(self.ports, number, other, echo=echo)
        self.short = 0

    def take(self, burst: Burst, now: float) -> None:
        """Take a burst as the sorter does."""
        data, size = burst
        if len(data) <= size and len(data) > HEADER_SIZE:
            first = HEADER.unpack_from(data)[0]
            if first < MODULUS and self.link.receive_next(first, data, now):
                return
        self.link.receive(data, size, now)

    def turn(self, now: float) -> list[Burst]:
        """Give the link a turn as the port does; give what it sends."""
        self.link.turn(now)
        self.link.scheduled = self.link.deadline(now)
        self.short += self.link._plain
        sent, self.ports.sent = self.ports.sent, []
        return sent


class DeadlineTests(SynchronousTestCase):
    """A deadline that is kept is never later than the true one."""

    def converse(self, seed: int, loss: float) -> tuple[Side, Side]:
        """Have two ends say things at random for a while, and then nothing until all has arrived."""
        chance = random.Random(seed)
        sides = Side(1, 2), Side(2, 1)
        written = [b"", b""]
        way: list[tuple[float, int, Burst]] = []
        now = 0.0
        busy = [True, True]
        while now < 30.0:
            talking = now < 2.0
            for me, side in enumerate(sides):
                if talking and chance.random() < 0.4:
                    size = chance.choice((1, 64, 64, 64, 600, 1216, 1217, 9000))
                    data = bytes([chance.randrange(256)]) * size
                    side.protocol.transport.write(data)
                    written[me] += data
                    busy[me] = True
                if talking and chance.random() < 0.02:
                    side.protocol.transport.pauseProducing()
                elif chance.random() < 0.1:
                    side.protocol.transport.resumeProducing()
                    busy[me] = True
                due = side.link.scheduled
                if due is not None and due <= now:
                    side.link.scheduled = None
                    busy[me] = True
                if not busy[me]:
                    continue
                busy[me] = False
                way += [
                    (now + chance.choice((0.0002, 0.004)), 1 - me, burst)
                    for burst in side.turn(now)
                    if chance.random() >= loss
                ]
                true, kept = side.link.connection.deadline(), side.link.scheduled
                assert true is not None and kept is not None
                self.assertLessEqual(kept, max(true, now) + 1e-9, f"seed {seed}, at {now}")
            now += chance.choice((0.00005, 0.0003, 0.002))
            for arrival in [each for each in way if each[0] <= now]:
                way.remove(arrival)
                sides[arrival[1]].take(arrival[2], now)
                busy[arrival[1]] = True
            done = all(sides[1 - me].protocol.received == written[me] for me in (0, 1))
            if not talking and done and not way:
                break
        for me in (0, 1):
            self.assertEqual(sides[1 - me].protocol.received, written[me], f"seed {seed}")
        return sides

    def test_without_loss(self) -> None:
        """Two that talk at random are served in time, and most of their turns are short."""
        for seed in range(3):
            sides = self.converse(seed, 0.0)
            self.assertGreater(sum(side.short for side in sides), 200)

    def test_with_loss(self) -> None:
        """Where one packet in ten is lost, too; all arrives, in order."""
        for seed in range(3):
            self.converse(seed, 0.1)


class LinkTests(SynchronousTestCase):
    """A link whose peer says little."""

    def setUp(self) -> None:
        """Two ends that have got to know each other."""
        self.one, self.other = Side(1, 2), Side(2, 1, echo=True)
        self.now = 0.0
        self.settle()
        self.now += 1.0
        self.one.protocol.transport.write(b"hello")
        self.settle()

    def settle(self) -> None:
        """Have both say all that they have to say."""
        for _round in range(8):
            for me, peer in ((self.one, self.other), (self.other, self.one)):
                due = me.link.scheduled
                if due is not None and due <= self.now:
                    me.link.scheduled = None
                for burst in me.turn(self.now):
                    peer.take(burst, self.now)

    def packets(self, count: int, size: int = 10) -> list[bytes]:
        """:return: what *one* would say next."""
        self.now += 0.0001
        made = []
        for _packet in range(count):
            self.one.protocol.transport.write(bytes(size))
            packet = self.one.link.connection.exchange._sender._buffer.cut_small(self.now)
            assert packet is not None
            made.append(packet[1])
        return made

    def test_question_and_answer(self) -> None:
        """A small question is answered in a turn that asks nothing of timers."""
        self.one.protocol.transport.write(b"question")
        before = self.one.short
        self.now += 0.001
        (question,) = self.one.turn(self.now)
        self.assertGreater(self.one.short, before)
        self.other.take(question, self.now)
        (answer,) = self.other.turn(self.now)
        self.assertEqual(answer.data[HEADER_SIZE:], b"question")
        self.assertEqual(self.other.protocol.received, b"helloquestion")

    def test_light_ack(self) -> None:
        """Who sends many small packets at a time hears that they came, though no time passes."""
        link = self.other.link
        link.connection._receiver.acknowledger._acked_at = self.now
        for packet in self.packets(LIGHT_PACKETS):
            self.other.take(Burst(packet, len(packet)), self.now)
        kinds = {HEADER.unpack_from(burst.data)[0] >> 16 for burst in self.other.turn(self.now)}
        self.assertIn(0x8000 | ControlType.ACK, kinds)

    def test_paused(self) -> None:
        """What comes for a paused reader is held against the window, and given to it later."""
        self.other.protocol.transport.pauseProducing()
        packets = self.packets(20)
        for packet in packets:
            self.other.take(Burst(packet, len(packet)), self.now)
            self.other.turn(self.now)
        self.assertEqual(self.other.link.connection._receiver.held, 20)
        self.assertEqual(self.other.protocol.received, b"hello")
        self.other.protocol.transport.resumeProducing()
        self.other.turn(self.now)
        self.assertEqual(self.other.protocol.received, b"hello" + bytes(200))

    def test_closing(self) -> None:
        """Who closes on a small packet closes in that turn as in any other."""
        self.other.protocol.dataReceived = (  # type: ignore[method-assign]
            lambda data: self.other.protocol.transport.abortConnection()
        )
        (packet,) = self.packets(1)
        self.other.take(Burst(packet, len(packet)), self.now)
        sent = self.other.turn(self.now)
        kinds = {HEADER.unpack_from(burst.data)[0] >> 16 for burst in sent}
        self.assertIn(0x8000 | ControlType.SHUTDOWN, kinds)
        self.assertIsNotNone(self.other.protocol.lost)

    def test_failing(self) -> None:
        """A protocol that fails on a small packet loses its connection, as on any other."""

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        self.other.protocol.dataReceived = fail  # type: ignore[method-assign]
        (packet,) = self.packets(1)
        self.other.take(Burst(packet, len(packet)), self.now)
        self.other.turn(self.now)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.other.turn(self.now)
        self.assertIsNotNone(self.other.protocol.lost)

    def test_due(self) -> None:
        """A turn at a deadline is a whole one."""
        link: Link = self.other.link
        assert link.scheduled is not None
        self.assertTrue(link._plain)
        now = link.scheduled
        self.assertFalse(link._exchange(now))
        link.scheduled = None
        self.assertFalse(link._exchange(now))


class ReceiverTests(SynchronousTestCase):
    """A packet that is simply the next one has the same effect by the short way."""

    def test_alike(self) -> None:
        """Statistics, ACKs and data of two receivers are the same after each packet."""
        chance = random.Random(4)
        both = [Receiver(5, MODULUS - 40, 1472, 100, 1456, Statistics(), True) for _ in range(2)]
        now = 0.0
        for number in range(4 * PROBE_PERIOD + 40):
            now += chance.choice((0.00001, 0.0005, 0.003))
            payload = bytes(chance.choice((1, 64, 1216)))
            first = (MODULUS - 40 + number) % MODULUS
            packet = DataPacket(first, 1, 9, payload).encode()
            self.assertTrue(both[0].on_next(first, packet, now))
            self.assertTrue(both[1].on_run(first, 1, [payload], len(payload), now))
            self.assertEqual(both[0].deadline(), both[1].deadline())
            out: list[list[Burst]] = [[], []]
            for receiver, sent in zip(both, out, strict=True):
                receiver.control(now, sent)
            self.assertEqual(out[0], out[1])
            if number % 7 == 0:
                self.assertEqual(both[0].take(), both[1].take())
        states = [
            {name: getattr(each._statistics, name) for name in Statistics.__slots__}
            for each in both
        ]
        self.assertEqual(states[0], states[1])

    def test_not_simple(self) -> None:
        """Repeats, packets behind a gap, too long ones and those without room go the long way."""
        receiver = Receiver(5, 100, 100, 2, 84, Statistics(), True)
        packet = DataPacket(101, 1, 9, b"x").encode()
        self.assertFalse(receiver.on_next(101, packet, 0.0))
        self.assertFalse(receiver.on_next(99, packet, 0.0))
        self.assertFalse(receiver.on_next(100, bytes(101), 0.0))
        self.assertTrue(receiver.on_next(100, bytes(100), 0.0))
        self.assertTrue(receiver.on_next(101, packet, 0.0))
        self.assertFalse(receiver.on_next(102, packet, 0.0))  # the window is full
        receiver.take()
        receiver.on_run(103, 1, [b"x"], 1, 0.0)
        self.assertFalse(receiver.on_next(102, packet, 0.0))  # it closes a gap


class SenderTests(SynchronousTestCase):
    """A packet that may leave at once leaves in the same way by the short way."""

    def make(self) -> tuple[SendBuffer, Sender]:
        """:return: a sender of 10-byte payloads, and its buffer."""
        buffer = SendBuffer(7, 100, 10, 0.0)
        strategy = Strategy()
        strategy.rate = 1000.0
        return buffer, Sender(0.0, buffer, 1000, strategy, 0.0, Statistics())

    def test_alike(self) -> None:
        """The packets, what is noted of them, and the deadlines are the same."""
        (first, short), (second, long) = self.make(), self.make()
        now = 0.0
        for number in range(300):
            now += (0.0, 0.0004, 0.003, 0.02)[number % 4]
            for buffer in (first, second):
                buffer.write(b"abcdefghij"[: 1 + number % 10])
            out: list[Burst] = []
            long.datagrams(now, 100, out)
            packet = short.small_packet(now)
            if packet is None:
                other: list[Burst] = []
                short.datagrams(now, 100, other)
                self.assertEqual(other, out)
            else:
                self.assertEqual([packet], [burst.data for burst in out])
            self.assertEqual(short.deadline(), long.deadline())
            self.assertEqual(short.in_flight, long.in_flight)
            if number % 5 == 4:
                point = first.next
                for sender in (short, long):
                    sender.on_ack(point, PeerReport(1000), now)
            elif first.next > first.acknowledged:
                noted = [buffer.find(buffer.next - 1) for buffer in (first, second)]
                self.assertEqual(noted[0].delivered, noted[1].delivered)
                self.assertEqual(noted[0].sent_at, noted[1].sent_at)

    def test_refused(self) -> None:
        """What is not simple is left alone: too much, too early, too fast, no room, or lost before."""
        buffer, sender = self.make()
        self.assertEqual(sender.small_packet(0.0), b"")
        buffer.write(bytes(11))
        self.assertIsNone(sender.small_packet(0.0))
        sender.datagrams(0.0, 100, [])
        sender.datagrams(1.0, 100, [])
        buffer.write(b"x")
        self.assertIsNone(sender.small_packet(sender._next_send - 1e-6))
        self.assertIsNotNone(sender.small_packet(sender._next_send))
        sender.on_nak([(100, 101)], 2.0)
        buffer.write(b"x")
        self.assertIsNone(sender.small_packet(3.0))

    def test_window(self) -> None:
        """Neither the strategy's window nor the peer's is exceeded."""
        buffer, sender = self.make()
        now = 0.0
        for _packet in range(10):
            now += 2 * PACING_CREDIT
            buffer.write(b"x")
            self.assertIsNotNone(sender.small_packet(now))
        buffer.write(b"x")
        self.assertIsNone(sender.small_packet(now + 1.0))
        sender.on_ack(110, PeerReport(1), now)
        self.assertIsNotNone(sender.small_packet(now + 1.0))
        buffer.write(b"x")
        self.assertIsNone(sender.small_packet(now + 2.0))

    def test_little(self) -> None:
        """Only so much may be on its way."""
        buffer = SendBuffer(7, 100, 1456, 0.0)
        for size, taken in ((LITTLE // 8,) * 2, (1, 1), (1, None)):
            for _packet in range(8 if size > 1 else 1):
                buffer.write(bytes(size))
                made = buffer.cut_small(0.0)
                self.assertEqual(made is not None, taken is not None)

    def test_same_packet(self) -> None:
        """It is the packet that is made of as many bytes in the long way, wherever they lie."""
        first, second = (SendBuffer(7, MODULUS - 2, 10, 0.0) for _ in range(2))
        for writes in ((b"abc",), (b"ab", b"cd"), (b"0123456789",), (b"x" * 10, b"y" * 3)):
            for buffer in (first, second):
                for data in writes:
                    buffer.write(data)
            if first.unsent > 10:
                self.assertIsNone(first.cut_small(0.5))
                first.cut(1, 0.5)
                second.cut(1, 0.5)
            made = first.cut_small(0.5)
            burst = second.cut(1, 0.5)
            assert made is not None
            self.assertEqual(made[1], second.packets(burst, 0, 1))
            self.assertEqual(made[1], first.packets(made[0], 0, 1))
            self.assertEqual((first.next, first.unsent), (second.next, second.unsent))
            self.assertEqual(first.unacknowledged, second.unacknowledged)
