"""Tests for L{wavesync.udt.carrier}."""

import errno
import os
import socket
import sys
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from wavesync.interfaces import Address, Burst
from wavesync.udt.carrier import (
    MAX_DATAGRAM,
    MAX_QUEUED,
    MAX_TURN,
    Arrival,
    BurstAssembler,
    ICarrier,
    SocketCarrier,
    slices,
)

SOURCE: Address = ("192.0.2.1", 1)


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
    """Datagrams to bursts and back."""

    def test_slices(self) -> None:
        """A burst is cut into datagrams; the last may be shorter."""
        self.assertEqual(slices(Burst(b"aabbc", 2)), [b"aa", b"bb", b"c"])
        self.assertEqual(slices(Burst(b"aa", 2)), [b"aa"])
        self.assertEqual(slices(Burst(b"a", 2)), [b"a"])

    def assembled(self, *datagrams: tuple[bytes, Address]) -> list[Arrival]:
        """:return: the bursts that these make."""
        assembler = BurstAssembler()
        for data, source in datagrams:
            assembler.add(data, source)
        return assembler.take()

    def test_assembled(self) -> None:
        """Datagrams of one size and source make a burst, which a shorter one ends."""
        self.assertEqual(
            self.assembled(*((data, SOURCE) for data in (b"aa", b"bb", b"c", b"dd"))),
            [Arrival(b"aabbc", 2, SOURCE), Arrival(b"dd", 2, SOURCE)],
        )

    def test_longer(self) -> None:
        """A longer datagram begins another burst."""
        self.assertEqual(
            self.assembled((b"a", SOURCE), (b"bb", SOURCE)),
            [Arrival(b"a", 1, SOURCE), Arrival(b"bb", 2, SOURCE)],
        )

    def test_sources(self) -> None:
        """Another source begins another burst."""
        other = ("192.0.2.1", 2)
        self.assertEqual(
            self.assembled((b"aa", SOURCE), (b"bb", other), (b"cc", SOURCE)),
            [Arrival(b"aa", 2, SOURCE), Arrival(b"bb", 2, other), Arrival(b"cc", 2, SOURCE)],
        )

    def test_empty(self) -> None:
        """Empty datagrams are dropped, wherever they come."""
        self.assertEqual(
            self.assembled((b"", SOURCE), (b"aa", SOURCE), (b"", SOURCE), (b"bb", SOURCE)),
            [Arrival(b"aa", 2, SOURCE), Arrival(b"bb", 2, SOURCE)],
        )
        self.assertEqual(self.assembled(), [])


class Sink:
    """Takes what a carrier brings."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.ready = 0
        self.batches = 0
        self.came: Deferred[None] = Deferred()

    def bursts_received(self, arrivals: list[Arrival]) -> None:
        """Note them."""
        self.batches += 1
        self.arrivals += arrivals
        if not self.came.called:
            self.came.callback(None)

    def carrier_ready(self) -> None:
        """Note it."""
        self.ready += 1


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
    """A socket whose sends end as a script says."""

    def __init__(self, real: socket.socket) -> None:
        self.script: list[int] = []
        self.sent: list[bytes] = []
        self._real = real

    def sendto(self, data: bytes, address: Address) -> int:
        """Fail with the next error of the script, or send."""
        if self.script:
            number = self.script.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        self.sent.append(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class SocketTests(SynchronousTestCase):
    """A socket carrier without a reactor that runs."""

    def setUp(self) -> None:
        """Make a carrier on loopback and a socket to talk to it."""
        self.watcher = Watcher()
        self.carrier = SocketCarrier(self.watcher, 0, "127.0.0.1")  # type: ignore[arg-type]
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
        """What came in one turn is handed on as bursts, at most 64 datagrams a turn."""
        for _ in range(MAX_TURN + 1):
            self.socket.sendto(b"abc", self.carrier.address)
        self.carrier.doRead()
        self.assertEqual(self.sink.arrivals, [Arrival(b"abc" * MAX_TURN, 3, self.there)])
        self.carrier.doRead()
        self.assertEqual(len(self.sink.arrivals), 2)
        self.carrier.doRead()
        self.assertEqual(self.sink.batches, 2)

    def test_oversize(self) -> None:
        """The longest datagram is taken, a longer one is dropped and counted."""
        for size in (MAX_DATAGRAM, MAX_DATAGRAM + 1, 60_000):
            self.socket.sendto(bytes(size), self.carrier.address)
        self.carrier.doRead()
        self.assertEqual([len(arrival.data) for arrival in self.sink.arrivals], [MAX_DATAGRAM])
        self.assertEqual(self.carrier.dropped, 2)

    def full(self, *script: int) -> Full:
        """Let the next sends end as *script* says."""
        full = Full(self.carrier._socket)
        full.script = list(script)
        self.carrier._socket = full  # type: ignore[assignment]
        return full

    def test_congested(self) -> None:
        """While the kernel takes nothing datagrams wait in order, and the port is told when it
        does again."""
        full = self.full(0, errno.EAGAIN)
        self.carrier.send(Burst(b"abcd", 1), self.there)
        self.carrier.send(Burst(b"e", 1), self.there)
        self.assertEqual(full.sent, [b"a"])
        self.assertTrue(self.carrier.congested)
        self.assertEqual(self.watcher.writing, {self.carrier})
        full.script = [0, errno.EAGAIN]
        self.carrier.doWrite()
        self.assertEqual((full.sent, self.sink.ready), ([b"a", b"b"], 0))
        self.carrier.doWrite()
        self.assertEqual((full.sent, self.sink.ready), ([b"a", b"b", b"c", b"d", b"e"], 1))
        self.assertFalse(self.carrier.congested or self.watcher.writing)

    def test_queue_limit(self) -> None:
        """So many wait; more are dropped and counted."""
        self.full(errno.EAGAIN)
        self.carrier.send(Burst(bytes(MAX_QUEUED), 1), self.there)
        self.assertEqual(self.carrier.dropped, 0)
        self.carrier.send(Burst(b"x", 1), self.there)
        self.assertEqual(self.carrier.dropped, 1)

    def test_errors(self) -> None:
        """Datagrams that cannot be sent are lost like any other; those behind them go out."""
        full = self.full(errno.EMSGSIZE, errno.ENETUNREACH, errno.EPERM)
        self.carrier.send(Burst(b"abcd", 1), self.there)
        self.assertEqual((full.sent, self.carrier.dropped), ([b"d"], 3))

    def test_refused(self) -> None:
        """An ICMP error of an earlier datagram does not lose the next one."""
        full = self.full(errno.ECONNREFUSED)
        self.carrier.send(Burst(b"a", 1), self.there)
        self.assertEqual((full.sent, self.carrier.dropped), ([b"a"], 0))

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
