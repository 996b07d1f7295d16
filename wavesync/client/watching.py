"""A bridge whose ends tell when they are over, and when the session's first byte came."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.client.report import Timeline
from wavesync.session.bridge import BridgeEnd

__all__ = ["WatchedEnd", "watched_bridge"]


class WatchedEnd(BridgeEnd):
    """An end of a bridge that tells when it is over.

    :param timeline: is told of the first byte; that of the end that is connected to a session.
    :ivar lost: fires with the reason, an exception as a value, when this end is over.
    """

    def __init__(self, timeline: Timeline | None = None) -> None:
        super().__init__()
        self.lost: Deferred[BaseException] = Deferred()
        self._timeline = timeline

    def dataReceived(self, data: bytes) -> None:
        """Note the first byte, pass all on (IProtocol)."""
        if self._timeline is not None:
            self._timeline.mark("first_byte")
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """This end is over (IProtocol)."""
        super().connectionLost(reason)
        assert reason.value is not None
        self.lost.callback(reason.value)


def watched_bridge(timeline: Timeline) -> tuple[WatchedEnd, WatchedEnd]:
    """Make a bridge for one connect: the session's end and the local end."""
    far, near = WatchedEnd(timeline), WatchedEnd()
    far.other, near.other = near, far
    return far, near
