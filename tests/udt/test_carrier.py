"""Tests for L{wavesync.udt.carrier}."""

import os
import socket
import sys
from collections.abc import Iterable

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from wavesync.interfaces import Address, Burst
from wavesync.udt.carrier import (
    AUTO,
    GSO,
    MAX_DATAGRAM,
    MAX_QUEUED,
    MAX_TURN,
    PLAIN,
    Arrival,
    ICarrier,
    SocketCarrier,
    slices,
    ways,
)
from wavesync.udt.inlets import PlainInlet
from wavesync.udt.outlets import PlainOutlet, SegmentingOutlet
from wavesync.udt.sparse import SparseInlet


class SizeTests(TestCase):
    """Large datagrams."""

    def test_never_fragmented(self) -> None:
        """The kernel neither fragments nor holds a probe back for what it has been told."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("Linux only")
        for interface, level, option in (
            ("127.0.0.1", socket.IPPROTO_IP, 10),
            ("::1", socket.IPPROTO_IPV6, 23),
        ):
            carrier = SocketCarrier(reactor, 0, interface)
            self.addCleanup(carrier.stop)
            with socket.socket(fileno=os.dup(carrier.fileno())) as copy:
                self.assertEqual(copy.getsockopt(level, option), 3)


class BurstTests(SynchronousTestCase):
    """Bursts to datagrams."""

    def test_slices(self) -> None:
        """A burst is cut into datagrams; the last may be shorter."""
        self.assertEqual(slices(Burst(b"aabbc", 2)), [b"aa", b"bb", b"c"])
        self.assertEqual(slices(Burst(b"aa", 2)), [b"aa"])
        self.assertEqual(slices(Burst(b"a", 2)), [b"a"])


class Sink:
    """Takes what a carrier brings."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.ready = 0
        self.large: list[int] = []
        self.came: Deferred[None] = Deferred()

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Note them; the carrier uses the memory again."""
        self.arrivals += [Arrival(bytes(data), size, source) for data, size, source, _ in arrivals]
        if self.arrivals and not self.came.called:
            self.came.callback(None)

    @property
    def data(self) -> bytes:
        """:return: all bytes that came."""
        return b"".join(arrival.data for arrival in self.arrivals)

    def carrier_ready(self) -> None:
        """Note it."""
        self.ready += 1

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """Note it; it must go."""
        self.large.append(len(datagram))
        return True


class Watcher:
    """A reactor that only notes what is to be watched."""

    def __init__(self) -> None:
        self.reading: set[object] = set()
        self.writing: set[object] = set()

    def addReader(self, reader: object) -> None:
        """Note it."""
        self.reading.add(reader)

    def addWriter(self, writer: object) -> None:
        """Note it."""
        self.writing.add(writer)

    def removeReader(self, reader: object) -> None:
        """Note it."""
        self.reading.discard(reader)

    def removeWriter(self, writer: object) -> None:
        """Note it."""
        self.writing.discard(writer)


class Full:
    """A way out that takes only so many bytes.

    :ivar room: bytes that it takes now.
    :ivar sent: what it took.
    """

    dropped = 0

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.sent = b""

    def send(self, burst: Burst, destination: Address, done: int = 0) -> int:
        """Take whole datagrams while there is room."""
        data, size = burst
        while done < len(data) and self.room >= size:
            self.sent += data[done : done + size]
            self.room -= size
            done = min(done + size, len(data))
        return done


class SocketTests(SynchronousTestCase):
    """A socket carrier without a reactor that runs."""

    mode = AUTO

    def setUp(self) -> None:
        """Make a carrier on loopback and a socket to talk to it."""
        self.watcher = Watcher()
        self.carrier = SocketCarrier(self.watcher, 0, "127.0.0.1", self.mode)  # type: ignore[arg-type]
        self.addCleanup(self.carrier.stop)
        self.sink = Sink()
        self.carrier.start(self.sink)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.there: Address = self.socket.getsockname()

    def test_interfaces(self) -> None:
        """It is what a port and a reactor want."""
        for interface in (ICarrier, IReadDescriptor, IWriteDescriptor):
            self.assertTrue(verifyObject(interface, self.carrier))
        self.assertEqual(self.watcher.reading, {self.carrier})
        self.assertEqual(self.carrier.logPrefix(), "UDT")

    def test_send(self) -> None:
        """A burst leaves as datagrams."""
        self.carrier.send(Burst(b"aabbc", 2), self.there)
        self.assertEqual([self.socket.recv(100) for _ in range(3)], [b"aa", b"bb", b"c"])

    def test_receive(self) -> None:
        """What came is handed on as bursts, once."""
        for _ in range(2 * MAX_TURN + 1):
            self.socket.sendto(b"abc", self.carrier.address)
        for _ in range(4):
            self.carrier.doRead()
        self.assertEqual(self.sink.data, b"abc" * (2 * MAX_TURN + 1))
        self.assertLess(len(self.sink.arrivals), 20)
        self.assertEqual({arrival.source for arrival in self.sink.arrivals}, {self.there})

    def test_bursts(self) -> None:
        """Bursts from one carrier to another arrive unchanged, whatever is between them."""
        other = SocketCarrier(self.watcher, 0, "127.0.0.1", self.mode)  # type: ignore[arg-type]
        self.addCleanup(other.stop)
        burst = b"".join(number.to_bytes(2, "big") * 600 for number in range(44))
        for data in (burst, b"x" * 20, burst[:-100]):
            other.send(Burst(data, 1200), self.carrier.address)
        for _ in range(4):
            self.carrier.doRead()
        self.assertEqual(self.sink.data, burst + b"x" * 20 + burst[:-100])

    def test_oversize(self) -> None:
        """The longest datagram is taken, a longer one is dropped and counted."""
        for size in (MAX_DATAGRAM, MAX_DATAGRAM + 1, 60_000):
            self.socket.sendto(bytes(size), self.carrier.address)
        self.carrier.doRead()
        self.assertEqual([len(arrival.data) for arrival in self.sink.arrivals], [MAX_DATAGRAM])
        self.assertEqual(self.carrier.dropped, 2)

    def full(self, room: int) -> Full:
        """Let the kernel take only so many bytes."""
        full = Full(room)
        self.carrier._outlet = full
        return full

    def test_congested(self) -> None:
        """While the kernel takes nothing datagrams wait in order, and the port is told when it
        does again."""
        full = self.full(1)
        self.carrier.send(Burst(b"abcd", 1), self.there)
        self.carrier.send(Burst(b"e", 1), self.there)
        self.assertEqual(full.sent, b"a")
        self.assertTrue(self.carrier.congested)
        self.assertEqual(self.watcher.writing, {self.carrier})
        full.room = 1
        self.carrier.doWrite()
        self.assertEqual((full.sent, self.sink.ready), (b"ab", 0))
        full.room = 3
        self.carrier.doWrite()
        self.assertEqual((full.sent, self.sink.ready), (b"abcde", 1))
        self.assertFalse(self.carrier.congested or self.watcher.writing)

    def test_too_large(self) -> None:
        """The port is asked about a datagram that the system does not take: 65507 bytes are the most."""
        self.carrier.send(Burst(bytes(65_508), 65_508), self.there)
        self.assertEqual(self.sink.large, [65_508])
        self.assertEqual(self.carrier.dropped, 1)

    def test_queue_limit(self) -> None:
        """So many wait; more are dropped and counted, and there is room again when some have left."""
        full = self.full(0)
        self.carrier.send(Burst(bytes(MAX_QUEUED - 1), 1), self.there)
        self.carrier.send(Burst(b"x", 1), self.there)
        self.assertEqual(self.carrier.dropped, 0)
        self.carrier.send(Burst(b"y", 1), self.there)
        self.assertEqual(self.carrier.dropped, 1)
        full.room = 2
        self.carrier.doWrite()
        self.carrier.send(Burst(b"abcd", 1), self.there)
        self.assertEqual(self.carrier.dropped, 3)
        full.room = MAX_QUEUED
        self.carrier.doWrite()
        self.assertEqual(full.sent, bytes(MAX_QUEUED - 1) + b"xab")

    def test_unreachable_address(self) -> None:
        """A real send to nowhere does not raise."""
        self.carrier.send(Burst(b"x", 1), ("240.0.0.1", 9))

    def test_taken(self) -> None:
        """A port in use is refused with the reactor's own error."""
        self.assertRaises(
            error.CannotListenError,
            SocketCarrier,
            self.watcher,
            self.carrier.address[1],
            "127.0.0.1",
        )

    def test_stop(self) -> None:
        """Stopping gives everything back; doing it again, or sending, is harmless."""
        self.carrier.stop()
        self.carrier.stop()
        self.carrier.send(Burst(b"x", 1), self.there)
        self.carrier.doRead()
        self.assertFalse(self.watcher.reading or self.watcher.writing)
        self.assertEqual(self.carrier.fileno(), -1)
        SocketCarrier(self.watcher, self.carrier.address[1], "127.0.0.1").stop()  # type: ignore[arg-type]

    def test_reactor_gives_up(self) -> None:
        """The reactor's connectionLost is a stop."""
        self.carrier.connectionLost(Failure(error.ConnectionLost()))
        self.assertEqual(self.carrier.fileno(), -1)

    def test_families(self) -> None:
        """IPv4 and IPv6 carriers may have the same port number."""
        six = SocketCarrier(self.watcher, self.carrier.address[1], "::")  # type: ignore[arg-type]
        self.addCleanup(six.stop)
        self.assertEqual(six.address[0], "::")


class PlainTests(SocketTests):
    """The same one datagram at a time."""

    mode = PLAIN


class ModeTests(SynchronousTestCase):
    """What the system has."""

    def setUp(self) -> None:
        """Make a socket."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)

    def test_required(self) -> None:
        """Who insists on bursts is refused where the system has none; others get datagrams."""
        self.assertRaises(OSError, ways, self.socket, GSO, lambda sock: False)
        outlet, _ = ways(self.socket, AUTO, lambda sock: False)
        self.assertIsInstance(outlet, PlainOutlet)

    def test_plain(self) -> None:
        """Who wants single datagrams gets them, whatever the system has."""
        outlet, inlet = ways(self.socket, PLAIN, lambda sock: True)
        self.assertIsInstance(outlet, PlainOutlet)
        self.assertIsInstance(inlet, PlainInlet)

    def test_fast(self) -> None:
        """Linux has bursts."""
        if sys.platform != "linux":
            raise SkipTest("Linux only")
        for mode in (AUTO, GSO):
            outlet, inlet = ways(self.socket, mode)
            self.assertIsInstance(outlet, SegmentingOutlet)
            self.assertIsInstance(inlet, SparseInlet)

    def test_unknown(self) -> None:
        """A mistyped mode is refused."""
        self.assertRaises(ValueError, ways, self.socket, "fast")


class ReactorTests(TestCase):
    """A socket carrier on the reactor."""

    timeout = 10

    def test_ipv6(self) -> "Deferred[None]":
        """Datagrams pass between two carriers over IPv6; addresses have host and port only."""
        here, there = (SocketCarrier(reactor, 0, "::1") for _ in range(2))
        self.addCleanup(here.stop)
        self.addCleanup(there.stop)
        sink = Sink()
        here.start(Sink())
        there.start(sink)
        here.send(Burst(b"aabb", 2), there.address)

        def check(_came: None) -> None:
            self.assertEqual(sink.arrivals[0].source, here.address)
            self.assertEqual(b"".join(arrival.data for arrival in sink.arrivals)[:2], b"aa")

        return sink.came.addCallback(check)
