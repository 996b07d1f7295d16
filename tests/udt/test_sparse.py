"""Tests for :mod:`wavesync.udt.sparse`."""

import socket
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wavesync.interfaces import Address, Burst
from wavesync.udt.inlets import MAX_DATAGRAM, Arrival
from wavesync.udt.outlets import PlainOutlet, SegmentingOutlet, can_segment
from wavesync.udt.sparse import LOOK_EVERY, SMALL, SparseInlet, sparse_inlet

if sys.platform != "linux":
    raise SkipTest("Linux only")


class SparseTests(SynchronousTestCase):
    """Real sockets on loopback."""

    interface = "127.0.0.1"

    def setUp(self) -> None:
        """Make an inlet that has just had one datagram, and a socket to talk to it."""
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        self.here, self.there = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for made in (self.here, self.there):
            made.setblocking(False)
            made.bind((self.interface, 0))
            self.addCleanup(made.close)
        inlet = sparse_inlet(self.here)
        assert inlet is not None
        self.inlet: SparseInlet = inlet
        self.address: Address = self.here.getsockname()[:2]
        self.source: Address = self.there.getsockname()[:2]
        self.send(b"first")
        self.assertEqual(self.taken(), [b"first"])

    def taken(self) -> list[bytes]:
        """:return: what one turn brings."""
        return [bytes(arrival.data) for arrival in self.inlet.arrivals()]

    def send(self, *datagrams: bytes) -> None:
        """Send them."""
        for datagram in datagrams:
            self.there.sendto(datagram, self.address)

    def test_one(self) -> None:
        """A datagram comes as it was sent, and is like any other arrival."""
        self.send(b"abc")
        (arrival,) = self.inlet.arrivals()
        self.assertIsInstance(arrival, Arrival)
        self.assertEqual(arrival, (b"abc", 3, self.source, None))
        self.assertEqual(self.taken(), [])

    def test_kept(self) -> None:
        """What is given is still right when the next has been read."""
        self.send(b"abc", b"defg")
        before, after = list(self.inlet.arrivals()), list(self.inlet.arrivals())
        self.assertEqual([each.data for each in before + after], [b"abc", b"defg"])

    def test_nothing(self) -> None:
        """A turn without anything to read brings nothing, and neither does a closed socket."""
        self.assertEqual(self.taken(), [])
        self.here.close()
        self.assertEqual(self.taken(), [])

    def test_many(self) -> None:
        """Where many come at a time they are soon taken together, and one by one again when few do."""
        self.send(*[b"x%d" % number for number in range(3 * LOOK_EVERY)])
        turns = []
        while took := self.taken():
            turns.append(len(b"".join(took)) // 2)
        self.assertLessEqual(len(turns), LOOK_EVERY + 3)
        self.send(b"a")
        self.taken()
        self.send(b"b", b"c")
        self.assertEqual([self.taken(), self.taken()], [[b"b"], [b"c"]])

    def test_large(self) -> None:
        """Behind a large datagram there are more, as a rule: the next turn takes them together."""
        large = bytes(SMALL + 1)
        self.send(large, large, large)
        self.assertEqual(
            [len(b"".join(self.taken())) for _ in range(2)], [SMALL + 1, 2 * (SMALL + 1)]
        )
        self.send(bytes(SMALL))
        self.taken()
        self.send(bytes(SMALL), b"x")
        self.assertEqual([len(b"".join(self.taken())) for _ in range(2)], [SMALL, 1])

    def test_merged(self) -> None:
        """What the kernel has merged is told as what it is."""
        if not can_segment(self.there):
            raise SkipTest("the kernel merges nothing")
        outlet = SegmentingOutlet(self.there, PlainOutlet(self.there))
        outlet.send(Burst(b"abcdefg", 3), self.address)
        came = [(bytes(each.data), each.segment_size) for each in self.inlet.arrivals()]
        self.assertIn(came, ([(b"abcdefg", 3)], [(b"abc", 3)]))

    def test_dropped(self) -> None:
        """Too long a datagram is dropped and counted, alone or merged; an empty one is nothing."""
        self.send(bytes(MAX_DATAGRAM + 1))
        self.assertEqual((self.taken(), self.inlet.dropped), ([], 1))
        self.taken()
        self.send(b"")
        self.assertEqual((self.taken(), self.inlet.dropped), ([], 1))
        self.send(bytes(MAX_DATAGRAM))
        self.assertEqual(self.taken(), [bytes(MAX_DATAGRAM)])

    def test_refused(self) -> None:
        """An ICMP error of something sent earlier hides nothing that has come."""
        self.here.connect(self.source)
        self.there.close()
        self.here.send(b"nobody")
        with socket.socket(self.here.family, socket.SOCK_DGRAM) as again:
            again.bind(self.source)
            again.sendto(b"abc", self.address)
            self.assertEqual([self.taken(), self.taken()], [[], [b"abc"]])


class SixTests(SparseTests):
    """The same over IPv6."""

    interface = "::1"

    def setUp(self) -> None:
        """Skip where there is none."""
        try:
            super().setUp()
        except OSError as problem:
            raise SkipTest("no IPv6 here") from problem
