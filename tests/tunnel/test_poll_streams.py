"""Tests of :mod:`wavesync.tunnel.poll_streams`: what is lost, repeated or too much."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.tunnel.poll_streams import MAX_PIECES, Chunk, Incoming, Outgoing
from wavesync.tunnel.poll_wire import PollError

_DATA = bytes(range(256)) * 4


class OutgoingTests(SynchronousTestCase):
    """What is sent is kept until it is known to have come."""

    def outgoing(self, data: bytes = _DATA, allowed: int = 10_000) -> Outgoing:
        """A stream with something to send."""
        stream = Outgoing(allowed)
        stream.write(data)
        return stream

    def test_window(self) -> None:
        """No byte leaves that the peer does not take; at the limit the last one does."""
        stream = self.outgoing(allowed=100)
        self.assertEqual(stream.take(1, 99), Chunk(0, _DATA[:99], False))
        self.assertEqual(stream.take(2, 50), Chunk(99, _DATA[99:100], False))
        self.assertEqual((stream.ready, stream.take(3, 50).data), (0, b""))
        stream.acknowledge(100, 1)
        self.assertEqual(stream.take(4, 50), Chunk(100, _DATA[100:101], False))

    def test_end_beyond_the_window(self) -> None:
        """The end needs no room."""
        stream = self.outgoing(b"abc", allowed=3)
        stream.end()
        self.assertEqual(stream.take(1, 10), Chunk(0, b"abc", True))
        self.assertFalse(stream.arrived)
        stream.acknowledge(4)
        self.assertTrue(stream.arrived)
        self.assertEqual(len(stream), 0)

    def test_end_alone(self) -> None:
        """The end can come later than the last byte; nothing is written behind it."""
        stream = self.outgoing(b"abc")
        stream.take(1, 10)
        stream.end()
        self.assertEqual(stream.take(2, 10), Chunk(3, b"", True))
        self.assertRaises(ValueError, stream.write, b"more")

    def test_lost_first(self) -> None:
        """What was lost goes before what is new, without what has come meanwhile."""
        stream = self.outgoing()
        for carrier in (1, 2, 3):
            stream.take(carrier, 10)
        self.assertTrue(stream.lose(1))
        stream.acknowledge(5, 1000)
        self.assertEqual(stream.take(4, 100), Chunk(5, _DATA[5:10], False))
        self.assertEqual(stream.take(5, 100), Chunk(30, _DATA[30:130], False))
        self.assertFalse(stream.lose(1))

    def test_only_the_dead_are_lost(self) -> None:
        """Carriers that live, and those that are younger than who says so, are not lost."""
        stream = self.outgoing()
        for carrier in (1, 2, 3, 4):
            stream.take(carrier, 10)
        stream.lose_all_but(frozenset({1}), 3)
        self.assertEqual(stream.ready, 10 + len(_DATA) - 40)
        self.assertEqual(stream.take(5, 100).at, 10)

    def test_again(self) -> None:
        """A carrier's chunk can be had once more, until it is acknowledged."""
        stream = self.outgoing(b"abcdef")
        stream.end()
        stream.take(1, 4)
        last = stream.take(2, 4)
        self.assertEqual(stream.again(2), last)
        stream.acknowledge(2)
        self.assertEqual(stream.again(1), Chunk(2, b"cd", False))
        stream.acknowledge(7)
        self.assertEqual(stream.again(2), Chunk(6, b"", False))

    def test_acknowledged_too_much(self) -> None:
        """What was never sent cannot have come."""
        stream = self.outgoing()
        stream.take(1, 10)
        stream.acknowledge(10)
        self.assertRaises(PollError, stream.acknowledge, 11)


class IncomingTests(SynchronousTestCase):
    """What comes is put together."""

    def test_window(self) -> None:
        """As much as was said is taken, and not one byte more."""
        stream = Incoming(100)
        self.assertRaises(PollError, stream.receive, Chunk(50, bytes(51), False))
        stream.receive(Chunk(0, bytes(100), True))
        self.assertEqual((stream.got, stream.room, stream.ended), (101, 0, True))
        stream = Incoming(100)
        stream.receive(Chunk(0, bytes(60), False))
        self.assertEqual(stream.room, 40)
        self.assertEqual(len(stream.deliver()), 60)
        self.assertEqual(stream.room, 100)

    def test_gaps(self) -> None:
        """So many pieces may be ahead of a gap, and not one more."""
        stream = Incoming(1000)
        for number in range(MAX_PIECES):
            stream.receive(Chunk(2 * number + 1, b"x", False))
        self.assertRaises(PollError, stream.receive, Chunk(2 * MAX_PIECES + 1, b"x", False))

    def test_overlapping(self) -> None:
        """Pieces that overlap take no more room than their bytes."""
        stream = Incoming(1000)
        for start in (500, 100, 300, 50, 90, 1):
            stream.receive(Chunk(start, _DATA[start : start + 400], False))
        stream.receive(Chunk(0, _DATA[:1], False))
        self.assertEqual(stream.deliver(), _DATA[:900])

    def test_contradictions(self) -> None:
        """A stream ends once, behind everything."""
        for chunks in (
            [Chunk(0, b"abc", True), Chunk(3, b"d", False)],
            [Chunk(0, b"abc", True), Chunk(0, b"ab", True)],
            [Chunk(2, b"cd", False), Chunk(0, b"a", True)],
            [Chunk(0, b"ab", False), Chunk(0, b"a", True)],
        ):
            stream = Incoming(100)
            for chunk in chunks[:-1]:
                stream.receive(chunk)
            self.assertRaises(PollError, stream.receive, chunks[-1])

    def test_repeated_end(self) -> None:
        """The end may be said twice."""
        stream = Incoming(100)
        for _ in range(2):
            stream.receive(Chunk(0, b"abc", True))
        self.assertEqual((stream.deliver(), stream.got), (b"abc", 4))

    @given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 300)), max_size=30))
    def test_any_order(self, pieces: list[tuple[int, int]]) -> None:
        """Whatever comes in whatever order, what is delivered is the stream's beginning."""
        stream, known, came = Incoming(1000), set[int](), b""
        for at, size in pieces:
            data = _DATA[at : min(at + size, 1000)]
            known |= set(range(at, at + len(data)))
            stream.receive(Chunk(at, data, False))
            came += stream.deliver()
        whole = next(place for place in range(1001) if place not in known)
        self.assertEqual(came, _DATA[:whole])
