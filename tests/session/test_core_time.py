"""Tests of :mod:`wavesync.session.core`: silence, PINGs and control sessions."""

import itertools

from twisted.trial.unittest import SynchronousTestCase

from tests.session.core_pair import Pair, frames
from wavesync.session.core import (
    CONTROL,
    SessionCore,
    Side,
    Timing,
)
from wavesync.session.events import (
    EndAcknowledged,
    EndReceived,
    Finished,
    Lost,
    OpenAccepted,
    OpenRequested,
    PongReceived,
)
from wavesync.session.frames import (
    Ack,
    Data,
    Opened,
    Ping,
    Pong,
    encode,
)
from wavesync.session.liveness import MAX_PINGS
from wavesync.stun.pace import Pace


class SilenceTests(SynchronousTestCase):
    """A dead peer is noticed within eight seconds, a quiet one is left alone."""

    def test_ping_then_dead(self) -> None:
        """Silent for 2 s: PING; for 8 s: the session is lost."""
        pair = Pair()
        pair.open()
        client = pair.client
        self.assertEqual(client.deadline(), 102.0)
        client.timer(101.999)
        self.assertEqual(client.data_to_send(), b"")
        client.timer(102.0)
        self.assertEqual([type(f) for f in frames(client.data_to_send())], [Ping])
        client.timer(107.999)
        self.assertFalse(client.over)
        self.assertEqual(client.data_to_send(), b"")
        client.timer(108.0)
        (event,) = client.events()
        assert isinstance(event, Lost)
        self.assertEqual(event.code, 408)

    def test_quiet_peer_lives(self) -> None:
        """Two cores without anything to say stay together, with a PING each two seconds."""
        pair = Pair()
        pair.open()
        log = pair.until(160.0)
        self.assertFalse(pair.client.over or pair.server.over)
        self.assertLess(len(log), 35)

    def test_any_byte_counts(self) -> None:
        """Half a frame shows that the peer lives."""
        pair = Pair()
        pair.open()
        pair.client.timer(102.0)
        pair.client.receive(b"\x04", 107.9)
        pair.client.timer(108.0)
        self.assertFalse(pair.client.over)
        self.assertEqual(pair.client.deadline(), 109.9)

    def test_sleeping_computer(self) -> None:
        """After a long sleep the peer is asked before it is given up."""
        pair = Pair()
        pair.open()
        pair.client.timer(5000.0)
        self.assertFalse(pair.client.over)
        self.assertEqual([type(f) for f in frames(pair.client.data_to_send())], [Ping])
        self.assertEqual(pair.client.deadline(), 5006.0)

    def test_dead_while_opening(self) -> None:
        """A server that dies while it dials is noticed just as soon."""
        client = SessionCore(Side.CLIENT, 0.0)
        client.open("echo", 0.0)
        client.timer(2.0)
        client.timer(8.0)
        self.assertTrue(client.over)

    def test_paused_reader(self) -> None:
        """Who does not read does not judge silence, and shows every two seconds that it lives."""
        pair = Pair()
        pair.open()
        pair.server.pause_reading(100.0)
        pair.server.pause_reading(100.0)
        server, client = pair.server, pair.client
        now = 100.0
        for _ in range(30):
            now += 1.0
            client.timer(now)
            server.timer(now)
            client.receive(server.data_to_send(), now)
        self.assertFalse(client.over or server.over)
        server.resume_reading(now)
        self.assertEqual(server.deadline(), now + 2.0)
        server.resume_reading(now + 1)
        server.timer(now + 2.0)
        self.assertEqual([type(f) for f in frames(server.data_to_send())], [Ping])

    def test_paused_both(self) -> None:
        """Two ends that both do not read for a minute find each other again."""
        pair = Pair()
        pair.open()
        for core in (pair.client, pair.server):
            core.pause_reading(100.0)
        now = 100.0
        for _ in range(60):
            now += 1.0
            pair.client.timer(now)
            pair.server.timer(now)
        self.assertFalse(pair.client.over or pair.server.over)


class PingTests(SynchronousTestCase):
    """PINGs are answered, measured, and cannot fill anybody's memory."""

    def test_round_trip(self) -> None:
        """The answer to a PING carries the time it took."""
        pair = Pair()
        pair.open()
        pair.client.ping(100.0)
        pair.server.receive(pair.client.data_to_send(), 100.1)
        pair.client.receive(pair.server.data_to_send(), 100.25)
        (event,) = pair.client.events()
        assert isinstance(event, PongReceived)
        self.assertAlmostEqual(event.rtt, 0.25)

    def test_unasked_pong(self) -> None:
        """A PONG that nobody asked for says nothing."""
        pair = Pair()
        pair.open()
        pair.client.receive(encode(Pong(b"unasked!")), 100.0)
        self.assertEqual(pair.client.events(), [])
        self.assertFalse(pair.client.over)

    def test_ping_before_open(self) -> None:
        """A client does not send PING as its first frame."""
        client = SessionCore(Side.CLIENT, 0.0)
        client.ping(0.0)
        self.assertEqual(client.data_to_send(), b"")

    def test_bounded(self) -> None:
        """Of many PINGs the last sixteen answers count."""
        for count, answers in ((MAX_PINGS, MAX_PINGS), (MAX_PINGS + 1, MAX_PINGS)):
            pair = Pair()
            pair.open()
            for _ in range(count):
                pair.client.ping(100.0)
            ours, _ = pair.exchange()
            self.assertEqual(len(ours), answers)

    def test_congested(self) -> None:
        """A peer that sends PINGs and never reads gets one answer, when it reads again."""
        pair = Pair()
        pair.open()
        server = pair.server
        server.pause_writing(100.0)
        for number in range(1000):
            server.receive(encode(Ping(number.to_bytes(8, "big"))), 100.0)
            server.receive(encode(Data(b"d" * 1000)), 100.0)
        self.assertEqual(server.data_to_send(), b"")
        self.assertEqual(server.deadline(), 102.0)  # the silence, not the ACK kept back
        server.timer(101.5)
        self.assertEqual(server.data_to_send(), b"")
        server.resume_writing(102.0)
        self.assertEqual(
            frames(server.data_to_send()), [Pong((999).to_bytes(8, "big")), Ack(1_000_000)]
        )


class ControlTests(SynchronousTestCase):
    """A control session carries no bytes and keeps a NAT's hole open."""

    def test_outbound_from_both_sides(self) -> None:
        """Each side sends at its own pace, whatever the other side sends it."""
        for side in ("client", "server"):
            pair = Pair()
            pair.open(CONTROL)
            core = pair.client if side == "client" else pair.server
            core.data_to_send()
            now, sent = 100.0, [100.0]
            while now < 200.0:
                now += 0.5
                core.receive(encode(Ack(0)), now)  # needs no answer
                core.timer(now)
                if core.data_to_send():
                    sent.append(now)
            gaps = {b - a for a, b in itertools.pairwise(sent)}
            self.assertEqual(gaps, {5.0})

    def test_quiet(self) -> None:
        """Nothing more is sent than that: one question each five seconds, and its answer."""
        pair = Pair()
        pair.open(CONTROL)
        log = pair.until(160.0)
        self.assertFalse(pair.client.over or pair.server.over)
        self.assertLessEqual(len(log), 12)
        self.assertGreaterEqual(len(log), 11)

    def test_an_answer_is_outbound_too(self) -> None:
        """Who answers the other side's questions often enough asks none of its own."""
        pair = Pair()
        pair.open(CONTROL)
        pair.client.data_to_send()
        now = 100.0
        for number in range(30):
            now += 4.0
            pair.client.timer(now)
            pair.client.receive(encode(Ping(number.to_bytes(8, "big"))), now)
            pongs = [Pong(number.to_bytes(8, "big"))]
            self.assertEqual(frames(pair.client.data_to_send()), pongs)

    def test_pace(self) -> None:
        """The pace can be set, and changes while the session goes on, from the next PING."""
        pace = Pace(1.0)
        core = SessionCore(Side.CLIENT, 0.0, Timing(pace=pace))
        core.open(CONTROL, 0.0)
        self.assertEqual(core.deadline(), 2.0)  # an answer is awaited
        core.receive(encode(Opened()), 0.0)
        self.assertEqual(core.deadline(), 1.0)
        pace.interval = 15.0
        core.timer(1.0)
        self.assertEqual(core.deadline(), 15.0)

    def test_no_bytes(self) -> None:
        """Neither side may send bytes in it."""
        pair = Pair()
        pair.open(CONTROL)
        self.assertRaises(ValueError, pair.client.write, b"x", 100.0)
        self.assertRaises(ValueError, pair.server.write, b"x", 100.0)
        pair.server.receive(encode(Data(b"x")), 100.0)
        self.assertTrue(pair.server.over)

    def test_dead_peer(self) -> None:
        """A hole that has closed is noticed when a keep-alive is not answered for six seconds."""
        pair = Pair()
        pair.open(CONTROL)
        pair.client.timer(104.999)
        self.assertEqual(pair.client.data_to_send(), b"")
        pair.client.timer(105.0)
        self.assertEqual([type(f) for f in frames(pair.client.data_to_send())], [Ping])
        pair.client.timer(110.999)
        self.assertFalse(pair.client.over)
        pair.client.timer(111.0)
        self.assertTrue(pair.client.over)

    def test_asked(self) -> None:
        """Whoever wants to know at once asks, and knows six seconds later at the latest."""
        pair = Pair()
        pair.open(CONTROL)
        pair.client.receive(encode(Ack(0)), 101.0)
        pair.client.ping(101.0)
        pair.client.timer(106.999)
        self.assertFalse(pair.client.over)
        pair.client.timer(107.0)
        self.assertTrue(pair.client.over)

    def test_end(self) -> None:
        """It ends like any other, even in the flight that opened it."""
        pair = Pair()
        pair.client.open(CONTROL, 100.0)
        pair.client.end(100.0)
        self.assertEqual(pair.exchange()[1], [OpenRequested(""), EndReceived()])
        pair.server.accept(100.0)
        pair.server.end(100.0)
        ours, theirs = pair.exchange()
        self.assertEqual(ours, [OpenAccepted(), EndReceived(), Finished()])
        self.assertEqual(theirs, [EndAcknowledged(), Finished()])

    def test_congested(self) -> None:
        """No PINGs pile up on a path that takes none."""
        pair = Pair()
        pair.open(CONTROL)
        pair.client.pause_writing(100.0)
        for now in range(101, 161):
            pair.client.receive(encode(Ack(0)), float(now))
            pair.client.timer(float(now))
        self.assertEqual(pair.client.data_to_send(), b"")
        self.assertFalse(pair.client.over)
