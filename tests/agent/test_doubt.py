"""Tests for :mod:`wavesync.agent.doubt`."""

from collections.abc import Callable

from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import MemoryEndpoint
from wavesync.agent.doubt import (
    DIAL_AFTER,
    LOOK_INTERVAL,
    PATIENCE,
    REDIAL_AFTER,
    SHORT_PATIENCE,
    UNANSWERED,
    Doubt,
)
from wavesync.signalling.leg import ANSWER_TIMEOUT, Leg
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import BINDING, Message, MessageClass, encode


class WatchedLeg(Leg):
    """A leg of which the test says what the kernel knows."""

    waits = 0

    @property
    def unanswered(self) -> int:
        return self.waits


class DoubtTests(SynchronousTestCase):
    """A server that was cut off by its router is registered again as soon as there is a way."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.better: list[Leg] = []
        self.transport = StringTransport()
        self.leg = WatchedLeg(
            self.clock, lambda leg: None, lambda message: None, lambda leg, why: None
        )
        self.leg.makeConnection(self.transport)
        self.doubt = Doubt(self.clock, self.endpoint, self.leg, self.make_leg, self.better.append)
        self.addCleanup(self.assert_nothing_left)

    def make_leg(self, connected: Callable[[Leg], None], lost: Callable[[Leg, str], None]) -> Leg:
        """A further leg."""
        return Leg(self.clock, connected, lambda message: None, lost)

    def assert_nothing_left(self) -> None:
        """With the registration everything ends."""
        self.doubt.end()
        self.leg.abandon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def answer(self) -> None:
        """The mediator answers over the leg."""
        (request,) = StreamDecoder().feed(self.transport.value())
        self.assertEqual(request.method, BINDING)
        self.transport.clear()
        self.leg.dataReceived(
            encode(Message(BINDING, MessageClass.SUCCESS, request.transaction_id))
        )

    def connect(self) -> StringTransport:
        """Let the newest attempt to connect succeed."""
        dialled = self.endpoint.dialled[-1]
        protocol = dialled.factory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        self.made = protocol
        transport = StringTransport()
        protocol.makeConnection(transport)
        dialled.result.callback(protocol)
        return transport

    def dialled(self) -> int:
        """How often the mediator was dialled."""
        return len(self.endpoint.dialled)

    def test_good(self) -> None:
        """A leg that answers soon costs its mediator one request, and no connection."""
        for _ in range(5):
            self.doubt.begin()
            self.clock.advance(DIAL_AFTER - 0.1)
            self.answer()
            self.clock.advance(5)
        self.assertEqual((self.dialled(), self.better), (0, []))

    def test_asked_once(self) -> None:
        """Several reasons for doubt are one request."""
        self.doubt.begin()
        self.doubt.begin()
        self.answer()

    def test_slow(self) -> None:
        """A leg that answers late stays; the connection made meanwhile is closed."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        other = self.connect()
        self.clock.advance(PATIENCE - DIAL_AFTER - 0.1)
        self.answer()
        self.assertTrue(other.disconnected or other.disconnecting)
        self.clock.advance(60)
        self.assertEqual(self.better, [])

    def test_slow_to_connect(self) -> None:
        """A connection that is not made yet when the leg answers is given up."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        self.clock.advance(PATIENCE)
        self.answer()
        self.assertTrue(self.endpoint.dialled[-1].cancelled)
        self.assertEqual(self.better, [])

    def test_dead(self) -> None:
        """A leg that does not answer is replaced by a connection that stands."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        other = self.connect()
        self.clock.advance(PATIENCE - DIAL_AFTER - 0.01)
        self.assertEqual(self.better, [])
        self.clock.advance(0.02)
        (better,) = self.better
        self.assertIs(better.transport, other)
        self.assertFalse(other.disconnected or other.disconnecting)
        better.abandon()

    def test_network_comes_back(self) -> None:
        """As long as nothing answers, it is dialled again; the first that stands is taken at once."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        for attempt in range(1, 4):
            self.assertEqual(self.dialled(), attempt)
            self.endpoint.dialled[-1].result.errback(ConnectionRefusedError())
            self.clock.advance(REDIAL_AFTER - 0.01)
            self.assertEqual(self.dialled(), attempt)
            self.clock.advance(0.02)
        self.connect()
        (better,) = self.better
        better.abandon()

    def test_other_is_lost(self) -> None:
        """A connection that breaks before it is needed is made again."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        self.connect()
        self.made.connectionLost(Failure(ConnectionLost()))
        self.clock.advance(REDIAL_AFTER)
        self.assertEqual((self.dialled(), self.better), (2, []))

    def test_probes(self) -> None:
        """Probes that nobody acknowledges are a reason; one that is under way is none."""
        self.leg.waits = UNANSWERED - 1
        self.clock.pump([LOOK_INTERVAL] * 10)
        self.assertEqual(self.transport.value(), b"")
        self.leg.waits = UNANSWERED
        self.clock.advance(LOOK_INTERVAL)
        self.clock.advance(DIAL_AFTER)
        self.connect()
        self.clock.advance(SHORT_PATIENCE - DIAL_AFTER)
        (better,) = self.better
        better.abandon()

    def test_end(self) -> None:
        """When the registration is over nothing is dialled, and no connection is kept."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        other = self.connect()
        self.doubt.end()
        self.assertTrue(other.disconnected or other.disconnecting)
        self.leg.waits = UNANSWERED
        self.doubt.begin()
        self.clock.pump([1.0] * 5)
        self.assertEqual((self.dialled(), self.better), (1, []))

    def test_no_answer_at_all(self) -> None:
        """A doubt that nothing resolves ends, and the next one begins anew."""
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        self.clock.advance(ANSWER_TIMEOUT)
        self.assertTrue(self.endpoint.dialled[-1].cancelled)
        self.doubt.begin()
        self.clock.advance(DIAL_AFTER)
        self.assertEqual(self.dialled(), 2)
