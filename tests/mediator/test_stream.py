"""The mediator's TCP connections, without sockets and with a clock of our own."""

import os
import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import AUDIENCE, NOW, prover, server
from wavesync.mediator.core import Mediator
from wavesync.mediator.leg import IDLE_LIFE
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.mediator.stream import CLOSE_LIFE, LegFactory, LegProtocol
from wavesync.signalling.messages import Listen, Refusal, keep_alive_request
from wavesync.signalling.numbers import DEFAULT_KEEP_ALIVE, MAX_STREAM_MESSAGE, SILENCE_FACTOR
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message, MessageClass, encode


class Transport(StringTransport):
    """A TCP transport that notes how it was closed."""

    aborted = False
    no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it."""
        self.no_delay = enabled

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True


class StreamCase(SynchronousTestCase):
    """Connections to a mediator."""

    limits = Limits()

    def setUp(self) -> None:
        """A mediator and a clock."""
        self.clock = Clock()
        self.clock.advance(NOW)
        settings = MediatorSettings(name=AUDIENCE, limits=self.limits)
        self.mediator = Mediator(settings, os.urandom)
        self.factory = LegFactory(self.mediator, self.clock)

    def connect(self, host: str = "192.0.2.1") -> tuple[LegProtocol, Transport]:
        """Open one."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", host, 4000))
        assert protocol is not None
        transport = Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def sent(self, transport: Transport) -> list[Message]:
        """Return, and forget, what was written."""
        messages = StreamDecoder().feed(transport.value())
        transport.clear()
        return messages

    def register(self, protocol: LegProtocol, transport: Transport) -> None:
        """Register a server over a connection."""
        listen = Listen(server().target, bytes([9]) * 32)
        protocol.dataReceived(listen.encode(bytes(12)))
        (challenge,) = self.sent(transport)
        nonce = Refusal.decode(challenge).nonce
        signing = prover(server(), now=self.clock.seconds(), nonce=nonce)
        protocol.dataReceived(listen.encode(bytes(12), signing))
        (answer,) = self.sent(transport)
        assert answer.message_class is MessageClass.SUCCESS

    def lose(self, protocol: LegProtocol) -> None:
        """Do what Twisted does once a connection is gone."""
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.factory), 0)


class LifeTests(StreamCase):
    """From the first byte to the last timer."""

    def test_probes(self) -> None:
        """The kernel is asked to notice when a server's host, or its router, is gone."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        assert protocol is not None
        transport = Transport()
        with socket.socket() as handle:
            transport.getHandle = lambda: handle  # type: ignore[attr-defined]
            protocol.makeConnection(transport)
            self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)

    def test_answers(self) -> None:
        """Messages are answered as they complete, byte by byte if need be."""
        protocol, transport = self.connect()
        self.assertTrue(transport.no_delay)
        for byte in keep_alive_request(bytes(12)):
            self.assertEqual(transport.value(), b"")
            protocol.dataReceived(bytes([byte]))
        (answer,) = self.sent(transport)
        self.assertIs(answer.message_class, MessageClass.SUCCESS)
        self.lose(protocol)

    def test_idle(self) -> None:
        """A connection on which nothing comes is closed, politely and then for good."""
        protocol, transport = self.connect()
        self.clock.advance(IDLE_LIFE - 0.1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnecting)
        self.assertFalse(transport.aborted)
        self.clock.advance(CLOSE_LIFE)
        self.assertTrue(transport.aborted)
        self.lose(protocol)

    def test_keep_alive_and_silence(self) -> None:
        """A silent server gets two keep-alives and is then hung up on."""
        protocol, transport = self.connect()
        self.register(protocol, transport)
        self.clock.pump([0.5] * int(SILENCE_FACTOR * DEFAULT_KEEP_ALIVE * 2 - 1))
        self.assertEqual(len(self.sent(transport)), 2)
        self.assertEqual(len(self.mediator.registry), 1)
        self.clock.advance(0.5)
        self.assertTrue(transport.aborted)
        self.assertEqual(len(self.mediator.registry), 0)
        self.lose(protocol)

    def test_lost(self) -> None:
        """A lost connection unregisters its server and leaves no timer."""
        protocol, transport = self.connect()
        self.register(protocol, transport)
        self.lose(protocol)
        self.assertEqual(len(self.mediator.registry), 0)

    def test_garbage(self) -> None:
        """What is not STUN ends the connection; messages before it count."""
        protocol, transport = self.connect()
        protocol.dataReceived(keep_alive_request(bytes(12)) + b"\xff" * 20)
        self.assertEqual(len(self.sent(transport)), 1)
        self.assertTrue(transport.aborted)
        self.lose(protocol)

    def test_longest_message(self) -> None:
        """The longest message is read, a longer one ends the connection."""
        for size, aborted in ((MAX_STREAM_MESSAGE, False), (MAX_STREAM_MESSAGE + 4, True)):
            protocol, transport = self.connect()
            value = bytes(size - 20 - 8 - 4)
            raw = encode(Message(0x1AB, MessageClass.REQUEST, bytes(12), ((0x26, value),)))
            self.assertEqual(len(raw), size)
            protocol.dataReceived(raw)
            self.assertEqual(transport.aborted, aborted)
            self.lose(protocol)

    def test_nothing_after_closing(self) -> None:
        """What a peer sends after it was refused is not looked at."""
        protocol, transport = self.connect()
        self.register(protocol, transport)
        self.assertIs(transport.producer, protocol)
        self.factory.leave()
        self.assertTrue(transport.disconnecting)
        # With a producer left, Twisted would wait for it before closing.
        self.assertIsNone(transport.producer)
        self.sent(transport)
        protocol.dataReceived(keep_alive_request(bytes(12)))
        self.assertEqual(transport.value(), b"")
        self.lose(protocol)

    def test_clogged(self) -> None:
        """To a peer that takes nothing, nothing more is written, and it is not read from."""
        protocol, transport = self.connect()
        self.register(protocol, transport)
        protocol.pauseProducing()
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(DEFAULT_KEEP_ALIVE + 1)
        self.assertEqual(transport.value(), b"")
        protocol.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
        self.clock.advance(DEFAULT_KEEP_ALIVE + 1)
        self.assertNotEqual(transport.value(), b"")
        self.lose(protocol)

    def test_when_empty(self) -> None:
        """Whoever waits for the last connection to end is told."""
        self.assertIsNone(self.successResultOf(self.factory.when_empty()))
        protocol, _ = self.connect()
        waiting = self.factory.when_empty()
        self.assertNoResult(waiting)
        self.lose(protocol)
        self.successResultOf(waiting)

    def test_addresses(self) -> None:
        """IPv6 peers are served, IPv4 in IPv6 form counts as IPv4, other kinds are not served."""
        self.assertIsNone(self.factory.buildProtocol(UNIXAddress(b"/socket")))
        mapped = self.factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.1", 4))
        assert mapped is not None
        self.assertEqual(mapped._source, ("192.0.2.1", 4))


class LimitTests(StreamCase):
    """Connections at one time."""

    limits = Limits(legs=3, legs_per_host=2)

    def test_limits(self) -> None:
        """At either limit a connection is served, one more is closed at once."""
        first, _ = self.connect("192.0.2.1")
        _, second = self.connect("192.0.2.1")
        self.assertFalse(second.aborted)
        over, refused = self.connect("192.0.2.1")
        self.assertTrue(refused.aborted)
        over.dataReceived(keep_alive_request(bytes(12)))
        over.connectionLost()
        _, third = self.connect("192.0.2.2")
        self.assertFalse(third.aborted)
        _, refused = self.connect("192.0.2.3")
        self.assertTrue(refused.aborted)
        first.connectionLost()
        _, again = self.connect("192.0.2.1")
        self.assertFalse(again.aborted)

    def test_ipv6(self) -> None:
        """All addresses of an IPv6 /64 are one source: nobody takes every place from his sofa."""
        addresses = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
        made = []
        for host in addresses:
            protocol = self.factory.buildProtocol(IPv6Address("TCP", host, 4000))
            assert protocol is not None
            transport = Transport()
            protocol.makeConnection(transport)
            made.append((protocol, transport))
        self.assertEqual([t.aborted for _, t in made], [False, False, True, False])
        for protocol, _ in made:
            protocol.connectionLost()
        self.assertEqual(len(self.factory), 0)
        self.assertEqual(self.factory._sources, {})
