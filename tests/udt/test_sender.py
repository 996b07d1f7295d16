"""Tests for :mod:`wavesync.udt.sender`: what the congestion strategy is told and how it is obeyed."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Burst
from wavesync.udt.congestion import AckSample, CongestionControl, LossEvent, PeerReport
from wavesync.udt.send_buffer import MAX_FLIGHT, SendBuffer
from wavesync.udt.sender import Sender
from wavesync.udt.statistics import Statistics


class Recorder(CongestionControl):
    """A strategy that notes what it is told and allows what the test says."""

    def __init__(self) -> None:
        """Allow ten packets, unpaced."""
        super().__init__()
        self.window = 10
        self.rate = float("inf")
        self.acks: list[AckSample] = []
        self.losses: list[LossEvent] = []
        self.timeouts: list[float] = []

    def on_ack(self, sample: AckSample) -> None:
        """Note it."""
        self.acks.append(sample)

    def on_loss(self, loss: LossEvent) -> None:
        """Note it."""
        self.losses.append(loss)

    def on_timeout(self, now: float) -> None:
        """Note it."""
        self.timeouts.append(now)


class SenderTests(SynchronousTestCase):
    """A sender of 10-byte payloads, from packet 100 on."""

    def setUp(self) -> None:
        """The peer has room for 1000 packets."""
        self.strategy = Recorder()
        self.buffer = SendBuffer(7, 100, 10, 0.0)
        self.statistics = Statistics()
        self.sender = Sender(0.0, self.buffer, 1000, self.strategy, 0.0, self.statistics)

    def send(self, now: float, limit: int = 1000) -> list[int]:
        """Give the sequence numbers that leave now."""
        out: list[Burst] = []
        self.sender.datagrams(now, limit, out)
        return [
            int.from_bytes(data[at : at + 4], "big")
            for data, size in out
            for at in range(0, len(data), size)
        ]

    def test_window(self) -> None:
        """No more packets are in flight than allowed; an ACK lets as many more leave."""
        self.buffer.write(bytes(1000))
        self.assertEqual(self.send(0.0), list(range(100, 110)))
        self.assertEqual(self.send(0.1), [])
        self.sender.on_ack(104, None, 0.1)
        self.assertEqual(self.send(0.1), list(range(110, 114)))

    def test_pacing(self) -> None:
        """Packets leave at the rate; a late timer catches up a little, a pause not at all."""
        self.strategy.window, self.strategy.rate = 1000, 1000.0
        self.buffer.write(bytes(10_000))
        self.assertEqual(len(self.send(0.0)), 1)
        self.assertAlmostEqual(self.sender.deadline(), 0.001)
        self.assertEqual(len(self.send(0.0005)), 0)
        self.assertEqual(len(self.send(0.0041)), 4)
        self.assertLessEqual(len(self.send(1.0)), 10)

    def test_late_burst(self) -> None:
        """What a late timer catches up leaves as one burst, which costs the kernel as much as a packet."""
        self.strategy.window, self.strategy.rate = 1000, 1000.0
        self.buffer.write(bytes(10_000))
        self.send(0.0)
        out: list[Burst] = []
        self.sender.datagrams(0.0065, 1000, out)
        self.assertEqual([len(data) // size for data, size in out], [6])
        self.assertAlmostEqual(self.sender.deadline(), 0.007)

    def test_a_loss_is_told_once(self) -> None:
        """What is asked for twice was lost once; a delivery beyond it is told as well."""
        self.buffer.write(bytes(1000))
        self.send(0.0)
        self.sender.on_nak([(102, 104)], 0.05)
        self.assertEqual(self.strategy.losses, [LossEvent(0.05, 2, 102, 110)])
        self.assertEqual(self.strategy.acks[-1].delivered, 3)  # 100, 101 and 104
        self.sender.on_nak([(102, 104)], 0.051)
        self.assertEqual(len(self.strategy.losses), 1)
        self.assertEqual(self.sender.in_flight, 5)

    def test_sent_again_first(self) -> None:
        """Lost packets leave before new ones."""
        self.buffer.write(bytes(1000))
        self.send(0.0)
        self.sender.on_nak([(102, 104)], 0.05)
        self.assertEqual(self.send(0.05)[:3], [102, 103, 110])
        self.assertEqual(self.statistics.retransmitted, 2)

    def test_repetitions_need_no_room(self) -> None:
        """A window that shrinks to less than is in flight does not hold up what was lost."""
        self.strategy.window = 100
        self.buffer.write(bytes(1000))
        self.send(0.0)
        self.strategy.window = 5
        self.sender.on_nak([(102, 104)], 0.05)
        self.assertEqual(self.sender.deadline(), 0.0)
        self.assertEqual(self.send(0.05), [102, 103])
        self.assertGreater(self.sender.deadline(), 0.05)

    def test_deliveries_add_up(self) -> None:
        """When all was acknowledged, all was delivered, losses or not."""
        self.strategy.window = 1000
        self.buffer.write(bytes(1000))
        self.send(0.0)
        self.sender.on_nak([(105, 107), (150, 151)], 0.05)
        self.send(0.05)
        self.sender.on_ack(200, None, 0.1)
        self.buffer.write(bytes(10))
        self.send(0.1)
        self.sender.on_ack(201, None, 0.15)
        self.assertEqual(self.strategy.acks[-1].delivered, 101)
        self.assertEqual(self.sender.in_flight, 0)

    def test_late_packets_count_as_delivered(self) -> None:
        """What was asked for, but came before it was sent again, was delivered all the same."""
        self.buffer.write(bytes(100))
        self.send(0.0)
        self.sender.on_nak([(102, 104)], 0.05)
        self.sender.on_ack(110, None, 0.06)
        self.assertEqual(self.strategy.acks[-1].delivered, 10)
        self.assertEqual(self.send(0.06), [])

    def test_round_trip_only_of_what_was_sent_once(self) -> None:
        """The ACK of a packet sent twice does not tell how long it took."""
        self.buffer.write(bytes(10))
        self.send(0.0)
        self.sender.timer(2.0)
        self.send(2.0)
        self.sender.on_ack(101, None, 2.01)
        self.assertIsNone(self.strategy.acks[-1].rtt)
        self.assertFalse(self.sender.round_trip.sampled)

    def test_tail_is_sent_although_the_window_is_full(self) -> None:
        """When nothing is heard, the oldest and the newest packet leave in any case."""
        self.buffer.write(bytes(1000))
        self.send(0.0)
        self.strategy.window = 1
        self.assertLessEqual(self.sender.deadline(), 0.4)
        self.sender.timer(0.4)
        self.assertLessEqual(self.sender.deadline(), 0.4)
        self.assertEqual(self.send(0.4), [100, 109])
        self.assertEqual(self.send(0.45), [])

    def test_everything_is_sent_again_in_the_end(self) -> None:
        """After two fruitless tries all in flight is called lost, and the strategy is told."""
        self.buffer.write(bytes(100))
        self.send(0.0)
        for now in (0.4, 1.2):
            self.sender.timer(now)
            self.send(now)
        self.assertEqual(self.strategy.timeouts, [])
        self.sender.timer(2.4)
        self.assertEqual(self.strategy.timeouts, [2.4])
        self.assertEqual(self.send(2.4), list(range(100, 110)))

    def test_after_a_timeout_deliveries_are_guesses(self) -> None:
        """Samples are not exact until a packet sent after the timeout has arrived."""
        self.buffer.write(bytes(100))
        self.send(0.0)
        for now in (0.4, 1.2, 2.4):
            self.sender.timer(now)
            self.send(now)
        self.buffer.write(bytes(20))
        self.sender.on_ack(105, None, 2.5)
        self.send(2.5)
        self.sender.on_ack(111, None, 2.6)
        self.assertTrue(self.strategy.acks[-1].exact)
        self.setUp()
        self.buffer.write(bytes(100))
        self.send(0.0)
        self.sender._recovery_end = 105
        self.sender.on_ack(103, None, 0.1)
        self.assertFalse(self.strategy.acks[-1].exact)

    def test_closed_window_is_asked(self) -> None:
        """A peer without room gets one packet, and no timeout is told."""
        self.buffer.write(bytes(100))
        self.send(0.0, 1)
        self.sender.on_ack(101, PeerReport(0), 0.1)
        self.assertEqual(self.send(0.1), [101])
        now = 0.1
        for _ in range(6):
            now = self.sender.deadline()
            self.sender.timer(now)
            self.assertEqual(self.send(now), [101])
        self.assertEqual(self.strategy.timeouts, [])
        self.sender.on_ack(101, PeerReport(50), now)
        self.assertEqual(self.send(now)[:2], [102, 103])

    def test_absurd_window(self) -> None:
        """A window counts for 131,072 packets at most."""
        self.strategy.window = 1 << 20
        for window, count in ((MAX_FLIGHT, MAX_FLIGHT), (MAX_FLIGHT + 1, MAX_FLIGHT)):
            self.sender.on_ack(100, PeerReport(window), 0.0)
            self.assertEqual(self.sender._limit - 100, count)

    def test_writer_limited_samples_are_marked(self) -> None:
        """What left when there was nothing more to say measures the writer, not the path."""
        self.buffer.write(bytes(20))
        self.send(0.0)
        self.buffer.write(bytes(10))
        self.send(0.01)
        self.sender.on_ack(103, None, 0.05)
        self.assertTrue(self.strategy.acks[-1].app_limited)
