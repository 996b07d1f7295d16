"""Tests for :mod:`wavesync.tunnel.transport`: what a protocol on a tunnel can rely on."""

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.session.support import Recorder
from wavesync.tunnel.transport import TunnelTransport

_HERE, _THERE = IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 2)


class Carrier:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        """Send."""
        self.written += data

    def close(self) -> None:
        """End."""
        self.calls.append("close")

    def abort(self) -> None:
        """End at once."""
        self.calls.append("abort")

    def pause(self) -> None:
        """Bring nothing."""
        self.calls.append("pause")

    def resume(self) -> None:
        """Bring more."""
        self.calls.append("resume")


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_resume: Callable[[], None] = lambda: None

    def pauseProducing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Note it."""
        self.calls.append("resume")
        self.on_resume()

    def stopProducing(self) -> None:
        """Note it."""
        self.calls.append("stop")


class TransportTests(SynchronousTestCase):
    """The transport over a carrier that does nothing by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.carrier = Carrier()
        self.protocol = Recorder()
        self.transport = TunnelTransport(self.carrier, self.clock, _HERE, _THERE)
        self.transport.attach(self.protocol)

    def test_interfaces(self) -> None:
        """It is what protocols expect of a transport, and takes what they ask of TCP ones."""
        for interface in (ITransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, self.transport))
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self.assertTrue(self.transport.getTcpNoDelay())
        self.assertFalse(self.transport.getTcpKeepAlive())
        self.assertEqual((self.transport.getHost(), self.transport.getPeer()), (_HERE, _THERE))

    def test_write(self) -> None:
        """Only bytes; none after the end."""
        self.assertRaises(TypeError, self.transport.write, "text")
        self.transport.write(b"a")
        self.transport.writeSequence([b"b", b"c"])
        self.transport.loseConnection()
        self.transport.write(b"late")
        self.transport.lost(Failure(ConnectionDone()))
        self.transport.write(b"later")
        self.assertEqual(self.carrier.written, b"abc")
        self.assertEqual(self.carrier.calls, ["close"])

    def test_paused(self) -> None:
        """A paused protocol gets nothing, whatever was under way, and all of it in order later."""
        self.transport.pauseProducing()
        self.transport.pauseProducing()
        self.transport.received(b"1")
        self.transport.received(b"2")
        self.assertEqual((self.protocol.received, self.carrier.calls), (b"", ["pause"]))
        self.transport.resumeProducing()
        self.transport.received(b"3")
        self.assertEqual(self.protocol.received, b"")
        self.clock.advance(0)
        self.assertEqual(self.protocol.received, b"123")
        self.assertEqual(self.carrier.calls, ["pause", "resume"])

    def test_paused_again(self) -> None:
        """A protocol that pauses within what it is told gets the next piece when it resumes."""
        self.transport.pauseProducing()
        self.transport.received(b"1")
        self.transport.received(b"2")
        self.protocol.on_data = lambda data: self.transport.pauseProducing()
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual((self.protocol.received, self.carrier.calls), (b"1", ["pause", "pause"]))
        self.protocol.on_data = None
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(self.protocol.received, b"12")
        self.assertEqual(self.carrier.calls[-1], "resume")

    def test_end_waits(self) -> None:
        """An orderly end comes behind what a paused protocol has not taken yet."""
        self.transport.pauseProducing()
        self.transport.received(b"last")
        self.transport.lost(Failure(ConnectionDone()))
        self.assertIsNone(self.protocol.lost)
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(self.protocol.received, b"last")
        assert self.protocol.lost is not None
        self.protocol.lost.trap(ConnectionDone)

    def test_break_does_not_wait(self) -> None:
        """A break is told at once."""
        self.transport.pauseProducing()
        self.transport.received(b"last")
        self.transport.lost(Failure(ConnectionLost()))
        assert self.protocol.lost is not None
        self.protocol.lost.trap(ConnectionLost)
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(self.protocol.received, b"")

    def test_abort_of_what_has_ended(self) -> None:
        """A paused protocol that gives up after the end came is told the end."""
        self.transport.pauseProducing()
        self.transport.received(b"last")
        self.transport.lost(Failure(ConnectionDone()))
        self.transport.abortConnection()
        self.assertIsNone(self.protocol.lost)
        self.clock.advance(0)
        self.assertIsNotNone(self.protocol.lost)
        self.assertEqual((self.protocol.received, self.carrier.calls), (b"", ["pause"]))

    def test_nothing_behind_an_abort(self) -> None:
        """Whoever has broken off is told nothing but the end."""
        self.transport.abortConnection()
        self.transport.received(b"x")
        self.transport.lost(Failure(ConnectionLost()))
        self.assertEqual(self.protocol.received, b"")
        self.assertIsNotNone(self.protocol.lost)

    def test_told_once(self) -> None:
        """The end is told once, whatever comes."""
        self.transport.lost(Failure(ConnectionDone()))
        self.transport.lost(Failure(ConnectionLost()))
        self.transport.received(b"x")
        self.transport.abortConnection()
        self.transport.loseConnection()
        self.clock.advance(1)
        self.assertEqual(self.protocol.received, b"")
        self.assertEqual(self.carrier.calls, [])

    def test_push_producer(self) -> None:
        """It is paused while the tunnel is full, also one that comes later, and stopped at the end."""
        producer = Producer()
        self.transport.full()
        self.transport.registerProducer(producer, True)
        self.assertRaises(RuntimeError, self.transport.registerProducer, producer, True)
        self.transport.free()
        self.transport.full()
        self.transport.full()
        self.transport.lost(Failure(ConnectionLost()))
        self.assertEqual(producer.calls, ["pause", "resume", "pause", "stop"])
        late = Producer()
        self.transport.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])

    def test_close_waits_for_producer(self) -> None:
        """Twisted's rule: loseConnection waits until the producer has finished."""
        self.transport.registerProducer(Producer(), True)
        self.transport.loseConnection()
        self.transport.write(b"rest")
        self.assertEqual((self.carrier.calls, self.carrier.written), ([], b"rest"))
        self.transport.unregisterProducer()
        self.transport.unregisterProducer()
        self.assertEqual(self.carrier.calls, ["close"])

    def test_pull_producer(self) -> None:
        """It is asked turn by turn, not while the tunnel is full, and no more once it is gone."""
        producer = Producer()

        def asked() -> None:
            if len(producer.calls) % 3 == 0:
                self.transport.full()

        producer.on_resume = asked
        self.transport.registerProducer(producer, False)
        self.clock.advance(0)
        self.assertEqual(producer.calls, ["resume"] * 3)
        self.transport.free()
        self.clock.advance(0)
        self.assertEqual(producer.calls, ["resume"] * 6)
        self.transport.free()
        self.transport.unregisterProducer()
        self.clock.advance(0)
        self.assertEqual(len(producer.calls), 6)
        self.transport.registerProducer(producer, False)
        self.transport.lost(Failure(ConnectionDone()))
        self.assertEqual(producer.calls[-1], "stop")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_consumer_went_away(self) -> None:
        """As with TCP: a consumer of our bytes that goes away ends the tunnel."""
        self.transport.stopProducing()
        self.assertEqual(self.carrier.calls, ["close"])
