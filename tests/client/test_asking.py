"""Tests for :mod:`wavesync.client.asking`."""

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from tests.client.support import (
    CONNECTION,
    MEDIATOR,
    MEDIATOR_UDP,
    OWN,
    SERVER_TCP,
    AskingWorld,
    answer,
)
from tests.signalling.provers import AUDIENCE, NOW, client, server
from wavesync.client.asking import MAX_CHALLENGES
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.signalling.leg import ANSWER_TIMEOUT
from wavesync.signalling.messages import Connect, ConnectionUpdate, Refusal
from wavesync.signalling.numbers import CONNECT_SIZE, ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, MessageClass, encode

NONCE = b"n" * 16
STALE = Refusal(ErrorCode.STALE_NONCE, "", NONCE, AUDIENCE, NOW)


class AskingTests(SynchronousTestCase):
    """A client is introduced as fast as its network allows, or told why not."""

    def test_udp(self) -> None:
        """One packet there, one back: that is all, and TCP is not even tried."""
        world = AskingWorld()
        request = world.one()
        self.assertEqual(world.destinations, {MEDIATOR_UDP})
        self.assertEqual(len(request.raw), CONNECT_SIZE)
        self.assertEqual(Connect.decode(request), Connect(CONNECTION, server().target, (OWN,)))
        self.assertEqual(world.proof_of(request).peer, client().peer)
        self.assertTrue(world.receive(answer(request)))
        introduction = self.successResultOf(world.asking.result)
        self.assertEqual(introduction.tcp, (SERVER_TCP,))
        world.clock.advance(60)
        self.assertEqual((world.endpoint.dialled, world.take()), ([], []))
        world.asking.close()
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """After 250 ms without an answer the very same bytes go over TCP; first answer counts."""
        world = AskingWorld()
        first = world.one()
        world.clock.advance(0.249)
        self.assertEqual(world.endpoint.dialled, [])
        world.clock.advance(0.002)
        mediator = world.connect_tcp()
        (copy,) = mediator.received()
        self.assertEqual(copy.raw, first.raw)
        mediator.send(answer(copy))
        self.assertEqual(self.successResultOf(world.asking.result).tcp, (SERVER_TCP,))
        # UDP goes on: the mediator may yet learn where the punching port is.
        world.clock.pump([0.1] * 10)
        again = world.take()
        self.assertTrue(again)
        self.assertEqual({message.raw for message in again}, {first.raw})
        world.receive(answer(again[0]))
        world.clock.pump([1] * 20)
        self.assertEqual(world.take(), [])
        self.assertFalse(mediator.closed)
        world.asking.close()
        self.assertTrue(mediator.closed)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_udp_after_all(self) -> None:
        """When UDP answers while TCP is being connected, TCP is given up."""
        world = AskingWorld()
        request = world.one()
        world.clock.advance(0.26)
        world.receive(answer(request))
        self.successResultOf(world.asking.result)
        self.assertTrue(world.endpoint.dialled[0].cancelled)

    def test_tcp_only(self) -> None:
        """Without UDP TCP is asked at once, and no addresses for punching are told."""
        world = AskingWorld(udp=False)
        mediator = world.connect_tcp()
        request = mediator.one(Method.CONNECT)
        self.assertEqual(Connect.decode(request).udp, ())
        mediator.send(answer(request))
        self.successResultOf(world.asking.result)

    def test_udp_only(self) -> None:
        """A mediator named for UDP only is asked again and again, then told of."""
        world = AskingWorld(mediator=Mediator(AUDIENCE, 3345, None), tcp=False)
        world.clock.pump([0.1] * 300)
        self.assertEqual(len(world.take()), 7)
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            "cannot reach the mediator mediator.example:3345: udp: no answer came",
        )
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_no_way(self) -> None:
        """Nothing that is allowed leads there: that is said at once."""
        world = AskingWorld(udp=False, tcp=False)
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertIn("no way to the mediator", failure.getErrorMessage())

    def test_tcp_refused(self) -> None:
        """A closed TCP port does not end it while UDP may still answer."""
        world = AskingWorld()
        world.clock.advance(0.26)
        world.endpoint.dialled[0].result.errback(ConnectionRefusedError())
        self.assertNoResult(world.asking.result)
        world.receive(answer(world.take()[0]))
        self.successResultOf(world.asking.result)

    def test_neither(self) -> None:
        """When both fail, both are told of."""
        world = AskingWorld()
        world.clock.advance(0.26)
        world.endpoint.dialled[0].result.errback(ConnectionRefusedError())
        world.clock.pump([0.5] * 60)
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertRegex(
            failure.getErrorMessage(),
            "^cannot reach the mediator mediator.example:3345: tcp: Connection was refused.*;"
            " udp: no answer came$",
        )
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_silent_leg(self) -> None:
        """A TCP port that takes everything and says nothing is not waited for without end."""
        world = AskingWorld(udp=False)
        mediator = world.connect_tcp()
        world.clock.advance(ANSWER_TIMEOUT + 0.1)
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertIn("tcp: no answer came", failure.getErrorMessage())
        self.assertTrue(mediator.closed)

    def test_leg_lost(self) -> None:
        """The same for one that hangs up, or is something else than a mediator."""
        for end, words in (
            (lambda mediator: mediator.lose(), "ended"),
            (lambda mediator: mediator.send(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 2), "not STUN"),
        ):
            world = AskingWorld(udp=False)
            mediator = world.connect_tcp()
            end(mediator)
            failure = self.failureResultOf(world.asking.result, ConnectFailed)
            self.assertIn(words, failure.getErrorMessage())
            self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_challenged(self) -> None:
        """438: the nonce is signed, for the same connection, whatever our clock says."""
        world = AskingWorld(ahead=2 * 86400.0)
        first = world.one()
        world.refuse(first, STALE)
        second = world.one()
        self.assertNotEqual(first.transaction_id, second.transaction_id)
        self.assertEqual(Connect.decode(second), Connect.decode(first))
        self.assertEqual(world.proof_of(second, nonce=NONCE).nonce, NONCE)
        self.assertNoResult(world.asking.result)
        # From then on the copy over TCP has the nonce too.
        world.clock.advance(0.26)
        mediator = world.connect_tcp()
        self.assertEqual(mediator.one(Method.CONNECT).raw, second.raw)
        world.receive(answer(second))
        self.successResultOf(world.asking.result)

    def test_challenged_over_tcp(self) -> None:
        """The same over TCP, on the same connection."""
        world = AskingWorld(udp=False)
        mediator = world.connect_tcp()
        mediator.refuse(mediator.one(Method.CONNECT), STALE)
        second = mediator.one(Method.CONNECT)
        self.assertEqual(world.proof_of(second, nonce=NONCE).nonce, NONCE)
        mediator.send(answer(second))
        self.successResultOf(world.asking.result)

    def test_challenged_without_end(self) -> None:
        """A mediator that only challenges is asked so often and not once more."""
        world = AskingWorld()
        for _ in range(MAX_CHALLENGES):
            world.refuse(world.one(), STALE)
            self.assertNoResult(world.asking.result)
        world.refuse(world.one(), STALE)
        self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertEqual(world.take(), [])

    def test_challenged_by_another(self) -> None:
        """Nothing is signed for a mediator that calls itself by another name."""
        world = AskingWorld()
        world.refuse(world.one(), Refusal(ErrorCode.STALE_NONCE, "", NONCE, "evil.example", NOW))
        failure = self.failureResultOf(world.asking.result, NotAllowed)
        self.assertIn("evil.example", failure.getErrorMessage())
        self.assertEqual(world.take(), [])

    def test_refused(self) -> None:
        """A refusal is final: nothing goes on, and it is told as what it is."""
        for refusal, kind, words in (
            (Refusal(ErrorCode.NOT_FOUND), ConnectFailed, "is not online"),
            (Refusal(ErrorCode.FORBIDDEN, "expired"), NotAllowed, "credentials: expired"),
            (Refusal(ErrorCode.QUOTA_REACHED), ConnectFailed, "busy"),
            (Refusal(ErrorCode.UNAUTHENTICATED), NotAllowed, "does not accept"),
        ):
            world = AskingWorld()
            world.clock.advance(0.26)
            world.refuse(world.take()[0], refusal)
            failure = self.failureResultOf(world.asking.result, kind)
            self.assertIn(words, failure.getErrorMessage())
            self.assertTrue(world.endpoint.dialled[0].cancelled)
            self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_nonsense(self) -> None:
        """An answer that makes no sense counts as none: the other way may still do."""
        world = AskingWorld()
        request = world.one()
        world.receive(answer(request, target=server(2).target))
        self.assertNoResult(world.asking.result)
        # UDP has failed for certain, so that TCP does not wait for its time.
        mediator = world.connect_tcp()
        copy = mediator.one(Method.CONNECT)
        mediator.send(encode(Message(Method.CONNECT, MessageClass.SUCCESS, copy.transaction_id)))
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertRegex(
            failure.getErrorMessage(),
            r"udp: it answers nonsense \(the answer is about another server\);"
            r" tcp: it answers nonsense \(.* is missing\)$",
        )

    def test_malformed_error(self) -> None:
        """The same for an error without a code."""
        world = AskingWorld(tcp=False)
        request = world.one()
        world.receive(encode(Message(Method.CONNECT, MessageClass.ERROR, request.transaction_id)))
        failure = self.failureResultOf(world.asking.result, ConnectFailed)
        self.assertIn("nonsense", failure.getErrorMessage())

    def test_indications(self) -> None:
        """What the mediator says over TCP afterwards is heard, and can be sent back."""
        world = AskingWorld(udp=False)
        world.asking.echo(b"nobody is there yet")
        mediator = world.connect_tcp()
        update = ConnectionUpdate(CONNECTION, 1, ()).encode(b"u" * 12)
        mediator.send(answer(mediator.one(Method.CONNECT)) + update)
        self.assertEqual([message.raw for message in world.indications], [update])
        world.asking.echo(update)
        self.assertEqual([message.raw for message in mediator.received()], [update])

    def test_cancelled(self) -> None:
        """A client that gives up leaves nothing behind."""
        for seconds in (0.0, 0.26):
            world = AskingWorld()
            world.clock.advance(seconds)
            world.asking.result.cancel()
            self.failureResultOf(world.asking.result, CancelledError)
            self.assertEqual(world.clock.getDelayedCalls(), [])
            self.assertTrue(all(attempt.cancelled for attempt in world.endpoint.dialled))
        self.assertEqual(MEDIATOR.audience, AUDIENCE)
