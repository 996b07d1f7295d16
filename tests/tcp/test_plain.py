"""Tests for :mod:`wavesync.tcp.plain`, on loopback, with a reactor of their own."""

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wavesync.tcp.plain import PlainConnection, address_of
from wavesync.watch import READS, Watch

MUCH = bytes(range(256)) * 40_000


def _reactor() -> Any:
    return EPollReactor()


class Noting(Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: list[Any] = []
        self.made = 0

    def connectionMade(self) -> None:
        """Note it."""
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        """Note it, or fail."""
        if data == b"fail":
            raise ValueError("no")
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost.append(reason.type)


@implementer(IHalfCloseableProtocol)
class Halves(Noting):
    """Knows of half-closing.

    :ivar said: which halves are closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def readConnectionLost(self) -> None:
        """The other end has said all."""
        self.said += "r"

    def writeConnectionLost(self) -> None:
        """We have."""
        self.said += "w"


class Producer:
    """Notes what its consumer wants."""

    def __init__(self) -> None:
        self.said = ""

    def pauseProducing(self) -> None:
        """It is too much."""
        self.said += "p"

    def resumeProducing(self) -> None:
        """It may be more."""
        self.said += "r"

    def stopProducing(self) -> None:
        """Nobody wants it."""
        self.said += "s"


class PlainTests(SynchronousTestCase):
    """A connection, as a protocol sees it."""

    def setUp(self) -> None:
        """Make a reactor."""
        self.reactor = _reactor()
        self.addCleanup(self.reactor.removeAll)
        self.watch = Watch(self.reactor)

    def connect(self, protocol: Noting) -> PlainConnection:
        """Connect a protocol with :attr:`far`."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.far = socket.create_connection(listening.getsockname())
            made, name = listening.accept()
        self.addCleanup(self.far.close)
        self.addCleanup(made.close)
        self.far.settimeout(10)
        made.setblocking(False)
        connection = PlainConnection(self.watch, made, name)
        connection.begin(protocol)
        return connection

    def until(self, what: Any) -> None:
        """Let the reactor work until it is so."""
        for _ in range(20_000):
            if what():
                return
            self.reactor.iterate(0.001)
        self.fail("it never came true")

    def receive(self, count: int) -> bytes:
        """Receive at the far end while the reactor works."""
        got = bytearray()
        self.far.setblocking(False)
        for _ in range(200_000):
            try:
                data = self.far.recv(65536)
            except BlockingIOError:
                self.reactor.iterate(0.001)
                continue
            got += data
            if not data or len(got) >= count:
                break
        return bytes(got)

    def test_interfaces(self) -> None:
        """It is all that Twisted's own transport is to a protocol that does not ask for TLS."""
        connection = self.connect(Noting())
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, connection)

    def test_to_and_fro(self) -> None:
        """Bytes come and go; what is little goes at once."""
        noting = Noting()
        connection = self.connect(noting)
        self.far.sendall(b"hello")
        self.until(lambda: noting.heard)
        connection.writeSequence([b"good", b" day"])
        self.assertEqual(self.far.recv(20), b"good day")
        self.assertEqual((noting.made, noting.heard), (1, b"hello"))
        connection.setTcpNoDelay(True)
        connection.setTcpKeepAlive(True)
        self.assertTrue(connection.getTcpNoDelay() and connection.getTcpKeepAlive())
        self.assertEqual(connection.getPeer().port, self.far.getsockname()[1])
        self.assertEqual(connection.getHost().port, self.far.getpeername()[1])

    def test_much(self) -> None:
        """More than the kernel takes waits, and arrives; closing waits for it."""
        noting = Noting()
        connection = self.connect(noting)
        connection.write(MUCH)
        connection.write(b"end")
        self.assertTrue(connection.unsent)
        connection.loseConnection()
        self.assertEqual(noting.lost, [])
        self.assertTrue(self.receive(len(MUCH) + 4) == MUCH + b"end", "not what was sent")
        self.until(lambda: noting.lost)
        self.assertEqual((noting.lost, len(self.watch)), ([ConnectionDone], 0))
        connection.write(b"more")
        connection.loseConnection()
        connection.abortConnection()
        self.assertEqual(noting.lost, [ConnectionDone])

    def test_many(self) -> None:
        """Very many writes of a few bytes wait together, in their order."""
        connection = self.connect(Noting())
        connection.write(MUCH)
        said = [b"%d " % n for n in range(20_000)]
        for each in said:
            connection.write(each)
        assert connection._queue is not None
        self.assertLess(len(connection._queue), 100)
        expected = MUCH + b"".join(said)
        self.assertTrue(self.receive(len(expected)) == expected, "not what was sent")
        self.assertEqual(connection._waiting, 0)

    def test_pushed(self) -> None:
        """A producer is paused while much waits, and goes on when all has left."""
        connection = self.connect(Noting())
        producer: Any = Producer()
        connection.registerProducer(producer, True)
        self.assertRaises(RuntimeError, connection.registerProducer, producer, True)
        connection.write(MUCH)
        self.assertEqual(producer.said, "p")
        self.receive(len(MUCH))
        self.until(lambda: producer.said == "pr")
        connection.unregisterProducer()
        connection.write(b"more")
        self.assertEqual(producer.said, "pr")

    def test_pulled(self) -> None:
        """One that is asked each time is asked when all has left."""
        connection = self.connect(Noting())
        producer: Any = Producer()
        connection.registerProducer(producer, False)
        self.assertEqual(producer.said, "r")
        connection.write(MUCH)
        self.receive(len(MUCH))
        self.until(lambda: producer.said == "rr")
        connection.abortConnection()
        self.until(lambda: producer.said == "rrs")
        connection.registerProducer(producer, True)
        self.assertEqual(producer.said, "rrss")

    def test_paused(self) -> None:
        """Nothing is read while nothing is wanted; then all that has come."""
        noting = Noting()
        connection = self.connect(noting)
        connection.pauseProducing()
        self.far.sendall(b"hello")
        for _ in range(3):
            self.reactor.iterate(0.001)
        self.assertEqual(noting.heard, b"")
        connection.resumeProducing()
        self.until(lambda: noting.heard)

    def test_end(self) -> None:
        """Who knows nothing of halves is closed with the other end's."""
        noting = Noting()
        self.connect(noting)
        self.far.close()
        self.until(lambda: noting.lost)
        self.assertEqual((noting.lost, len(self.watch)), ([ConnectionDone], 0))

    def test_halves(self) -> None:
        """Who does closes each half by itself; what was written before arrives."""
        noting = Halves()
        connection = self.connect(noting)
        self.far.shutdown(socket.SHUT_WR)
        self.until(lambda: noting.said == "r")
        connection.write(MUCH)
        connection.loseWriteConnection()
        connection.write(b"too late")
        self.assertTrue(self.receive(len(MUCH) + 1) == MUCH, "not what was sent")
        self.until(lambda: noting.said == "rw")
        self.assertEqual(noting.lost, [])
        connection.loseConnection()
        self.until(lambda: noting.lost)
        self.assertEqual(noting.lost, [ConnectionDone])

    def test_abort(self) -> None:
        """To abort is to reset, and it is told in a turn of its own."""
        noting = Noting()
        connection = self.connect(noting)
        connection.abortConnection()
        connection.abortConnection()
        self.assertEqual(noting.lost, [])
        self.until(lambda: noting.lost)
        self.assertEqual(noting.lost, [ConnectionAborted])
        self.assertRaises(ConnectionResetError, self.far.recv, 1)

    def test_reset(self) -> None:
        """A reset by the other end is a loss, whether we read or write."""
        for much in (False, True):
            noting = Noting()
            connection = self.connect(noting)
            if much:
                connection.write(MUCH)
                connection.pauseProducing()
            self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.far.close()
            self.until(lambda found=noting: found.lost)
            self.assertEqual((noting.lost, len(self.watch)), ([ConnectionLost], 0))

    def test_wrong(self) -> None:
        """A protocol that fails is logged and closed."""
        noting = Noting()
        self.connect(noting)
        self.far.sendall(b"fail")
        self.until(lambda: noting.lost)
        self.assertEqual(noting.lost, [ValueError])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_release(self) -> None:
        """Whoever is given the socket gets the events, and the protocol hears nothing more."""

        class Successor:
            told = 0

            def ready(self, events: int) -> None:
                self.told = events

            def fail(self, failure: Failure) -> None:
                """Never."""

        noting, successor = Noting(), Successor()
        connection = self.connect(noting)
        connection.write(MUCH)
        unsent = connection.unsent
        self.assertTrue(0 < len(unsent) < len(MUCH) and MUCH.endswith(unsent))
        connection.pauseProducing()
        connection.resumeProducing()
        self.assertTrue(connection.release(successor) & READS)
        self.far.sendall(b"?")
        self.until(lambda: successor.told & READS)
        connection.abortConnection()
        connection.write(b"?")
        self.reactor.iterate(0)
        self.assertEqual((noting.heard, noting.lost), (b"", []))
        self.watch.forget(connection.socket.fileno())

    def test_addresses(self) -> None:
        """Ends are called as Twisted calls them."""
        self.assertEqual(address_of(("192.0.2.1", 7)), IPv4Address("TCP", "192.0.2.1", 7))
        name = ("2001:db8::1", 7, 1, 2)
        self.assertEqual(address_of(name), IPv6Address("TCP", *name))
