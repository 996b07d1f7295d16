"""The bytes on their way in: held while a gap is open, given out in order.

The buffer keeps *runs* (consecutive packets as one ``bytes`` or a few), never single packets where they
came together; :mod:`wavesync.udt.scanning` takes bursts apart.
"""

from wavesync.udt.ranges import RangeSet

__all__ = ["EARLY_WINDOW", "LARGE", "ReceiveBuffer"]

EARLY_WINDOW = 64
"""Packets held of a peer of whom nobody knows yet who it is (93 kB): its side of a TLS handshake and
what comes right behind, out of order.  With 8192 a few hundred strangers could fill gigabytes."""

LARGE = 8
"""Packets in a run, on the average, from which on runs are given out as they are: joining them would
copy every byte once more."""


class ReceiveBuffer:
    """Puts runs of packets in order, within a window.

    :param isn: extended sequence number of the first packet.
    :param window: packets that may be held, in order and unread or waiting for a gap to close.
    :ivar expected: first packet not received; everything before has been (the ACK point).
    :ivar highest: one more than the highest packet received.
    :ivar missing: the packets between the two that have not been received.
    :ivar held: packets received in order and not taken by the reader.
    """

    __slots__ = ("_ready", "_runs", "_window", "expected", "held", "highest", "missing")

    def __init__(self, isn: int, window: int) -> None:
        """Begin empty."""
        self._window = window
        self._runs: dict[int, tuple[int, bytes]] = {}  # first -> count, payload; beyond a gap
        self._ready: list[bytes] = []
        self.expected = isn
        self.highest = isn
        self.missing = RangeSet()
        self.held = 0

    @property
    def free(self) -> int:
        """Packets, counted from :attr:`expected`, that there is room for."""
        return max(0, self._window - self.held)

    def widen(self, window: int) -> None:
        """Hold up to *window* packets from now on; never fewer than before."""
        self._window = max(self._window, window)

    @property
    def waiting(self) -> int:
        """Packets held behind a gap."""
        return self.highest - self.expected - self.missing.count

    def append(self, payload: bytes) -> bool:
        """Take the packet that is expected, unless it closes a gap or there is no room for it."""
        if self.missing.count or self.held >= self._window:
            return False
        self.expected = self.highest = self.expected + 1
        self.held += 1
        self._ready.append(payload)
        return True

    def accept(self, first: int, count: int, pieces: list[bytes], size: int) -> int:
        """Take a run of packets, as far as it is new and there is room for it.

        :param first: sequence number (extended).
        :param count: packets.
        :param pieces: their payloads, joined, or in several pieces that are.
        :param size: payload bytes of each but the last.
        :returns: how many packets were new; ``missing`` and ``highest`` tell of new gaps.
        """
        if first == self.highest and not self.missing.count:
            room = self.free
            if count > room:
                if room <= 0:
                    return 0
                count, pieces = room, [b"".join(pieces)[: room * size]]
            self.highest = self.expected = first + count
            self.held += count
            if size:
                self._ready += pieces
            return count
        stop = min(first + count, self.expected + self.free)
        if stop <= first:
            return 0
        parts = self.missing.overlap(first, stop)
        beyond = max(first, self.highest)
        if beyond < stop:
            parts.append((beyond, stop))
            self.missing.add(self.highest, beyond)
            self.highest = stop
        new = 0
        payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        for low, high in parts:
            self.missing.remove(low, high)
            end = len(payload) if high == first + count else (high - first) * size
            self._runs[low] = (high - low, payload[(low - first) * size : end])
            new += high - low
        if new:
            self._advance()
        return new

    def _advance(self) -> None:
        """Move what has become contiguous to the reader's side."""
        runs = self._runs
        while (run := runs.pop(self.expected, None)) is not None:
            count, payload = run
            self.expected += count
            self.held += count
            if payload:
                self._ready.append(payload)

    def take(self) -> list[bytes]:
        """Give the reader all bytes that are in order: in one piece, or in several large ones."""
        held, self.held = self.held, 0
        ready, self._ready = self._ready, []
        if len(ready) > 1 and held < LARGE * len(ready):
            return [b"".join(ready)]
        return ready

    def clear(self) -> None:
        """Forget what waits behind a gap: it will never be filled."""
        self._runs.clear()
        self.missing = RangeSet()
        self.highest = self.expected
