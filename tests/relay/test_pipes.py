"""Tests for :mod:`wavesync.relay.pipes`."""

import fcntl
import os
import resource
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wavesync.relay.pipes import MAX_PIPES, MAX_SPARE, PIPE_SIZE, PipePool, splice_trouble


def descriptors() -> int:
    """Count this process' descriptors."""
    return len(os.listdir("/proc/self/fd"))


class PipePoolTests(SynchronousTestCase):
    """There is a large pipe for everybody who moves bytes, and none is kept for nobody."""

    def setUp(self) -> None:
        self.before = descriptors()

    def pool(self, limit: int = MAX_PIPES, **options: Any) -> PipePool:
        """Make a pool whose empty pipes are closed with the test."""
        pool = PipePool(limit, **options)
        self.addCleanup(pool.close)
        return pool

    def test_size(self) -> None:
        """A pipe is as large as asked for."""
        pool = self.pool()
        pipe = pool.take()
        assert pipe is not None
        self.assertEqual(fcntl.fcntl(pipe[0], fcntl.F_GETPIPE_SZ), PIPE_SIZE)
        pool.give(pipe)

    def test_no_large_ones(self) -> None:
        """A user who may have no large pipes gets smaller ones, at worst the kernel's default."""
        for sizes, size in (((-1, 1 << 18), 1 << 18), ((-1, -1), 1 << 16)):
            pool = self.pool(sizes=sizes)
            pipe = pool.take()
            assert pipe is not None
            self.assertEqual(fcntl.fcntl(pipe[0], fcntl.F_GETPIPE_SZ), size)
            pool.give(pipe)

    def test_small_ones_are_not_kept(self) -> None:
        """Pipes made while there were no large ones go when they are empty: the next may be large."""
        sizes = [1 << 18]
        pool = self.pool(sizes=sizes)
        large = pool.take()
        sizes[0] = -1
        small = pool.take()
        assert large is not None and small is not None
        pool.give(small)
        pool.give(large)
        self.assertEqual((pool.spare, pool.open, pool.take()), (1, 1, large))
        pool.give(large)

    def test_used_again(self) -> None:
        """One pipe serves all who give it back."""
        pool = self.pool()
        first = pool.take()
        assert first is not None
        pool.give(first)
        self.assertEqual(pool.take(), first)
        self.assertEqual(pool.open, 1)
        pool.give(first)

    def test_never_blocks(self) -> None:
        """Both ends of a pipe tell at once that they cannot go on."""
        pool = self.pool()
        pipe = pool.take()
        assert pipe is not None
        self.assertRaises(BlockingIOError, os.read, pipe[0], 1)
        self.assertRaises(
            BlockingIOError, lambda: [os.write(pipe[1], bytes(99)) for _ in "x" * 99999]
        )
        pool.discard(pipe)

    def test_spare_limit(self) -> None:
        """Only so many empty pipes are kept."""
        pool = self.pool()
        taken = [pool.take() for _ in range(MAX_SPARE + 1)]
        for pipe in taken:
            assert pipe is not None
            pool.give(pipe)
        self.assertEqual((pool.spare, pool.open), (MAX_SPARE, MAX_SPARE))
        pool.close()
        self.assertEqual((pool.spare, pool.open), (0, 0))
        self.assertEqual(descriptors(), self.before)

    def test_limit(self) -> None:
        """There are never more pipes than that: whoever comes then gets none."""
        pool = self.pool(3)
        taken = [pool.take() for _ in range(3)]
        self.assertNotIn(None, taken)
        self.assertIdentical(pool.take(), None)
        self.assertEqual((pool.open, pool.missed), (3, 1))
        for pipe in taken:
            assert pipe is not None
            pool.discard(pipe)
        self.assertEqual(descriptors(), self.before)
        self.assertEqual(MAX_PIPES, 256)

    def test_no_descriptors(self) -> None:
        """When the process has no descriptors left there is no pipe, and no error."""
        pool = self.pool()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.assertIdentical(pool.take(), None)
        self.assertEqual((pool.open, pool.missed), (0, 1))


class TroubleTests(SynchronousTestCase):
    """The relay finds out at start whether the kernel splices."""

    def test_none(self) -> None:
        """This kernel does, and trying it leaves nothing open."""
        before = descriptors()
        self.assertIdentical(splice_trouble(), None)
        self.assertEqual(descriptors(), before)

    def test_trouble(self) -> None:
        """Where it does not, a sentence says why."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(splice_trouble(), "no pipe can be opened")
