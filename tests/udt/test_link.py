"""Tests for :mod:`wavesync.testing.link`: the measure must be right before anything is measured."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.testing.link import Link


class LinkTests(SynchronousTestCase):
    """A link does what its arguments say."""

    def test_delay(self) -> None:
        """Without a bottleneck a packet arrives after the delay."""
        self.assertEqual(Link(delay=0.5).transmit(b"x", 1.0), [1.5])

    def test_rate(self) -> None:
        """Packets leave one after the other, IP and UDP headers counted."""
        link = Link(rate=8000.0)  # 1000 bytes a second
        self.assertEqual(link.transmit(bytes(72), 0.0), [0.1])
        self.assertEqual(link.transmit(bytes(72), 0.0), [0.2])
        self.assertEqual(link.transmit(bytes(72), 1.0), [1.1])

    def test_queue_limit(self) -> None:
        """What fits the queue exactly is taken, a byte more is dropped."""
        link = Link(rate=8000.0, queue=200)
        for _ in range(2):
            self.assertEqual(len(link.transmit(bytes(72), 0.0)), 1)
        self.assertEqual(link.transmit(bytes(1), 0.0), [])
        self.assertEqual((link.overflowed, link.peak_queue), (1, 100.0))
        self.assertEqual(len(link.transmit(bytes(72), 0.1)), 1)
        self.assertEqual(link.transmit(bytes(73), 0.2), [])

    def test_loss(self) -> None:
        """About the share asked for is lost, the same packets for the same seed."""
        outcomes = []
        for _ in range(2):
            link = Link(loss=0.1, seed=9)
            outcomes.append([bool(link.transmit(b"x", 0.0)) for _ in range(10_000)])
            self.assertTrue(900 < link.lost < 1100)
        self.assertEqual(outcomes[0], outcomes[1])

    def test_duplicates_reordering_jitter(self) -> None:
        """Each fault shows in the arrival times."""
        self.assertEqual(Link(duplicate=1.0, delay=1.0).transmit(b"x", 0.0), [1.0, 1.0])
        self.assertEqual(Link(reorder=1.0, reorder_delay=0.25).transmit(b"x", 0.0), [0.25])
        times = [Link(jitter=0.1, seed=seed).transmit(b"x", 0.0)[0] for seed in range(50)]
        self.assertTrue(all(0 <= time < 0.1 for time in times))
        self.assertGreater(max(times) - min(times), 0.05)

    def test_drop(self) -> None:
        """A test can lose the packets of its choice."""
        link = Link()
        link.drop = lambda packet, now: packet == b"bad"
        self.assertEqual(link.transmit(b"bad", 0.0), [])
        self.assertEqual(link.transmit(b"good", 0.0), [0.0])
        self.assertEqual(link.lost, 1)
