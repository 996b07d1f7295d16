"""Setting a connection up over bad paths: rendezvous, then a handshake's few flights of data."""

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair, memory_port
from tests.udt.test_sender import Recorder
from wavesync.interfaces import Burst
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.connection import Connection
from wavesync.udt.estimators import INITIAL_RTT
from wavesync.udt.packet import ControlType, DataPacket, encode_control
from wavesync.udt.send_buffer import SendBuffer
from wavesync.udt.sender import Sender
from wavesync.udt.statistics import Statistics
from wavesync.udt.tail import ACK_DELAY, FEW, HURRY, SETUP, SETUP_RTT

FLIGHTS = (("client", 350), ("server", 1900), ("client", 1500), ("server", 100))
"""Who says how many bytes: about what TLS and the opening of a service do."""


class _End(Protocol):
    """Says its part when it has heard the other's."""

    def __init__(self, role: str, on_done: Callable[[], None]) -> None:
        self._role = role
        self._on_done = on_done
        self._step = 0
        self._owed = 0

    def connectionMade(self) -> None:
        self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._owed -= len(data)
        self._go_on()

    def _go_on(self) -> None:
        assert self.transport is not None
        while self._owed <= 0 and self._step < len(FLIGHTS):
            role, size = FLIGHTS[self._step]
            self._step += 1
            if role == self._role:
                self.transport.write(bytes(size))
            else:
                self._owed += size
        if self._owed <= 0 and self._step == len(FLIGHTS):
            self._on_done()


class _Ends(Factory):
    noisy = False

    def __init__(self, role: str, on_done: Callable[[], None] = lambda: None) -> None:
        self._make = lambda: _End(role, on_done)

    def buildProtocol(self, addr: IAddress | None) -> _End:
        return self._make()


class LossySetUpTests(SynchronousTestCase):
    """Each site's link loses 3 of 100 packets each way and lets them overtake each other."""

    def seconds(self, seed: int, *, delay: float, jitter: float, loss: float) -> float:
        """:return: from the start to the last flight, at the client."""
        clock = Clock()
        through = 1 - (1 - loss) ** 2
        network = Network(clock, delay=delay, loss=through, jitter=jitter, random=Random(seed))
        here = memory_port(clock, network.host(Pair.HERE[0]), Pair.HERE[1], 2 * seed + 1)
        there = memory_port(clock, network.host(Pair.THERE[0]), Pair.THERE[1], 2 * seed + 2)
        done: list[float] = []
        here.rendezvous(
            [Pair.THERE], _Ends("client", lambda: done.append(clock.seconds())), token=1
        )
        there.rendezvous([Pair.HERE], _Ends("server"), token=1)
        while not done and clock.seconds() < 10:
            run_for(clock, 0.2)
        return done[0] if done else float("inf")

    def quantiles(self, *, delay: float, jitter: float) -> tuple[float, float]:
        """:return: of 80 tries: the median, and what 95 of 100 keep within."""
        times = sorted(
            self.seconds(seed, delay=delay, jitter=jitter, loss=0.03) for seed in range(80)
        )
        return times[40], times[76]

    def test_no_loss(self) -> None:
        """Without loss it takes half a round trip to be heard and two for the flights."""
        self.assertAlmostEqual(self.seconds(1, delay=0.04, jitter=0, loss=0), 0.2, places=3)

    def test_short_path(self) -> None:
        """A loss costs a short path little more than a round trip, not an assumed one."""
        median, most = self.quantiles(delay=0.01, jitter=0.01)
        self.assertLess(median, 0.1)
        self.assertLess(most, 0.2)

    def test_usual_path(self) -> None:
        """80 to 160 ms of round trip."""
        median, most = self.quantiles(delay=0.04, jitter=0.04)
        self.assertLess(median, 0.4)
        self.assertLess(most, 0.7)

    def test_long_path(self) -> None:
        """240 to 280 ms of round trip."""
        median, most = self.quantiles(delay=0.12, jitter=0.04)
        self.assertLess(median, 0.9)
        self.assertLess(most, 1.2)


class TailTests(SynchronousTestCase):
    """When what nobody acknowledges is sent again."""

    def sender(self, packets: int) -> Sender:
        """:return: a sender that has sent so many packets of 10 bytes at time 0."""
        self.buffer = SendBuffer(7, 100, 10, 0.0)
        strategy = Recorder()
        strategy.window = 100
        sender = Sender(0.0, self.buffer, 1000, strategy, 0.0, Statistics())
        self.buffer.write(bytes(10 * packets))
        out: list[Burst] = []
        sender.datagrams(0.0, packets, out)
        self.assertEqual(self.buffer.next, 100 + packets)
        return sender

    def repeat(self, sender: Sender) -> float:
        """:return: when the tail is sent again next; it is sent."""
        due = sender.deadline()
        sender.timer(due)
        out: list[Burst] = []
        sender.datagrams(due, 1000, out)
        self.assertNotEqual(out, [])
        return due

    def test_few(self) -> None:
        """A handshake's flight is repeated soon, and soon again, then ever less often."""
        sender = self.sender(FEW)
        times = [self.repeat(sender) for _ in range(5)]
        waits = [late - soon for soon, late in zip([0.0, *times], times, strict=False)]
        for wait, trips in zip(waits, HURRY, strict=False):
            self.assertAlmostEqual(wait, trips * INITIAL_RTT + ACK_DELAY)
        self.assertGreater(waits[2], waits[1])
        self.assertAlmostEqual(waits[3], 2 * waits[2])

    def test_many(self) -> None:
        """More than a few packets wait for two round trips."""
        self.assertAlmostEqual(self.repeat(self.sender(FEW + 1)), 2 * INITIAL_RTT + ACK_DELAY)

    def test_long_round_trip(self) -> None:
        """At the beginning nobody waits for a long round trip; later a repeat would be a waste."""
        sender = self.sender(1)
        sender.round_trip.add(0.6)
        self.assertAlmostEqual(self.repeat(sender), HURRY[0] * SETUP_RTT + ACK_DELAY)
        sender = self.sender(SETUP + 1)
        sender.on_ack(100 + SETUP, None, 0.6)
        sender.round_trip.add(0.6)
        self.assertAlmostEqual(sender.deadline(), HURRY[0] * 0.6 + ACK_DELAY)

    def test_left_behind(self) -> None:
        """The wait for what was not acknowledged with the rest counts from when it left."""
        sender = self.sender(3)
        sender.on_ack(102, None, 0.08)
        self.assertAlmostEqual(
            sender.deadline(), HURRY[0] * sender.round_trip.rtt + ACK_DELAY, places=6
        )

    def test_expected_round_trip(self) -> None:
        """What the handshakes took decides when the first flight is repeated."""
        for expected, due in ((None, 0.145), (0.02, 0.045), (0.08, 0.12)):
            connection = Connection(
                now=0.0,
                local_id=1,
                peer_id=2,
                send_isn=0,
                receive_isn=0,
                send_mss=1500,
                peer_window=100,
            )
            connection.expect_round_trip(expected)
            connection.write(b"hello")
            connection.datagrams(0.0)
            self.assertAlmostEqual(connection.deadline() or 0.0, due)

    def test_round_trip_by_answer(self) -> None:
        """The answer to an ACK measures the way for what we send, too."""
        connection = Connection(
            now=0.0,
            local_id=1,
            peer_id=2,
            send_isn=0,
            receive_isn=0,
            send_mss=1500,
            peer_window=100,
        )
        data = DataPacket(0, 1, 1, b"hello").encode()
        connection.receive(data, len(data), 0.0)
        connection.write(b"hello")
        connection.datagrams(0.0)
        answer = encode_control(ControlType.ACK2, 1, 1)
        connection.receive(answer, len(answer), 0.02)
        self.assertAlmostEqual(connection.deadline() or 0.0, 0.045)
