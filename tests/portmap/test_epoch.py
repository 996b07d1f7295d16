"""Tests for :mod:`wavesync.portmap.epoch`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap.epoch import Epoch


class EpochTests(SynchronousTestCase):
    """A router that was started anew is noticed, one with a bad clock is not taken for one."""

    def pairs(self, *told: tuple[int, float]) -> list[bool]:
        """Take answers: the router's seconds, ours."""
        epoch = Epoch()
        return [epoch.consistent(*each) for each in told]

    def test_steady(self) -> None:
        """Clocks that run alike, one a sixteenth slower or faster, or off by a second, are fine."""
        self.assertEqual(self.pairs((5, 100.0), (65, 160.0), (64, 160.1)), [True] * 3)
        self.assertEqual(self.pairs((0, 0.0), (1000, 940.0)), [True] * 2)
        self.assertEqual(self.pairs((0, 0.0), (940, 1000.0)), [True] * 2)

    def test_started_anew(self) -> None:
        """The clock has gone back by more than a second, or is too slow to have run all the time."""
        self.assertEqual(self.pairs((5000, 0.0), (3, 60.0)), [True, False])
        self.assertEqual(self.pairs((10, 0.0), (12, 60.0)), [True, False])
        self.assertEqual(self.pairs((10, 0.0), (8, 0.0)), [True, False])

    def test_jump(self) -> None:
        """A clock that has run ahead was set: who knows what else has changed."""
        self.assertEqual(self.pairs((10, 0.0), (200, 60.0)), [True, False])

    def test_counts_anyway(self) -> None:
        """What comes next is compared with the last answer, not with the one before the start."""
        self.assertEqual(
            self.pairs((5000, 0.0), (3, 60.0), (63, 120.0), (123, 180.0)),
            [True, False, True, True],
        )

    def test_forget(self) -> None:
        """After that, whatever comes is the first answer."""
        epoch = Epoch()
        epoch.consistent(5000, 0.0)
        epoch.forget()
        self.assertTrue(epoch.consistent(1, 1.0))
