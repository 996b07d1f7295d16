"""Tests for :mod:`wavesync.tcp.attempts`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.tcp.attempts import AT_ONCE, FIRST_GAP, HOPS, LONGEST_GAP, MAX_ATTEMPTS, Attempts

SYN_SIZE = 60


class AttemptsTests(SynchronousTestCase):
    """An end that is refused tries again: at once at first, then less and less often."""

    def gaps(self, random: float) -> list[float]:
        """All gaps, with a die that always falls like that."""
        attempts = Attempts(lambda: random)
        gaps = []
        while not attempts.exhausted:
            attempts.begun()
            gaps.append(attempts.gap())
        return gaps

    def test_gaps(self) -> None:
        """The first repeats follow at once; then only a router that was opened is waited at, twice as
        long each time up to the longest."""
        gaps = self.gaps(0.5)
        self.assertEqual(gaps[: AT_ONCE + 1], [0.0] * (AT_ONCE + 1))
        self.assertEqual(
            gaps[AT_ONCE + 1 : AT_ONCE + 6], [FIRST_GAP, 0.0, 2 * FIRST_GAP, 0.0, 4 * FIRST_GAP]
        )
        self.assertEqual(max(gaps), LONGEST_GAP)

    def test_hops(self) -> None:
        """After the first attempts every other SYN dies on the way, never two in turn; the last one
        before such a SYN goes all the way."""
        attempts = Attempts(lambda: 0.5)
        hops = []
        while not attempts.exhausted:
            attempts.begun()
            hops.append(attempts.hops)
        self.assertEqual(hops[: AT_ONCE + 1], [None] * (AT_ONCE + 1))
        self.assertEqual(hops[AT_ONCE + 2 :: 2], [None] * len(hops[AT_ONCE + 2 :: 2]))
        self.assertEqual(hops[AT_ONCE + 1 :: 2][: len(HOPS)], list(HOPS))
        self.assertGreater(min(HOPS), 1)

    def test_random(self) -> None:
        """Two ends do not keep step: each gap is between half and one and a half of its measure."""
        low, high = self.gaps(0.0), self.gaps(1.0)
        for short, usual, long in zip(low, self.gaps(0.5), high, strict=True):
            self.assertEqual((short, long), (usual * 0.5, usual * 1.5))

    def test_limit(self) -> None:
        """So many attempts and not one more; their SYNs weigh no more than a ``connect``."""
        self.assertEqual(len(self.gaps(0.5)), MAX_ATTEMPTS)
        self.assertLessEqual(MAX_ATTEMPTS * SYN_SIZE, 1200)

    def test_they_last(self) -> None:
        """Whoever is refused in no time still tries for more than two seconds."""
        self.assertGreater(sum(self.gaps(0.5)), 2)
