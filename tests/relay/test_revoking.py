"""Tests for :mod:`wavesync.relay`: whose certificate was revoked is let in no more, and put out."""

import hashlib

from twisted.internet.defer import Deferred, gatherResults

from tests.relay.world import NAME, Leg, RelayCase, Visit, park_request, until, url
from tests.signalling.provers import NOW, client, prover, server, system
from wavesync.identity.credentials import Credentials
from wavesync.identity.crl import MAX_CRL, make_crl
from wavesync.relay.settings import Limits
from wavesync.relay.upload import MAX_UPLOADS
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_wire import RelayRequest, RequestKind


def crl(number: int, *serials: int, of: int = 1) -> bytes:
    """A list."""
    key = system(of).private_key
    return make_crl(key, dict.fromkeys(serials, NOW), number=number, now=NOW).der


def upload_request(credentials: Credentials, der: bytes, size: int = 0) -> bytes:
    """A server's request to take a list, without the list."""
    digest = hashlib.sha256(der).hexdigest()
    request = RelayRequest(RequestKind.REVOKE, digest=digest, size=size or len(der))
    return request.encode(url(), prover(credentials, audience=NAME))


async def upload(
    case: RelayCase, credentials: Credentials, der: bytes, body: bytes = b""
) -> RelayAnswer:
    """Bring a list to the case's relay; give the answer."""
    leg: Leg = await case.connect(Leg(upload_request(credentials, der) + (body or der)))
    answer = await leg.answered
    assert answer is not None
    return answer


class RevokingTests(RelayCase):
    """Servers bring the newest list; it holds at once."""

    limits = Limits(head_time=1.0, check_burst=1000.0)

    def test_revoked(self) -> Deferred[None]:
        """A revoked client's pairs and requests end, a revoked server's connections; others' do not."""

        async def test() -> None:
            site, revoked = self.site(), self.site(number=2)
            alice, bob = client("alice"), client("bob")
            await site.park(3)
            await revoked.park(2)
            ends = await self.visit(site.credentials.target, b"a", credentials=alice)
            stays = await self.visit(site.credentials.target, b"b", credentials=bob)
            with_server = await self.visit(revoked.credentials.target, credentials=bob)
            await gatherResults([ends.answered, stays.answered, with_server.answered])
            der = crl(5, alice.peer.serial, revoked.credentials.peer.serial)
            self.assertEqual(await upload(self, site.credentials, der), RelayAnswer(204))
            await gatherResults([ends.lost, with_server.lost])
            await gatherResults([leg.lost for leg in revoked.legs])
            stays.wire.write(b" still")
            await until(lambda: stays.data == b"b still")
            again = await self.visit(site.credentials.target, credentials=alice)
            self.assertEqual(await again.answered, RelayAnswer(403, reason="revoked"))
            back: Leg = await self.connect(Leg(park_request(revoked.credentials)))
            self.assertEqual(await back.answered, RelayAnswer(403, reason="revoked"))
            (leg,) = await site.park()
            assert leg.answer is not None and leg.answer.parking is not None
            self.assertEqual(leg.answer.parking.revocations, 5)
            self.assertEqual(self.service.house.statistics.ended["revoked"], 2)
            # An older list changes nothing.
            self.assertEqual(await upload(self, site.credentials, crl(4)), RelayAnswer(204))
            again = await self.visit(site.credentials.target, credentials=alice)
            self.assertEqual(await again.answered, RelayAnswer(403, reason="revoked"))

        return Deferred.fromCoroutine(test())

    def test_waiting(self) -> Deferred[None]:
        """A revoked client does not even wait any more."""

        async def test() -> None:
            site = self.site()
            await site.park()
            taker = await self.visit(site.credentials.target, credentials=client("bob"))
            await taker.answered
            waiting = await self.visit(site.credentials.target)
            await until(lambda: self.service.house.pool.waiting == 1)
            await upload(self, site.credentials, crl(1, client().peer.serial))
            self.assertEqual(await waiting.answered, RelayAnswer(403, reason="revoked"))

        return Deferred.fromCoroutine(test())

    def test_refused(self) -> Deferred[None]:
        """Lists that are none, of others, or other than was proved are refused."""

        async def test() -> None:
            own = server()
            self.assertEqual((await upload(self, own, b"no list")).status, 400)
            other = await upload(self, own, crl(1, of=2))
            self.assertEqual((other.status, other.reason), (400, "bad-signature"))
            other_one = crl(2)  # a good list, and as long, but not the one that was proved
            self.assertEqual((await upload(self, own, crl(1), other_one)).status, 400)
            self.assertEqual((await upload(self, client(), crl(1))).reason, "wrong-role")
            # What is longer than any list is refused before it is sent.
            long: Leg = await self.connect(Leg(upload_request(own, b"x", MAX_CRL + 1)))
            answer = await long.answered
            self.assertEqual(answer, RelayAnswer(413))
            self.assertEqual(len(self.service.house.lists), 0)

        return Deferred.fromCoroutine(test())


class UnfinishedTests(RelayCase):
    """Servers begin to bring a list, and do not go on."""

    # All of them are to be waiting at once, on a machine that has much else to do as well.
    limits = Limits(head_time=4.0, check_burst=1000.0)

    def test_slow(self) -> Deferred[None]:
        """Lists that do not come to their end are given up; only so many are waited for."""

        async def test() -> None:
            requests = [upload_request(server(), bytes([n]))[:-1] for n in range(MAX_UPLOADS)]
            legs: list[Leg] = await gatherResults(
                [self.connect(Visit(asked + b"\n")) for asked in requests]
            )
            await until(lambda: len(self.service.house.uploads) == MAX_UPLOADS)
            answer = await upload(self, server(), crl(1))
            self.assertEqual((answer.status, answer.retry_after), (503, 1.0))
            await gatherResults([leg.lost for leg in legs])
            self.assertEqual(await upload(self, server(), crl(2)), RelayAnswer(204))

        return Deferred.fromCoroutine(test())
