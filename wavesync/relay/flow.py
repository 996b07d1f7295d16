"""One direction of a pair of sockets: bytes go from one descriptor to the other at once.

A flow reads only when it holds nothing.  What the sink's kernel buffer does not take stays in a pipe
(or, where it was copied, in a string) until the sink is writable; so a flow never holds more than
:data:`~wavesync.relay.pair.MAX_HELD_ONE_WAY`: it moves no more than that plus what the sink has
room for.
"""

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from wavesync.relay.pair import MAX_HELD_ONE_WAY
from wavesync.relay.pipes import NOT_SPLICED, Pipe
from wavesync.relay.plumbing import FEW, LITTLE, SHARED_BURST

if TYPE_CHECKING:
    from wavesync.relay.sockets import Side, SocketPair

__all__ = ["BUDGET", "Flow"]

BUDGET = 4
"""Moves in one turn of the reactor; only one while there are conversations."""

_NEVER = float("-inf")

# asm-generic/socket.h; nine numbers of four bytes, of which the fourth is the size of the send
# buffer and the sixth how much of it is taken (sock_diag(7)).
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=12xI4xI12x")
_SIOCATMARK = 0x8905  # sockatmark(3)
_INT = struct.Struct("=i")
_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


def _room(sink: socket.socket) -> int | None:
    """:return: bytes that a socket's send buffer takes now; ``None`` where nobody says."""
    try:
        size, taken = _MEMINFO.unpack(sink.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
    except (OSError, struct.error):
        return None
    return size - taken  # type: ignore[no-any-return]


def _at_urgent_byte(source: socket.socket) -> bool:
    """:return: whether TCP's urgent byte is next: splice(2) never gets over it, recv(2) leaves it out.

    Nobody needs to send one; who did could have us try for ever.
    """
    try:
        (at_mark,) = _INT.unpack(fcntl.ioctl(source.fileno(), _SIOCATMARK, bytes(4)))
    except OSError:
        return False
    return bool(at_mark)


class Flow:
    """From one side to the other.

    :param tail: bytes that go first.
    :ivar moved: bytes read from the source.
    :ivar held: bytes read and not yet written.
    :ivar ended: the source has said all, and the sink has been told so.
    :ivar talked: when it moved the last of little messages (:class:`~wavesync.relay.plumbing.Talker`).
    :ivar listed: whether it is looked after for that.
    """

    __slots__ = (
        "_last",
        "_pair",
        "_pipe",
        "_rest",
        "_sink",
        "_source",
        "_tail",
        "ended",
        "held",
        "listed",
        "moved",
        "talked",
    )

    def __init__(self, pair: "SocketPair", source: "Side", sink: "Side", tail: bytes) -> None:
        self.moved = 0
        self.held = len(tail)
        self.ended = False
        self._pair = pair
        self._source = source
        self._sink = sink
        self._tail = tail
        self._pipe: Pipe | None = None
        self._last = FEW - 1
        self._rest: IDelayedCall | None = None
        self.talked = _NEVER
        self.listed = False

    def begin(self) -> None:
        """Send what goes first, and begin to read."""
        if self._tail and not self._push_tail():
            return
        if self.held:
            self._wait()
        else:
            self._source.read_on()

    def pull(self) -> None:
        """The source has bytes, or has ended, or broken: move what there is."""
        if self._last < FEW and self._pair.shaper is None:
            self._pull_few()
        else:
            self._pull_many()

    def _pull_few(self) -> None:
        """Pass on what is little, as what came last was: one call to read it, and one to write it.

        Splicing it would cost more, and so would it to look first whether the sink has room.
        """
        pair, plumbing = self._pair, self._pair.plumbing
        few = plumbing.few
        try:
            n = self._source.socket.recv_into(few)
        except BlockingIOError:
            return
        except OSError:
            pair.abort(self._source.broke)
            return
        if not n:
            self._end()
            return
        try:
            sent = self._sink.socket.send(few[:n])
        except BlockingIOError:
            sent = 0
        except OSError:
            pair.abort(self._sink.broke)
            return
        self.moved += n
        plumbing.copied += n
        pair.last_moved = now = pair.watch.reactor.seconds()
        if sent < n:
            self._tail = bytes(few[sent:n])
            self.held = n - sent
            self._wait()
        last, self._last = self._last, n
        if n > LITTLE:
            plumbing.attend(now)
        elif last <= LITTLE:
            # Twice in a row: a stream of many bytes has a little rest now and then, too.
            plumbing.talk(self, now)

    def _pull_many(self) -> None:
        pair = self._pair
        for _ in range(BUDGET):
            length = self._length()
            if length <= 0:
                self._wait()
                return
            try:
                n = self._move(length)
            except BlockingIOError:
                return
            if n <= 0:
                return
            self.moved += n
            now = pair.touch()
            if n <= LITTLE and self._last <= LITTLE:
                # Twice in a row: a stream of many bytes has a little rest now and then, too.
                pair.plumbing.talk(self, now)
            self._last = n
            if self.held:
                self._wait()
            if self._rested(n, now) or self.held or n < length or length <= SHARED_BURST:
                if n > LITTLE:
                    pair.plumbing.attend(now)
                return

    def attend(self) -> None:
        """Somebody else's bytes have just been moved: see whether there is something here."""
        if not self._source.reads:
            return
        try:
            if not self._source.socket.recv(1, socket.MSG_PEEK):
                return  # its end can wait
        except OSError:
            return  # there is nothing, or the reactor finds what is wrong
        self.pull()

    def _length(self) -> int:
        """:return: how many bytes to move; 0 to wait until the sink takes some."""
        shaper = self._pair.shaper
        if self._last < MAX_HELD_ONE_WAY:
            length = MAX_HELD_ONE_WAY
        else:
            room = _room(self._sink.socket)
            if room is None:
                length = MAX_HELD_ONE_WAY
            elif room <= 0:
                return 0
            else:
                # A buffer's own administration takes its part of the room.
                length = min(self._pair.burst(), MAX_HELD_ONE_WAY + room * 7 // 8)
        return length if shaper is None else min(length, shaper.grain)

    def _move(self, length: int) -> int:
        """Read from the source, write to the sink, hold the rest.

        :return: bytes read; 0 when the source has ended; -1 when the pair is over.
        :raises BlockingIOError: there is nothing to read.
        """
        plumbing = self._pair.plumbing
        pipe = plumbing.pipes.take() if plumbing.kernel else None
        if pipe is None:
            return self._copy(length)
        try:
            n = os.splice(self._source.fd, pipe[1], length, flags=_FLAGS)
        except BlockingIOError:
            plumbing.pipes.give(pipe)
            if _at_urgent_byte(self._source.socket):
                return self._copy(length)
            raise
        except OSError as error:
            plumbing.pipes.give(pipe)
            if error.errno in NOT_SPLICED:
                plumbing.give_up(f"splice(2) fails: {error.strerror}")
                return self._copy(length)
            self._pair.abort(self._source.broke)
            return -1
        if not n:
            plumbing.pipes.give(pipe)
            if _at_urgent_byte(self._source.socket):
                return self._copy(length)
            self._end()
            return 0
        plumbing.spliced += n
        self._pipe = pipe
        self.held = n
        return n if self._drain(pipe) else -1

    def _drain(self, pipe: Pipe) -> bool:
        """Move from the pipe to the sink what that takes.

        :return: whether the pair goes on.
        """
        try:
            self.held -= os.splice(pipe[0], self._sink.fd, self.held, flags=_FLAGS)
        except BlockingIOError:
            return True
        except OSError:
            self._pair.abort(self._sink.broke)
            return False
        if not self.held:
            self._pipe = None
            self._pair.plumbing.pipes.give(pipe)
        return True

    def _copy(self, length: int) -> int:
        """What :meth:`_move` does, through user space, and a little at a time.

        A kernel that is short of memory takes less than there was room for, and what has been read
        has to be held.
        """
        moved = 0
        while moved < length and not self.held:
            want = min(length - moved, MAX_HELD_ONE_WAY)
            try:
                n = self._copy_some(want)
            except BlockingIOError:
                if not moved:
                    raise
                return moved
            if n < 0:
                return n
            moved += n
            if n < want:
                break
        if not moved:
            self._end()
        return moved

    def _copy_some(self, length: int) -> int:
        """Copy once.

        :return: bytes read; 0 when the source has ended; -1 when the pair is over.
        :raises BlockingIOError: there is nothing to read.
        """
        plumbing = self._pair.plumbing
        buffer = plumbing.buffer
        try:
            n = self._source.socket.recv_into(buffer, length)
        except BlockingIOError:
            raise
        except OSError:
            self._pair.abort(self._source.broke)
            return -1
        if not n:
            return 0
        plumbing.copied += n
        try:
            sent = self._sink.socket.send(buffer[:n])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pair.abort(self._sink.broke)
            return -1
        if sent < n:
            self._tail = bytes(buffer[sent:n])
            self.held = n - sent
        return n

    def push(self) -> None:
        """The sink takes bytes again."""
        if self._tail and not self._push_tail():
            return
        if self._pipe is not None and not self._drain(self._pipe):
            return
        now = self._pair.touch()
        if self.held:
            self._sink.write_on()
        else:
            self._sink.write_off()
            if self._rest is None:
                self._source.read_on()
        if self._last > LITTLE:
            self._pair.plumbing.attend(now)

    def _push_tail(self) -> bool:
        try:
            sent = self._sink.socket.send(self._tail)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pair.abort(self._sink.broke)
            return False
        self._tail = self._tail[sent:]
        self.held -= sent
        return True

    def _wait(self) -> None:
        """Read nothing until the sink takes bytes."""
        self._source.read_off()
        self._sink.write_on()

    def _rested(self, n: int, now: float) -> bool:
        """Pay for bytes.

        :return: whether reading has to rest.
        """
        if self._pair.shaper is None:
            return False
        wait = self._pair.shaper.take(n, now)
        if wait <= 0.0:
            return False
        self._source.read_off()
        self._rest = self._pair.reactor.callLater(wait, self._wake)
        return True

    def _wake(self) -> None:
        self._rest = None
        if not self.held:
            self._source.read_on()

    def _end(self) -> None:
        """The source has said all, and as nothing is read while anything is held, all went on."""
        self.ended = True
        try:
            self._sink.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._pair.abort(self._sink.broke)
            return
        if not self._pair.check():
            self._source.read_off()

    def drop(self) -> None:
        """The pair is over: forget what is held."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._pipe is not None:
            # Bytes are in it: nobody else may get them.
            self._pair.plumbing.pipes.discard(self._pipe)
            self._pipe = None
        self._tail = b""
        self.held = 0
        self._pair.plumbing.forget(self)
