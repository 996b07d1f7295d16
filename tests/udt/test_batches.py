"""Tests for :mod:`wavesync.udt.batches`."""

import ctypes
import errno
import socket
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wavesync.interfaces import Address, Burst
from wavesync.udt.batches import MAX_CALLS, MERGED, SLOTS, Arena, BatchInlet, batch_inlet
from wavesync.udt.inlets import MAX_DATAGRAM
from wavesync.udt.outlets import PlainOutlet, SegmentingOutlet, can_segment
from wavesync.udt.sockets import size_buffers

if sys.platform != "linux":
    raise SkipTest("Linux only")


class BatchTests(SynchronousTestCase):
    """Real sockets on loopback."""

    interface = "127.0.0.1"

    def setUp(self) -> None:
        """Make an inlet and a socket to talk to it."""
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        self.here, self.there = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for made in (self.here, self.there):
            made.setblocking(False)
            made.bind((self.interface, 0))
            self.addCleanup(made.close)
            size_buffers(made)
        inlet = batch_inlet(self.here)
        assert inlet is not None
        self.inlet: BatchInlet = inlet
        self.address: Address = self.here.getsockname()[:2]
        self.source: Address = self.there.getsockname()[:2]

    def taken(self) -> list[tuple[bytes, int, Address]]:
        """:return: what one turn brings, copied."""
        return [(bytes(data), size, source) for data, size, source, _ in self.inlet.arrivals()]

    def send(self, *datagrams: bytes) -> None:
        """Send them."""
        for datagram in datagrams:
            self.there.sendto(datagram, self.address)

    def test_nothing(self) -> None:
        """A turn without anything to read brings nothing, and neither does a closed socket."""
        self.assertEqual(self.taken(), [])
        self.here.close()
        self.assertEqual(self.taken(), [])

    def test_one(self) -> None:
        """A datagram comes as it was sent."""
        self.send(b"abc")
        self.assertEqual(self.taken(), [(b"abc", 3, self.source)])

    def test_run(self) -> None:
        """Datagrams of one size and source are one burst; a last, shorter one belongs to it."""
        self.send(b"abc", b"def", b"g")
        self.assertEqual(self.taken(), [(b"abcdefg", 3, self.source)])
        self.send(b"abc", b"def")
        self.assertEqual(self.taken(), [(b"abcdef", 3, self.source)])

    def test_mixed(self) -> None:
        """Other sizes and sources begin bursts of their own; order is kept, empty ones are not."""
        with socket.socket(self.here.family, socket.SOCK_DGRAM) as other:
            other.bind((self.interface, 0))
            self.send(b"aa", b"b", b"", b"cc", b"ddd")
            other.sendto(b"eee", self.address)
            self.send(b"fff")
            stranger = other.getsockname()[:2]
        self.assertEqual(
            self.taken(),
            [
                (b"aab", 2, self.source),
                (b"cc", 2, self.source),
                (b"ddd", 3, self.source),
                (b"eee", 3, stranger),
                (b"fff", 3, self.source),
            ],
        )

    def test_two_sources(self) -> None:
        """Datagrams of one size but two sources are not mixed up."""
        with socket.socket(self.here.family, socket.SOCK_DGRAM) as other:
            other.bind((self.interface, 0))
            self.send(b"a")
            other.sendto(b"b", self.address)
            stranger = other.getsockname()[:2]
        self.assertEqual(self.taken(), [(b"a", 1, self.source), (b"b", 1, stranger)])

    def test_turn(self) -> None:
        """A turn takes what it may, and the next goes on: nothing is lost or twice."""
        numbers = [number.to_bytes(4, "big") for number in range(500)]
        self.send(*numbers)
        came = b""
        turns = 0
        while taken := self.taken():
            turns += 1
            self.assertLessEqual(sum(len(data) for data, _, _ in taken), MAX_CALLS * SLOTS * 4)
            came += b"".join(data for data, _, _ in taken)
        self.assertEqual(came, b"".join(numbers))
        self.assertGreaterEqual(turns, 500 // (MAX_CALLS * SLOTS))

    def test_merged(self) -> None:
        """What the kernel kept together stays a burst; datagrams before and after are apart."""
        if not can_segment(self.there):
            raise SkipTest("this kernel has no UDP_SEGMENT")
        outlet = SegmentingOutlet(self.there, PlainOutlet(self.there))
        data = b"".join(number.to_bytes(2, "big") * 700 for number in range(40))
        self.send(b"first")
        outlet.send(Burst(data, 1400), self.address)
        outlet.send(Burst(data[:-1], 1400), self.address)
        self.send(b"last!")
        self.assertEqual(
            self.taken(),
            [
                (b"first", 5, self.source),
                (data, 1400, self.source),
                (data[:-1], 1400, self.source),
                (b"last!", 5, self.source),
            ],
        )
        for _ in range(2 * MERGED):
            outlet.send(Burst(data, 1400), self.address)
        came = [taken for _ in range(3) for taken in self.taken()]
        self.assertEqual(len(came), 2 * MERGED)
        self.assertTrue(all(taken == (data, 1400, self.source) for taken in came))

    def test_oversize(self) -> None:
        """The longest datagram is taken, a longer one is dropped and counted, alone or among
        others, merged or not."""
        longest = bytes(MAX_DATAGRAM)
        self.send(longest)
        self.assertEqual(self.taken(), [(longest, MAX_DATAGRAM, self.source)])
        self.send(longest + b"x")
        self.assertEqual((self.taken(), self.inlet.dropped), ([], 1))
        self.send(longest + b"x", longest + b"x")
        self.assertEqual((self.taken(), self.inlet.dropped), ([], 3))
        self.send(b"a", longest + b"x", b"b")
        self.assertEqual([data for data, _, _ in self.taken()], [b"a", b"b"])
        self.assertEqual(self.inlet.dropped, 4)
        if can_segment(self.there):
            outlet = SegmentingOutlet(self.there, PlainOutlet(self.there))
            outlet.send(Burst(bytes(3 * (MAX_DATAGRAM + 1)), MAX_DATAGRAM + 1), self.address)
            self.send(b"c")
            self.assertEqual([data for data, _, _ in self.taken()], [b"c"])
            self.assertEqual(self.inlet.dropped, 7)

    def test_nested(self) -> None:
        """Whoever reads from another socket while he is given datagrams gets his own ones right."""
        self.send(b"abc")
        second = batch_inlet(self.there)
        assert second is not None
        for data, _, _, _ in self.inlet.arrivals():
            self.here.sendto(b"xyz", self.source)
            inner = [bytes(data) for data, _, _, _ in second.arrivals()]
            self.assertEqual((bytes(data), inner), (b"abc", [b"xyz"]))

    def test_left(self) -> None:
        """A reader that stops in the middle, or fails, leaves the memory to the next."""
        arena = self.inlet._arena
        self.send(b"a", b"bb")
        reading = self.inlet.arrivals()
        next(reading)
        self.assertTrue(arena.busy)
        del reading
        self.assertFalse(arena.busy)


class SixTests(BatchTests):
    """The same over IPv6."""

    interface = "::1"

    def setUp(self) -> None:
        """Skip where there is none."""
        try:
            super().setUp()
        except OSError as problem:
            raise SkipTest("no IPv6 here") from problem


class BothTests(SynchronousTestCase):
    """Sockets of both families take turns in one process."""

    def test_mixed(self) -> None:
        """What the longer names of IPv6 have left in memory parts no burst of IPv4."""
        hosts = {}
        for interface in ("::1", "127.0.0.1"):
            family = socket.AF_INET6 if ":" in interface else socket.AF_INET
            here, there = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
            for made in (here, there):
                made.setblocking(False)
                made.bind((interface, 0))
                self.addCleanup(made.close)
            inlet = batch_inlet(here)
            assert inlet is not None
            hosts[interface] = (inlet, here.getsockname(), there)
        for _ in range(2):
            for interface, count in (("::1", 2), ("127.0.0.1", 3), ("::1", 1), ("127.0.0.1", 4)):
                inlet, address, there = hosts[interface]
                for _ in range(count):
                    there.sendto(b"abc", address)
                found = [(bytes(each.data), each.source) for each in inlet.arrivals()]
                self.assertEqual(found, [(b"abc" * count, there.getsockname()[:2])])


class ErrorTests(SynchronousTestCase):
    """What the call may say."""

    def test_errors(self) -> None:
        """An ICMP error of something sent earlier is passed over; others end the turn."""
        for number, calls in (
            (errno.ECONNREFUSED, MAX_CALLS),
            (errno.EINTR, MAX_CALLS),
            (errno.EAGAIN, 1),
            (errno.EBADF, 1),
        ):
            made: list[int] = []

            def fail(*what: object, number: int = number, made: list[int] = made) -> int:
                made.append(number)
                ctypes.set_errno(number)
                return -1

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as real:
                inlet = BatchInlet(real, fail, Arena())
                self.assertEqual(list(inlet.arrivals()), [])
            self.assertEqual(len(made), calls)
