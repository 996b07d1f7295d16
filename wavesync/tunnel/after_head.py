"""A connection on which one more head comes, and decides what the connection is for from then on."""

from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.tunnel.heads import HeadError, HeadReader
from wavesync.tunnel.wire import Role

__all__ = ["AfterHead"]


class AfterHead(ABC):
    """The role of such a connection; what follows the head goes to the role that :meth:`decide` gives.

    :param side: whose heads we read: ``h11.SERVER`` reads requests, ``h11.CLIENT`` answers.
    """

    def __init__(self, side: Any) -> None:
        self._reader: HeadReader | None = HeadReader(side)
        self._role: Role | None = None

    @abstractmethod
    def decide(self, head: Any) -> Role | None:
        """The head has come.

        :returns: what gets everything behind it; ``None`` where it was no good: nothing more is read.
        """

    @abstractmethod
    def malformed(self, error: HeadError) -> None:
        """Something else than a head has come; nothing more is read."""

    @abstractmethod
    def ended(self, reason: Failure) -> None:
        """The connection is gone, and no role was there to be told."""

    def received(self, data: bytes) -> None:
        """The head, then what comes behind it (Role)."""
        if self._role is not None:
            self._role.received(data)
            return
        if self._reader is None:
            return
        try:
            head = self._reader.feed(data)
        except HeadError as error:
            self._reader = None
            self.malformed(error)
            return
        if head is None:
            return
        rest, self._reader = self._reader.rest, None
        self._role = self.decide(head)
        if rest and self._role is not None:
            self._role.received(rest)

    def lost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone (Role)."""
        self._reader = None
        if self._role is not None:
            self._role.lost(reason)
        else:
            self.ended(reason)
