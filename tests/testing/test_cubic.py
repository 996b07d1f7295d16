"""Tests for :mod:`wavesync.testing.cubic`: the TCP that ours is compared with must be a fair one."""

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from wavesync.testing.cubic import BETA, CubicReceiver, CubicSender, cubic_pair
from wavesync.testing.link import Link, Simulation

_RATE = 10e6
_RTT = 0.04
_PRODUCT = _RATE * _RTT / 8


class CubicTests(SynchronousTestCase):
    """One flow alone over 10 Mbit/s and 40 ms."""

    def flow(self, queue: float = 1.0, loss: float = 0.0) -> Simulation:
        """Make the flow; *queue* is in bandwidth-delay products."""
        there = Link(rate=_RATE, delay=_RTT / 2, queue=int(queue * _PRODUCT), loss=loss, seed=3)
        return Simulation(*cubic_pair(there, Link(delay=_RTT / 2)))

    def goodput(self, sim: Simulation, seconds: float) -> float:
        """Let it go; tell the share of the link used, headers counted."""
        sim.run(seconds)
        return cast(CubicReceiver, sim.right.connection).received * 1500 * 8 / _RATE / seconds

    def test_clean(self) -> None:
        """With a queue of one product it fills the link, and the queue, as CUBIC does."""
        sim = self.flow()
        self.assertGreater(self.goodput(sim, 10.0), 0.95)
        self.assertGreater(sim.left.link.overflowed, 5)
        self.assertGreater(sim.left.link.mean_queue, 0.4 * _PRODUCT)

    def test_loss_slows_it(self) -> None:
        """3 % of random loss leaves it a fraction, as the formula for TCP says: 1.2 / sqrt(loss)."""
        windows = self.goodput(self.flow(loss=0.03), 20.0) * _RATE * _RTT / 8 / 1500
        self.assertTrue(3 < windows < 11, windows)

    def test_a_loss_takes_three_tenths(self) -> None:
        """One lost segment multiplies the window by 0.7, once."""
        sim = self.flow(queue=8.0)
        sim.run(0.35)
        sender = cast(CubicSender, sim.left.connection)
        lost: list[float] = []

        def drop(packet: bytes, now: float) -> bool:
            if not lost:
                lost.append(sender.window)
                return True
            return False

        sim.left.link.drop = drop
        sim.run(5.0, lambda: sender.threshold < float("inf"))
        self.assertEqual(sender.window, sender.threshold)
        # The window has gone on growing for the round trip until the loss was noticed.
        self.assertTrue(BETA * lost[0] <= sender.threshold <= 2.2 * BETA * lost[0])

    def test_silence(self) -> None:
        """After a path has been dead for two seconds it goes on, by its timeout."""
        sim = self.flow()
        sim.run(1.0)
        until = sim.now + 2.0
        sim.left.link.drop = lambda packet, now: now < until
        sim.run(2.0)
        before = cast(CubicReceiver, sim.right.connection).received
        sim.run(5.0)
        self.assertGreater(cast(CubicReceiver, sim.right.connection).received - before, 1000)
