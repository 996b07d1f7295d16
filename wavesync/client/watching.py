"""The two ends of one connect: the session's, and the local one that was there before it."""

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.client.report import Timeline
from wavesync.session.bridge import BridgeEnd

__all__ = ["EARLY_BYTES", "LocalEnd", "SessionEnd", "watched_bridge"]

EARLY_BYTES = 65536
"""Bytes read from the local side while there is no session; then it has to wait."""


class _WatchedEnd(BridgeEnd):
    """An end of a bridge that tells when it is over.

    :ivar lost: fires with the reason, an exception as a value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: Deferred[BaseException] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This end is over (IProtocol)."""
        super().connectionLost(reason)
        assert reason.value is not None
        self.lost.callback(reason.value)


class SessionEnd(_WatchedEnd):
    """The end that is connected to a session.

    :param timeline: is told of the first byte.
    :param local: the other end.
    """

    def __init__(self, timeline: Timeline, local: "LocalEnd") -> None:
        super().__init__()
        self._timeline = timeline
        self._local = local

    def connectionMade(self) -> None:
        """Send what the local side had to say already (IProtocol)."""
        super().connectionMade()
        self._local.release()

    def dataReceived(self, data: bytes) -> None:
        """Note the first byte, pass all on (IProtocol)."""
        self._timeline.mark("first_byte")
        super().dataReceived(data)

    def readConnectionLost(self) -> None:
        """The server sends no more (IHalfCloseableProtocol)."""
        self._local.complete = True
        super().readConnectionLost()


class LocalEnd(_WatchedEnd):
    """The end that is connected to something on this host.

    It is read before there is a session, so that its first bytes travel with the request for the
    service, and so that one who goes away meanwhile is noticed.

    :ivar complete: everything that the server sends has been passed on.
    :ivar flushed: fires when everything has left for the local side, or never will.
    :ivar deaf: the local side stopped listening before everything was said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self.deaf = False
        self.flushed: Deferred[None] = Deferred()
        self._early: list[bytes] | None = []
        self._early_size = 0
        self._early_end = False

    def connectionMade(self) -> None:
        """The local side is there; it is read at once (IProtocol)."""
        super().connectionMade()
        if self._early is not None:
            cast(IPushProducer, self.transport).resumeProducing()

    def release(self) -> None:
        """The session is there: pass on what has been read."""
        early, self._early = self._early, None
        for data in early or ():
            super().dataReceived(data)
        if self._early_end:
            super().readConnectionLost()

    def dataReceived(self, data: bytes) -> None:
        """Keep first bytes, pass later ones on (IProtocol)."""
        if self._early is None:
            super().dataReceived(data)
            return
        self._early.append(data)
        self._early_size += len(data)
        if self._early_size >= EARLY_BYTES:
            cast(IPushProducer, self.transport).pauseProducing()

    def readConnectionLost(self) -> None:
        """The local side sends no more (IHalfCloseableProtocol)."""
        if self._early is None:
            super().readConnectionLost()
        else:
            self._early_end = True

    def writeConnectionLost(self) -> None:
        """The local side has everything, or hears nothing more (IHalfCloseableProtocol)."""
        self._done_writing()
        if not self.complete:
            self.deaf = True
            self.transport.loseConnection()
            if self.other is not None and self.other.transport is not None:
                self.other.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The local side is gone (IProtocol)."""
        self._done_writing()
        super().connectionLost(reason)

    def _done_writing(self) -> None:
        if not self.flushed.called:
            self.flushed.callback(None)


def watched_bridge(timeline: Timeline) -> tuple[SessionEnd, LocalEnd]:
    """Make a bridge for one connect."""
    near = LocalEnd()
    far = SessionEnd(timeline, near)
    far.other, near.other = near, far
    return far, near
