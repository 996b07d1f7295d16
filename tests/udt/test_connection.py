"""Tests for :mod:`wavesync.udt.connection`: packets put in by hand, forged ones above all."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Burst
from wavesync.udt.connection import Closed, CloseReason, Connection, DataReceived
from wavesync.udt.packet import (
    Acknowledgement,
    ControlPacket,
    ControlType,
    DataPacket,
    Position,
    decode_acknowledgement,
    decode_loss_list,
    decode_packet,
    encode_acknowledgement,
    encode_control,
    encode_nak,
)

_ME, _PEER = 5, 6


def _packets(bursts: list[Burst]) -> list[DataPacket | ControlPacket]:
    """Cut bursts into packets, as a carrier does."""
    return [
        decode_packet(data[start : start + size])
        for data, size in bursts
        for start in range(0, len(data), size)
    ]


class ConnectionCase(SynchronousTestCase):
    """A connection in the hands of the test, which plays its peer."""

    def setUp(self) -> None:
        """Our packets begin at 1000, the peer's at 2000; 100 packets each way fit."""
        self.connection = Connection(
            now=0.0,
            local_id=_ME,
            peer_id=_PEER,
            send_isn=1000,
            receive_isn=2000,
            send_mss=1500,
            peer_window=100,
            receive_window=100,
        )
        self.now = 0.0

    def sent(self) -> list[DataPacket | ControlPacket]:
        """Give what leaves now."""
        packets = _packets(self.connection.datagrams(self.now))
        for packet in packets:
            self.assertEqual(packet.destination, _PEER)
        return packets

    def controls(self, kind: ControlType) -> list[ControlPacket]:
        """Give the control packets of one kind that leave now."""
        return [p for p in self.sent() if isinstance(p, ControlPacket) and p.kind == kind]

    def put(self, packet: bytes) -> None:
        """Let a datagram arrive."""
        self.connection.receive(packet, max(1, len(packet)), self.now)

    def put_data(self, sequence: int, payload: bytes = bytes(1456)) -> None:
        """Let a data packet arrive."""
        self.put(DataPacket(sequence, 1, _ME, payload).encode())

    def put_ack(self, point: int, number: int = 1, free: int = 100) -> None:
        """Let a short ACK arrive."""
        body = encode_acknowledgement(Acknowledgement(point, 40_000, 1_000, free))
        self.put(encode_control(ControlType.ACK, _ME, number, body))

    def read(self) -> bytes:
        """Give the bytes received."""
        events = self.connection.events()
        return b"".join(event.data for event in events if isinstance(event, DataReceived))

    def in_flight(self, packets: int) -> None:
        """Let packets 1000 .. leave."""
        self.connection.write(bytes(1456 * packets))
        count = 0
        while count < packets:
            count += sum(isinstance(packet, DataPacket) for packet in self.sent())
            self.now += 0.001


class ReceivingTests(ConnectionCase):
    """What arrives is delivered, acknowledged, and asked for when missing."""

    def test_delivered_on_arrival(self) -> None:
        """Bytes are readable at once, not when their ACK leaves as in libudt."""
        self.put_data(2000, b"hello")
        self.assertEqual(self.read(), b"hello")
        acks = self.controls(ControlType.ACK)
        self.assertEqual(decode_acknowledgement(acks[0].body).sequence, 2001)

    def test_gap(self) -> None:
        """A gap is reported at once and exactly; what came after it waits."""
        self.put_data(2000, b"a" * 1456)
        self.read()
        self.sent()
        self.put_data(2003, b"d")
        self.assertEqual(self.read(), b"")
        naks = self.controls(ControlType.NAK)
        self.assertEqual([decode_loss_list(nak.body) for nak in naks], [[(2001, 2002)]])
        self.put_data(2002, b"c" * 1456)
        self.put_data(2001, b"b" * 1456)
        self.assertEqual(self.read(), b"b" * 1456 + b"c" * 1456 + b"d")

    def test_many_gaps_make_several_naks(self) -> None:
        """Reports of many gaps are cut so that each fits a packet."""
        connection = Connection(
            now=0.0,
            local_id=_ME,
            peer_id=_PEER,
            send_isn=1000,
            receive_isn=2000,
            send_mss=100,
            peer_window=100,
        )
        for sequence in range(2001, 2041, 2):
            connection.receive(DataPacket(sequence, 1, _ME, b"x").encode(), 17, 0.0)
        naks = [
            packet
            for packet in _packets(connection.datagrams(0.0))
            if isinstance(packet, ControlPacket) and packet.kind == ControlType.NAK
        ]
        losses = [loss for nak in naks for loss in decode_loss_list(nak.body)]
        self.assertEqual(losses, [(number, number) for number in range(2000, 2040, 2)])
        self.assertTrue(all(len(nak.encode()) <= 72 for nak in naks))

    def test_burst(self) -> None:
        """A burst of full packets with a short last one is taken at once."""
        payloads = [bytes([index]) * 1456 for index in range(43)] + [b"end"]
        data = b"".join(
            DataPacket(2000 + index, 1, _ME, payload).encode()
            for index, payload in enumerate(payloads)
        )
        self.connection.receive(data, 1472, 0.0)
        self.assertEqual(self.read(), b"".join(payloads))
        self.assertEqual(self.connection.statistics.packets_received, 44)

    def test_mixed_burst(self) -> None:
        """A control packet may end a burst of data, as GRO hands it over."""
        data = b"".join(DataPacket(2000 + n, 1, _ME, bytes(1456)).encode() for n in range(3))
        data += encode_control(ControlType.SHUTDOWN, _ME)
        self.connection.receive(memoryview(data), 1472, 0.0)
        events = self.connection.events()
        self.assertEqual(events, [DataReceived(bytes(3 * 1456)), Closed(CloseReason.PEER)])

    def test_order_bit_and_message_numbers_are_ignored(self) -> None:
        """Streams take data packets with any message bits, zero too."""
        self.put(DataPacket(2000, 0, _ME, b"a", Position.MIDDLE).encode())
        self.put(DataPacket(2001, 77, _ME, b"b", Position.LAST, in_order=True).encode())
        self.assertEqual(self.read(), b"ab")

    def test_ack2_answers_an_ack(self) -> None:
        """Every numbered ACK is answered, even one that says nothing new."""
        self.in_flight(3)
        self.put_ack(1003, 9)
        self.assertEqual([ack2.info for ack2 in self.controls(ControlType.ACK2)], [9])
        self.put_ack(1003, 10)
        self.assertEqual([ack2.info for ack2 in self.controls(ControlType.ACK2)], [10])

    def test_light_ack_is_not_answered(self) -> None:
        """A light ACK frees the buffer and needs no ACK2."""
        self.in_flight(3)
        body = encode_acknowledgement(Acknowledgement(1002))
        self.put(encode_control(ControlType.ACK, _ME, 0, body))
        self.assertEqual(self.connection.unacknowledged, 1456)
        self.assertEqual(self.controls(ControlType.ACK2), [])


class ForgeryTests(ConnectionCase):
    """Nonsense is counted and ignored; libudt breaks the connection over most of it."""

    def bad(self, packet: bytes) -> None:
        """Let a packet arrive that must change nothing and be answered by nothing."""
        before = self.connection.statistics.dropped_bad
        unacknowledged = self.connection.unacknowledged
        self.put(packet)
        self.assertEqual(self.connection.statistics.dropped_bad, before + 1)
        self.assertEqual(self.connection.unacknowledged, unacknowledged)
        self.assertEqual(self.connection.events(), [])
        self.assertEqual(self.sent(), [])
        self.assertFalse(self.connection.finished)

    def test_too_short(self) -> None:
        """Datagrams without a whole header."""
        self.bad(b"")
        self.bad(bytes(15))

    def test_other_destination(self) -> None:
        """Packets for another socket id, data and control."""
        self.bad(DataPacket(2000, 1, _ME + 1, b"x").encode())
        self.bad(encode_control(ControlType.SHUTDOWN, _ME + 1))

    def test_too_long(self) -> None:
        """Packets longer than agreed, by one byte; the agreed size is taken."""
        self.bad(DataPacket(2000, 1, _ME, bytes(1457)).encode())
        self.bad(encode_control(ControlType.KEEP_ALIVE, _ME, 0, bytes(1457)))
        self.put_data(2000, bytes(1456))
        self.assertEqual(len(self.read()), 1456)

    def test_data_outside_the_window(self) -> None:
        """The last packet of the window is taken, the next one is not."""
        self.bad(DataPacket(2100, 1, _ME, b"x").encode())
        self.bad(DataPacket(2000 + 2**29, 1, _ME, b"x").encode())
        self.put_data(2099)
        self.assertEqual(self.connection.statistics.packets_received, 1)

    def test_ack_beyond_what_was_sent(self) -> None:
        """An ACK for one packet more than was sent is ignored; for exactly that many it counts."""
        self.in_flight(3)
        body = encode_acknowledgement(Acknowledgement(1004, 1, 1, 100))
        self.bad(encode_control(ControlType.ACK, _ME, 1, body))
        self.put_ack(1003)
        self.assertEqual(self.connection.unacknowledged, 0)

    def test_broken_acks(self) -> None:
        """ACK bodies of impossible lengths and numbers of 32 bits."""
        self.in_flight(3)
        for body in (b"", bytes(3), bytes(8), b"\xff" * 16):
            self.bad(encode_control(ControlType.ACK, _ME, 1, body))

    def test_nak_beyond_what_was_sent(self) -> None:
        """A NAK that names one packet never sent is ignored as a whole."""
        self.in_flight(3)
        self.bad(encode_nak(_ME, [(1003, 1003)]))
        self.bad(encode_nak(_ME, [(1001, 1001), (1002, 1003)]))
        self.put(encode_nak(_ME, [(1001, 1002)]))
        self.assertEqual(
            [p.sequence for p in self.sent() if isinstance(p, DataPacket)], [1001, 1002]
        )

    def test_broken_naks(self) -> None:
        """Ranges without an end, backward ranges, half words and empty bodies."""
        self.in_flight(3)
        for body in (b"", bytes(3), "80000400", "80000400800003e8", "800003ea000003e8"):
            raw = bytes.fromhex(body) if isinstance(body, str) else body
            self.bad(encode_control(ControlType.NAK, _ME, 0, raw))

    def test_nak_of_what_was_acknowledged(self) -> None:
        """Parts that were acknowledged meanwhile are left out."""
        self.in_flight(3)
        self.put_ack(1002)
        self.sent()
        self.put(encode_nak(_ME, [(1000, 1002)]))
        self.assertEqual([p.sequence for p in self.sent() if isinstance(p, DataPacket)], [1002])

    def test_same_nak_twice(self) -> None:
        """A repeated NAK within a round trip does not send anything a second time."""
        self.in_flight(20)
        self.put(encode_nak(_ME, [(1001, 1002)]))
        self.sent()
        self.now += 0.01
        self.put(encode_nak(_ME, [(1001, 1003)]))
        self.assertEqual([p.sequence for p in self.sent() if isinstance(p, DataPacket)], [1003])

    def test_window_words(self) -> None:
        """A window of 0 leaves one packet at a time; an absurd one is limited; old ones are."""
        self.in_flight(1)
        self.put_ack(1001, 5, free=0)
        self.connection.write(bytes(1456 * 50))
        self.now += 1.0
        data = [p for p in self.sent() if isinstance(p, DataPacket)]
        self.assertEqual([p.sequence for p in data], [1001])
        self.put_ack(1001, 4, free=50)  # overtaken by the one before
        self.assertEqual([p for p in self.sent() if isinstance(p, DataPacket)], [])
        self.put_ack(1002, 6, free=0xFFFF_FFFF)
        self.now += 0.01
        self.assertGreater(len([p for p in self.sent() if isinstance(p, DataPacket)]), 1)

    def test_meaningless_types(self) -> None:
        """Congestion warnings, drop requests, peer errors, late handshakes, unknown types."""
        self.in_flight(3)
        for kind in (0, 4, 7, 8, 9, 100, 0x7FFF):
            for body in (b"", bytes(4), bytes(48)):
                self.put(encode_control(kind, _ME, 1, body))
                self.assertEqual((self.sent(), self.connection.events()), ([], []))

    def test_shutdown_is_obeyed(self) -> None:
        """SHUTDOWN with or without body ends the connection, once."""
        self.put(encode_control(ControlType.SHUTDOWN, _ME, 0, b""))
        self.put(encode_control(ControlType.SHUTDOWN, _ME))
        self.assertEqual(self.connection.events(), [Closed(CloseReason.PEER)])
        self.assertTrue(self.connection.finished)
        self.assertEqual(self.sent(), [])

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=64), st.sampled_from([0, 0x8002, 0x8003, 0x8006]), st.booleans())
    def test_any_packet(self, tail: bytes, kind: int, aimed: bool) -> None:
        """Whatever arrives: nothing is raised, and no more leaves than came, but what is owed."""
        self.setUp()
        self.in_flight(5)
        head = kind.to_bytes(2, "big") + tail[:10].ljust(10, b"\0")
        packet = head + _ME.to_bytes(4, "big") + tail[10:] if aimed else tail
        self.put(packet)
        packets = self.sent()
        answers = sum(len(p.encode()) for p in packets if isinstance(p, ControlPacket))
        # The first ACK of a connection, and a NAK, may answer a tiny data packet.
        self.assertLessEqual(answers, max(len(packet), 40 + 24))
        self.connection.events()

    def test_noise(self) -> None:
        """10,000 packets of noise leave nothing behind: no data, no window, no memory."""
        rng = random.Random(1)
        for _ in range(10_000):
            size = rng.choice((0, 16, 20, 24, 32, 40, 64))
            head = rng.randbytes(12) + rng.choice((_ME, 0, 99)).to_bytes(4, "big")
            self.put((head + rng.randbytes(size))[: rng.randint(0, size + 16)])
            self.now += 0.0001
            self.connection.datagrams(self.now)
            if any(isinstance(event, Closed) for event in self.connection.events()):
                self.setUp()  # a well-formed SHUTDOWN by chance
        receiver = self.connection._receiver
        self.assertLessEqual(receiver.held, 100)


class TimeTests(ConnectionCase):
    """Deadlines are kept, and only those."""

    def test_idle(self) -> None:
        """An idle connection wants to be woken for its keep-alive, not before."""
        self.assertEqual(self.connection.deadline(), 5.0)
        self.now = 5.0
        self.connection.timer(5.0)
        self.assertEqual(len(self.controls(ControlType.KEEP_ALIVE)), 1)
        self.assertEqual(self.connection.deadline(), 10.0)

    def test_early_and_late_timers_are_harmless(self) -> None:
        """A timer that fires at any other time sends nothing that is not due."""
        self.connection.timer(1.0)
        self.now = 1.0
        self.assertEqual(self.sent(), [])

    def test_held_data(self) -> None:
        """Data waits for ``hold_data_until``; the deadline says so."""
        connection = Connection(
            now=0.0,
            local_id=_ME,
            peer_id=_PEER,
            send_isn=1000,
            receive_isn=2000,
            send_mss=1500,
            peer_window=100,
            hold_data_until=0.02,
        )
        connection.write(b"hello")
        self.assertEqual(connection.datagrams(0.019), [])
        self.assertEqual(connection.deadline(), 0.02)
        self.assertEqual(len(connection.datagrams(0.02)), 1)

    def test_a_small_write_leaves_at_once(self) -> None:
        """There is no Nagle delay, and small writes of one turn share a packet."""
        self.connection.write(b"a")
        self.connection.write(b"b")
        self.assertEqual([p.payload for p in self.sent() if isinstance(p, DataPacket)], [b"ab"])
        self.connection.write(b"c")
        self.now += 0.001
        self.assertEqual([p.payload for p in self.sent() if isinstance(p, DataPacket)], [b"c"])

    def test_limit(self) -> None:
        """A limit is kept, and what is left is due at once."""
        self.connection.write(bytes(1456 * 30))
        self.now = 1.0
        data = _packets(self.connection.datagrams(1.0, 5))
        self.assertEqual(len(data), 5)
        due = self.connection.deadline()
        assert due is not None
        self.assertLessEqual(due, 1.0)

    def test_nothing_happens_after_the_end(self) -> None:
        """Closing, aborting, writing and resuming an ended connection are harmless."""
        connection = self.connection
        connection.abort()
        connection.abort()
        connection.close()
        connection.write(b"late")
        connection.resume_reading()
        self.assertEqual(connection.events(), [Closed(CloseReason.ABORTED)])
        self.assertEqual(connection.unsent, 0)
        self.assertEqual(len(self.controls(ControlType.SHUTDOWN)), 1)

    def test_data_before_the_end(self) -> None:
        """What was held for a paused reader comes before the news of the end."""
        self.connection.pause_reading()
        self.put_data(2000, b"words")
        self.put(encode_control(ControlType.SHUTDOWN, _ME))
        self.assertEqual(self.connection.events(), [])
        self.connection.resume_reading()
        events = self.connection.events()
        self.assertEqual(events, [DataReceived(b"words"), Closed(CloseReason.PEER)])

    def test_answers_after_the_end_are_few(self) -> None:
        """However many packets still come in one turn, one SHUTDOWN answers them."""
        self.connection.abort()
        for self.now in (0.0, 0.1, 0.2):
            self.sent()
        for sequence in range(2000, 2010):
            self.put_data(sequence)
        self.put(encode_control(ControlType.KEEP_ALIVE, _ME))
        self.put(encode_control(ControlType.ACK2, _ME))
        self.assertEqual(len(self.sent()), 1)
        self.connection.timer(3.0)
        self.assertTrue(self.connection.finished)
        self.put_data(2000)
        self.assertEqual(self.sent(), [])

    def test_close_and_keep_alive_are_due_at_once(self) -> None:
        """What was asked for between two turns makes the deadline now."""
        self.now = 1.0
        self.sent()
        self.connection.send_keep_alive()
        self.assertEqual(self.connection.deadline(), 1.0)
        self.sent()
        self.connection.close()
        self.assertEqual(self.connection.deadline(), 1.0)

    def test_keep_alive_interval(self) -> None:
        """A user that keeps the connection alive himself has the connection say so less often."""
        self.assertEqual(self.connection.deadline(), 5.0)
        self.connection.keep_alive_interval = 15.0
        self.connection.timer(14.9)
        self.now = 14.9
        self.assertEqual(self.sent(), [])
        self.assertEqual(self.connection.deadline(), 15.0)
        self.connection.timer(15.0)
        self.now = 15.0
        (packet,) = self.sent()
        assert isinstance(packet, ControlPacket)
        self.assertEqual(packet.kind, ControlType.KEEP_ALIVE)

    def test_asked_for_keep_alive(self) -> None:
        """A keep-alive can be asked for, to show a peer that it was heard."""
        self.connection.send_keep_alive()
        self.assertEqual(len(self.controls(ControlType.KEEP_ALIVE)), 1)
        self.assertEqual(self.sent(), [])
