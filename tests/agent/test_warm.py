"""Tests for :mod:`wavesync.agent.warm`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.warm import LATE, WarmMapping
from wavesync.interfaces import Address
from wavesync.signalling.messages import ConnectionAck, ConnectionAcked, Refusal, WarmedUp, WarmUp
from wavesync.signalling.numbers import Method
from wavesync.stun.message import Message, MessageClass, check_integrity, decode, encode
from wavesync.stun.pace import Pace

MEDIATOR: Address = ("192.0.2.1", 3345)
MAPPED: Address = ("198.51.100.1", 4100)
KEY = b"k" * 32
CONNECTION = "c0" * 16


class WarmMappingTests(SynchronousTestCase):
    """The router in front of a server keeps the server's UDP port open and known."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pace = Pace()
        self.sent: list[Message] = []
        self.doubts = 0
        self.warm = WarmMapping(self.clock, self.send, self.pace, self.doubt)
        self.warm.begin(MEDIATOR, 7, KEY)

    def send(self, data: bytes, to: Address) -> None:
        """Take a datagram."""
        self.assertEqual(to, MEDIATOR)
        self.sent.append(decode(data))

    def doubt(self) -> None:
        """Something may have happened to the network."""
        self.doubts += 1

    def take(self) -> list[Message]:
        """What was sent since the last look."""
        sent, self.sent = self.sent, []
        return sent

    def answer(
        self, key: bytes = KEY, source: Address = MEDIATOR, mapped: Address = MAPPED
    ) -> bool:
        """Answer what was sent last."""
        data = WarmedUp(mapped).encode(self.sent[-1].transaction_id, key)
        return self.warm.received(decode(data), source)

    def test_answered(self) -> None:
        """The mapping is learned, and renewed carefully often, with a rising number."""
        for sequence in range(1, 20):
            (message,) = self.sent
            self.assertTrue(check_integrity(message, KEY))
            self.assertEqual(WarmUp.decode(message), WarmUp(7, sequence))
            self.assertTrue(self.answer())
            self.assertEqual(self.warm.mapped, MAPPED)
            self.take()
            self.clock.advance(self.pace.interval - 0.1)
            self.assertEqual(self.sent, [])
            self.clock.advance(0.1)
        self.assertLessEqual(self.pace.interval, 5.0)

    def test_pace(self) -> None:
        """Once it is known how long the router keeps a mapping, it is renewed no more often."""
        self.pace.interval = 12.0
        for pause in (5.0, 12.0, 12.0):  # the first was set before
            self.assertTrue(self.answer())
            self.take()
            self.clock.advance(pause - 0.1)
            self.assertEqual(self.sent, [])
            self.clock.advance(0.1)
            self.assertEqual(len(self.sent), 1)

    def test_renew(self) -> None:
        """A port that has changed is shown at once, answered or not, and then as often as ever."""
        for sequence in (2, 3):
            self.take()
            self.warm.renew()
            (message,) = self.sent
            self.assertEqual(WarmUp.decode(message), WarmUp(7, sequence))
        self.assertTrue(self.answer())
        self.take()
        for pause, expected in ((self.pace.interval - 0.1, 0), (0.1, 1)):
            self.clock.advance(pause)
            # Older ones are still sent again, which moves nothing.
            newest = [each for each in self.take() if WarmUp.decode(each).sequence > 3]
            self.assertEqual(len(newest), expected)
        self.warm.end()
        self.warm.renew()
        self.assertEqual(self.sent, [])

    def test_moved(self) -> None:
        """A port that is seen elsewhere than before tells of a router that has forgotten things."""
        self.assertTrue(self.answer())
        self.clock.advance(self.pace.interval)
        self.assertTrue(self.answer())
        self.assertEqual(self.doubts, 0)
        for number in (1, 2):
            self.clock.advance(self.pace.interval)
            self.assertTrue(self.answer(mapped=("198.51.100.1", 4100 + number)))
            self.assertEqual(self.doubts, number)

    def test_moved_by_ourselves(self) -> None:
        """Another port of ours, or another registration, is seen elsewhere without any doubt."""
        self.assertTrue(self.answer())
        self.warm.renew()
        self.assertTrue(self.answer(mapped=("198.51.100.1", 5100)))
        self.warm.begin(MEDIATOR, 8, KEY)
        self.assertTrue(self.answer(mapped=("198.51.100.1", 6100)))
        self.assertEqual(self.doubts, 0)

    def test_moved_meanwhile(self) -> None:
        """The same port elsewhere after a new registration: a router has forgotten what relays had, too."""
        moves: list[Address | None] = []
        self.warm.on_moved = lambda: moves.append(self.warm.mapped)
        self.assertTrue(self.answer())
        self.warm.begin(MEDIATOR, 8, KEY)
        self.assertTrue(self.answer())
        self.assertEqual(moves, [])  # a mediator that was restarted
        elsewhere = ("198.51.100.1", 6100)
        self.warm.begin(MEDIATOR, 9, KEY)
        self.assertTrue(self.answer(mapped=elsewhere))
        self.assertEqual(moves, [elsewhere])
        self.warm.end()
        self.warm.renew()
        self.warm.begin(MEDIATOR, 10, KEY)
        self.assertTrue(self.answer(mapped=("198.51.100.1", 7100)))
        self.assertEqual((moves, self.doubts), ([elsewhere], 0))  # another port of ours

    def test_late(self) -> None:
        """Answers that stay away after there were some are a reason for doubt; before, UDP is
        simply blocked."""
        self.clock.pump([0.1] * 100)
        self.assertEqual(self.doubts, 0)
        self.assertTrue(self.answer())
        self.take()
        while not self.sent:
            self.clock.advance(0.05)
        self.clock.advance(LATE - 0.1)
        self.assertEqual(self.doubts, 0)
        self.clock.advance(0.2)
        self.assertEqual(self.doubts, 1)
        self.assertTrue(self.answer())
        self.warm.end()
        self.clock.advance(LATE)
        self.assertEqual((self.doubts, self.clock.getDelayedCalls()), (1, []))

    def test_retransmitted(self) -> None:
        """A lost packet is sent again, with the same bytes, until an answer comes."""
        self.clock.pump([0.1] * 20)
        first = self.sent[0].raw
        self.assertEqual([message.raw for message in self.sent], [first] * 3)
        self.assertTrue(self.answer())
        self.take()
        self.clock.advance(2.9)
        self.assertEqual(self.sent, [])

    def test_never_answered(self) -> None:
        """A network without UDP costs a few packets now and then, and no growing memory."""
        for _ in range(6000):
            self.clock.advance(0.1)
        self.assertLess(len(self.clock.getDelayedCalls()), 4)
        self.assertIsNone(self.warm.mapped)
        # Seven sendings of each of the forty, none after its time.
        self.assertLess(len(self.sent), 7 * 41)
        self.warm.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forged(self) -> None:
        """Nobody but the mediator can tell a server where it is."""
        self.assertFalse(self.answer(key=b"x" * 32))
        self.assertFalse(self.answer(source=("203.0.113.6", 3345)))
        unsigned = encode(Message(Method.BIND, MessageClass.SUCCESS, self.sent[0].transaction_id))
        self.assertFalse(self.warm.received(decode(unsigned), MEDIATOR))
        self.assertIsNone(self.warm.mapped)
        self.assertTrue(self.answer())

    def test_error_answer(self) -> None:
        """An error, or an answer without an address, changes nothing."""
        transaction = self.sent[-1].transaction_id
        refusal = Refusal(404).encode(Method.BIND, transaction, key=KEY)
        self.assertTrue(self.warm.received(decode(refusal), MEDIATOR))
        self.assertIsNone(self.warm.mapped)
        self.take()
        self.clock.advance(self.pace.interval)
        self.assertEqual(len(self.sent), 1)

    def test_acknowledge(self) -> None:
        """That punching has begun is told from the punching port, again until it is heard."""
        self.take()
        self.warm.acknowledge(CONNECTION)
        (message,) = self.sent
        self.assertTrue(check_integrity(message, KEY))
        self.assertEqual(ConnectionAck.decode(message), ConnectionAck(CONNECTION, 7))
        self.clock.pump([0.1] * 6)
        acks = [each for each in self.take() if each.method == Method.CONNECTION_ACK]
        self.assertEqual([each.raw for each in acks], [message.raw] * 2)
        answer = ConnectionAcked().encode(message.transaction_id, KEY)
        self.assertTrue(self.warm.received(decode(answer), MEDIATOR))
        self.clock.advance(5)
        self.assertNotIn(Method.CONNECTION_ACK, [each.method for each in self.sent])

    def test_end(self) -> None:
        """With the registration all of it ends; a late answer is nobody's."""
        self.warm.acknowledge(CONNECTION)
        self.warm.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.answer())
        self.take()
        self.warm.acknowledge(CONNECTION)
        self.assertEqual(self.sent, [])

    def test_begin_again(self) -> None:
        """A new registration has its own key and counts from one."""
        self.clock.advance(self.pace.interval)
        self.take()
        self.warm.begin(MEDIATOR, 8, b"K" * 32)
        (message,) = self.sent
        self.assertEqual(WarmUp.decode(message), WarmUp(8, 1))
        self.assertFalse(self.answer(KEY))
        self.assertTrue(self.answer(b"K" * 32))
        self.warm.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BothFamiliesTests(SynchronousTestCase):
    """A server with IPv4 and IPv6 is known by both, whichever its registration goes over."""

    other: Address = ("2001:db8::1", 3345)
    mapped_other: Address = ("2001:db8:1::1", 4100)

    def setUp(self) -> None:
        self.clock = Clock()
        self.pace = Pace()
        self.sent: list[tuple[Message, Address]] = []
        self.warm = WarmMapping(
            self.clock, lambda data, to: self.sent.append((decode(data), to)), self.pace
        )
        self.warm.begin(MEDIATOR, 7, KEY)
        self.warm.also(self.other)
        self.warm.also(self.other)

    def answer(self, mapped: Address, to: Address) -> None:
        """Answer the one message that is under way, which went to *to*."""
        ((message, destination),) = self.sent
        self.assertEqual(destination, to)
        self.sent = []
        data = WarmedUp(mapped).encode(message.transaction_id, KEY)
        self.assertTrue(self.warm.received(decode(data), to))

    def test_one_after_the_other(self) -> None:
        """Numbers rise in the order of arrival: the second family waits for the first's answer."""
        for number in (1, 3, 5):
            self.assertEqual(WarmUp.decode(self.sent[0][0]).sequence, number)
            self.answer(MAPPED, MEDIATOR)
            self.assertEqual(WarmUp.decode(self.sent[0][0]).sequence, number + 1)
            self.answer(self.mapped_other, self.other)
            self.assertEqual(self.sent, [])
            self.clock.advance(self.pace.interval)

    def test_one_family_is_dead(self) -> None:
        """A family whose packets are lost delays the other one, and does not stop it."""
        self.clock.pump([0.1] * 600)
        self.assertIn(self.other, {to for _, to in self.sent})

    def test_acknowledge(self) -> None:
        """Punching is acknowledged from both families' ports."""
        self.sent = []
        self.warm.acknowledge(CONNECTION)
        self.assertEqual({to for _, to in self.sent}, {MEDIATOR, self.other})

    def test_end(self) -> None:
        """The end is the end for both, and nothing can be added to it."""
        self.warm.end()
        self.sent = []
        self.warm.also(self.other)
        self.clock.advance(60)
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))
