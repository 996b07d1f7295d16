"""Tests of :mod:`wavesync.garbage`."""

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from wavesync.garbage import COLLECT_AFTER, collect_seldom


class _Circle:
    """Reachable from itself only."""

    def __init__(self) -> None:
        self.own = self


class CollectTests(SynchronousTestCase):
    """Circles go later, but they go."""

    def setUp(self) -> None:
        """Leave this process as it was."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())

    def test_seldom(self) -> None:
        """Some hundred new objects cause no search, and what was set of older ones stays."""
        older = gc.get_threshold()[1:]
        collect_seldom()
        self.assertEqual(gc.get_threshold(), (COLLECT_AFTER, *older))
        gc.collect()
        ref = weakref.ref(_Circle())
        kept: list[object] = [[] for _ in range(COLLECT_AFTER // 2)]
        self.assertIsNotNone(ref())
        kept += [[] for _ in range(COLLECT_AFTER)]
        self.assertIsNone(ref())
