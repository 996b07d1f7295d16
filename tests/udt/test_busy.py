"""What many connections of one port do while the processes are what limits them."""

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.busy import BusyPair

_MEGABIT = 125_000


class BusyTests(SynchronousTestCase):
    """40 connections between two busy processes, which could carry some 4 Gbit/s in whole bursts."""

    def watched(self, pair: BusyPair, since: float, seconds: float) -> tuple[float, float]:
        """:return: megabits a second of all from then on, and packets in a burst."""
        pair.run(since)
        received, (bursts, packets) = sum(pair.far.received), pair.near.sent
        pair.run(since + seconds)
        burst = (pair.near.sent[1] - packets) / (pair.near.sent[0] - bursts)
        return (sum(pair.far.received) - received) / seconds / _MEGABIT, burst

    def test_bursts_stay_whole(self) -> None:
        """All begin at once, get the same, and what they send stays in bursts that cost little; the
        system's buffer does not overflow."""
        pair = BusyPair(40)
        rate, burst = self.watched(pair, 0.2, 0.3)
        self.assertGreater(rate, 3000)
        self.assertGreater(burst, 35)
        received = pair.far.received
        index = sum(received) ** 2 / len(received) / sum(each * each for each in received)
        self.assertGreater(index, 0.95)
        self.assertLess(pair.far.dropped, 0.01 * pair.near.sent[1])

    def test_alone(self) -> None:
        """One connection is fast within milliseconds: its first bursts are acknowledged as soon as they are there."""
        rate, _ = self.watched(BusyPair(1), 0.0, 0.25)
        self.assertGreater(rate, 7500)

    def test_after_a_pause(self) -> None:
        """When one of the processes has had no CPU for a quarter of a second, all is as fast again soon."""
        pair = BusyPair(40)
        pair.run(0.3)
        pair.far.free_at += 0.25
        rate, burst = self.watched(pair, 0.7, 0.2)
        self.assertGreater(rate, 3000)
        self.assertGreater(burst, 35)
