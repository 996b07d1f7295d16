"""Tests for :mod:`wavesync.relay` on real sockets: what servers and clients notice."""

import socket

from twisted.internet.defer import Deferred, gatherResults

from tests.relay.world import RelayCase, Visit, connect_request, until
from tests.signalling.provers import client, server, system
from wavesync.identity.ids import Target
from wavesync.relay.presence import Board, MemoryPresence
from wavesync.relay.settings import Limits
from wavesync.relay.vitality import IDLE_BEFORE_PROBES
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_lines import Idle, Move
from wavesync.signalling.relay_urls import Relay


class JoinTests(RelayCase):
    """A client reaches a server that waits at the relay."""

    def test_park_and_connect(self) -> Deferred[None]:
        """Eight connections are parked; a client's first bytes come back through one of them."""

        async def test() -> None:
            site = self.site()
            legs = await site.park(8)
            for leg in legs:
                assert leg.answer is not None and leg.answer.parking is not None
                parking = leg.answer.parking
                self.assertEqual((parking.wanted, parking.keep_alive), (7, 15.0))
            visit = await self.visit(site.credentials.target, b"hello")
            self.assertEqual(await visit.answered, RelayAnswer(101))
            await until(lambda: visit.data == b"hello")
            (taken,) = [leg for leg in legs if leg.opened is not None]
            self.assertIs(taken, legs[-1])  # the newest is the one most likely to live
            host = visit.wire.getHost()
            assert taken.opened is not None
            self.assertEqual(taken.opened.client, client().name)
            self.assertEqual(taken.opened.source, (host.host, host.port))
            visit.wire.write(b"x" * 1_000_000)
            await until(lambda: len(visit.data) == 1_000_005)
            house = self.service.house
            await until(lambda: house.pairs.moved == (1_000_005, 1_000_005))
            self.assertEqual((len(house.roll), house.pool.parked, len(house.pairs)), (7, 7, 1))
            visit.wire.abortConnection()
            await taken.lost
            await until(lambda: len(self.service.connections) == 7)
            self.assertEqual(dict(house.statistics.ended), {"client-broke": 1})
            self.assertEqual(len(house.quotas), 0)

        return Deferred.fromCoroutine(test())

    def test_probed(self) -> Deferred[None]:
        """The kernel probes idle legs, and does not end one whose other end merely does not read."""

        async def test() -> None:
            site = self.site()
            await site.park()
            visit = await self.visit(site.credentials.target)
            await visit.answered
            options = []
            for protocol in self.service.connections.protocols:
                handle = protocol.stream.getHandle()  # type: ignore[attr-defined]
                options.append(
                    (
                        handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                    )
                )
            self.assertEqual(options, [(1, IDLE_BEFORE_PROBES, 0)] * 2)

        return Deferred.fromCoroutine(test())

    def test_half_close(self) -> Deferred[None]:
        """A client that has said all still gets the answer, and then the end."""

        async def test() -> None:
            site = self.site()
            site.farewell = b", bye"
            await site.park()
            visit = await self.visit(site.credentials.target, b"question")
            await until(lambda: visit.data == b"question")
            self.assertFalse(visit.ended)
            visit.wire.loseWriteConnection()
            await visit.lost
            self.assertEqual((visit.ended, visit.data), (True, b"question, bye"))
            await until(lambda: len(self.service.connections) == 0)
            self.assertEqual(dict(self.service.house.statistics.ended), {"done": 1})

        return Deferred.fromCoroutine(test())

    def test_nobody(self) -> Deferred[None]:
        """A server that is not here is not found at once; one of another system is never looked for."""

        async def test() -> None:
            await self.site().park()
            absent = await self.visit(server(2).target)
            self.assertEqual(await absent.answered, RelayAnswer(404))
            await absent.lost
            for target in (server(1, of=2).target, Target(system(2).system, "f" * 32)):
                other = await self.visit(target)
                self.assertEqual(await other.answered, RelayAnswer(403, reason="other-system"))

        return Deferred.fromCoroutine(test())


class ElasticTests(RelayCase):
    """More connections are parked as more clients come."""

    def test_burst(self) -> Deferred[None]:
        """Fifty clients at once are served, though seven connections are idle."""

        async def test() -> None:
            site = self.site(wanted=7)
            await site.park(7)
            site.refills = True
            visits = await gatherResults(
                [
                    Deferred.fromCoroutine(self.visit(site.credentials.target, b"%d" % number))
                    for number in range(50)
                ]
            )
            answers = await gatherResults([visit.answered for visit in visits])
            self.assertEqual(answers, [RelayAnswer(101)] * 50)
            await until(
                lambda: all(visit.data == b"%d" % number for number, visit in enumerate(visits))
            )
            statistics = self.service.house.statistics
            self.assertEqual((site.opens, statistics.joined), (50, 50))
            self.assertTrue(statistics.waited)
            # The next fifty find as many connections as there can be.
            self.assertEqual(self.service.house.pool.wanted(site.credentials.target), 64)
            await until(lambda: self.service.house.pool.parked >= 64)
            told = [line for leg in site.legs for line in leg.lines if isinstance(line, Idle)]
            self.assertTrue(told)

        return Deferred.fromCoroutine(test())

    def test_enough(self) -> Deferred[None]:
        """Twice as many as are wanted, and no more: the older ones may be dead."""

        async def test() -> None:
            site = self.site()
            legs = await site.park(15)
            statuses = [leg.answer.status for leg in legs if leg.answer is not None]
            self.assertEqual(statuses, [101] * 14 + [409])

        return Deferred.fromCoroutine(test())


class DeadLegTests(RelayCase):
    """A server's connection may be dead without anybody knowing."""

    limits = Limits(waiting_time=2.0)

    def test_not_ready(self) -> Deferred[None]:
        """A connection that does not take a client is passed over; the client notices nothing."""

        async def test() -> None:
            good, bad = self.site(), self.site()
            await good.park(1)
            await bad.park(2)
            parked = self.service.house.roll
            await until(lambda: all(leg.round_trip is not None for leg in parked))
            bad.alive = False
            visit = await self.visit(good.credentials.target, b"hello")
            answer = await visit.answered
            self.assertEqual(answer, RelayAnswer(101))
            await until(lambda: visit.data == b"hello")
            statistics = self.service.house.statistics
            self.assertEqual((bad.opens, good.opens, statistics.retried), (2, 1, 2))
            for leg in bad.legs:
                await leg.lost

        return Deferred.fromCoroutine(test())

    def test_broken(self) -> Deferred[None]:
        """A connection that breaks when it is taken is passed over at once."""

        async def test() -> None:
            site = self.site()
            _, last = await site.park(2)
            visit = await self.visit(site.credentials.target)

            def broken(data: bytes) -> None:
                last.wire.abortConnection()

            last.raw = broken  # type: ignore[method-assign]
            self.assertEqual(await visit.answered, RelayAnswer(101))
            self.assertEqual(self.service.house.statistics.retried, 1)

        return Deferred.fromCoroutine(test())

    def test_waits_in_vain(self) -> Deferred[None]:
        """A client is told to come again when no connection has come within its time."""

        async def test() -> None:
            site = self.site()
            await site.park()
            first = await self.visit(site.credentials.target)
            await first.answered
            second = await self.visit(site.credentials.target)
            answer = await second.answered
            self.assertEqual(answer, RelayAnswer(503, retry_after=1.0))
            await second.lost
            self.assertEqual(self.service.house.pool.waiting, 0)
            # One that comes in time is served.
            third = await self.visit(site.credentials.target, b"late")
            await until(lambda: self.service.house.pool.waiting == 1)
            (leg,) = await site.park()
            assert leg.answer is not None and leg.answer.parking is not None
            self.assertEqual(leg.answer.parking.waiting, 1)
            await until(lambda: third.data == b"late")

        return Deferred.fromCoroutine(test())


class ElsewhereTests(RelayCase):
    """Several relays."""

    def test_redirect(self) -> Deferred[None]:
        """A relay without the server sends the client to the one that has it."""

        async def test() -> None:
            board = Board()
            here, there = Relay("here.example", 3356, False), Relay("there.example", 443, True)
            self.service = self.relay(MemoryPresence(board, there))
            site = self.site()
            await site.park()
            self.service = self.relay(MemoryPresence(board, here))
            visit = await self.visit(site.credentials.target)
            self.assertEqual(await visit.answered, RelayAnswer(307, location=there))
            self.assertEqual(self.service.house.statistics.redirected, 1)

        return Deferred.fromCoroutine(test())


class DrainTests(RelayCase):
    """A relay that stops lets go of everybody properly."""

    settings = {"drain_grace": 30.0}

    def test_drain(self) -> Deferred[None]:
        """Servers are told to move, waiting clients to go away; a pair may come to its end."""

        async def test() -> None:
            site = self.site()
            await site.park(3)
            lonely = self.site(number=3)
            (only,) = await lonely.park()
            visit = await self.visit(site.credentials.target, b"hello")
            await until(lambda: visit.data == b"hello")
            taker = await self.visit(lonely.credentials.target)
            await taker.answered
            waiting = await self.visit(lonely.credentials.target)
            late = Visit(b"")
            await self.connect(late)
            await until(lambda: len(self.service.connections) == 8)
            stopped = self.service.stopService()
            self.assertEqual(
                await waiting.answered, RelayAnswer(503, reason="draining", retry_after=5.0)
            )
            late.wire.write(connect_request(client(), site.credentials.target))
            self.assertEqual(
                await late.answered, RelayAnswer(503, reason="draining", retry_after=5.0)
            )
            for leg in site.legs[:2]:
                await leg.lost
                self.assertEqual(leg.lines[-1], Move())
            visit.wire.write(b" more")
            await until(lambda: visit.data == b"hello more")
            self.assertFalse(stopped.called)
            visit.wire.loseConnection()
            taker.wire.loseConnection()
            await stopped
            self.assertTrue(only.opened)

        return Deferred.fromCoroutine(test())

    def test_hurry(self) -> Deferred[None]:
        """Whoever asks again does not have to wait."""

        async def test() -> None:
            site = self.site()
            await site.park()
            visit = await self.visit(site.credentials.target)
            await visit.answered
            stopped = self.service.stopService()
            await until(lambda: self.service.house.draining)
            self.service.hurry()
            await stopped
            await visit.lost
            self.assertEqual(dict(self.service.house.statistics.ended), {"stopped": 1})

        return Deferred.fromCoroutine(test())


class EarlyTests(RelayCase):
    """What a client sends before the server is ready."""

    def test_bounded(self) -> Deferred[None]:
        """A client that sends and sends is not read any more; nothing of it is lost."""

        async def test() -> None:
            site = self.site()
            await site.park()
            taker = await self.visit(site.credentials.target)
            await taker.answered
            visit = await self.visit(site.credentials.target)
            payload = bytes(range(256)) * 16_384  # 4 MiB
            visit.wire.write(payload)
            house = self.service.house
            await until(lambda: house.pool.waiting == 1)
            connection = visit.wire.getHandle()
            await until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
            (visitor,) = house.visitors
            await until(lambda: visitor.early >= 65_536)
            held = visitor.early
            self.assertLess(held, 65_536 + 16_384)
            await site.park()
            await until(lambda: len(visit.data) == len(payload))
            self.assertEqual(visit.data, payload)

        return Deferred.fromCoroutine(test())
