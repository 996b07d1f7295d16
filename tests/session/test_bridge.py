"""Tests of :mod:`wavesync.session.bridge`."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from tests.session.support import PathEnd
from wavesync.session.bridge import BridgeEnd, make_bridge, send_at_once


def plug(end: BridgeEnd, name: str) -> PathEnd:
    """Connect one end of a bridge; its transport."""
    transport = PathEnd(name)
    transport.protocol = end
    transport.other = PathEnd("peer of " + name)
    end.makeConnection(transport)
    return transport


class BridgeTests(SynchronousTestCase):
    """Two connections become one, whatever happens to either."""

    def setUp(self) -> None:
        """Make a bridge with both ends connected."""
        self.one, self.two = make_bridge()
        self.left = plug(self.one, "left")
        self.assertFalse(
            self.left.reading
        )  # nothing is read before there is somebody to give it to
        self.right = plug(self.two, "right")

    def test_bytes(self) -> None:
        """Bytes pass both ways, and both ends are read once both are there."""
        self.assertTrue(self.left.reading and self.right.reading)
        self.one.dataReceived(b"to the right")
        self.two.dataReceived(b"to the left")
        self.assertEqual(bytes(self.right.sent), b"to the right")
        self.assertEqual(bytes(self.left.sent), b"to the left")

    def test_back_pressure(self) -> None:
        """An end that takes no bytes stops the reading of the other."""
        self.one.dataReceived(b"x" * (PathEnd.BUFFER + 1))
        self.assertFalse(self.left.reading)
        self.assertTrue(self.right.reading)

    def test_full_before_joined(self) -> None:
        """An end that is full already keeps the other paused when they are joined."""
        one, two = make_bridge()
        left = plug(one, "left")
        right = PathEnd("right")
        register = right.registerProducer

        def register_full(producer: PathEnd, streaming: bool) -> None:
            register(producer, streaming)
            producer.pauseProducing()

        right.registerProducer = register_full  # type: ignore[assignment,method-assign]
        two.makeConnection(right)
        self.assertFalse(left.reading)

    def test_half_close(self) -> None:
        """The end of one direction is passed on, and the other direction goes on."""
        self.one.readConnectionLost()
        self.assertTrue(self.right.half_closed)
        self.assertFalse(self.right.closed)
        self.two.dataReceived(b"answer")
        self.assertEqual(bytes(self.left.sent), b"answer")
        self.one.writeConnectionLost()

    def test_half_close_over_tls(self) -> None:
        """TLS cannot end one direction: the whole local connection is closed."""
        directlyProvides(self.right, ISSLTransport)
        self.one.readConnectionLost()
        self.assertFalse(self.right.half_closed)
        self.assertTrue(self.right.closed)

    def test_done(self) -> None:
        """An orderly end closes the other end, its bytes flushed; later ends change nothing."""
        self.one.dataReceived(b"last")
        self.left.lose(ConnectionDone())
        self.assertTrue(self.right.closed)
        self.assertEqual(bytes(self.right.buffer), b"last")
        self.two.readConnectionLost()
        self.right.lose(ConnectionDone())

    def test_broken(self) -> None:
        """An end that breaks aborts the other, and nothing looks like an orderly end."""
        self.left.lose(ConnectionLost())
        self.assertTrue(self.right.lost)
        self.assertFalse(self.right.half_closed)

    def test_lost_before_joined(self) -> None:
        """An end that was lost while it waited is passed on when the other comes."""
        for reason, closed in ((ConnectionDone(), True), (ConnectionLost(), False)):
            one, two = make_bridge()
            plug(one, "left")
            one.connectionLost(Failure(reason))
            right = plug(two, "right")
            self.assertIs(right.closed, closed)
            self.assertIs(right.lost, not closed)


class _TCPEnd(PathEnd):
    """A path's end that is TCP."""

    no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it."""
        self.no_delay = enabled


class SendAtOnceTests(SynchronousTestCase):
    """Small pieces do not wait for acknowledgements."""

    def test_tcp(self) -> None:
        """Nagle's algorithm is switched off for a bridged TCP connection."""
        one, _ = make_bridge()
        transport = _TCPEnd("local")
        one.makeConnection(transport)
        self.assertTrue(transport.no_delay)

    def test_other(self) -> None:
        """A transport that has no such thing is left alone."""
        transport = PathEnd("not TCP")
        send_at_once(transport)
        self.assertFalse(transport.sent)
