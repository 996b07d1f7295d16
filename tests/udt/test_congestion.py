"""Tests for the congestion strategies: alone, and filling simulated links."""

import random
from itertools import pairwise
from typing import NamedTuple, cast

from twisted.trial.unittest import SynchronousTestCase

from wavesync.testing.cubic import CubicReceiver, cubic_pair
from wavesync.testing.link import Link, Simulation, connect_pair
from wavesync.udt.bottleneck import (
    MIN_RATE,
    MIN_WINDOW,
    RTT_LIFETIME,
    BottleneckControl,
    Mode,
)
from wavesync.udt.congestion import INITIAL_RATE, AckSample, LossEvent
from wavesync.udt.connection import Connection
from wavesync.udt.native import MAX_RATE, NativeControl
from wavesync.udt.sharing import PEACE_ROUNDS

_BLOCK = bytes(1 << 18)


def _fill(connection: Connection) -> None:
    connection.write(_BLOCK)


class Run(NamedTuple):
    """How a link was used.

    :ivar goodput: payload delivered over the link's capacity, 0 .. 1.
    :ivar mean_queue: average queue over the bandwidth-delay product.
    :ivar late_goodput: goodput after the first second.
    """

    goodput: float
    mean_queue: float
    late_goodput: float


class GoodputTests(SynchronousTestCase):
    """How much of a link a transfer gets, start-up included."""

    def fill(
        self,
        *,
        seconds: float = 10.0,
        rate: float = 100e6,
        rtt: float = 0.04,
        queue: float = 1.0,
        loss: float = 0.0,
        native: bool = False,
    ) -> Run:
        """Send as fast as the strategy allows; *queue* is in bandwidth-delay products."""
        product = rate * rtt / 8
        there, back = (
            Link(rate=rate, delay=rtt / 2, queue=int(queue * product), loss=loss, seed=seed)
            for seed in (3, 4)
        )
        control = NativeControl(1500, 8192, random.Random(1).random) if native else None
        coalesce = 0.0 if native else 0.0005  # its receiver needs to see each packet's time
        sim = connect_pair(there, back, left={"congestion": control}, coalesce=coalesce)
        sim.left.source = _fill
        sim.run(1.0)
        early = sim.right.received
        sim.run(seconds - 1)
        late = sim.right.received - early
        return Run(
            sim.right.received * 8 / rate / seconds,
            there.mean_queue / product,
            late * 8 / rate / (seconds - 1),
        )

    def test_clean(self) -> None:
        """A clean 100 Mbit/s link of 40 ms is filled to 90 %, and its queue stays short."""
        run = self.fill()
        self.assertGreater(run.goodput, 0.90)
        self.assertLess(run.mean_queue, 0.35)

    def test_random_loss(self) -> None:
        """1 % of packets lost each way costs less than a tenth of it."""
        run = self.fill(loss=0.01)
        self.assertGreater(run.goodput, 0.85)
        self.assertLess(run.mean_queue, 0.35)

    def test_heavy_random_loss(self) -> None:
        """5 % lost each way leave two thirds and more."""
        self.assertGreater(self.fill(loss=0.05, seconds=3).goodput, 0.66)

    def test_shallow_queue(self) -> None:
        """A router with little memory is no obstacle."""
        self.assertGreater(self.fill(queue=0.2, seconds=3).late_goodput, 0.88)

    def test_deep_queue(self) -> None:
        """A router with too much memory is not filled with it."""
        run = self.fill(queue=8.0, seconds=3)
        self.assertGreater(run.late_goodput, 0.90)
        self.assertLess(run.mean_queue, 0.5)

    def test_slow_link(self) -> None:
        """A 2 Mbit/s uplink of 60 ms."""
        run = self.fill(rate=2e6, rtt=0.06, queue=2.0, loss=0.01)
        self.assertGreater(run.late_goodput, 0.80)

    def test_long_link(self) -> None:
        """20 Mbit/s over 250 ms, 0.5 % lost."""
        run = self.fill(rate=20e6, rtt=0.25, loss=0.005)
        self.assertGreater(run.goodput, 0.70)

    def test_native(self) -> None:
        """UDT's own strategy gets there too, slowly."""
        run = self.fill(native=True)
        self.assertGreater(run.late_goodput, 0.70)

    def test_strong_jitter(self) -> None:
        """Packets that are up to half a round trip late do not keep a transfer from starting."""
        there = Link(rate=50e6, delay=0.02, queue=500_000, jitter=0.02, seed=3)
        sim = connect_pair(there, Link(delay=0.02))
        sim.left.source = _fill
        sim.run(2.0)
        self.assertGreater(sim.right.received * 8 / 2 / 50e6, 0.6)

    def test_overflow_in_start_up(self) -> None:
        """A window that shrinks because the queue overflowed does not stall the stream."""
        there = Link(rate=50e6, delay=0.05, queue=625_000, seed=3)
        sim = connect_pair(there, Link(delay=0.05), left={"peer_window": 1 << 16})
        sim.left.source = _fill
        sim.run(3.0)
        self.assertGreater(sim.right.received * 8 / 3 / 50e6, 0.5)

    def test_beside_cubic(self) -> None:
        """A TCP with CUBIC keeps a third of a link that a transfer of ours joins, and we get some."""
        product = 10e6 * 0.04 / 8
        there = Link(rate=10e6, delay=0.02, queue=int(product), seed=3)
        sender, receiver = cubic_pair(there, Link(delay=0.02))
        sim = Simulation(sender, receiver)
        ours = connect_pair(there, Link(delay=0.02))
        ours.left.source = _fill
        sim.join(ours.left, ours.right)
        sim.run(10.0)
        tcp = cast(CubicReceiver, receiver.connection)
        before, ours_before = tcp.received, ours.right.received
        sim.run(20.0)
        theirs, got = (tcp.received - before) * 1456, ours.right.received - ours_before
        self.assertGreater(theirs / (theirs + got), 0.33)
        self.assertGreater(got / (theirs + got), 0.2)
        self.assertGreater((theirs + got) * 8 / 20 / 10e6, 0.9)

    def test_late_joiner(self) -> None:
        """A transfer that begins while another fills the link soon gets its share."""
        product = 10e6 * 0.05 / 8
        there = Link(rate=10e6, delay=0.025, queue=int(2 * product), seed=3)
        sim = connect_pair(there, Link(delay=0.025))
        sim.left.source = _fill
        sim.run(5.0)
        late = connect_pair(there, Link(delay=0.025), now=sim.now)
        late.left.source = _fill
        sim.join(late.left, late.right)
        sim.run(10.0)
        before = sim.right.received, late.right.received
        sim.run(15.0)
        one, two = sim.right.received - before[0], late.right.received - before[1]
        self.assertGreater(min(one, two) / (one + two), 0.4)

    def test_two_share(self) -> None:
        """Two transfers over one bottleneck get about as much each, and all of it together."""
        product = 50e6 * 0.04 / 8
        shared = Link(rate=50e6, delay=0.02, queue=int(product), seed=1)
        sims = [connect_pair(shared, Link(delay=0.02)) for _ in range(2)]
        for sim in sims:
            sim.left.source = _fill
        for _ in range(4000):  # turn by turn, so that both see the same queue
            for sim in sims:
                sim.run(0.001)
        one, two = (sim.right.received for sim in sims)
        self.assertGreater(min(one, two) / max(one, two), 0.6)
        self.assertGreater((one + two) * 8 / 4 / 50e6, 0.8)


def _sample(now: float, delivered: int, prior: int, **changes: object) -> AckSample:
    values: dict[str, object] = {
        "now": now,
        "acknowledged": 10,
        "delivered": delivered,
        "prior_delivered": prior,
        "in_flight": 10,
        "rtt": 0.04,
        "app_limited": False,
        **changes,
    }
    return AckSample(**values)  # type: ignore[arg-type]


class BottleneckControlTests(SynchronousTestCase):
    """The model behind the default strategy."""

    def feed(self, control: BottleneckControl, rate: float, rounds: int, **changes: object) -> None:
        """Let *rounds* round trips of 40 ms pass at *rate* packets a second."""
        for _ in range(rounds):
            self.now += 0.04
            prior = self.delivered
            self.delivered += round(rate * 0.04)
            control.on_ack(_sample(self.now, self.delivered, prior, **changes))

    def setUp(self) -> None:
        """Nothing delivered yet."""
        self.now = 0.0
        self.delivered = 0

    def test_startup_ends_when_the_rate_stops_growing(self) -> None:
        """Three round trips without growth mean that the path is full."""
        control = BottleneckControl()
        for rate in (500, 1000, 2000, 4000):
            self.feed(control, rate, 1)
        self.assertIs(control.mode, Mode.STARTUP)
        self.feed(control, 4000, 4)
        self.assertIsNot(control.mode, Mode.STARTUP)
        self.feed(control, 4000, 8)
        self.assertIs(control.mode, Mode.PROBE)
        self.assertApproximates(control.bandwidth, 4000, 1)
        self.assertAlmostEqual(control.min_rtt, 0.04)

    def test_startup_slows_down_once_it_has_seen_a_queue(self) -> None:
        """A slow path is not sent more than twice what it carries once packets queue there."""
        control = BottleneckControl()
        self.feed(control, 500, 2)
        self.assertEqual(control.rate, INITIAL_RATE)
        self.feed(control, 700, 1, rtt=0.08)
        for _ in range(8):
            control.on_ack(_sample(self.now, self.delivered, 0, rtt=0.08))
        self.assertIs(control.mode, Mode.STARTUP)
        self.assertLess(control.rate, 700)

    def test_startup_ends_with_a_second_fruitless_round_that_saw_a_queue(self) -> None:
        """A queue and a rate that does not grow are proof enough together."""
        for rtt, ended in ((0.04, False), (0.08, True)):
            control = BottleneckControl()
            self.feed(control, 4000, 3)
            for _ in range(8):
                control.on_ack(_sample(self.now, self.delivered, 0, rtt=rtt))
            self.feed(control, 4000, 1)
            self.assertEqual(control.mode is not Mode.STARTUP, ended)

    def test_flows_that_measured_together_probe_apart(self) -> None:
        """Two that empty the path at the same moment do not both go faster at the same moment."""
        phases: set[int] = set()
        for extra in range(6):
            control = BottleneckControl()
            self.delivered = extra
            self.feed(control, 4000, 20)
            while control.mode is not Mode.RTT:
                self.feed(control, 4000, 1, rtt=0.06)
            rounds = 0
            while control.mode is Mode.RTT or control.rate <= 1.1 * control.bandwidth:
                self.feed(control, 4000, 1, rtt=0.06)
                rounds += 1
            phases.add(rounds)
        self.assertGreaterEqual(len(phases), 3)

    def test_window_and_rate_follow_the_model(self) -> None:
        """Pace is the measured rate within a quarter; the window about two products."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        self.assertTrue(3000 <= control.rate <= 5000)
        self.assertTrue(2 * 160 <= control.window <= 2.5 * 160, control.window)

    def test_the_window_outlasts_a_peer_that_acknowledges_only_what_comes(self) -> None:
        """On a short path a transfer to libudt goes on for more than the 10 ms between ACKs, also
        while it probes: libudt acknowledges nothing while nothing comes."""
        control = BottleneckControl()
        for _ in range(60):
            self.feed(control, 4000, 1, rtt=0.0004)
            if control.mode is Mode.PROBE:
                self.assertGreater(control.window / control.rate, 0.018)

    def test_loss_alone_changes_nothing(self) -> None:
        """Random loss does not slow it down."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        before = (control.rate, control.window)
        control.on_loss(LossEvent(self.now, 3, 100, 500))
        self.assertEqual((control.rate, control.window), before)

    def test_a_slower_path_is_noticed(self) -> None:
        """The best rate is forgotten after ten round trips."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        self.feed(control, 1000, 15)
        self.assertApproximates(control.bandwidth, 1000, 1)

    def probe(self, control: BottleneckControl, rate: float) -> float:
        """The highest pace of a cycle, in measured rates."""
        highest = 0.0
        for _ in range(12):
            self.feed(control, rate, 1)
            highest = max(highest, control.rate / control.bandwidth)
        return highest

    def test_cycles_differ(self) -> None:
        """Two that probe at the same moment do not go on to do so."""
        control = BottleneckControl()
        self.feed(control, 1000, 20)
        probes = []
        for number in range(60):
            before = control.rate
            self.feed(control, 1000, 1)
            if control.rate > 1.1 * control.bandwidth >= before:
                probes.append(number)
        apart = {after - one for one, after in pairwise(probes)}
        self.assertEqual(len(apart), 3)

    def test_probes_are_larger_where_little_is_had(self) -> None:
        """A transfer with little of a path asks for more at a time, measured by what it has."""
        for rate, gain in ((1000, 1.5), (10_000, 1.31), (40_000, 1.155)):
            control = BottleneckControl()
            self.feed(control, rate, 20)
            self.assertAlmostEqual(self.probe(control, rate), gain, 2)

    def test_probes_are_small_beside_flows_that_go_by_loss(self) -> None:
        """After yielding a transfer probes carefully, for a while."""
        control = BottleneckControl()
        self.feed(control, 1000, 20)
        control.on_loss(LossEvent(self.now, 10, 100, 500))
        self.feed(control, 1000, 1, rtt=0.08)
        self.assertAlmostEqual(self.probe(control, 1000), 1.25, 2)
        self.feed(control, 1000, PEACE_ROUNDS)
        self.assertAlmostEqual(self.probe(control, 1000), 1.5, 2)

    def crowd(self, control: BottleneckControl, rtt: float) -> None:
        """Let whole cycles pass in a queue that does not empty, up to where the pace is normal."""
        self.feed(control, 10_000, 24, rtt=rtt)
        self.assertIs(control.mode, Mode.PROBE)
        while control.rate >= control.bandwidth:
            self.feed(control, 10_000, 1, rtt=rtt)
        while control.rate < control.bandwidth:
            self.feed(control, 10_000, 1, rtt=rtt)

    def test_in_a_queue_of_others_the_window_decides(self) -> None:
        """Where others keep a queue, a transfer goes faster, with a smaller window."""
        control = BottleneckControl()
        self.feed(control, 10_000, 20)
        flight, before = control.bandwidth * control.min_rtt, control.window
        self.crowd(control, 0.055)
        self.assertAlmostEqual(control.rate / control.bandwidth, 1.0)
        self.crowd(control, 0.06)
        self.assertAlmostEqual(control.rate / control.bandwidth, 1.25)
        self.assertAlmostEqual((before - control.window) / flight, 1 - 0.524, 2)
        self.feed(control, 10_000, 16)
        self.assertAlmostEqual(control.window, before, 0)

    def test_after_yielding_a_queue_of_others_changes_nothing(self) -> None:
        """Beside a flow that goes by loss a transfer does not keep pushing."""
        control = BottleneckControl()
        self.feed(control, 10_000, 20)
        control.on_loss(LossEvent(self.now, 100, 100, 500))
        self.feed(control, 10_000, 1, rtt=0.065)
        rates = []
        for _ in range(40):
            self.feed(control, 10_000, 1, rtt=0.065)
            rates.append(control.rate / control.bandwidth)
        self.assertGreater(sum(abs(each - 1) < 0.01 for each in rates), 20)

    def test_nothing_arrives_faster_than_it_left(self) -> None:
        """What a repaired hole lets through at once does not look like a faster path."""
        control = BottleneckControl()
        self.feed(control, 4000, 40)
        while control.rate <= control.bandwidth:
            self.feed(control, 4000, 1)
        while control.rate >= control.bandwidth:
            self.feed(control, 4000, 1)
        self.feed(control, 4000, 3)
        self.feed(control, 7000, 1)
        self.assertLessEqual(control.bandwidth, 1.26 * 4000)

    def test_a_round_trip_that_is_seen_again_needs_no_probe(self) -> None:
        """A path whose queue empties by itself is never slowed down to measure it."""
        for rtt, modes in ((0.0401, {Mode.PROBE}), (0.0415, {Mode.PROBE, Mode.RTT})):
            control = BottleneckControl()
            self.feed(control, 4000, 20)
            seen = set()
            for _ in range(int(2 * RTT_LIFETIME / 0.04)):
                self.feed(control, 4000, 1, rtt=rtt)
                seen.add(control.mode)
            self.assertEqual(seen, modes)

    def test_pauses_of_the_writer_do_not_count(self) -> None:
        """A writer with little to say does not make the path slow."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        self.feed(control, 100, 30, app_limited=True)
        self.assertApproximates(control.bandwidth, 4000, 1)

    def test_guesses_do_not_count(self) -> None:
        """After a timeout, deliveries that were counted late do not look like a fast path."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        self.feed(control, 50_000, 1, exact=False)
        self.assertApproximates(control.bandwidth, 4000, 1)

    def test_it_yields_when_a_queue_overflows(self) -> None:
        """Loss where packets queue too shrinks the window to what fills the path, for a while."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        before = control.window
        control.on_loss(LossEvent(self.now, 10, 100, 500))
        self.feed(control, 4000, 1, rtt=0.08)
        self.assertLess(control.window, 0.75 * before)
        self.assertGreaterEqual(control.window, 160)
        self.feed(control, 4000, 60)
        self.assertApproximates(control.window, before, 1)

    def test_it_does_not_yield_to_random_loss(self) -> None:
        """A few losses in a queue, or many without one, leave the window as it is."""
        for lost, rtt in ((2, 0.08), (10, 0.04)):
            control = BottleneckControl()
            self.feed(control, 4000, 20)
            before = control.window
            control.on_loss(LossEvent(self.now, lost, 100, 500))
            self.feed(control, 4000, 1, rtt=rtt)
            self.assertApproximates(control.window, before, 1)

    def test_timeout(self) -> None:
        """After a timeout little is sent until something is heard; then the model is there."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        window = control.window
        control.on_timeout(self.now)
        self.assertEqual(control.window, MIN_WINDOW)
        self.feed(control, 4000, 1)
        self.assertGreater(control.window, window / 2)

    def test_the_shortest_round_trip_is_measured_anew(self) -> None:
        """When it was not seen for seconds the flight is halved for a moment."""
        control = BottleneckControl()
        self.feed(control, 4000, 20)
        self.feed(control, 4000, int(RTT_LIFETIME / 0.04) + 1, rtt=0.06)
        modes = set()
        for _ in range(30):
            self.feed(control, 4000, 1, rtt=0.06)
            modes.add(control.mode)
        self.assertAlmostEqual(control.min_rtt, 0.06)

    def test_floors(self) -> None:
        """However bad the path looks, something is sent."""
        control = BottleneckControl()
        for _ in range(50):
            self.now += 10
            self.delivered += 1
            control.on_ack(_sample(self.now, self.delivered, self.delivered - 1, rtt=10.0))
        self.assertGreaterEqual(control.rate, MIN_RATE)
        self.assertGreaterEqual(control.window, MIN_WINDOW)


class NativeControlTests(SynchronousTestCase):
    """UDT's own strategy, by libudt's figures."""

    def setUp(self) -> None:
        """A connection of 1500-byte packets to a peer with room for 8192."""
        self.control = NativeControl(1500, 8192, lambda: 0.0)

    def test_slow_start(self) -> None:
        """The window starts at 16 and grows by what is acknowledged, plus one, each 10 ms."""
        self.assertEqual(self.control.window, 16)
        self.control.on_ack(_sample(1.0, 16, 0, acknowledged=16))
        self.assertEqual(self.control.window, 33)
        self.control.on_ack(_sample(1.005, 20, 0, acknowledged=4))
        self.assertEqual(self.control.window, 33)
        self.control.on_ack(_sample(1.010, 24, 0, acknowledged=4))
        self.assertEqual(self.control.window, 42)

    def test_first_loss_sets_the_rate_to_what_arrives(self) -> None:
        """Slow start ends at the peer's arrival rate."""
        self.control.on_ack(_sample(1.0, 16, 0, arrival_rate=5000))
        self.control.on_loss(LossEvent(1.1, 1, 100, 200))
        self.assertAlmostEqual(self.control.rate, 5000)

    def test_no_collapse_without_a_delivery_rate(self) -> None:
        """A loss before any rate is known leaves the window over a round trip, not 16 a second."""
        self.control.on_loss(LossEvent(1.1, 1, 100, 200))
        self.assertGreater(self.control.rate, 100)

    def test_timeout_ends_slow_start(self) -> None:
        """A timeout does what a loss does, and later nothing."""
        self.control.on_timeout(1.0)
        rate = self.control.rate
        self.assertLess(rate, MAX_RATE)
        self.control.on_timeout(2.0)
        self.assertEqual(self.control.rate, rate)

    def test_peer_window_ends_slow_start(self) -> None:
        """Beyond the peer's window there is nothing to find."""
        self.control.on_ack(_sample(1.0, 8200, 0, acknowledged=8200, arrival_rate=5000))
        self.assertAlmostEqual(self.control.rate, 5000)

    def test_decrease(self) -> None:
        """A new loss lengthens the period by an eighth; the same trouble again, at most 5 times more."""
        self.control.on_ack(_sample(1.0, 16, 0, arrival_rate=5000))
        self.control.on_loss(LossEvent(1.1, 1, 100, 200))
        self.control.on_loss(LossEvent(1.2, 1, 300, 400))
        self.assertAlmostEqual(self.control.rate, 5000 / 1.125)
        for _ in range(20):
            self.control.on_loss(LossEvent(1.3, 1, 300, 400))
        self.assertAlmostEqual(self.control.rate, 5000 / 1.125**6)

    def test_increase(self) -> None:
        """With capacity to spare the step grows by powers of ten, as the draft's table says."""
        self.control.on_ack(_sample(1.0, 16, 0, arrival_rate=1000))
        self.control.on_loss(LossEvent(1.1, 1, 100, 200))
        self.control.on_ack(_sample(1.2, 32, 0))  # uses up the loss
        slow = self.control.rate
        self.control.on_ack(_sample(1.3, 48, 0))
        self.assertApproximates(self.control.rate - slow, 1.0, 0.01)
        self.control.on_ack(_sample(1.4, 64, 0, capacity=80_000))
        self.assertGreater(self.control.rate - slow, 5)
