"""What a server counts of its sessions, in memory; nothing here grows with what clients send."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from wavesync.histogram import Histogram

__all__ = ["KINDS", "Statistics"]

KINDS = ("tcp", "udp", "relay")
"""What carries a session."""


class Counted(Protocol):
    """What is asked of a session.

    :ivar path_kind: what carries it.
    """

    path_kind: str

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes of the service's stream that came, and that were written."""


class Statistics:
    """Counts since the start, by what carries a session.

    :ivar authenticated: paths whose client was found to be one of ours.
    :ivar opened: services opened.
    :ivar holes: control sessions opened.
    :ivar refused: services not opened, by the code of :class:`wavesync.session.errors.Refusal`.
    :ivar first_byte: from a client's OPEN to the first byte of the service's answer.
    """

    def __init__(self) -> None:
        self.authenticated: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self.holes: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.first_byte = {kind: Histogram() for kind in KINDS}
        self._running: dict[Counted, None] = {}
        self._received: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Counted]:
        """The sessions with an open service, at this moment."""
        return iter(list(self._running))

    def begin(self, session: Counted, *, control: bool) -> None:
        """A service was opened.

        :param control: it is none, but a session that holds a path open.
        """
        (self.holes if control else self.opened)[session.path_kind] += 1
        if not control:
            self._running[session] = None

    def answered(self, session: Counted, seconds: float) -> None:
        """A service has said its first word."""
        histogram = self.first_byte.get(session.path_kind)
        if histogram is not None:
            histogram.observe(seconds)

    def end(self, session: Counted) -> None:
        """A session's path is gone; nothing happens where no service was opened."""
        if session in self._running:
            del self._running[session]
            received, sent = session.moved
            self._received[session.path_kind] += received
            self._sent[session.path_kind] += sent

    @property
    def moved(self) -> dict[str, tuple[int, int]]:
        """Bytes received and sent since the start, of running sessions as well."""
        received, sent = self._received.copy(), self._sent.copy()
        for session in self._running:
            its = session.moved
            received[session.path_kind] += its[0]
            sent[session.path_kind] += its[1]
        return {kind: (received[kind], sent[kind]) for kind in KINDS}
