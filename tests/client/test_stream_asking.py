"""Tests for :mod:`wavesync.client.stream_asking`."""

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import MEDIATOR_HOST, MemoryEndpoint, ScriptedMediator
from tests.signalling.provers import AUDIENCE, NOW, client, server
from wavesync.client.introduction import Introduction
from wavesync.client.stream_asking import MAX_SIGNATURES, StreamAsking, Together
from wavesync.errors import ConnectFailed
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    OpenStream,
    Refusal,
    StreamAnswer,
    covered,
)
from wavesync.signalling.numbers import MAX_START_DELAY, ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message

CONNECTION = "c0" * 16
SERVER: Address = ("198.51.100.1", 4100)
OWN: Address = ("10.0.0.1", 12345)
"""What StringTransport gives as its own address."""


def introduction(mediator: Mediator) -> Introduction:
    """An introduction to the server of the tests."""
    return Introduction(
        mediator, CONNECTION, server().target, (), (), (), 7, 0.0, ("203.0.113.1", 1)
    )


class AskingTests(SynchronousTestCase):
    """The mediator is asked until it is clear from where to where to dial."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.families: list[bool | None] = []
        self.endpoint = MemoryEndpoint()

        def endpoint(ipv6: bool | None) -> MemoryEndpoint:
            self.families.append(ipv6)
            return self.endpoint

        self.asking = StreamAsking(
            self.clock,  # type: ignore[arg-type]
            client(),
            introduction(Mediator(AUDIENCE, None, 3345)),
            endpoint,
            wall_clock=lambda: NOW + self.clock.seconds(),
        )
        self.asking.start()

    def connect(self) -> ScriptedMediator:
        """Let the connection stand."""
        return ScriptedMediator(self.endpoint.dialled[-1], now=NOW)

    def proof(self, request: Message, nonce: bytes = b"") -> bytes:
        """Check the proof of a request, and return its nonce."""
        found = covered(request)
        assert found is not None
        checked = check_proof(
            found[0],
            purpose=OpenStream.PURPOSE,
            audience=AUDIENCE,
            message=found[1],
            role=Role.CLIENT,
            now=NOW,
            nonce_ok=lambda told: told == nonce,
        )
        return checked.nonce

    def why(self) -> str:
        """Why it failed; nothing is left open or running."""
        told: str = self.failureResultOf(self.asking.result, ConnectFailed).getErrorMessage()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return told

    def test_agreed(self) -> None:
        """Asked with a proof for this introduction and server; dialled from the leg's own port."""
        self.clock.advance(0.08)
        mediator = self.connect()
        request = mediator.one(Method.OPEN_STREAM)
        self.proof(request)
        self.assertEqual(OpenStream.decode(request), OpenStream(CONNECTION, server().target, 0.04))
        self.clock.advance(0.08)
        mediator.send(StreamAnswer((SERVER,), 0.1).encode(request.transaction_id))
        together = self.successResultOf(self.asking.result)
        self.assertEqual((together.own, together.remote), (OWN, SERVER))
        self.assertAlmostEqual(together.wait, 0.06)
        self.assertFalse(mediator.closed)
        self.asking.close()
        self.assertTrue(mediator.closed)

    def test_wait_is_limited(self) -> None:
        """A mediator cannot have a client wait for ever, nor into the past."""
        for delay, wait in ((3600.0, MAX_START_DELAY), (0.0, 0.0)):
            self.setUp()
            mediator = self.connect()
            request = mediator.one(Method.OPEN_STREAM)
            self.clock.advance(0.02)
            mediator.send(StreamAnswer((SERVER,), delay).encode(request.transaction_id))
            self.assertEqual(self.successResultOf(self.asking.result), Together(OWN, SERVER, wait))

    def test_clocks_disagree(self) -> None:
        """A nonce is signed, so often and not once more."""
        mediator = self.connect()
        nonce = b""
        for number in range(MAX_SIGNATURES):
            request = mediator.one(Method.OPEN_STREAM)
            self.assertEqual(self.proof(request, nonce), nonce)
            nonce = b"n" * (number + 8)
            mediator.refuse(request, Refusal(ErrorCode.STALE_NONCE, "", nonce, AUDIENCE, NOW))
        self.assertIn("one signature after the other", self.why())

    def test_other_family(self) -> None:
        """A server whose leg has IPv6 is dialled over IPv6."""
        first = self.connect()
        remote = ("2001:db8::1", 4100)
        request = first.one(Method.OPEN_STREAM)
        first.send(StreamAnswer((remote,)).encode(request.transaction_id))
        self.assertTrue(first.closed)
        self.assertEqual(self.families, [None, True])
        second = self.connect()
        # StringTransport has IPv4 here as well: a host that has it not is asked no further.
        for _ in range(MAX_SIGNATURES - 1):
            request = second.one(Method.OPEN_STREAM)
            second.send(StreamAnswer((remote,)).encode(request.transaction_id))
            second = self.connect()
        self.assertIn("one signature after the other", self.why())

    def test_refusals(self) -> None:
        """What a mediator may say, and what it cannot mean."""
        for data, words in (
            (lambda tid: Refusal(ErrorCode.NOT_FOUND).encode(Method.OPEN_STREAM, tid), "error 404"),
            (lambda tid: StreamAnswer(()).encode(tid), "names no address"),
            (lambda tid: StreamAnswer((("127.0.0.1", 9),)).encode(tid), "names no address"),
            (lambda tid: StreamAnswer(((MEDIATOR_HOST, 3345),)).encode(tid), "names no address"),
        ):
            self.setUp()
            mediator = self.connect()
            mediator.send(data(mediator.one(Method.OPEN_STREAM).transaction_id))
            self.assertIn(words, self.why())
            self.assertTrue(mediator.closed)

    def test_lost(self) -> None:
        """A mediator that cannot be reached, or goes away before it has answered."""
        self.endpoint.dialled[0].result.errback(ConnectFailed("refused"))
        self.assertEqual(self.why(), "refused")
        self.setUp()
        self.connect().lose()
        self.assertIn("ended", self.why())

    def test_lost_afterwards(self) -> None:
        """Once it has answered its connection matters no more."""
        mediator = self.connect()
        request = mediator.one(Method.OPEN_STREAM)
        mediator.send(StreamAnswer((SERVER,)).encode(request.transaction_id))
        mediator.lose()
        self.successResultOf(self.asking.result)

    def test_cancel(self) -> None:
        """Giving up closes everything, at whatever moment."""
        self.asking.result.cancel()
        self.failureResultOf(self.asking.result, CancelledError)
        self.assertTrue(self.endpoint.dialled[0].cancelled)
        self.setUp()
        mediator = self.connect()
        self.asking.result.cancel()
        self.failureResultOf(self.asking.result, CancelledError)
        self.assertTrue(mediator.closed)
