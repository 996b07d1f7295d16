"""Tests for :mod:`wavesync.udt.acknowledger`."""

import itertools
import math

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.acknowledger import (
    ACK_INTERVAL,
    AMPLE,
    FEW_PACKETS,
    LIGHT_PACKETS,
    MAX_HISTORY,
    MAX_REPEATS,
    MIN_ACK_INTERVAL,
    NUMBERED_INTERVAL,
    SHORT_TRIP,
    START_PACKETS,
    Acknowledger,
)
from wavesync.udt.estimators import LOWEST_PERIOD
from wavesync.udt.packet import (
    Acknowledgement,
    ControlPacket,
    ControlType,
    decode_acknowledgement,
    decode_packet,
)
from wavesync.udt.room import Room


class AcknowledgerTests(SynchronousTestCase):
    """ACKs leave often enough for the sender, and no oftener."""

    def setUp(self) -> None:
        """A receiver whose first packet is number 100."""
        self.acks = Acknowledger(7, 100)

    def due(self, now: float, free: int = 50) -> tuple[int, Acknowledgement] | None:
        """Give number and content of the ACK due, if any."""
        data = self.acks.due(now, free)
        if data is None:
            return None
        packet = decode_packet(data)
        assert isinstance(packet, ControlPacket)
        self.assertEqual((packet.kind, packet.destination), (ControlType.ACK, 7))
        return packet.info, decode_acknowledgement(packet.body)

    def test_nothing_at_first(self) -> None:
        """No data, no ACK."""
        self.assertIsNone(self.due(5.0))
        self.assertEqual(self.acks.deadline(), math.inf)

    def test_the_first_packet(self) -> None:
        """The first packet is acknowledged at once: the sender learns the round trip."""
        self.acks.on_data(101, 1, False, 1.0)
        ack = self.due(1.0)
        assert ack is not None
        self.assertEqual(ack[0], 1)
        self.assertEqual((ack[1].sequence, ack[1].rtt, ack[1].free), (101, 100_000, 50))
        self.assertEqual(ack[1].arrival_rate, 0)

    def test_room(self) -> None:
        """On a short path a writer is told no more than the system keeps for us; on a longer one, and
        before it is known, the whole window."""
        self.acks = Acknowledger(7, 100, room=Room(20))
        now = 1.0
        told = []
        for index, trip in enumerate((SHORT_TRIP, SHORT_TRIP - 0.001, 0.5, 0.5)):
            now = (1.0, 2.0, 3.0, 3.0 + 2 * LOWEST_PERIOD)[index]
            self.acks.on_data(101 + index, 1, False, now)
            ack = self.due(now)
            assert ack is not None
            told.append(ack[1].free)
            self.acks.on_ack2(ack[0], now + trip)
        self.assertEqual(told, [50, 50, 20, 20])
        self.acks.on_data(110, 1, False, now + 2 * LOWEST_PERIOD)
        ack = self.due(now + 2 * LOWEST_PERIOD)
        assert ack is not None
        self.assertEqual(ack[1].free, 20)

    def test_every_10_ms(self) -> None:
        """Bulk data is acknowledged by a timer, each time with a new number."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.on_data(102, 1, False, 1.001)
        self.acks.on_data(103, 1, False, 1.002)
        self.assertIsNone(self.due(1.009))
        self.assertAlmostEqual(self.acks.deadline(), 1.0 + ACK_INTERVAL)
        ack = self.due(1.0 + ACK_INTERVAL)
        assert ack is not None
        self.assertEqual((ack[0], ack[1].sequence), (2, 103))

    def test_sooner_on_short_paths(self) -> None:
        """Where a round trip takes less than 40 ms the sender hears four times in one."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.round_trip.add(0.016)
        self.acks.on_data(102, 1, False, 1.001)
        self.assertAlmostEqual(self.acks.deadline(), 1.004)
        self.acks.round_trip.rtt = 0.0001
        self.due(1.004)
        self.acks.on_data(103, 1, False, 1.0041)
        self.assertAlmostEqual(self.acks.deadline(), 1.004 + MIN_ACK_INTERVAL)

    def test_short_packets_at_once(self) -> None:
        """The packet that ends a burst is acknowledged at once; many tiny ones are not."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.on_data(102, 1, True, 1.005)
        ack = self.due(1.005)
        assert ack is not None
        self.assertEqual(ack[1].sequence, 102)
        self.assertIsNone(ack[1].arrival_rate)  # short: the last full one is only 5 ms old
        count = 0
        for index in range(100):
            now = 1.01 + index * 0.0001
            self.acks.on_data(103 + index, 1, True, now)
            count += self.due(now) is not None
        self.assertLessEqual(count, 6)

    def test_light(self) -> None:
        """After 64 packets without an ACK a light one leaves, without a number; not after 63."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.on_data(164, LIGHT_PACKETS - 1, False, 1.001)
        self.assertIsNone(self.due(1.001))
        self.acks.on_data(165, 1, False, 1.001)
        self.assertEqual(self.due(1.001), (0, Acknowledgement(165)))
        self.assertIsNone(self.due(1.001))

    def lights(self, *, sparing: bool, free: int, trip: float = 0.0) -> int:
        """:return: light ACKs to a peer that sends 440,000 packets a second, for the last 10 of 120 ms."""
        self.acks = Acknowledger(7, 100, sparing=sparing)
        count = 0
        for turn in range(1, 1201):
            now = 1.0 + turn / 10_000
            self.acks.arrival.add(44, now)
            self.acks.on_data(100 + 44 * turn, 44, False, now)
            packet = self.acks.due(now, free)
            if packet is not None and len(packet) > 20:
                number = int.from_bytes(packet[4:8], "big")
                self.acks.on_ack2(number, now + trip)
            elif packet is not None:
                count += turn > 1100
        return count

    def test_light_when_much_comes(self) -> None:
        """A wavesync end that sends fast hears once a millisecond or an eighth of the window, libudt after 64
        packets."""
        self.assertIn(self.lights(sparing=True, free=8192), range(8, 11))
        self.assertIn(self.lights(sparing=True, free=1600), range(12, 23))
        self.assertGreaterEqual(self.lights(sparing=True, free=100), 40)
        self.assertGreaterEqual(self.lights(sparing=False, free=8192), 40)

    def test_light_when_room_is_short(self) -> None:
        """A wavesync end that has room for 88 packets hears after 44 of them, as a sender may wait for that; a
        near one hears of every burst in any case."""
        self.assertEqual(self.lights(sparing=True, free=89, trip=0.01), 100)
        self.assertLess(self.lights(sparing=True, free=90, trip=0.01), 100)
        self.assertEqual(self.lights(sparing=True, free=90), 100)

    def test_first_window(self) -> None:
        """A wavesync end hears of its first window of packets at once, libudt when it is time."""
        for sparing, told in ((True, True), (False, False)):
            self.acks = Acknowledger(7, 100, sparing=sparing)
            self.acks.on_data(101, 1, False, 1.0)
            self.due(1.0)
            self.acks.on_data(133, 32, False, 1.0001)
            self.assertEqual(self.due(1.0001) is not None, told)

    def test_no_light_without_news(self) -> None:
        """Packets behind a gap do not cause ACKs that say the same again."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.on_data(101, 200, False, 1.001)
        self.assertIsNone(self.due(1.001))

    def test_repeated_until_answered(self) -> None:
        """An ACK without an ACK2 is repeated ever less often, then given up."""
        self.acks.on_data(101, 1, False, 1.0)
        times = []
        while (now := self.acks.deadline()) < math.inf:
            self.assertIsNotNone(self.due(now))
            times.append(now)
        self.assertEqual(len(times), 1 + MAX_REPEATS)
        self.assertAlmostEqual(times[1] - times[0], 0.3)
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertEqual(waits, sorted(waits))

    def test_answered(self) -> None:
        """ACK2 ends the repeating and measures the round trip."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.assertTrue(self.acks.on_ack2(1, 1.03))
        self.assertEqual(self.acks.deadline(), math.inf)
        self.assertAlmostEqual(self.acks.round_trip.rtt, 0.03)

    def test_forged_answers(self) -> None:
        """An ACK2 for an ACK never sent, or answered before, measures nothing."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.assertFalse(self.acks.on_ack2(2, 1.001))
        self.assertTrue(self.acks.on_ack2(1, 1.03))
        self.assertFalse(self.acks.on_ack2(1, 9.0))
        self.assertAlmostEqual(self.acks.round_trip.rtt, 0.03)

    def test_history_limit(self) -> None:
        """1024 unanswered ACKs are remembered, the one before them is not."""
        for index in range(MAX_HISTORY + 1):
            now = 1.0 + index * 0.02
            self.acks.on_data(101 + index, 1, False, now)
            self.due(now)
        self.assertFalse(self.acks.on_ack2(1, 60.0))
        self.assertTrue(self.acks.on_ack2(2, 60.0))

    def test_duplicates_after_a_lost_ack(self) -> None:
        """A peer that sends again what we have is told again, at most every 10 ms."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0)
        self.acks.on_data(101, 0, False, 1.1)
        self.assertIsNotNone(self.due(1.1))
        self.acks.on_data(101, 0, False, 1.105)
        self.assertIsNone(self.due(1.105))
        self.assertAlmostEqual(self.acks.deadline(), 1.11)

    def test_window_opened(self) -> None:
        """Room again is told at once and until it was heard, though the point is an old one."""
        self.acks.on_data(101, 1, False, 1.0)
        self.due(1.0, free=0)
        self.acks.on_ack2(1, 1.01)
        self.acks.window_opened(2.0)
        ack = self.due(2.0, free=50)
        assert ack is not None
        self.assertEqual((ack[0], ack[1].sequence, ack[1].free), (2, 101, 50))
        self.assertLess(self.acks.deadline(), math.inf)
        self.acks.on_ack2(2, 2.01)
        self.assertEqual(self.acks.deadline(), math.inf)

    def sparing(self, packets: int, free: int = AMPLE) -> list[int]:
        """Give the ACK numbers for so many short packets of a wavesync end, 20 ms apart."""
        self.acks = Acknowledger(7, 100, sparing=True)
        numbers = []
        for index in range(packets):
            now = 1.0 + index * 0.02
            self.acks.on_data(101 + index, 1, True, now)
            ack = self.due(now, free)
            assert ack is not None
            self.assertEqual(ack[1].sequence, 101 + index)
            self.assertEqual(self.acks.on_ack2(ack[0], now + 0.01), ack[0] > 0)
            self.assertEqual(self.acks.deadline(), math.inf)
            numbers.append(ack[0])
        return numbers

    def test_sparing(self) -> None:
        """A wavesync end gets ACKs that need no answer: at once, but for every sixteenth packet."""
        light = [0] * (FEW_PACKETS - 1)
        self.assertEqual(self.sparing(2 * FEW_PACKETS), [*light, 1, *light, 2])

    def test_sparing_where_room_is_short(self) -> None:
        """With less room than the peer may count on, every ACK tells how much there is."""
        self.assertEqual(self.sparing(3, AMPLE - 1), [1, 2, 3])

    def busy(self, packets: int, free: int) -> list[tuple[int, int]]:
        """Give times (milliseconds) and numbers of the ACKs for so many packets every millisecond, for
        120 ms, to a wavesync end that has sent much already, 1 ms away."""
        self.acks = Acknowledger(7, 100, sparing=True)
        self.acks.round_trip.add(0.001)
        point = 100 + START_PACKETS
        self.acks.on_data(point, START_PACKETS, False, 0.5)
        first = self.due(0.5, free)
        assert first is not None
        self.acks.on_ack2(first[0], 0.501)
        told = []
        for index in range(120):
            now = 1.0 + index / 1000
            point += packets
            self.acks.on_data(point, packets, False, now)
            ack = self.due(now, free)
            if ack is not None:
                self.assertEqual(ack[1].sequence, point & 0x7FFF_FFFF)
                told.append((index, ack[0]))
                if ack[0]:
                    self.acks.on_ack2(ack[0], now + 0.0005)
        return told

    def test_busy(self) -> None:
        """To a wavesync end that sends much one ACK in 50 ms is numbered, and the others need no answer."""
        for free in (8000, AMPLE):
            numbered = [index for index, number in self.busy(20, free) if number]
            self.assertEqual(numbered, [0, 50, 100])
            self.assertGreater(len(self.busy(20, free)), 50)
        self.assertTrue(all(number for _, number in self.busy(20, AMPLE - 1)))

    def test_busy_at_first(self) -> None:
        """Until a wavesync end has sent much one ACK in 10 ms is numbered: it measures the path."""
        self.acks = Acknowledger(7, 100, sparing=True)
        self.acks.round_trip.add(0.001)
        numbered = []
        for index in range(20):
            self.acks.on_data(120 + 20 * index, 20, False, 1.0 + index / 1000)
            ack = self.due(1.0 + index / 1000, 8000)
            if ack is not None and ack[0]:
                numbered.append(index)
                self.acks.on_ack2(ack[0], 1.0 + index / 1000)
        self.assertEqual(numbered, [0, 10])

    def test_promised_room(self) -> None:
        """A light ACK says that there is as much room as was told before; where there is less, ACKs are
        numbered, until one that says so has been answered."""
        self.busy(20, 8000)
        point = 100 + START_PACKETS + 120 * 20
        told = []
        for index, free in enumerate((8000, 7999, 7999, 7999, 7999, 8000, 7998)):
            now = 1.13 + index / 200
            point += 64
            self.acks.on_data(point, 64, False, now)
            ack = self.due(now, free)
            assert ack is not None
            told.append(ack[1].free)
            if index == 2:
                self.acks.on_ack2(2, now)  # of one before
                self.acks.on_ack2(ack[0], now)
        self.assertEqual(told, [None, 7999, 7999, None, None, None, 7998])

    def test_room_is_shared(self) -> None:
        """Who sends much is told its share of what the system keeps, and at once when that gets less."""
        room = Room(3640)
        self.acks = Acknowledger(7, 100, sparing=True, room=room)
        self.acks.on_data(200, 100, False, 1.0)
        first = self.due(1.0, 8192)
        assert first is not None
        self.acks.on_ack2(first[0], 1.001)
        told = []
        for index in range(6):
            now = 1.01 + index / 200
            if index == 3:
                for _ in range(49):
                    room.take_part(0, now)
            self.acks.on_data(264 + 64 * index, 64, False, now)
            ack = self.due(now, 8192)
            assert ack is not None
            told.append(ack[1].free)
            self.acks.on_ack2(ack[0], now)
        self.assertEqual((first[1].free, told), (8192, [3640, None, 3640, 88, None, 88]))

    def test_little(self) -> None:
        """Of little at a time a wavesync end hears every 10 ms."""
        times = [index for index, _ in self.busy(1, 8000)]
        self.assertTrue(all(b - a >= 9 for a, b in itertools.pairwise(times)), times)
        self.assertGreaterEqual(len(times), 4)

    def test_followed(self) -> None:
        """A light ACK amid much is followed by a numbered one even if nothing more comes."""
        self.busy(20, 8000)
        numbers = []
        for now, point in ((1.2, 2420), (1.203, 2440), (1.2 + NUMBERED_INTERVAL, 2440)):
            self.acks.on_data(100 + START_PACKETS + point, 20, False, now)
            ack = self.due(now, 8000)
            assert ack is not None
            numbers.append(ack[0] > 0)
            self.acks.on_ack2(ack[0], now + 0.0005)
            if not ack[0]:
                self.assertAlmostEqual(self.acks.deadline(), 1.2 + NUMBERED_INTERVAL)
        self.assertEqual(numbers, [True, False, True])

    def test_sparing_until_heard(self) -> None:
        """Light ACKs do not take the place of a numbered one that may be lost."""
        self.sparing(FEW_PACKETS - 1)
        for index, answered in ((15, False), (16, False), (17, True), (18, True)):
            now = 2.0 + index
            self.acks.on_data(101 + index, 1, True, now)
            ack = self.due(now)
            assert ack is not None
            self.assertEqual(ack[0], (1, 2, 3, 0)[index - 15])
            if answered:
                self.acks.on_ack2(ack[0], now)
            self.assertEqual(self.acks.deadline() < math.inf, not answered)

    def test_sparing_after_loss(self) -> None:
        """A peer that sends again what a light ACK was for gets a numbered one, until it answers."""
        self.sparing(1)
        self.acks.on_data(101, 0, True, 1.1)
        ack = self.due(1.1)
        assert ack is not None
        self.assertEqual((ack[0], ack[1].sequence), (1, 101))
        self.assertLess(self.acks.deadline(), math.inf)

    def test_sparing_after_a_window_was_told(self) -> None:
        """More room is told with the next ACK if less was told before, else it is no news."""
        self.sparing(1)
        self.acks.window_widened()
        self.acks.on_data(102, 1, True, 2.0)
        self.assertEqual(self.due(2.0), (0, Acknowledgement(102)))
        self.acks.on_data(102, 0, True, 2.1)
        self.assertIsNotNone(self.due(2.1))
        self.acks.on_ack2(1, 2.11)
        self.acks.window_widened()
        self.acks.on_data(103, 1, True, 3.0)
        ack = self.due(3.0)
        assert ack is not None
        self.assertEqual((ack[0], ack[1].free), (2, 50))

    def test_window_word_is_never_below_2(self) -> None:
        """libudt never asks again when it is told 0 or 1."""
        self.acks.on_data(101, 1, False, 1.0)
        ack = self.due(1.0, free=0)
        assert ack is not None
        self.assertEqual(ack[1].free, 2)

    def test_number_wraps(self) -> None:
        """ACK number 0x7FFFFFFF is followed by 0."""
        self.acks._number = 0x7FFF_FFFE
        numbers = []
        for index in range(3):
            self.acks.on_data(101 + index, 1, False, 1.0 + index)
            ack = self.due(1.0 + index)
            assert ack is not None
            numbers.append(ack[0])
        self.assertEqual(numbers, [0x7FFF_FFFF, 0, 1])
