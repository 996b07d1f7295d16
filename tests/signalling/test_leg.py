"""Tests for :mod:`wavesync.signalling.leg`."""

import socket

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import ANSWER_TIMEOUT, PATIENCE, Leg
from wavesync.signalling.messages import keep_alive_indication
from wavesync.signalling.refusals import RegistrationEnded
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import BINDING, Message, MessageClass, encode

REQUEST = encode(Message(BINDING, MessageClass.REQUEST, b"r" * 12))
ANSWER = encode(Message(BINDING, MessageClass.SUCCESS, b"r" * 12))


class LegTests(SynchronousTestCase):
    """The agent hears its mediator at once, and notices when it hears it no more."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connected: list[Leg] = []
        self.indications: list[Message] = []
        self.lost: list[str] = []
        self.leg = Leg(
            self.clock,
            self.connected.append,
            self.indications.append,
            lambda leg, why: self.lost.append(why),
        )
        self.transport = StringTransport()
        self.leg.makeConnection(self.transport)

    def sent(self) -> list[Message]:
        """What was sent since the last look."""
        data = self.transport.value()
        self.transport.clear()
        return StreamDecoder().feed(data)

    def test_connected(self) -> None:
        """The owner learns that the connection stands."""
        self.assertEqual(self.connected, [self.leg])

    def test_probes(self) -> None:
        """The kernel is asked to notice when the mediator's host is gone."""
        with socket.socket() as handle:
            self.transport = StringTransport()
            self.transport.getHandle = lambda: handle  # type: ignore[attr-defined]
            self.leg.makeConnection(self.transport)
            self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)

    def test_request_and_answer(self) -> None:
        """An answer finds its request, even in two pieces; no timer stays behind."""
        asked = self.leg.ask(REQUEST)
        self.assertEqual([message.raw for message in self.sent()], [REQUEST])
        self.leg.dataReceived(ANSWER[:7])
        self.assertNoResult(asked)
        self.leg.dataReceived(ANSWER[7:])
        self.assertEqual(self.successResultOf(asked).message.raw, ANSWER)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """A mediator that does not answer is not waited for without end."""
        asked = self.leg.ask(REQUEST)
        self.clock.advance(ANSWER_TIMEOUT)
        self.failureResultOf(asked, NoAnswer)

    def test_indications(self) -> None:
        """Indications go to the owner."""
        ended = RegistrationEnded(409, "superseded").encode(b"i" * 12)
        self.leg.dataReceived(ended)
        self.assertEqual([message.raw for message in self.indications], [ended])

    def test_keep_alive(self) -> None:
        """Something goes out every interval, and hearing the mediator keeps the leg."""
        self.leg.keep_alive(15)
        for _ in range(10):
            self.assertEqual([message.method for message in self.sent()], [BINDING])
            self.leg.dataReceived(keep_alive_indication(b"k" * 12))
            self.clock.pump([PATIENCE, 15 - PATIENCE])
        self.assertEqual(self.lost, [])

    def test_mediator_that_takes_nothing(self) -> None:
        """A mediator that says much and takes nothing is not read any further, so that what it is
        answered does not pile up; it is given up like a silent one."""
        verifyObject(IPushProducer, self.leg)
        self.leg.keep_alive(15)
        self.assertIs(self.transport.producer, self.leg)
        self.assertTrue(self.transport.streaming)
        self.leg.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.leg.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.leg.pauseProducing()
        self.clock.pump([2.5] * 16)
        self.assertEqual(len(self.lost), 1)

    def test_silence(self) -> None:
        """Two keep-alives without a word end the leg within seconds, one does not."""
        self.leg.keep_alive(15)
        self.clock.advance(PATIENCE)
        self.assertEqual(len(self.sent()), 2)
        self.leg.dataReceived(keep_alive_indication(b"k" * 12))
        self.clock.pump([PATIENCE, 15 - PATIENCE, PATIENCE, PATIENCE - 0.1])
        self.assertEqual(len(self.sent()), 2)
        self.assertEqual(self.lost, [])
        self.clock.advance(0.2)
        self.assertEqual(self.lost, ["the mediator does not answer any more"])
        self.assertTrue(self.transport.disconnecting or self.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asleep(self) -> None:
        """An agent that was stopped for a while looks twice before it gives the leg up."""
        self.leg.keep_alive(15)
        self.clock.advance(3600)
        self.assertEqual(self.lost, [])
        self.leg.dataReceived(keep_alive_indication(b"k" * 12))
        self.clock.pump([PATIENCE, 15 - PATIENCE])
        self.assertEqual(self.lost, [])

    def test_short_interval(self) -> None:
        """A mediator that wants keep-alives every second gets one every second."""
        self.leg.keep_alive(1)
        for _ in range(10):
            self.assertEqual(len(self.sent()), 1)
            self.leg.dataReceived(keep_alive_indication(b"k" * 12))
            self.clock.advance(1)
        self.assertEqual(self.lost, [])

    def test_closed_by_mediator(self) -> None:
        """Whether the mediator has closed the leg or it broke can be told apart."""
        self.leg.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.leg.closed_by_mediator)
        self.setUp()
        self.leg.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(self.leg.closed_by_mediator)

    def test_garbage(self) -> None:
        """What is not STUN ends the connection with a sentence, and what waits with it."""
        asked = self.leg.ask(REQUEST)
        self.leg.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(self.lost, ["the mediator sent something that is not STUN"])
        self.failureResultOf(asked, NoAnswer)

    def test_lost_is_told_once(self) -> None:
        """However it ends, the owner hears of it once."""
        self.leg.dataReceived(b"x" * 40)
        self.leg.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.lost), 1)

    def test_connection_lost(self) -> None:
        """The reason of a broken connection is told."""
        self.leg.keep_alive(15)
        self.leg.connectionLost(Failure(ConnectionDone()))
        self.assertIn("ended", self.lost[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abandon(self) -> None:
        """A leg that its owner gives up is closed without a word."""
        asked = self.leg.ask(REQUEST)
        self.leg.keep_alive(15)
        self.leg.abandon()
        self.leg.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(asked, NoAnswer)
        self.assertEqual(self.lost, [])
        self.assertTrue(self.transport.disconnecting or self.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
