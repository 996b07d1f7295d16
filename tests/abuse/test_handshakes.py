"""Half-open handshakes, wrong tokens, and control packets for connections that are not theirs."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from tests.abuse.world import AbuseCase
from wavesync.interfaces import Address
from wavesync.session.server import MAX_PENDING
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
        stranger = self.strangers[0] if self.strangers else self.stranger()
        for sent in range(number):
            stranger.send(make(), to)
            if sent % _CHUNK == 0:
                await self.reactor.turns(2)
                stranger.take()
        await self.reactor.turns(4)

    async def check(self, make: Callable[[], bytes]) -> None:
        """Pour out packets at the agent while a client connects."""

        async def storm(number: int) -> None:
            await self.under_fire(self.pour(make, number, self.agent_udp), paths=["udp"])

        await self.measured(storm)

    def test_requests(self) -> Deferred[None]:
        """Requests without a cookie are answered by as much as they are, and forgotten."""

        async def check() -> None:
            await self.check(lambda: self.offer().handshake(REQUEST, _PEER).encode())
            (stranger,) = self.strangers
            self.assertEqual(stranger.longest, HANDSHAKE_SIZE)
            self.assertEqual(stranger.answered, stranger.sent)

        return Deferred.fromCoroutine(check())

    def test_wrong_cookies(self) -> Deferred[None]:
        """Requests with a wrong cookie are not answered at all."""

        async def check() -> None:
            await self.check(
                lambda: (
                    self.offer()
                    .handshake(ANSWER, _PEER, cookie=self.random.getrandbits(32))
                    .encode()
                )
            )
            (stranger,) = self.strangers
            self.assertEqual(stranger.answered, 0)

        return Deferred.fromCoroutine(check())

    def test_wrong_tokens(self) -> Deferred[None]:
        """Nor are calls of somebody who was not introduced, to whatever id."""

        def make() -> bytes:
            destination = self.random.choice((0, self.random.getrandbits(30)))
            request = self.random.choice((CALL, ANSWER, FINAL, REFUSED))
            token = self.random.getrandbits(32)
            offer = self.offer()
            return offer.handshake(request, _PEER, cookie=token, destination=destination).encode()

        async def check() -> None:
            await self.check(make)
            (stranger,) = self.strangers
            self.assertEqual(stranger.answered, 0)

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

    def test_forged(self) -> Deferred[None]:
        """SHUTDOWN, ACK, NAK and data for connections that do not exist, or are not theirs."""

        async def check() -> None:
            connector = self.connector(paths=["udp"])
            self.addCleanup(connector.close)
            await self.echo(connector)
            assert isinstance(connector._port, Port) and self.agent.port is not None
            ids = [*self.agent.port._sorter.links, *self.agent.port._sorter.calls, 0]

            def make() -> bytes:
                known = self.random.choice(ids)
                return self.forged(self.random.choice((known, self.random.getrandbits(30))))

            await self.check(make)
            (stranger,) = self.strangers
            self.assertEqual(stranger.answered, 0)
            await self.echo(connector)
            self.assertTrue(connector.timelines[-1].reused)

        return Deferred.fromCoroutine(check())

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

        async def storm(number: int) -> None:
            await self.under_fire(knock(number), paths=["udp"])

        async def check() -> None:
            await self.measured(storm, warm=2 * MAX_PENDING, proven=True)
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
