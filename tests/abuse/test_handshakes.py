"""Half-open handshakes, wrong tokens, and control packets for connections that are not theirs."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from tests.abuse.world import AbuseCase, Storm
from wavesync.interfaces import Address
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    HANDSHAKE_SIZE,
    REFUSED,
    REQUEST,
    Handshake,
    Offer,
    decode_handshake,
)
from wavesync.udt.listening import MAX_HALF_OPEN_PER_HOST
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    encode_acknowledgement,
    encode_control,
    encode_nak,
)
from wavesync.udt.port import Port

_CHUNK = 20
_PEER = "192.0.2.1"


class HandshakeTests(AbuseCase):
    """Strangers cannot make an agent's UDP port keep anything, nor send more than they did."""

    def offer(self) -> Offer:
        """A socket id and sequence number of a stranger."""
        return Offer(self.random.randint(1, 1 << 30), self.random.getrandbits(31))

    async def pour(self, make: Callable[[], bytes], number: int, to: Address) -> None:
        """Send *number* packets."""
        crowd = self.crowd()
        for sent in range(number):
            crowd[sent % len(crowd)].send(make(), to)
            if sent % _CHUNK == 0:
                await self.reactor.turns(2)
        await self.reactor.turns(4)

    def pouring(self, make: Callable[[], bytes], *, answered: bool) -> Storm:
        """Pour out packets at the agent.

        :param answered: each of them is answered, by as much as it is; otherwise none is.
        """

        async def storm(number: int) -> None:
            crowd = self.crowd()
            for each in crowd:
                each.take()
            before = [(each.sent, each.answered) for each in crowd]
            await self.pour(make, number, self.agent_udp)
            for each, (sent, got) in zip(crowd, before, strict=True):
                each.take()
                self.assertEqual(each.answered - got, (each.sent - sent) * answered)

        return storm

    def without_cookie(self) -> bytes:
        """A request as libudt begins."""
        return self.offer().handshake(REQUEST, _PEER).encode()

    def with_wrong_cookie(self) -> bytes:
        """A request with a cookie that nobody gave out."""
        cookie = self.random.getrandbits(32)
        return self.offer().handshake(ANSWER, _PEER, cookie=cookie).encode()

    def with_wrong_token(self) -> bytes:
        """A call of somebody who was not introduced, to whatever id."""
        destination = self.random.choice((0, self.random.getrandbits(30)))
        request = self.random.choice((CALL, ANSWER, FINAL, REFUSED))
        token = self.random.getrandbits(32)
        offer = self.offer()
        return offer.handshake(request, _PEER, cookie=token, destination=destination).encode()

    def test_storms(self) -> Deferred[None]:
        """Handshakes that lead nowhere, and packets for connections that do not exist, or are
        not theirs: a connection that stands is used on."""

        async def check() -> None:
            connector = self.connector(paths=["udp"])
            self.addCleanup(connector.close)
            await self.echo(connector)
            assert isinstance(connector._port, Port) and self.agent.port is not None
            ids = [*self.agent.port._sorter.links, *self.agent.port._sorter.calls, 0]

            def forged() -> bytes:
                known = self.random.choice(ids)
                return self.forged(self.random.choice((known, self.random.getrandbits(30))))

            storms = {
                "without a cookie": self.pouring(self.without_cookie, answered=True),
                "wrong cookies": self.pouring(self.with_wrong_cookie, answered=False),
                "wrong tokens": self.pouring(self.with_wrong_token, answered=False),
                "forged packets": self.pouring(forged, answered=False),
            }
            await self.measured(storms, paths=["udp"], connector=connector)

        return Deferred.fromCoroutine(check())

    def forged(self, socket_id: int) -> bytes:
        """A control packet, or data, for a connection."""
        match self.random.randrange(6):
            case 0:
                return encode_control(ControlType.SHUTDOWN, socket_id)
            case 1:
                return encode_control(ControlType.KEEP_ALIVE, socket_id)
            case 2:
                acknowledged = Acknowledgement(self.random.getrandbits(31))
                body = encode_acknowledgement(acknowledged)
                return encode_control(ControlType.ACK, socket_id, 1, body)
            case 3:
                first = self.random.getrandbits(30)
                return encode_nak(socket_id, [(first, first + 1000)])
            case 4:
                return encode_control(ControlType.ACK2, socket_id, info=self.random.getrandbits(31))
            case _:
                words = (self.random.getrandbits(31), 0xC0000000, 0, socket_id)
                return b"".join(word.to_bytes(4, "big") for word in words) + bytes(1000)

    def test_half_open(self) -> Deferred[None]:
        """Whoever shows a right cookie and is silent then is forgotten; others get in meanwhile."""
        half_open: list[int] = []

        async def knock(number: int) -> None:
            stranger = self.strangers[0] if self.strangers else self.stranger()
            for sent in range(number):
                offer = self.offer()
                stranger.send(offer.handshake(REQUEST, _PEER).encode(), self.agent_udp)
                if sent % _CHUNK == 0:
                    await self.reactor.turns(2)
                for challenge in stranger.take():
                    self.show_cookie(challenge, stranger.send)
            await self.reactor.turns(4)
            assert self.agent.port is not None
            half_open.append(self.agent.port._acceptor.listener.half_open)

        async def check() -> None:
            await self.measured({"half-open": knock}, proven=True, paths=["udp"])
            most = MAX_HALF_OPEN_PER_HOST
            self.assertTrue(most / 2 < half_open[-1] <= 2 * most, half_open)

        return Deferred.fromCoroutine(check())

    def show_cookie(self, challenge: bytes, send: Callable[[bytes, Address], None]) -> None:
        """Answer a challenge."""
        if len(challenge) != HANDSHAKE_SIZE:
            return
        packet = decode_handshake(challenge)
        if packet.request == REQUEST:
            answer = Handshake(
                ANSWER, packet.socket_id, packet.isn, cookie=packet.cookie, timestamp=0
            )
            send(answer.encode(), self.agent_udp)
