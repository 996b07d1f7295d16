"""A bridge whose session end tells when its first byte came and when it is over."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.client.report import Timeline
from wavesync.session.bridge import BridgeEnd

__all__ = ["WatchedEnd", "watched_bridge"]


class WatchedEnd(BridgeEnd):
    """The end of a bridge that is connected to a session.

    :ivar lost: fires with the reason, an exception as a value, when the session is over.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.lost: Deferred[BaseException] = Deferred()
        self._timeline = timeline

    def dataReceived(self, data: bytes) -> None:
        """Note the first byte, pass all on (IProtocol)."""
        self._timeline.mark("first_byte")
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The session is over (IProtocol)."""
        super().connectionLost(reason)
        assert reason.value is not None
        self.lost.callback(reason.value)


def watched_bridge(timeline: Timeline) -> tuple[WatchedEnd, BridgeEnd]:
    """Make a bridge for one connect."""
    far, near = WatchedEnd(timeline), BridgeEnd()
    far.other, near.other = near, far
    return far, near
