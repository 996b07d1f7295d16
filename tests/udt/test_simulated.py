"""Two UDT connections over simulated links: the stream arrives whole whatever the links do."""

import hashlib
import random
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.testing.link import End, Link, Simulation, connect_pair
from wavesync.udt.connection import CloseReason
from wavesync.udt.native import NativeControl
from wavesync.udt.packet import ControlType
from wavesync.udt.patience import DRAIN_TIMEOUT, PEER_TIMEOUT
from wavesync.udt.send_buffer import HIGH_WATER

PATTERN = random.Random(7).randbytes(1_500_000)
DIGEST = hashlib.sha256(PATTERN).hexdigest()

_DATA = 0
_ACK = 0x8002
_SHUTDOWN = 0x8005


def _kind(packet: bytes) -> int:
    """Tell data (0) from the kinds of control packets (0x8000 ..)."""
    return int.from_bytes(packet[:2], "big") if packet[0] & 0x80 else _DATA


def _drop_kind(kind: int, chance: float, seed: int = 5) -> Callable[[bytes, float], bool]:
    """Make a ``drop`` that loses only packets of one kind."""
    rng = random.Random(seed).random
    return lambda packet, now: _kind(packet) == kind and rng() < chance


class StreamTests(SynchronousTestCase):
    """Each case moves 1.5 MB over a 20 Mbit/s path of 30 ms that has one fault."""

    def move(
        self,
        faults: dict[str, float] | None = None,
        *,
        within: float = 20.0,
        prepare: Callable[[Simulation], None] | None = None,
        left: dict[str, int] | None = None,
        right: dict[str, int] | None = None,
    ) -> Simulation:
        """Move the pattern from left to right, close, and check what came."""
        common = {"rate": 20e6, "delay": 0.015, "queue": 75_000}
        there = Link(**{**common, **(faults or {})}, seed=1)  # type: ignore[arg-type]
        back = Link(**{**common, **(faults or {})}, seed=2)  # type: ignore[arg-type]
        sim = connect_pair(there, back, left=left, right=right)
        if prepare is not None:
            prepare(sim)
        sim.left.connection.write(PATTERN)
        sim.left.connection.close()
        self.assertTrue(sim.run(within, lambda: sim.right.closed and sim.left.closed))
        self.assertEqual(sim.right.received, len(PATTERN))
        self.assertEqual(sim.right.digest, DIGEST)
        self.assertEqual(sim.left.closed, CloseReason.LOCAL)
        self.assertEqual(sim.right.closed, CloseReason.PEER)
        self.assertEqual(sim.left.connection.unacknowledged, 0)
        self.assertEqual(sim.left.connection.statistics.dropped_bad, 0)
        return sim

    def test_clean(self) -> None:
        """Without faults nothing is sent twice but what overflowed the queue."""
        sim = self.move(within=1.5)
        left = sim.left.connection.statistics
        self.assertEqual(left.retransmitted, sim.left.link.overflowed)
        self.assertEqual(left.timeouts, 0)

    def test_2_percent_loss(self) -> None:
        """2 % random loss each way costs little time."""
        self.move({"loss": 0.02}, within=2.5)

    def test_10_percent_loss(self) -> None:
        """10 % loss, of data, ACKs and NAKs alike."""
        self.move({"loss": 0.1}, within=8)

    def test_30_percent_loss(self) -> None:
        """30 % loss: slow, but whole."""
        self.move({"loss": 0.3}, within=60)

    def test_reordering(self) -> None:
        """A fifth of the packets come 10 ms late; few of them are sent again needlessly."""
        sim = self.move({"reorder": 0.2, "reorder_delay": 0.01}, within=3)
        self.assertLess(sim.right.connection.statistics.duplicates, 100)

    def test_duplication(self) -> None:
        """Every second packet comes twice."""
        sim = self.move({"duplicate": 0.5}, within=2.5)
        self.assertGreater(sim.right.connection.statistics.duplicates, 100)

    def test_jitter(self) -> None:
        """Each packet is up to 30 ms late, so order is lost within whole windows."""
        self.move({"jitter": 0.03}, within=8)

    def test_all_at_once(self) -> None:
        """Loss, duplicates, jitter and reordering together."""
        self.move({"loss": 0.05, "duplicate": 0.1, "jitter": 0.01, "reorder": 0.05}, within=15)

    def test_acks_lost(self) -> None:
        """Half of the ACKs lost do not slow the stream much: each says all that those before did."""

        def prepare(sim: Simulation) -> None:
            sim.right.link.drop = _drop_kind(_ACK, 0.5)

        sim = self.move(within=2.5, prepare=prepare)
        again = sim.left.connection.statistics.retransmitted
        self.assertLess(again - sim.left.link.overflowed, 20)
        self.assertLess(again, 250)

    def test_all_control_lost_for_a_while(self) -> None:
        """Without any answer for a second the sender waits, asks, and goes on."""

        def prepare(sim: Simulation) -> None:
            sim.right.link.drop = lambda packet, now: 0.2 < now < 1.2

        self.move(within=5, prepare=prepare)

    def test_tail_lost(self) -> None:
        """The last packets lost are sent again after about two round trips, not after 300 ms."""
        link = Link(rate=20e6, delay=0.015)
        sim = connect_pair(link, Link(rate=20e6, delay=0.015))
        sim.left.connection.write(bytes(200_000))
        sim.run(5, lambda: sim.right.received == 200_000)
        began = sim.now + 0.1
        sim.run(0.1)
        link.drop = lambda packet, now: now < began + 0.002
        sim.left.connection.write(bytes(8_000))
        self.assertTrue(sim.run(5, lambda: sim.right.received == 208_000))
        self.assertLess(sim.now - began, 0.2)

    def test_blackout(self) -> None:
        """Three seconds without any packet each way: the stream goes on within a second after."""

        def prepare(sim: Simulation) -> None:
            for end in (sim.left, sim.right):
                end.link.drop = lambda packet, now: 0.3 < now < 3.3

        sim = self.move(within=6, prepare=prepare)
        self.assertLess(sim.left.connection.statistics.retransmitted, 1500)

    def test_wrap(self) -> None:
        """Sequence numbers pass 0x7FFFFFFF in mid-stream, under loss."""
        near = 0x7FFF_FFF0
        self.move(
            {"loss": 0.02},
            within=3,
            left={"send_isn": near},
            right={"receive_isn": near},
        )

    def test_native_congestion_control(self) -> None:
        """UDT's own strategy carries the stream too, without starving after an early loss."""
        rng = random.Random(3).random
        there = Link(rate=20e6, delay=0.015, queue=75_000, loss=0.01, seed=1)
        sim = connect_pair(
            there,
            Link(rate=20e6, delay=0.015),
            left={"congestion": NativeControl(1500, 8192, rng)},
        )
        sim.left.connection.write(PATTERN)
        self.assertTrue(sim.run(8, lambda: sim.right.received == len(PATTERN)))
        self.assertEqual(sim.right.digest, DIGEST)

    def test_tiny_packets(self) -> None:
        """An MSS of 76 works, NAKs included."""
        sizes = {"send_mss": 76, "receive_mss": 76}
        there, back = (Link(rate=20e6, delay=0.01, loss=0.05, seed=seed) for seed in (1, 2))
        longest = [0]

        def measure(packet: bytes, now: float) -> bool:
            longest[0] = max(longest[0], len(packet))
            return False

        there.drop = back.drop = measure
        sim = connect_pair(there, back, left=sizes, right=sizes)
        sim.left.connection.write(PATTERN[:30_000])
        self.assertTrue(sim.run(20, lambda: sim.right.received == 30_000))
        self.assertEqual(longest[0], 76 - 28)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        rate=st.sampled_from([None, 1e6, 10e6, 100e6]),
        delay=st.sampled_from([0.0, 0.001, 0.05, 0.2]),
        queue=st.sampled_from([5_000, 50_000, 1_000_000]),
        loss=st.floats(0, 0.2),
        duplicate=st.floats(0, 0.3),
        reorder=st.floats(0, 0.3),
        jitter=st.sampled_from([0.0, 0.005, 0.05]),
        mss=st.sampled_from([76, 500, 1400, 1500]),
        isn=st.sampled_from([0, 1, 0x7FFF_FFFF, 0x7FFF_FF00]),
        window=st.sampled_from([32, 256, 8192]),
        seed=st.integers(0, 1000),
    )
    def test_any_link(
        self,
        rate: float | None,
        delay: float,
        queue: int,
        loss: float,
        duplicate: float,
        reorder: float,
        jitter: float,
        mss: int,
        isn: int,
        window: int,
        seed: int,
    ) -> None:
        """Whatever the links do, both streams of a connection arrive whole."""
        there, back = (
            Link(
                rate=rate,
                delay=delay,
                queue=queue,
                loss=loss,
                duplicate=duplicate,
                reorder=reorder,
                jitter=jitter,
                seed=seed + side,
            )
            for side in (0, 1)
        )
        sizes = {"send_mss": mss, "receive_mss": mss, "peer_window": window}
        sizes["receive_window"] = window
        sim = connect_pair(
            there,
            back,
            left={**sizes, "send_isn": isn},
            right={**sizes, "receive_isn": isn},
        )
        one, two = PATTERN[: 40 * mss], PATTERN[100 : 100 + 10 * mss]
        sim.left.connection.write(one)
        sim.right.connection.write(two)
        ends = (sim.left, sim.right)
        self.assertTrue(
            sim.run(300, lambda: [end.received for end in ends] == [len(two), len(one)])
        )
        self.assertEqual(sim.right.digest, hashlib.sha256(one).hexdigest())
        self.assertEqual(sim.left.digest, hashlib.sha256(two).hexdigest())


class DuplexTests(SynchronousTestCase):
    """Both directions at once."""

    def test_both_ways(self) -> None:
        """Two streams share the connection, under loss, and both are fast."""
        there, back = (
            Link(rate=20e6, delay=0.015, queue=75_000, loss=0.01, seed=seed) for seed in (1, 2)
        )
        sim = connect_pair(there, back)
        ends = (sim.left, sim.right)
        for end in ends:
            end.connection.write(PATTERN)
        self.assertTrue(sim.run(3, lambda: all(end.received == len(PATTERN) for end in ends)))
        self.assertEqual([end.digest for end in ends], [DIGEST, DIGEST])

    def test_answer_in_one_round_trip(self) -> None:
        """A question and its answer wait for no timer."""
        sim = connect_pair(Link(delay=0.02), Link(delay=0.02), coalesce=0.0)
        sim.right.on_data = lambda data: sim.right.connection.write(b"answer")
        sim.left.connection.write(b"question")
        self.assertTrue(sim.run(1, lambda: sim.left.received == 6))
        self.assertAlmostEqual(sim.now, 0.04)


class SlowReaderTests(SynchronousTestCase):
    """A reader that pauses stops the writer, and memory stays bounded."""

    def test_pause_and_resume(self) -> None:
        """The writer stops near the window, keeps quiet, and goes on when the reader does."""
        sim = connect_pair(
            Link(rate=100e6, delay=0.01),
            Link(rate=100e6, delay=0.01),
            left={"peer_window": 200},
            right={"receive_window": 200},
        )
        reader = sim.right.connection
        sim.run(0.01)
        reader.pause_reading()
        sim.left.connection.write(PATTERN)
        sim.run(2)
        self.assertEqual(sim.right.received, 0)
        self.assertLessEqual(reader._receiver.held, 200)
        sent = sim.left.connection.statistics.packets_sent
        self.assertLess(sent, 400)
        sim.run(5)
        self.assertLess(sim.left.connection.statistics.packets_sent - sent, 40)
        self.assertIsNone(sim.left.closed)
        reader.resume_reading()
        self.assertTrue(sim.run(2, lambda: sim.right.received == len(PATTERN)))
        self.assertEqual(sim.right.digest, DIGEST)

    def test_resume_is_told_although_acks_are_lost(self) -> None:
        """The news of room is repeated until it is heard."""
        link = Link(rate=100e6, delay=0.01)
        sim = connect_pair(
            Link(rate=100e6, delay=0.01),
            link,
            left={"peer_window": 50},
            right={"receive_window": 50},
        )
        sim.right.connection.pause_reading()
        sim.left.connection.write(PATTERN[:300_000])
        sim.run(1)
        until = sim.now + 0.5
        link.drop = lambda packet, now: now < until
        sim.right.connection.resume_reading()
        self.assertTrue(sim.run(3, lambda: sim.right.received == 300_000))

    def test_the_end_waits_for_the_reader(self) -> None:
        """Data that came before the peer closed can be read after it."""
        sim = connect_pair(Link(delay=0.01), Link(delay=0.01))
        sim.right.connection.pause_reading()
        sim.left.connection.write(b"last words")
        sim.left.connection.close()
        sim.run(1)
        self.assertIs(sim.left.closed, CloseReason.LOCAL)
        self.assertEqual((sim.right.received, sim.right.closed), (0, None))
        sim.right.connection.resume_reading()
        sim.pump(sim.right)
        self.assertEqual(sim.right.received, 10)
        self.assertIs(sim.right.closed, CloseReason.PEER)

    def test_fast_writer_is_told(self) -> None:
        """A producer is stopped at the high-water mark and called back at the low one."""
        sim = connect_pair(Link(rate=100e6, delay=0.01), Link(rate=100e6, delay=0.01))
        writer = sim.left.connection
        writer.write(bytes(HIGH_WATER - 1))
        self.assertTrue(writer.writable)
        writer.write(b"x")
        self.assertFalse(writer.writable)
        self.assertTrue(sim.run(2, lambda: writer.writable))
        self.assertGreater(writer.unsent, 0)


class EndTests(SynchronousTestCase):
    """Connections end cleanly, or are found dead."""

    def pair(self, **link: float) -> Simulation:
        """Make a pair over 10 ms each way."""
        links = (Link(rate=20e6, delay=0.01, **link, seed=seed) for seed in (1, 2))  # type: ignore[arg-type]
        return connect_pair(*links)

    def closed(self, sim: Simulation) -> tuple[CloseReason | None, CloseReason | None]:
        """Give both ends' reasons."""
        return sim.left.closed, sim.right.closed

    def test_the_writer_closes_with_data_in_flight(self) -> None:
        """close() first delivers everything written, under loss too."""
        sim = self.pair(loss=0.05)
        sim.left.connection.write(PATTERN[:300_000])
        sim.left.connection.close()
        sim.run(5, lambda: all(self.closed(sim)))
        self.assertEqual(sim.right.received, 300_000)
        self.assertEqual(self.closed(sim), (CloseReason.LOCAL, CloseReason.PEER))

    def test_the_reader_closes_first(self) -> None:
        """The other side learns it at once, although it was writing."""
        sim = self.pair()
        sim.left.connection.write(PATTERN)
        sim.run(0.1)
        sim.right.connection.close()
        began = sim.now
        sim.run(5, lambda: all(self.closed(sim)))
        self.assertEqual(self.closed(sim), (CloseReason.PEER, CloseReason.LOCAL))
        self.assertLess(sim.now - began, 0.1)

    def test_both_close(self) -> None:
        """Closing from both sides at once delivers both streams when they take equally long."""
        sim = self.pair()
        for end in (sim.left, sim.right):
            end.connection.write(PATTERN[:1000])
            end.connection.close()
        sim.run(5, lambda: all(self.closed(sim)))
        self.assertEqual((sim.left.received, sim.right.received), (1000, 1000))

    def test_nothing_is_written_after_close(self) -> None:
        """What is written after close() is not sent."""
        sim = self.pair()
        sim.left.connection.close()
        sim.left.connection.write(b"too late")
        sim.run(1)
        self.assertEqual(sim.right.received, 0)
        self.assertIs(sim.right.closed, CloseReason.PEER)

    def test_abort(self) -> None:
        """abort() ends both sides as soon as one packet has passed the queue."""
        sim = self.pair()
        sim.left.connection.write(PATTERN)
        sim.run(0.1)
        sim.left.connection.abort()
        began = sim.now
        sim.run(5, lambda: all(self.closed(sim)))
        self.assertEqual(self.closed(sim), (CloseReason.ABORTED, CloseReason.PEER))
        self.assertLess(sim.now - began, 0.06)
        self.assertEqual(sim.left.connection.unacknowledged, 0)

    def test_one_shutdown_in_three_arrives(self) -> None:
        """SHUTDOWN is said three times: two may be lost."""
        sim = self.pair()
        seen: list[float] = []

        def drop(packet: bytes, now: float) -> bool:
            if _kind(packet) == _SHUTDOWN:
                seen.append(now)
                return len(seen) < 3
            return False

        sim.left.link.drop = drop
        sim.left.connection.close()
        self.assertTrue(sim.run(1, lambda: sim.right.closed))
        self.assertEqual(len(seen), 3)

    def test_a_peer_that_missed_it_is_told_again(self) -> None:
        """When all three are lost, the next packet of the peer is answered by another."""
        sim = self.pair()
        sim.left.link.drop = lambda packet, now: now < 0.5
        sim.left.connection.close()
        sim.run(1)
        self.assertIsNone(sim.right.closed)
        sim.right.connection.write(b"are you there?")
        self.assertTrue(sim.run(0.1, lambda: sim.right.closed))

    def test_everything_is_forgotten_in_the_end(self) -> None:
        """After the linger time nothing is sent or awaited."""
        sim = self.pair()
        sim.left.connection.close()
        sim.run(4)
        for end in (sim.left, sim.right):
            self.assertTrue(end.connection.finished)
            self.assertIsNone(end.connection.deadline())
            self.assertEqual(end.connection.datagrams(sim.now), [])

    def test_dead_peer_with_data(self) -> None:
        """A peer that vanishes is given up after 30 s, not sooner."""
        sim = self.pair()
        sim.left.connection.write(PATTERN)
        sim.run(0.2)
        sim.left.link.drop = sim.right.link.drop = lambda packet, now: True
        before = sim.left.connection.statistics.packets_sent
        sim.run(PEER_TIMEOUT - 1)
        self.assertEqual(self.closed(sim), (None, None))
        # It was asked, but not flooded.
        self.assertLess(sim.left.connection.statistics.packets_sent - before, 600)
        sim.run(1.5)
        self.assertEqual(self.closed(sim), (CloseReason.TIMEOUT, CloseReason.TIMEOUT))

    def test_dead_peer_when_idle(self) -> None:
        """An idle connection finds a dead peer too."""
        sim = self.pair()
        sim.run(10)
        sim.left.link.drop = sim.right.link.drop = lambda packet, now: True
        sim.run(PEER_TIMEOUT + 6)
        self.assertEqual(self.closed(sim), (CloseReason.TIMEOUT, CloseReason.TIMEOUT))

    def test_a_reader_that_never_reads(self) -> None:
        """close() does not wait for ever for a peer that lives but takes nothing."""
        sim = connect_pair(
            Link(delay=0.01),
            Link(delay=0.01),
            left={"peer_window": 20},
            right={"receive_window": 20},
        )
        sim.right.connection.pause_reading()
        sim.left.connection.write(PATTERN[:100_000])
        sim.left.connection.close()
        sim.run(DRAIN_TIMEOUT - 1)
        self.assertEqual(self.closed(sim), (None, None))
        sim.run(3)
        self.assertIs(sim.left.closed, CloseReason.TIMEOUT)

    def test_keep_alive(self) -> None:
        """Idle connections live on by a packet each way every few seconds."""
        sim = self.pair()
        kinds: list[int] = []

        def note(packet: bytes, now: float) -> bool:
            kinds.append(_kind(packet))
            return False

        sim.left.link.drop = note
        sim.run(120)
        self.assertEqual(self.closed(sim), (None, None))
        self.assertEqual(set(kinds), {0x8000 | ControlType.KEEP_ALIVE})
        self.assertTrue(20 <= len(kinds) <= 30, len(kinds))


class PacketEconomyTests(SynchronousTestCase):
    """How many packets things take."""

    def test_small_writes_in_bulk(self) -> None:
        """10,000 writes of 10 bytes in one turn leave as 69 packets."""
        sim = connect_pair(Link(delay=0.01), Link(delay=0.01))
        for _ in range(10_000):
            sim.left.connection.write(b"0123456789")
        sim.run(2, lambda: sim.right.received == 100_000)
        self.assertEqual(sim.left.connection.statistics.packets_sent, 69)

    def test_acks_of_bulk_data(self) -> None:
        """A bulk transfer takes about one ACK in 10 ms or 64 packets, not more."""
        sim = connect_pair(Link(rate=20e6, delay=0.02), Link(rate=20e6, delay=0.02))
        sim.left.connection.write(PATTERN)
        sim.run(5, lambda: sim.right.received == len(PATTERN))
        acks = sim.right.connection.statistics.acks_sent
        self.assertLess(acks, sim.now / 0.01 + 1030 / 64 + 10)

    def test_pairs_stay_together(self) -> None:
        """Packets 16n and 16n + 1 leave at the same moment: libudt measures capacity by them."""
        times: dict[int, float] = {}

        def note(packet: bytes, now: float) -> bool:
            if _kind(packet) == _DATA:
                times.setdefault(int.from_bytes(packet[:4], "big"), now)
            return False

        link = Link(rate=5e6, delay=0.01)
        link.drop = note
        sim = connect_pair(link, Link(delay=0.01))
        sim.left.connection.write(PATTERN[:600_000])
        sim.run(3, lambda: sim.right.received == 600_000)
        pairs = [(times[n], times[n + 1]) for n in times if n % 16 == 0 and n + 1 in times]
        self.assertGreater(len(pairs), 20)
        together = sum(one == two for one, two in pairs)
        self.assertGreater(together, 0.9 * len(pairs))


class EndRecordTests(SynchronousTestCase):
    """The simulation itself is deterministic."""

    def test_same_seed_same_run(self) -> None:
        """Two runs with equal arguments agree in every count."""

        def once() -> list[object]:
            there, back = (Link(rate=20e6, delay=0.01, loss=0.05, seed=seed) for seed in (1, 2))
            sim = connect_pair(there, back)
            sim.left.connection.write(PATTERN[:500_000])
            sim.run(5, lambda: sim.right.received == 500_000)
            ends: list[End] = [sim.left, sim.right]
            return [sim.now, *(end.connection.statistics for end in ends), there.lost]

        self.assertEqual(once(), once())
