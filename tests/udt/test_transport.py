"""Tests for L{wavesync.udt.transport} and L{wavesync.udt.link}."""

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IConsumer,
    IPullProducer,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.udt.ends import Pair, Recorder
from wavesync.testing.time import run_for
from wavesync.udt.send_buffer import HIGH_WATER
from wavesync.udt.transport import UDTTransport, udt_address


@implementer(IPushProducer)
class Push:
    """A producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Note it."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Note it."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Note it."""
        self.told.append("stop")


@implementer(IPullProducer)
class Pull:
    """A producer that writes a piece each time it is asked, and then is done."""

    def __init__(self, consumer: IConsumer, pieces: int) -> None:
        self.asked = 0
        self.stopped = False
        self._consumer = consumer
        self._pieces = pieces

    def resumeProducing(self) -> None:
        """Write a piece."""
        self.asked += 1
        self._consumer.write(b"p" * 1000)
        if self.asked == self._pieces:
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        """Note it."""
        self.stopped = True


class _Connected(SynchronousTestCase):
    def setUp(self) -> None:
        """Connect two ends, 20 ms apart."""
        self.pair = Pair()
        served, made = self.pair.recorders(), self.pair.recorders()
        self.pair.there.listen(served)
        self.pair.here.connect(Pair.THERE, made)
        self.wait(1.0)
        self.ours: Recorder = made.last
        self.theirs: Recorder = served.last
        self.transport = self.ours.transport

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        run_for(self.pair.clock, seconds)


class InterfaceTests(_Connected):
    """What a transport must have."""

    def test_interfaces(self) -> None:
        """It is a transport, a consumer and a push producer, as Twisted means it."""
        for interface in (ITransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, self.transport))

    def test_addresses(self) -> None:
        """Both ends see each other's UDP addresses."""
        self.assertEqual(self.transport.getPeer(), IPv4Address("UDP", *Pair.THERE))
        self.assertEqual(self.transport.getHost(), IPv4Address("UDP", *Pair.HERE))
        self.assertEqual(self.theirs.transport.getPeer(), IPv4Address("UDP", *Pair.HERE))
        self.assertEqual(udt_address(("::1", 5)), IPv6Address("UDP", "::1", 5))


class WritingTests(_Connected):
    """From the application to the peer."""

    def test_write(self) -> None:
        """Bytes arrive in order, after one one-way delay."""
        self.transport.write(b"one ")
        self.transport.writeSequence([b"two ", b"three"])
        self.transport.write(b"")
        self.wait(0.03)
        self.assertEqual(self.theirs.received, b"one two three")

    def test_bytearray(self) -> None:
        """What is written may be changed afterwards."""
        buffer = bytearray(b"kept")
        self.transport.write(buffer)  # type: ignore[arg-type]
        buffer[:] = b"lost"
        self.wait(0.1)
        self.assertEqual(self.theirs.received, b"kept")

    def test_lose_connection(self) -> None:
        """Everything written arrives before the end; both are told that it was orderly."""
        self.transport.write(b"x" * 500_000)
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.transport.write(b"too late")
        self.wait(5.0)
        self.assertEqual(self.theirs.received, b"x" * 500_000)
        for end in (self.ours, self.theirs):
            assert end.lost is not None
            end.lost.trap(error.ConnectionDone)

    def test_abort(self) -> None:
        """An abort is told at once, and to the peer as soon as a datagram needs."""
        self.transport.write(b"x" * 500_000)
        self.transport.abortConnection()
        self.wait(0.0)
        assert self.ours.lost is not None
        self.ours.lost.trap(error.ConnectionAborted)
        self.wait(0.03)
        self.assertIsNotNone(self.theirs.lost)
        self.transport.abortConnection()

    def test_after_the_end(self) -> None:
        """After the end a transport takes everything and does nothing."""
        self.transport.loseConnection()
        self.wait(1.0)
        self.transport.write(b"x")
        self.transport.loseConnection()
        self.transport.abortConnection()
        transport = self.transport
        transport.pauseProducing()
        transport.resumeProducing()
        producer = Push()
        transport.registerProducer(producer, True)
        self.assertEqual(producer.told, ["stop"])


class ProducerTests(_Connected):
    """A producer that writes faster than the network carries."""

    def setUp(self) -> None:
        """Connect."""
        super().setUp()
        assert isinstance(self.transport, UDTTransport)
        self.consumer = self.transport

    def test_push(self) -> None:
        """A push producer is paused above the high-water mark, and resumed when much has left."""
        producer = Push()
        self.consumer.registerProducer(producer, True)
        self.consumer.write(b"x" * (HIGH_WATER - 1))
        self.assertEqual(producer.told, [])
        self.consumer.write(b"x")
        self.consumer.write(b"x")
        self.assertEqual(producer.told, ["pause"])
        self.wait(20.0)
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertEqual(len(self.theirs.received), HIGH_WATER + 1)

    def test_push_late(self) -> None:
        """A push producer that comes when the buffer is full is paused at once."""
        self.consumer.write(b"x" * HIGH_WATER)
        producer = Push()
        self.consumer.registerProducer(producer, True)
        self.assertEqual(producer.told, ["pause"])

    def test_pull(self) -> None:
        """A pull producer is asked as long as there is room, until it is done."""
        producer = Pull(self.consumer, 5000)
        self.consumer.registerProducer(producer, False)
        self.wait(0.0)
        self.assertLess(producer.asked, 5000)
        self.wait(30.0)
        self.assertEqual(len(self.theirs.received), 5_000_000)

    def test_two(self) -> None:
        """A second producer is a mistake."""
        self.consumer.registerProducer(Push(), True)
        self.assertRaises(RuntimeError, self.consumer.registerProducer, Push(), True)
        self.consumer.unregisterProducer()
        self.consumer.registerProducer(Push(), True)

    def test_close_waits(self) -> None:
        """A close waits until the producer is done."""
        self.consumer.registerProducer(Push(), True)
        self.consumer.loseConnection()
        self.wait(1.0)
        self.consumer.write(b"the rest")
        self.wait(1.0)
        self.assertIsNone(self.ours.lost)
        self.consumer.unregisterProducer()
        self.wait(1.0)
        self.assertIsNotNone(self.ours.lost)
        self.assertEqual(self.theirs.received, b"the rest")

    def test_stopped(self) -> None:
        """A producer is stopped when the connection is lost."""
        producer = Push()
        self.consumer.registerProducer(producer, True)
        self.theirs.transport.abortConnection()
        self.wait(1.0)
        self.assertEqual(producer.told, ["stop"])


class ReadingTests(_Connected):
    """From the peer to an application that does not keep up."""

    def setUp(self) -> None:
        """Connect."""
        super().setUp()
        assert isinstance(self.transport, UDTTransport)
        self.producer = self.transport

    def test_pause(self) -> None:
        """Nothing is delivered while paused, and the sender stops when the window is full."""
        self.producer.pauseProducing()
        self.theirs.transport.write(b"y" * 30_000_000)
        self.wait(20.0)
        self.assertEqual(self.ours.received, b"")
        [link] = self.pair.there._sorter.links.values()
        self.assertGreater(link.connection.unacknowledged, 10_000_000)
        self.producer.resumeProducing()
        self.wait(60.0)
        self.assertEqual(len(self.ours.received), 30_000_000)

    def test_end_while_paused(self) -> None:
        """The peer's end waits behind its data for a paused reader."""
        self.producer.pauseProducing()
        self.theirs.transport.write(b"data")
        self.theirs.transport.loseConnection()
        self.wait(2.0)
        self.assertEqual((self.ours.received, self.ours.lost), (b"", None))
        self.producer.resumeProducing()
        self.wait(0.0)
        self.assertEqual(self.ours.received, b"data")
        self.assertIsNotNone(self.ours.lost)

    def test_own_end_while_paused(self) -> None:
        """Our own abort does not wait for a paused reader."""
        self.producer.pauseProducing()
        self.theirs.transport.write(b"data")
        self.wait(0.1)
        self.producer.abortConnection()
        self.wait(0.1)
        self.assertIsNotNone(self.ours.lost)
        self.assertEqual(self.ours.received, b"")

    def test_own_close_while_paused(self) -> None:
        """Nor does our own orderly close: what we wrote arrives, and we are told."""
        self.producer.pauseProducing()
        self.theirs.transport.write(b"data")
        self.wait(0.1)
        self.producer.write(b"farewell")
        self.producer.loseConnection()
        self.producer.pauseProducing()
        self.wait(1.0)
        self.assertIsNotNone(self.ours.lost)
        self.assertEqual((self.ours.received, self.theirs.received), (b"", b"farewell"))

    def test_pause_within_delivery(self) -> None:
        """A protocol that pauses while it takes data gets no more until it resumes."""
        taken: list[int] = []

        def take(data: bytes) -> None:
            taken.append(len(data))
            self.producer.pauseProducing()

        self.ours.dataReceived = take  # type: ignore[method-assign]
        self.theirs.transport.write(b"y" * 100_000)
        self.wait(1.0)
        self.assertEqual(len(taken), 1)
        while sum(taken) < 100_000:
            before = len(taken)
            self.producer.resumeProducing()
            self.wait(1.0)
            self.assertEqual(len(taken), before + 1)

    def test_stop(self) -> None:
        """A consumer that wants no more closes the connection."""
        self.producer.stopProducing()
        self.wait(1.0)
        self.assertIsNotNone(self.theirs.lost)

    def test_failing_protocol(self) -> None:
        """A protocol's mistake is logged and ends its own connection with that reason."""

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        self.ours.dataReceived = fail  # type: ignore[method-assign]
        self.theirs.transport.write(b"x")
        self.wait(1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        assert self.ours.lost is not None
        self.ours.lost.trap(ZeroDivisionError)
        self.assertIsNotNone(self.theirs.lost)

    def test_failing_end(self) -> None:
        """A mistake in C{connectionLost} is logged and harms nobody else."""

        class Broken(Protocol):
            def connectionLost(self, reason: object = None) -> None:
                raise ZeroDivisionError

        served = self.pair.recorders()
        served.buildProtocol = lambda addr: Broken()  # type: ignore[method-assign, assignment, return-value]
        self.pair.there.stop_listening()
        self.pair.there.listen(served)
        made = self.pair.recorders()
        self.pair.here.connect(Pair.THERE, made)
        self.wait(1.0)
        made.last.transport.loseConnection()
        self.wait(5.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.theirs.transport.write(b"still works")
        self.wait(1.0)
        self.assertEqual(self.ours.received, b"still works")
