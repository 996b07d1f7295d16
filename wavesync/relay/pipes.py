"""Pipes, through which the kernel moves bytes from one socket to another (splice(2)).

Large pipes are what makes splicing fast, and a user who is not root may have few of them
(``pipe-user-pages-soft``): so a pipe is taken for one move and given back empty, and stays away only
while bytes are stuck in it.
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Sequence

__all__ = [
    "MAX_PIPES",
    "MAX_SPARE",
    "NOT_SPLICED",
    "PIPE_SIZE",
    "Pipe",
    "PipePool",
    "splice_trouble",
]

PIPE_SIZE = 1024 * 1024
"""Bytes asked for; the kernel counts pages, so small packets fill a pipe with fewer bytes."""
MAX_PIPES = 256
"""Pipes at a time: two descriptors each.  Whoever gets none copies."""
MAX_SPARE = 16
"""Empty pipes that are kept; more than one move at a time there never is."""

NOT_SPLICED = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ESPIPE}
)
"""Errors of splice(2) that say it cannot be done here, rather than that a connection broke."""

_SIZES = (PIPE_SIZE, PIPE_SIZE // 4)

Pipe = tuple[int, int]
"""The descriptors to read from and to write to."""


class PipePool:
    """Empty pipes.

    :param limit: how many there may be, taken ones included.
    :param sizes: bytes to ask for: the first that the kernel grants is taken, else its default.
    :ivar open: pipes there are, taken ones included.
    :ivar missed: how often none could be had.
    """

    def __init__(self, limit: int = MAX_PIPES, sizes: Sequence[int] = _SIZES) -> None:
        self.open = 0
        self.missed = 0
        self._limit = limit
        self._sizes = sizes
        self._spare: list[Pipe] = []
        self._largest = 0
        self._small: set[Pipe] = set()

    @property
    def spare(self) -> int:
        """How many empty ones are kept."""
        return len(self._spare)

    def take(self) -> Pipe | None:
        """:return: an empty pipe; ``None`` when there are too many, or no descriptors are left."""
        if self._spare:
            return self._spare.pop()
        if self.open >= self._limit:
            self.missed += 1
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.missed += 1
            return None
        self.open += 1
        size = self._enlarge(pipe)
        if size < self._largest:
            self._small.add(pipe)
        else:
            self._largest = size
        return pipe

    def _enlarge(self, pipe: Pipe) -> int:
        for size in self._sizes:
            try:
                return fcntl.fcntl(pipe[0], fcntl.F_SETPIPE_SZ, size)
            except OSError:
                continue  # EPERM: this user has no more large ones
        return fcntl.fcntl(pipe[0], fcntl.F_GETPIPE_SZ)

    def give(self, pipe: Pipe) -> None:
        """Give an empty pipe back; one that is smaller than others were is not kept."""
        if len(self._spare) < MAX_SPARE and pipe not in self._small:
            self._spare.append(pipe)
        else:
            self.discard(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Close a pipe: bytes may be in it."""
        self.open -= 1
        self._small.discard(pipe)
        os.close(pipe[0])
        os.close(pipe[1])

    def close(self) -> None:
        """Close the empty ones."""
        while self._spare:
            self.discard(self._spare.pop())


def splice_trouble() -> str | None:
    """Try whether this kernel splices for us.

    :return: why not, half a sentence; ``None`` when it does.
    """
    if not hasattr(os, "splice"):
        return "this Python or platform has no os.splice"
    pool = PipePool()
    pipe = pool.take()
    if pipe is None:
        return "no pipe can be opened"
    with contextlib.ExitStack() as stack:
        stack.callback(pool.discard, pipe)
        one, other = (stack.enter_context(end) for end in socket.socketpair())
        try:
            one.send(b"?")
            os.splice(other.fileno(), pipe[1], 1)
            os.splice(pipe[0], other.fileno(), 1)
        except OSError as error:
            return f"splice(2) fails: {error.strerror}"
    return None
