"""Tests for rendezvous of :class:`wavesync.udt.port.Port` that begin to call later than they answer."""

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair
from wavesync.interfaces import Address
from wavesync.testing.time import run_for

TOKEN = 0xC0FFEE
DELAY = 0.3
OTHER: Address = ("192.0.2.3", 3000)


class DelayTests(SynchronousTestCase):
    """An end that is told to wait does not knock early, and is there for whoever knocks."""

    def setUp(self) -> None:
        self.pair = Pair(delay=0.02)
        self.calls: list[tuple[float, Address]] = []

        def note(data: bytes, source: Address, to: Address) -> bool:
            if source == Pair.HERE:
                self.calls.append((round(self.pair.clock.seconds(), 3), to))
            return False

        self.pair.network.drop = note

    def test_first_call(self) -> None:
        """Nothing leaves before its time, whenever the address became known; then it does."""
        meeting = self.pair.here.rendezvous(
            [Pair.THERE], self.pair.recorders(), token=TOKEN, delay=DELAY
        )
        meeting.connected.addErrback(lambda _: None)
        run_for(self.pair.clock, DELAY / 2)
        self.assertTrue(meeting.add_candidate(OTHER))
        run_for(self.pair.clock, DELAY / 2 - 0.001)
        self.assertEqual(self.calls, [])
        run_for(self.pair.clock, 0.002)
        self.assertEqual(sorted(self.calls), [(DELAY, Pair.THERE), (DELAY, OTHER)])
        meeting.cancel()

    def test_answer(self) -> None:
        """Who is called while waiting answers at once: its caller's way is open."""
        ours, theirs = self.pair.recorders(b"here"), self.pair.recorders(b"there")
        self.pair.here.rendezvous([Pair.THERE], ours, token=TOKEN, delay=DELAY)
        self.pair.there.rendezvous([Pair.HERE], theirs, token=TOKEN)
        run_for(self.pair.clock, 5.0)
        self.assertEqual(self.calls[0], (0.02, Pair.THERE))
        assert ours.last.first_byte is not None and theirs.last.first_byte is not None
        self.assertLess(max(ours.last.first_byte, theirs.last.first_byte), 0.1)
