"""Tests for :mod:`wavesync.agent.relay_ranking`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.relay_ranking import best_relays
from wavesync.signalling.relay_urls import Relay, parse_relay

A, B, C, D = (parse_relay(f"{name}.example") for name in "abcd")
ALL = (A, B, C, D)


class BestRelaysTests(SynchronousTestCase):
    """The nearest two, and no changes for nothing."""

    def best(
        self, *round_trips: float, current: tuple[Relay, ...] = (), hopeless: tuple[Relay, ...] = ()
    ) -> tuple[Relay, ...]:
        """Choose among all, given round trips in milliseconds, 0 for unknown ones."""
        measured = {each: ms / 1000 for each, ms in zip(ALL, round_trips, strict=False) if ms}
        return best_relays(ALL, measured, current, hopeless)

    def test_nearest(self) -> None:
        """The nearest are chosen, the nearest first."""
        self.assertEqual(self.best(40, 30, 20, 10), (D, C))

    def test_unknown(self) -> None:
        """Where nothing is known the order is that of the list; what answers goes first."""
        self.assertEqual(self.best(), (A, B))
        self.assertEqual(self.best(0, 0, 500, 0), (C, A))

    def test_stays(self) -> None:
        """One in use stays unless another is nearer by a quarter, and by 20 ms."""
        for other, chosen in ((76.0, (A, B)), (74.0, (A, C))):
            self.assertEqual(self.best(50, 100, other, 200, current=(A, B)), chosen)
        for other, chosen in ((11.0, (A, B)), (9.0, (A, C))):
            self.assertEqual(self.best(1, 30, other, 200, current=(A, B)), chosen)

    def test_hopeless(self) -> None:
        """For one that does not work another is taken as well; it is tried on itself."""
        self.assertEqual(self.best(10, 20, 30, 40, current=(A, B), hopeless=(A,)), (A, B, C))
        self.assertEqual(self.best(10, 20, 30, 40, current=(A, B, C), hopeless=(A, B)), ALL)
        self.assertEqual(self.best(10, 20, 30, 40, current=ALL, hopeless=(C,)), (A, B))
        self.assertEqual(self.best(10, 20, 30, 40, hopeless=ALL), ALL)

    def test_few(self) -> None:
        """One relay, or none, is all there is."""
        self.assertEqual(best_relays((A,), {}, (), ()), (A,))
        self.assertEqual(best_relays((), {}, (), ()), ())
