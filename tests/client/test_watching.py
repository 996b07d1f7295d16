"""Tests for :mod:`wavesync.client.watching`."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import PathEnd
from wavesync.client.report import Timeline
from wavesync.client.watching import EARLY_BYTES, LocalEnd, SessionEnd, watched_bridge
from wavesync.errors import ConnectFailed


class Transport(PathEnd):
    """A transport that can be closed by halves."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        """Note it."""
        self.half_closed = True

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True


def plug(end: LocalEnd | SessionEnd) -> Transport:
    """Connect an end."""
    transport = Transport("end")
    transport.protocol = end
    transport.other = Transport("peer")
    end.makeConnection(transport)
    return transport


class WatchedBridgeTests(SynchronousTestCase):
    """What a local program says before there is a way to the server is not lost, nor waited for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timeline = Timeline("t", self.clock.seconds)
        self.far, self.near = watched_bridge(self.timeline)
        self.local = plug(self.near)

    def test_early(self) -> None:
        """First bytes leave in the moment in which the session is there."""
        self.assertTrue(self.local.reading)
        self.near.dataReceived(b"GET / ")
        self.near.dataReceived(b"HTTP/1.0\r\n")
        session = plug(self.far)
        self.assertEqual(bytes(session.sent), b"GET / HTTP/1.0\r\n")
        self.near.dataReceived(b"\r\n")
        self.assertEqual(bytes(session.sent), b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(session.reading)
        self.assertFalse(session.half_closed)

    def test_early_end(self) -> None:
        """A program that has said everything by then still gets its answer."""
        self.near.dataReceived(b"question")
        self.near.readConnectionLost()
        session = plug(self.far)
        self.assertEqual(bytes(session.sent), b"question")
        self.assertTrue(session.half_closed)
        self.far.dataReceived(b"answer")
        self.assertEqual(bytes(self.local.sent), b"answer")

    def test_end(self) -> None:
        """The same once there is a session."""
        session = plug(self.far)
        self.assertFalse(session.half_closed)
        self.near.readConnectionLost()
        self.assertTrue(session.half_closed)

    def test_early_limit(self) -> None:
        """So much is read early; the rest waits where it is until the session is there."""
        self.near.dataReceived(b"x" * (EARLY_BYTES - 1))
        self.assertTrue(self.local.reading)
        self.near.dataReceived(b"x")
        self.assertFalse(self.local.reading)
        session = plug(self.far)
        self.assertEqual(len(session.sent), EARLY_BYTES)
        self.assertTrue(self.local.reading)

    def test_gone_early(self) -> None:
        """A program that is gone before is told of, and a session that comes then is ended."""
        self.near.connectionLost(Failure(ConnectionLost()))
        self.assertIsInstance(self.successResultOf(self.near.lost), ConnectionLost)
        self.successResultOf(self.near.flushed)
        session = plug(self.far)
        self.assertTrue(session.aborted)

    def test_first_byte(self) -> None:
        """The report tells when the first byte came from the server, not to it."""
        self.near.dataReceived(b"x")
        plug(self.far)
        self.clock.advance(1)
        self.assertNotIn("first_byte", self.timeline.ms)
        self.far.dataReceived(b"y")
        self.clock.advance(1)
        self.far.dataReceived(b"z")
        self.assertEqual(self.timeline.ms["first_byte"], 1000)

    def test_over(self) -> None:
        """The end of the session is told with its reason."""
        plug(self.far)
        self.far.connectionLost(Failure(ConnectFailed("gone")))
        self.assertIsInstance(self.successResultOf(self.far.lost), ConnectFailed)
        self.assertTrue(self.local.aborted)
        self.assertNoResult(self.near.lost)

    def test_complete(self) -> None:
        """After the server's end, closing the local output is as it should be."""
        session = plug(self.far)
        self.far.readConnectionLost()
        self.assertTrue(self.local.half_closed)
        self.assertNoResult(self.near.flushed)
        self.near.writeConnectionLost()
        self.successResultOf(self.near.flushed)
        self.assertFalse(self.near.deaf or session.aborted)
        self.near.connectionLost(Failure(ConnectionDone()))

    def test_deaf(self) -> None:
        """Before it, it means that nobody listens any more: the session is ended."""
        session = plug(self.far)
        self.near.writeConnectionLost()
        self.successResultOf(self.near.flushed)
        self.assertTrue(self.near.deaf and session.aborted)

    def test_deaf_early(self) -> None:
        """The same before there is a session."""
        self.near.writeConnectionLost()
        self.assertTrue(self.near.deaf and self.local.closed)
