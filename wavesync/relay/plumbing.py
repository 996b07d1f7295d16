"""What all pairs of a process share to move bytes: pipes, one buffer, and how much at a time."""

from collections import deque
from typing import Protocol

from twisted.logger import Logger

from wavesync.relay.pair import MAX_HELD_ONE_WAY
from wavesync.relay.pipes import PIPE_SIZE, PipePool, splice_trouble

__all__ = [
    "ATTENDED",
    "FEW",
    "LITTLE",
    "MAX_TALKERS",
    "SHARED_BURST",
    "SHARED_FOR",
    "Plumbing",
    "Talker",
]

LITTLE = 4096
"""Bytes of two moves in a row that make a conversation, for whose sake others take less at a time."""
SHARED_FOR = 0.1
"""Seconds for which such a move makes others take less."""
SHARED_BURST = MAX_HELD_ONE_WAY
"""Bytes that a flow may move at a time while there are conversations."""
FEW = 16_384
"""Bytes of a move that is made by copying even where the kernel can splice, until there are more."""
MAX_TALKERS = 64
"""Flows of little messages that are looked after between others' moves; more than these wait for
their turn as everybody does."""
ATTENDED = 2
"""How many of them are looked at after one such move: a look costs two microseconds."""


class Talker(Protocol):
    """A flow of little messages.

    :ivar talked: when the last one came; -inf for never.
    :ivar listed: whether :class:`Plumbing` looks after it.
    """

    talked: float
    listed: bool

    def attend(self) -> None:
        """Move what there is."""


class Plumbing:
    """Pipes and a buffer, for as many pairs as there are: only one moves bytes at a time.

    :param kernel: whether bytes may be moved in the kernel, if it can.
    :ivar pipes: the pipes.
    :ivar kernel: whether bytes are moved in the kernel.
    :ivar trouble: why not, if they should; half a sentence.
    :ivar spliced: bytes that were moved in the kernel and never came here.
    :ivar copied: bytes that were read into our buffers.
    :ivar few: a small buffer, for whoever moves few bytes right now; it stays in the CPU's cache.
    """

    log = Logger()

    def __init__(self, *, kernel: bool = True, pipes: PipePool | None = None) -> None:
        self.pipes = PipePool() if pipes is None else pipes
        self.trouble: str | None = None
        self.kernel = kernel
        self.spliced = 0
        self.copied = 0
        self._buffer: memoryview | None = None
        self.few = memoryview(bytearray(FEW))
        self._talked = float("-inf")
        self._talkers: deque[Talker] = deque()
        self._attending = False
        trouble = splice_trouble() if kernel else None
        if trouble is not None:
            self.give_up(trouble)

    @property
    def buffer(self) -> memoryview:
        """A buffer of as many bytes as a pipe has, for whoever moves bytes right now."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(PIPE_SIZE))
        return self._buffer

    def give_up(self, why: str) -> None:
        """Copy from now on: this kernel does not splice.

        :param why: half a sentence.
        """
        self.kernel = False
        self.trouble = why
        self.log.warn("Relayed bytes are copied, which takes more CPU time: {why}.", why=why)

    def talk(self, talker: Talker, now: float) -> None:
        """Somebody moved :data:`LITTLE` and waits for an answer, perhaps."""
        self._talked = talker.talked = now
        if not talker.listed and len(self._talkers) < MAX_TALKERS:
            talker.listed = True
            self._talkers.append(talker)

    def attend(self, now: float) -> None:
        """Much has been moved for somebody: see first whether those who talk have said something.

        Else they would have to wait until everybody's turn is over.
        """
        if self._attending or not self._talkers:
            return
        self._attending = True
        try:
            for _ in range(min(ATTENDED, len(self._talkers))):
                if not self._talkers:
                    break  # a look may be the end of several
                talker = self._talkers.popleft()
                if now - talker.talked < SHARED_FOR:
                    self._talkers.append(talker)
                    talker.attend()
                else:
                    talker.listed = False
        finally:
            self._attending = False

    def forget(self, talker: Talker) -> None:
        """Whoever it was will not talk again."""
        if talker.listed:
            talker.listed = False
            self._talkers.remove(talker)

    @property
    def talkers(self) -> int:
        """How many are looked after."""
        return len(self._talkers)

    def burst(self, now: float) -> int:
        """:return: how many bytes a flow may move at a time now."""
        return SHARED_BURST if now - self._talked < SHARED_FOR else PIPE_SIZE
