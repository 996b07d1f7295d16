"""Tests for L{wavesync.udt.closed}."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.udt.closed import MAX_ANSWERS, MAX_REMEMBERED, MEMORY, SPACING, ClosedConnections
from wavesync.udt.packet import ControlType, encode_control

PEER: Address = ("192.0.2.1", 1)
ALIVE = encode_control(ControlType.KEEP_ALIVE, 5)


class ClosedConnectionsTests(SynchronousTestCase):
    """A peer that missed the end is told again."""

    def setUp(self) -> None:
        """Remember one connection: ours was 5, the peer's 9."""
        self.closed = ClosedConnections()
        self.closed.add(5, PEER, 9, 0.0)

    def answer(
        self, datagram: bytes = ALIVE, source: Address = PEER, now: float = 1.0
    ) -> bytes | None:
        """:return: the answer."""
        return self.closed.answer(5, datagram, source, now)

    def test_answer(self) -> None:
        """A packet for the old id is answered with SHUTDOWN to the peer's id."""
        self.assertEqual(self.answer(), encode_control(ControlType.SHUTDOWN, 9))

    def test_unknown(self) -> None:
        """Other ids and other sources get nothing."""
        self.assertIsNone(self.closed.answer(6, ALIVE, PEER, 1.0))
        self.assertIsNone(self.answer(source=("192.0.2.1", 2)))

    def test_never_answered(self) -> None:
        """SHUTDOWN and handshakes are not answered, nor what is shorter than the answer."""
        self.assertIsNone(self.answer(encode_control(ControlType.SHUTDOWN, 5)))
        self.assertIsNone(self.answer(encode_control(ControlType.HANDSHAKE, 5)))
        self.assertIsNone(self.answer(ALIVE[:-1]))

    def test_spacing(self) -> None:
        """Answers are spaced."""
        self.assertIsNotNone(self.answer())
        self.assertIsNone(self.answer(now=1.0 + SPACING / 2))
        self.assertIsNotNone(self.answer(now=1.0 + SPACING))

    def test_count(self) -> None:
        """So many answers are given, one more is not."""
        given = [self.answer(now=1.0 + n * SPACING * 1.5) for n in range(MAX_ANSWERS + 1)]
        self.assertEqual([answer is None for answer in given], [False] * MAX_ANSWERS + [True])

    def test_memory(self) -> None:
        """After a minute it is forgotten."""
        self.assertIsNotNone(self.answer(now=MEMORY - 0.1))
        self.assertIsNone(self.answer(now=MEMORY))
        self.assertEqual(len(self.closed), 0)

    def test_limit(self) -> None:
        """So many are remembered; one more, and the oldest is forgotten."""
        for number in range(MAX_REMEMBERED - 1):
            self.closed.add(100 + number, PEER, 1, 0.0)
        self.assertIn(5, self.closed)
        self.closed.add(99, PEER, 1, 0.0)
        self.assertNotIn(5, self.closed)
        self.assertEqual(len(self.closed), MAX_REMEMBERED)

    def test_old_ones_go(self) -> None:
        """Adding one forgets those whose time is over."""
        self.closed.add(6, PEER, 1, MEMORY + 1)
        self.assertEqual(len(self.closed), 1)
