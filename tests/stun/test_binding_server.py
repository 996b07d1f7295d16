"""The Binding server's shells over stand-in transports."""

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.interfaces import Address
from wavesync.stun.attributes import XOR_MAPPED_ADDRESS, decode_xor_address
from wavesync.stun.binding_server import (
    IDLE_TIMEOUT,
    MAX_STREAMS,
    BindingDatagrams,
    BindingFactory,
    BindingStream,
)
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode

SOURCE: Address = ("198.51.100.7", 40000)
REQUEST = encode(Message(BINDING, MessageClass.REQUEST, bytes(12)))


class _Datagrams:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, Address]] = []

    def write(self, data: bytes, address: Address) -> None:
        """Keep *data*."""
        self.written.append((data, address))


def told(raw: bytes) -> Address:
    """The address that an answer tells."""
    message = decode(raw)
    return decode_xor_address(message.get(XOR_MAPPED_ADDRESS) or b"", message.transaction_id)


class OverUDP(SynchronousTestCase):
    """BindingDatagrams."""

    def setUp(self) -> None:
        """A server whose sources may ask twice."""
        self.clock = Clock()
        self.server = BindingDatagrams(self.clock, SourceBuckets(rate=1, burst=2))
        self.transport = _Datagrams()
        self.server.transport = self.transport

    def test_answer(self) -> None:
        """A request is answered to where it came from."""
        self.server.datagramReceived(REQUEST, SOURCE)
        ((raw, address),) = self.transport.written
        self.assertEqual((told(raw), address), (SOURCE, SOURCE))

    def test_indication(self) -> None:
        """An indication is not answered."""
        indication = encode(Message(BINDING, MessageClass.INDICATION, bytes(12)))
        self.server.datagramReceived(indication, SOURCE)
        self.assertEqual(self.transport.written, [])

    def test_too_often(self) -> None:
        """A source that asks too often gets silence until its bucket has filled."""
        for _ in range(3):
            self.server.datagramReceived(REQUEST, SOURCE)
        self.assertEqual(len(self.transport.written), 2)
        self.clock.advance(1)
        self.server.datagramReceived(REQUEST, SOURCE)
        self.assertEqual(len(self.transport.written), 3)

    def test_garbage_costs_nothing(self) -> None:
        """What is not STUN is dropped before its source is even looked at."""
        buckets = SourceBuckets(rate=1, burst=1)
        server = BindingDatagrams(self.clock, buckets)
        server.transport = self.transport
        for data in (b"", b"garbage", REQUEST[:-1]):
            server.datagramReceived(data, SOURCE)
        self.assertEqual((self.transport.written, len(buckets)), ([], 0))

    def test_default_buckets(self) -> None:
        """Without buckets of its own a server still bounds what a source gets."""
        server = BindingDatagrams(self.clock)
        server.transport = self.transport
        for _ in range(100):
            server.datagramReceived(REQUEST, SOURCE)
        self.assertEqual(len(self.transport.written), 60)


class OverTCP(SynchronousTestCase):
    """BindingStream and BindingFactory."""

    def setUp(self) -> None:
        """A server with room for one connection, and that connection."""
        self.clock = Clock()
        self.factory = BindingFactory(self.clock, SourceBuckets(rate=1, burst=3), max_streams=1)
        self.stream, self.transport = self.connect()

    def connect(self) -> tuple[BindingStream, StringTransport]:
        """One more connection."""
        stream = self.factory.buildProtocol(IPv4Address("TCP", *SOURCE))
        assert stream is not None
        transport = StringTransport()
        stream.makeConnection(transport)
        return stream, transport

    def test_answers(self) -> None:
        """Requests are answered in order, however they are cut."""
        for octet in REQUEST + REQUEST:
            self.stream.dataReceived(bytes([octet]))
        raw = self.transport.value()
        self.assertEqual(len(raw), 80)
        self.assertEqual([told(raw[:40]), told(raw[40:])], [SOURCE, SOURCE])
        self.assertFalse(self.transport.disconnected)

    def test_garbage(self) -> None:
        """A peer that does not speak STUN is disconnected."""
        self.stream.dataReceived(b"GET / HTTP/1.1\r\n")
        self.assertTrue(self.transport.disconnected)

    def test_indication(self) -> None:
        """An indication keeps the connection alive and is not answered."""
        self.stream.dataReceived(encode(Message(BINDING, MessageClass.INDICATION, bytes(12))))
        self.assertEqual(self.transport.value(), b"")
        self.assertFalse(self.transport.disconnected)

    def test_too_often(self) -> None:
        """A peer that asks too often is disconnected, after the answers it may have."""
        self.stream.dataReceived(REQUEST * 4)
        self.assertEqual(len(self.transport.value()), 120)
        self.assertTrue(self.transport.disconnected)

    def test_idle(self) -> None:
        """A connection is closed when nothing came for a while, counted from the last bytes."""
        self.clock.advance(IDLE_TIMEOUT - 1)
        self.stream.dataReceived(REQUEST)
        self.clock.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_limit(self) -> None:
        """One connection past the limit is closed at once, until another has ended."""
        stream, transport = self.connect()
        self.assertTrue(transport.disconnected)
        stream.connectionLost()
        self.stream.connectionLost()
        _, transport = self.connect()
        self.assertFalse(transport.disconnected)

    def test_default_limit(self) -> None:
        """By default as many connections as MAX_STREAMS are served, and not one more."""
        self.factory = BindingFactory(self.clock)
        connected = [self.connect()[1] for _ in range(MAX_STREAMS + 1)]
        self.assertEqual(
            [transport.disconnected for transport in connected], [False] * MAX_STREAMS + [True]
        )

    def test_back_pressure(self) -> None:
        """While a peer does not take its answers, no more of its requests are read."""
        verifyObject(IPushProducer, self.stream)
        self.assertIs(self.transport.producer, self.stream)
        self.stream.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.stream.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.stream.stopProducing()

    def test_nothing_left(self) -> None:
        """A lost connection leaves no timer behind."""
        self.stream.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_tcp(self) -> None:
        """A connection without an IP address has nothing to be told."""
        self.assertIsNone(self.factory.buildProtocol(UNIXAddress(b"socket")))
