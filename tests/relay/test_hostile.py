"""Tests for :mod:`wavesync.relay` against peers that mean no good: nothing grows, others are served."""

import gc
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.abuse.memory import memory
from tests.relay.world import (
    NAME,
    Leg,
    RelayCase,
    Visit,
    connect_request,
    park_request,
    until,
)
from tests.signalling.provers import NOW, client, prover, server
from wavesync.relay.settings import Limits
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_lines import Ready

STORM = 400


class Stranger(Protocol):
    """Sends something and keeps what comes."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.data = b""
        self.closed = False
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Send it."""
        wire: Any = self.transport
        wire.write(self.first)

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.closed = True
        self.lost.callback(None)


class HeadTests(RelayCase):
    """Requests that are none."""

    limits = Limits(head_time=0.5, heads=50, check_rate=0.001, check_burst=60.0)

    async def good(self) -> None:
        """A client is served as ever."""
        site = self.site()
        await site.park()
        visit = await self.visit(site.credentials.target, b"hello")
        await until(lambda: visit.data == b"hello")
        visit.wire.abortConnection()
        await site.legs[0].lost

    def test_garbage(self) -> Deferred[None]:
        """Garbage, and heads without end, are refused at once, and the connection is closed."""

        async def test() -> None:
            for first, status in (
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
                (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
                (b"GET /wavesync/1/connect HTTP/1.1\r\nX: " + b"x" * 100_000, b"431"),
                (b"POST /wavesync/1/connect HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
            ):
                stranger = Stranger(first)
                await self.connect(stranger)
                await stranger.lost
                self.assertTrue(stranger.data.startswith(b"HTTP/1.1 " + status), stranger.data)
                self.assertLess(len(stranger.data), 400)
            refused = self.service.house.statistics.refused
            self.assertEqual(
                dict(refused), {"head-400": 1, "head-404": 1, "head-431": 1, "head-405": 1}
            )
            await self.good()

        return Deferred.fromCoroutine(test())

    def test_slow(self) -> Deferred[None]:
        """Connections that never say what they want are closed in time, and take nobody's place."""

        async def test() -> None:
            async def storm() -> None:
                strangers = [
                    Stranger(b"GET /wavesync/1/park HTTP/1.1\r\nX: ") for _ in range(STORM)
                ]
                await gatherResults([self.connect(stranger) for stranger in strangers])
                await self.good()
                await gatherResults([stranger.lost for stranger in strangers])
                await until(lambda: len(self.service.connections) == 0)
                self.assertEqual(len(self.service.connections.heads), 0)

            await storm()
            gc.collect()
            before = memory()
            await storm()
            gc.collect()
            # The strangers themselves, some 2 MiB, stay until the test cleans up.
            self.assertLess(memory() - before, 4 << 20)
            refused = self.service.house.statistics.refused
            self.assertGreaterEqual(refused["heads"] + refused["head-time"], STORM)
            self.assertGreaterEqual(refused["heads"], 2 * (STORM - 150))

        return Deferred.fromCoroutine(test())

    def test_checks(self) -> Deferred[None]:
        """Bad proofs use up what one address may have checked; good ones hardly do."""

        async def test() -> None:
            target = server().target
            for _ in range(70):
                visit = await self.visit(target)
                self.assertEqual(await visit.answered, RelayAnswer(404))
            forged = connect_request(client(), target, connection="a" * 32)
            forged = forged.replace(b"a" * 32, b"b" * 32)
            answers = []
            for _ in range(70):
                visit = await self.connect(Visit(forged))
                answers.append(await visit.answered)
            bad = RelayAnswer(403, reason="bad-signature")
            self.assertEqual(answers[:50], [bad] * 50)
            self.assertEqual(answers[-1], RelayAnswer(429, retry_after=1.0))
            self.assertLessEqual(answers.count(bad), 60)

        return Deferred.fromCoroutine(test())


class ProofTests(RelayCase):
    """Proofs that are stale, copied, or made for somebody else."""

    def test_refused(self) -> Deferred[None]:
        """Each is refused with a word that says why; a 401 says how to do better."""

        async def test() -> None:
            site = self.site()
            target = site.credentials.target
            good = connect_request(client(), target)
            for request, status, reason in (
                (good, 404, ""),
                (good, 401, ""),
                (connect_request(client(), target, prove=prover(client())), 403, "bad-signature"),
                (
                    connect_request(
                        client(), target, prove=prover(client(), now=NOW - 31.0, audience=NAME)
                    ),
                    401,
                    "",
                ),
                (connect_request(server(), target), 403, "wrong-role"),
                (park_request(server(2), target=target), 403, "other-system"),
                (park_request(client(), target=target), 403, "wrong-role"),
                (good.replace(b"Authorization", b"X-Authorization"), 401, ""),
            ):
                visit = await self.connect(Visit(request))
                answer = await visit.answered
                assert answer is not None
                self.assertEqual((answer.status, answer.reason), (status, reason), request)
                self.assertEqual(answer.challenge is not None, status == 401)
            self.assertEqual(self.service.house.pool.parked, 0)

        return Deferred.fromCoroutine(test())

    def test_wrong_clock(self) -> Deferred[None]:
        """Somebody whose clock is two days off is let in with the nonce of a 401."""

        async def test() -> None:
            site = self.site()
            await site.park()
            early = NOW - 2 * 86400
            request = connect_request(
                client(), site.credentials.target, prove=prover(client(), now=early, audience=NAME)
            )
            first = await self.connect(Visit(request))
            answer = await first.answered
            assert answer.challenge is not None
            self.assertEqual(answer.challenge.name, NAME)
            self.assertApproximates(answer.challenge.time, NOW, 0.01)
            prove = prover(client(), now=early, audience=NAME, nonce=answer.challenge.nonce)
            request = connect_request(client(), site.credentials.target, prove=prove)
            second = await self.connect(Visit(request))
            self.assertEqual(await second.answered, RelayAnswer(101))
            # Whoever has copied that is asked to sign anew.
            third = await self.connect(Visit(request))
            self.assertEqual((await third.answered).status, 401)

        return Deferred.fromCoroutine(test())

    def test_restarted(self) -> Deferred[None]:
        """A relay that was started again does not know which proofs were used, and so takes none
        that was made before; whoever made it signs again."""

        async def test() -> None:
            used = park_request(server())
            first = await self.connect(Leg(used))
            self.assertEqual((await first.answered).status, 101)
            await self.service.stopService()
            self.date = NOW + 2.0
            self.service = self.relay()
            answer = await (await self.connect(Leg(used))).answered
            self.assertEqual(answer.status, 401)
            nonce = answer.challenge.nonce
            for prove in (
                prover(server(), audience=NAME, nonce=nonce),
                prover(server(), audience=NAME, now=self.date),
            ):
                good = await self.connect(Leg(park_request(server(), prove=prove)))
                self.assertEqual((await good.answered).status, 101)

        return Deferred.fromCoroutine(test())


class LegTests(RelayCase):
    """Servers that do not keep to the rules."""

    def test_lines(self) -> Deferred[None]:
        """A server that says what makes no sense loses the connection, and nothing else happens."""

        async def test() -> None:
            for words in (b"HELLO\n", b"P" * 300, Ready().encode(), b"OPEN\n", b"\n"):
                site = self.site()
                (leg,) = await site.park()
                leg.wire.write(words)
                await leg.lost
            self.assertEqual(len(self.service.house.roll), 0)
            self.assertEqual(self.service.house.pool.parked, 0)

        return Deferred.fromCoroutine(test())


class ManyTests(RelayCase):
    """More than there is room for."""

    limits = Limits(
        connections=12,
        connections_per_host=10,
        pairs_per_client=2,
        pairs_per_system=4,
        waiting_per_server=1,
        waiting_time=30.0,
    )

    def test_client(self) -> Deferred[None]:
        """A client has as many pairs as it may have; others are not kept out by that."""

        async def test() -> None:
            site = self.site()
            target = site.credentials.target
            await site.park(3)
            for _ in range(2):
                visit = await self.visit(target)
                self.assertEqual(await visit.answered, RelayAnswer(101))
            third = await self.visit(target)
            quota = RelayAnswer(429, reason="client-quota", retry_after=5.0)
            self.assertEqual(await third.answered, quota)
            await third.lost
            other = await self.visit(target, credentials=client("bob"))
            self.assertEqual(await other.answered, RelayAnswer(101))
            # One more may wait, and with it the system has all it may have.
            waiting = await self.visit(target, credentials=client("bob"))
            await until(lambda: self.service.house.pool.waiting == 1)
            late = await self.visit(target, credentials=client("carol"))
            quota = RelayAnswer(429, reason="system-quota", retry_after=5.0)
            self.assertEqual(await late.answered, quota)
            waiting.wire.abortConnection()
            await until(lambda: len(self.service.house.quotas) == 3)
            # Now there is room, but only one may wait for a server.
            again = await self.visit(target, credentials=client("bob"))
            await until(lambda: self.service.house.pool.waiting == 1)
            self.assertIsNone(again.answer)

        return Deferred.fromCoroutine(test())

    def test_connections(self) -> Deferred[None]:
        """An address has as many connections as it may have; the next is closed without a word."""

        async def test() -> None:
            site = self.site()
            await site.park(10)
            extra = Stranger(b"GET / HTTP/1.1\r\n\r\n")
            await self.connect(extra)
            await extra.lost
            self.assertEqual(extra.data, b"")
            refused = self.service.house.statistics.refused
            self.assertEqual(dict(refused), {"connections-of-host": 1})
            silent = [Stranger() for _ in range(3)]
            for stranger in silent:
                await self.connect(stranger)
            await silent[2].lost
            self.assertFalse(silent[0].closed or silent[1].closed)
            self.assertEqual(refused["connections"], 1)
            site.legs[0].wire.abortConnection()
            await until(lambda: len(self.service.connections) == 11)
            silent[0].transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # type: ignore[union-attr]
            await silent[0].lost
            self.assertIn(b"404", silent[0].data)

        return Deferred.fromCoroutine(test())
