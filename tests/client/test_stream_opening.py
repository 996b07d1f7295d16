"""Tests for :mod:`wavesync.client.stream_opening`."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.agent.support import MEDIATOR_HOST, MemoryEndpoint, ScriptedMediator
from tests.cli.support import Site, reactor
from tests.client.world import Talker
from tests.signalling.provers import AUDIENCE, NOW, client, server
from tests.tcp.support import descriptors, free_port
from wavesync.agent.link import Listed
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.introduction import Introduction
from wavesync.client.opening import open_connector
from wavesync.client.race import Race
from wavesync.client.report import Timeline
from wavesync.client.stream_opening import (
    LONGEST_PATIENCE,
    MAX_SIGNATURES,
    StreamAsking,
    StreamOpener,
    Together,
    patience,
)
from wavesync.errors import ConnectFailed
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession
from wavesync.signalling.messages import (
    OpenStream,
    Refusal,
    StreamAnswer,
    covered,
)
from wavesync.signalling.numbers import MAX_START_DELAY, ErrorCode, Method
from wavesync.signalling.urls import Mediator, parse_mediators
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


class PatienceTests(SynchronousTestCase):
    """TCP from both ends does not get in the way of punching that works."""

    def test_punching_first(self) -> None:
        """Punching has a quarter of a second, and on long ways two round trips more."""
        self.assertAlmostEqual(patience(0.04, 0.04, punching=True), 0.21)
        self.assertAlmostEqual(patience(0.2, 0.2, punching=True), 0.4)
        self.assertAlmostEqual(patience(0.34, 0.04, punching=True), 0.08)

    def test_limit(self) -> None:
        """But not for ever."""
        self.assertEqual(patience(1.0, 1.0, punching=True), LONGEST_PATIENCE)

    def test_nothing_to_punch(self) -> None:
        """Where nothing can be punched nobody waits."""
        self.assertEqual(patience(0.04, 0.04, punching=False), 0.0)


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


def no_sessions() -> tuple[IProtocolFactory, Deferred[ClientSession]]:
    """Sessions for paths that never come."""
    raise AssertionError("there is no path")


class EntryTests(TestCase):
    """A race ends although no TCP connection from both ends comes of it."""

    timeout = 20

    def race(self, mediator: Mediator, timeout: float) -> Deferred[Any]:
        """Take part in a race that has no other paths."""
        race: Race[ClientSession] = Race(Timeline("server", reactor.seconds))
        opener = StreamOpener(reactor, client(), wall_clock=lambda: NOW, allow_loopback=True)
        close = opener.enter(race, introduction(mediator), no_sessions, delay=0.0, timeout=timeout)
        self.addCleanup(close)
        return race.result

    async def test_no_mediator(self) -> None:
        """The mediator is known by UDP only, or not there any more, or says nothing in time."""
        _, port = free_port()
        before = descriptors()
        for mediator, timeout in (
            (Mediator("127.0.0.1", 3345, None), 10.0),
            (Mediator("127.0.0.1", None, port), 10.0),
        ):
            await self.assertFailure(self.race(mediator, timeout), ConnectFailed)
        silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        mediator = Mediator("127.0.0.1", None, silent.getHost().port)
        await self.assertFailure(self.race(mediator, 0.2), ConnectFailed)
        await silent.stopListening()
        self.assertLessEqual(descriptors(), before + 1)  # the silent one's end may still be there


class HiddenAgent(AgentService):
    """An agent that names no address of its own, as behind a NAT that only lets answers in."""

    def addresses(self) -> Listed:
        """None."""
        return (), ()


class WholeTests(TestCase):
    """Mediator, agent and client on real sockets: the only way is TCP from both ends."""

    timeout = 30

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        self.site.agent = HiddenAgent(
            reactor,
            self.site.server_credentials,
            self.site.services,
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True),
        )
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    async def test_connect(self) -> None:
        """Services are opened over it, one connection after the other, each by the mediator."""
        before = descriptors()
        connector = open_connector(
            reactor, self.site.client_credentials, paths={"tcp"}, allow_loopback=True
        )
        for count in (1, 2):
            talker = Talker(b"hello")
            await connector.connect(self.site.target, "echo", talker)
            timeline = connector.timelines[-1]
            (candidate,) = timeline.candidates
            leg = self.site.agent.links[0].ends
            assert leg is not None
            self.assertEqual((candidate.kind, candidate.result), ("tcp", "won"))
            self.assertEqual(candidate.address, f"{leg[0][0]}:{leg[0][1]}")
            self.assertEqual((timeline.path, timeline.reused), ("tcp", False))
            self.assertEqual(self.site.mediator.mediator.statistics.streams, count)
            assert talker.transport is not None
            talker.transport.loseConnection()
        await connector.close()
        for _ in range(200):
            if descriptors() <= before:
                break
            later: Deferred[None] = Deferred()
            reactor.callLater(0.02, later.callback, None)
            await later
        self.assertLessEqual(descriptors(), before)

    async def test_not_allowed(self) -> None:
        """A client that takes no TCP does not ask for it."""
        connector = open_connector(
            reactor, self.site.client_credentials, paths={"udp"}, allow_loopback=True
        )
        await connector.connect(self.site.target, "echo", Talker(b"hello"))
        self.assertEqual(self.site.mediator.mediator.statistics.streams, 0)
        await connector.close()
