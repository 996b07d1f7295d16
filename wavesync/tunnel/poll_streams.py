"""The two directions of a polled stream: what is sent until it is known to have come, and what comes.

Places in a stream count bytes from 0; its end takes one place more, behind the last byte, so that one
number tells whether everything has come, the end as well.
"""

from bisect import insort
from typing import NamedTuple

from wavesync.tunnel.poll_wire import PollError

__all__ = ["MAX_PIECES", "Chunk", "Incoming", "Outgoing"]

MAX_PIECES = 64
"""Pieces of a stream that may have come ahead of a gap; no honest peer makes more."""


class Chunk(NamedTuple):
    """A part of a stream.

    :ivar at: where it begins.
    :ivar data: its bytes.
    :ivar last: the stream ends behind it.
    """

    at: int
    data: bytes
    last: bool

    @property
    def stop(self) -> int:
        """The first place behind it."""
        return self.at + len(self.data) + self.last


class _Sent(NamedTuple):
    start: int
    stop: int
    carrier: int


class Outgoing:
    """A stream that is sent in chunks, each by a carrier (a request or an answer) that may be lost.

    :param allowed: places that the peer takes at first.
    :ivar acknowledged: places that the peer has without a gap.
    :ivar allowed: places that the peer takes; the end may be sent beyond.
    :ivar length: bytes written up to now.
    :ivar ended: nothing more is written.
    """

    __slots__ = ("_buffer", "_lost", "_next", "_sent", "acknowledged", "allowed", "ended", "length")

    def __init__(self, allowed: int) -> None:
        self._buffer = bytearray()  # from the place `acknowledged` on
        self._sent: list[_Sent] = []
        self._lost: list[tuple[int, int]] = []  # sorted
        self._next = 0  # the first place that was never sent
        self.acknowledged = 0
        self.allowed = allowed
        self.ended = False
        self.length = 0

    def __len__(self) -> int:
        """Count the bytes that are kept."""
        return len(self._buffer)

    @property
    def stop(self) -> int:
        """The place behind all that there is to send."""
        return self.length + self.ended

    @property
    def arrived(self) -> bool:
        """Whether the peer has everything, the end as well."""
        return self.ended and self.acknowledged == self.stop

    @property
    def ready(self) -> int:
        """Places that can be sent now."""
        lost = sum(stop - start for start, stop in self._lost)
        return lost + max(0, self._limit - self._next)

    @property
    def under_way(self) -> bool:
        """Whether something was sent that the peer is not known to have."""
        return bool(self._sent)

    @property
    def _limit(self) -> int:
        """The place that must not be sent yet, nor what is behind it."""
        return self.stop if self.length <= self.allowed else self.allowed

    def write(self, data: bytes) -> None:
        """Add bytes; none after the end."""
        if self.ended:
            raise ValueError("the stream has ended")
        self._buffer += data
        self.length += len(data)

    def end(self) -> None:
        """End the stream behind what was written."""
        self.ended = True

    def take(self, carrier: int, most: int) -> Chunk:
        """Give the next chunk, first what was lost; an empty one where there is none.

        :param carrier: its number, to tell what becomes of it.
        :param most: bytes at most.
        """
        if self._lost:
            start, stop = self._lost.pop(0)
        else:
            start, stop = self._next, max(self._next, self._limit)
        end = min(stop, start + most)
        last = self.ended and stop == self.stop and end >= self.length and stop > start
        if last:
            end = stop
        if end < stop and start < self._next:
            insort(self._lost, (end, stop))
        if end == start:
            return self.nothing()
        self._next = max(self._next, end)
        self._sent.append(_Sent(start, end, carrier))
        offset = start - self.acknowledged
        data = bytes(self._buffer[offset : offset + end - start - last])
        return Chunk(start, data, last)

    def again(self, carrier: int) -> Chunk:
        """Give a carrier's chunk once more, without what the peer is known to have."""
        for each in self._sent:
            if each.carrier == carrier:
                start = max(each.start, self.acknowledged)
                last = each.stop > self.length
                offset = start - self.acknowledged
                data = bytes(self._buffer[offset : offset + each.stop - start - last])
                return Chunk(start, data, last)
        return self.nothing()

    def nothing(self) -> Chunk:
        """Give an empty chunk, of a place that the peer knows."""
        return Chunk(min(self.acknowledged, self.length), b"", False)

    def acknowledge(self, got: int, room: int = 0) -> None:
        """The peer has everything before the place *got*, and takes *room* more.

        :raises PollError: it cannot have that much.
        """
        if got > self._next:
            raise PollError("bytes are acknowledged that were never sent")
        self.allowed = max(self.allowed, got + room)
        if got <= self.acknowledged:
            return
        del self._buffer[: got - self.acknowledged]
        self.acknowledged = got
        self._sent = [each for each in self._sent if each.stop > got]
        self._lost = [(max(start, got), stop) for start, stop in self._lost if stop > got]

    def carried(self, carrier: int) -> int:
        """Count the places that a carrier has and the peer is not known to have."""
        return sum(
            each.stop - max(each.start, self.acknowledged)
            for each in self._sent
            if each.carrier == carrier
        )

    def lose(self, carrier: int) -> bool:
        """A carrier did not arrive: what it carried is sent again, unless the peer has it.

        :returns: whether there is anything to be sent again.
        """
        lost = [each for each in self._sent if each.carrier == carrier]
        if lost:
            self._sent = [each for each in self._sent if each.carrier != carrier]
            for each in lost:
                insort(self._lost, (max(each.start, self.acknowledged), each.stop))
        return bool(lost)

    def lose_all_but(self, live: frozenset[int], before: int) -> None:
        """Lose every carrier with a number below *before* that is not among the *live* ones."""
        numbers = {each.carrier for each in self._sent}
        for carrier in numbers:
            if carrier < before and carrier not in live:
                self.lose(carrier)


class Incoming:
    """A stream that comes in chunks, in any order, some of them repeatedly.

    :param window: bytes that are kept for the application at most.
    :ivar got: places that have come without a gap.
    """

    __slots__ = ("_delivered", "_end", "_pieces", "_ready", "_window", "got")

    def __init__(self, window: int) -> None:
        self._window = window
        self._ready: list[bytes] = []
        self._delivered = 0
        self._pieces: list[tuple[int, bytes]] = []  # sorted, without overlap, behind a gap
        self._end: int | None = None
        self.got = 0

    @property
    def room(self) -> int:
        """Bytes behind those that have come that are taken now."""
        return max(0, self._delivered + self._window - self.got)

    @property
    def ended(self) -> bool:
        """Whether everything has come, the end as well."""
        return self._end is not None and self.got == self._end + 1

    @property
    def waiting(self) -> bool:
        """Whether there is something to be delivered."""
        return bool(self._ready)

    @property
    def gaps(self) -> bool:
        """Whether something has come ahead of what is missing."""
        return bool(self._pieces)

    def receive(self, chunk: Chunk) -> None:
        """Take a chunk in.

        :raises PollError: it is beyond what is taken, there are too many gaps, or it contradicts what
            came before.
        """
        stop = chunk.at + len(chunk.data)
        if stop > self._delivered + self._window:
            raise PollError("more was sent than is taken")
        if self._end is not None and (stop > self._end or (chunk.last and stop != self._end)):
            raise PollError("the stream goes on after its end")
        if chunk.last:
            known = self._pieces[-1][0] + len(self._pieces[-1][1]) if self._pieces else self.got
            if self._end is None and known > stop:
                raise PollError("the stream ends before what has come")
            self._end = stop
        self._fill(chunk.at, chunk.data)
        while self._pieces and self._pieces[0][0] == self.got:
            _, data = self._pieces.pop(0)
            self._ready.append(data)
            self.got += len(data)
        if self.got == self._end:
            self.got += 1

    def _fill(self, at: int, data: bytes) -> None:
        """Keep of the bytes what is not there yet."""
        stop = at + len(data)
        start = max(at, self.got)
        for have, piece in list(self._pieces):
            if have >= stop:
                break
            if start < have:
                insort(self._pieces, (start, data[start - at : have - at]))
            start = max(start, have + len(piece))
        if start < stop:
            insort(self._pieces, (start, data[start - at :]))
        if len(self._pieces) > MAX_PIECES:
            raise PollError("there are too many gaps")

    def deliver(self) -> bytes:
        """Give what has come without a gap since the last time."""
        data, self._ready = b"".join(self._ready), []
        self._delivered += len(data)
        return data
