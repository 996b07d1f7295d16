"""A relay against those who know its rules: copied proofs, curious strangers, too many, too slow."""

import gc
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.abuse.memory import memory
from tests.relay.world import (
    NAME,
    Leg,
    RelayCase,
    Site,
    Visit,
    connect_request,
    park_request,
    reactor,
    until,
    url,
)
from tests.signalling.provers import client, prover, server
from wavesync.identity.ids import Target
from wavesync.relay.pair import MAX_HELD
from wavesync.relay.settings import Limits
from wavesync.relay.visitor import MAX_EARLY
from wavesync.signalling.numbers import Purpose
from wavesync.signalling.proved import ProvesMessages
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

_ID = "ab" * 16


class Raw(Leg):
    """Keeps an answer as it came."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self.bytes = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.bytes += data
        super().dataReceived(data)


class CopiedTests(RelayCase):
    """Proofs that somebody on the way has seen, or that were made for something else."""

    limits = Limits(check_burst=1000.0)

    async def answer(self, request: bytes) -> RelayAnswer:
        """What a request is answered."""
        leg = await self.connect(Leg(request))
        answer: RelayAnswer | None = await leg.answered
        assert answer is not None
        return answer

    def test_replayed(self) -> Deferred[None]:
        """What was seen on the way is good for nothing: neither parks nor reaches a server."""

        async def test() -> None:
            site = self.site()
            parked, asked = park_request(site.credentials), b""
            for _ in range(3):
                answer = await self.answer(parked)
                self.assertEqual(answer.status, 101 if not asked else 401)
                asked = asked or connect_request(client(), site.credentials.target)
            self.assertEqual(self.service.house.pool.parked, 1)
            await site.park(3)
            self.assertEqual((await self.answer(asked)).status, 101)
            for copy in (asked, asked + b"more", asked.replace(b"Host: ", b"Host: x")):
                self.assertEqual((await self.answer(copy)).status, 401)
            self.assertEqual((len(self.service.house.pairs), site.opens), (1, 1))

        return Deferred.fromCoroutine(test())

    def test_made_for_something_else(self) -> Deferred[None]:
        """A proof for another relay, purpose, server, connection or list does not hold here."""

        async def test() -> None:
            site = self.site()
            await site.park()
            own, target = site.credentials, site.credentials.target
            digest = "5a" * 32

            def meant(sign: ProvesMessages, purpose: str) -> ProvesMessages:
                return lambda _, message: sign(purpose, message)

            alice, here = prover(client(), audience=NAME), url()
            connect = RelayRequest(RequestKind.CONNECT, target, _ID)
            park = RelayRequest(RequestKind.PARK, target, _ID)
            revoke = RelayRequest(RequestKind.REVOKE, digest=digest, size=3)
            signs = prover(own, audience=NAME)
            good = connect.encode(here, alice)
            for request in (
                connect.encode(here, prover(client(), audience="relay2.example")),
                connect.encode(here, meant(alice, Purpose.CONNECT)),
                connect.encode(here, meant(alice, Purpose.RELAY_PARK)),
                park.encode(here, meant(signs, Purpose.RELAY_CONNECT)),
                park.encode(here, meant(signs, Purpose.LISTEN)),
                revoke.encode(here, meant(signs, Purpose.RELAY_PARK)) + b"abc",
                revoke.encode(here, signs).replace(b"5a", b"5b", 1) + b"abc",
                good.replace(_ID.encode(), b"cd" * 16),
                good.replace(str(target).encode(), str(server(2).target).encode()),
            ):
                answer = await self.answer(request)
                self.assertEqual((answer.status, answer.reason), (403, "bad-signature"), request)
            self.assertEqual((await self.answer(good)).status, 101)

        return Deferred.fromCoroutine(test())

    def test_curious(self) -> Deferred[None]:
        """To a client of another system a server that is here, is not, and never was look the same;
        to its own one that is gone looks like one that never was."""

        async def test() -> None:
            here, gone = self.site(), self.site(number=2)
            await here.park()
            await gone.park()
            gone.legs[0].wire.abortConnection()
            never = Target(here.credentials.target.system, "f" * 32)
            answers: list[list[bytes]] = []
            await until(lambda: self.service.house.pool.parked == 1)
            self.service.house.pool._servers[gone.credentials.target].gone_at = -1000.0
            for of in (2, 1):
                told = []
                for target in (gone.credentials.target, never, here.credentials.target):
                    raw = await self.connect(Raw(connect_request(client("eve", of), target)))
                    await raw.answered
                    told.append(raw.bytes)
                answers.append(told)
            strangers, own = answers
            self.assertTrue(strangers[0].startswith(b"HTTP/1.1 403 "), strangers)
            self.assertEqual(len(set(strangers)), 1)
            self.assertTrue(own[0].startswith(b"HTTP/1.1 404 "), own)
            self.assertEqual(own[0], own[1])
            self.assertTrue(own[2].startswith(b"HTTP/1.1 101 "), own)

        return Deferred.fromCoroutine(test())


class QuotaTests(RelayCase):
    """Exactly as much as the settings say."""

    async def ask(self, site: Site, name: str = "alice") -> Visit:
        """A client that may have to wait."""
        return await self.visit(site.credentials.target, credentials=client(name))

    def test_pairs(self) -> Deferred[None]:
        """Of an address, and of the relay: so many, not one more; one that ends makes room."""

        async def test() -> None:
            for limits, answer in (
                (
                    Limits(pairs_per_address=2),
                    RelayAnswer(429, reason="address-quota", retry_after=5.0),
                ),
                (
                    Limits(pairs_per_system=2),
                    RelayAnswer(429, reason="system-quota", retry_after=5.0),
                ),
                (
                    Limits(pairs_per_client=2),
                    RelayAnswer(429, reason="client-quota", retry_after=5.0),
                ),
                (Limits(pairs=2), RelayAnswer(503, reason="full", retry_after=5.0)),
            ):
                self.service = self.relay(limits=limits)
                site = self.site()
                await site.park(4)
                pairs = [await self.ask(site) for _ in range(2)]
                self.assertEqual([(await each.answered).status for each in pairs], [101, 101])  # type: ignore[union-attr]
                self.assertEqual(await (await self.ask(site)).answered, answer)
                pairs[0].wire.abortConnection()
                await until(lambda: len(self.service.house.quotas) == 1)
                self.assertEqual(await (await self.ask(site)).answered, RelayAnswer(101))

        return Deferred.fromCoroutine(test())

    def test_waiting(self) -> Deferred[None]:
        """So many wait for a server, and for all; the next is told to come again in a second."""

        async def test() -> None:
            later = RelayAnswer(503, retry_after=1.0)
            for limits in (
                Limits(waiting_per_server=2, waiting_time=20.0),
                Limits(waiting=2, waiting_time=20.0),
            ):
                self.service = self.relay(limits=limits)
                site = self.site()
                await site.park()
                await (await self.ask(site)).answered
                waiting = [await self.ask(site) for _ in range(2)]
                await until(lambda: self.service.house.pool.waiting == 2)
                self.assertEqual(await (await self.ask(site)).answered, later)
                await site.park(2)
                self.assertEqual([(await each.answered).status for each in waiting], [101, 101])  # type: ignore[union-attr]
                self.assertEqual(self.service.house.pool.waiting, 0)

        return Deferred.fromCoroutine(test())

    def test_bytes(self) -> Deferred[None]:
        """All pairs of a client share its bytes a second; another client has its own."""

        async def test() -> None:
            rate = 400_000
            self.service = self.relay(limits=Limits(client_bytes=rate))
            site = self.site()
            await site.park(3)
            two = [await self.ask(site), await self.ask(site)]
            other = await self.ask(site, "bob")
            await gatherResults([each.answered for each in (*two, other)])
            began = reactor.seconds()
            for each in two:
                each.wire.write(bytes(80_000))
            other.wire.write(bytes(40_000))
            await until(lambda: len(other.data) == 40_000)
            alone = reactor.seconds() - began
            await until(lambda: all(len(each.data) == 80_000 for each in two))
            took = reactor.seconds() - began
            # Up and down count both; a tenth of a second's worth is saved up.
            least = (4 * 80_000 - rate * 0.1) / rate - 0.1
            self.assertGreater(took, least)
            self.assertLess(alone, took)

        return Deferred.fromCoroutine(test())


class SlowTests(RelayCase):
    """Servers and clients that do nothing, or more than they should."""

    limits = Limits(waiting_time=1.2)

    def test_never_ready(self) -> Deferred[None]:
        """A server that parks and takes nobody wastes a client's time, and no more than that."""

        async def test() -> None:
            dead, good = self.site(number=2), self.site()
            await dead.park(8)
            await good.park(8)
            dead.alive = False
            began = reactor.seconds()
            visits = [await self.visit(dead.credentials.target, bytes(1000)) for _ in range(3)]
            served = await self.visit(good.credentials.target, b"hello")
            await until(lambda: served.data == b"hello")
            for visit in visits:
                self.assertEqual(await visit.answered, RelayAnswer(503, retry_after=1.0))
            self.assertLess(reactor.seconds() - began, 1.2 + 5.0)
            house = self.service.house
            self.assertEqual((len(house.visitors), len(house.quotas)), (0, 1))

        return Deferred.fromCoroutine(test())

    def test_early(self) -> Deferred[None]:
        """Whoever sends 10 MB before a server is ready has 80 KiB of it kept, and is refused."""

        async def test() -> None:
            site = self.site()
            await site.park()
            taker = await self.visit(site.credentials.target)
            await taker.answered
            visits = [await self.visit(site.credentials.target) for _ in range(10)]
            house = self.service.house
            await until(lambda: house.pool.waiting == 10)
            for visit in visits:
                visit.wire.write(bytes(10_000_000))
            await until(lambda: all(each.early >= MAX_EARLY for each in house.visitors))
            held = [each.early for each in house.visitors]
            self.assertLess(max(held, default=0), MAX_EARLY + 16_384)
            for visit in visits:
                await visit.lost
            self.assertEqual((len(house.visitors), len(house.quotas)), (0, 1))

        return Deferred.fromCoroutine(test())


class StalledTests(RelayCase):
    """Readers that stop reading."""

    limits = Limits(pairs_per_client=1000, check_burst=1000.0)
    count = 50

    async def stall(self, kernel: str) -> None:
        """Pairs whose clients read nothing: a pair holds what it may, and the process no more."""
        self.service = self.relay(splice=kernel)
        site = self.site()
        await site.park(20)
        grown = []
        for _ in range(2):
            gc.collect()
            before = memory()
            visits: list[Any] = []
            for number in range(self.count):
                if len(site.idle) < 2:
                    await site.park(min(20, self.count - number + 2))
                visit = await self.visit(site.credentials.target)
                await visit.answered
                visit.wire.pauseProducing()
                visits.append(visit)
            pairs = list(self.service.house.pairs)
            self.assertEqual(len(pairs), self.count)
            servers = [leg for leg in site.legs if leg.opened is not None and not leg.closed]
            # The servers' own buffers are in this process as well: a little at a time.
            least, moved, end = self.count * MAX_HELD // 2, -1, reactor.seconds() + 30.0
            while moved != (moved := sum(each.down for each in pairs)) or moved <= least:
                # A kernel that is short of memory takes its time, and says nothing meanwhile.
                self.assertLess(reactor.seconds(), end, f"{moved} of more than {least} bytes")
                for leg in servers:
                    if not leg.wire.dataBuffer:
                        leg.wire.write(bytes(1 << 19))
                for _ in range(4):
                    await deferLater(reactor, 0.01)
            for each in pairs:
                self.assertLessEqual(getattr(each.pair, "held", 0), MAX_HELD)
            for visit in visits:
                visit.wire.abortConnection()
            await until(lambda: len(self.service.house.pairs) == 0)
            # A server keeps what it could not send until it learns that nobody is there any more.
            await gatherResults([leg.lost for leg in servers])
            servers.clear()
            site.legs = [leg for leg in site.legs if not leg.closed]
            gc.collect()
            grown.append(memory() - before)
        self.assertLess(grown[1], self.count * MAX_HELD // 2, grown)

    def test_copied(self) -> Deferred[None]:
        """Where the bytes are copied: in a relay that splices, pipes hold them instead."""
        return Deferred.fromCoroutine(self.stall("off"))
