"""Garbage, and real conversations cut, changed, repeated and shuffled, on every UDP port."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.abuse.conversations import Conversation, converse
from tests.abuse.garbage import (
    LONGEST_DATAGRAM,
    RecordingCarrier,
    cut,
    flipped,
    flipped_stun,
    noise,
)
from tests.abuse.world import HOST, AbuseCase, Storm
from wavesync.interfaces import Address, Burst
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.core import CONTROL
from wavesync.signalling.messages import (
    Connect,
    ConnectionAck,
    ConnectionResult,
    ConnectionUpdate,
    Prover,
    WarmUp,
)
from wavesync.signalling.numbers import ConnectType
from wavesync.stun.binding import MAX_ANSWER
from wavesync.stun.message import BINDING, Message, MessageClass, encode, is_stun
from wavesync.udt.carrier import SocketCarrier
from wavesync.udt.port import Port

_CHUNK = 20
"""Datagrams between two turns of the reactor."""

_BINDING_REQUEST = b"\0\1"
"""How the one request begins that is answered by more than it has."""


class _Told(Protocol):
    """Tells when it is over."""

    def __init__(self, over: Deferred[None]) -> None:
        self._over = over

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is."""
        self._over.callback(None)


class DatagramCase(AbuseCase):
    """Has ways to make storms of datagrams."""

    async def pour(
        self, make: Callable[[], bytes], to: Address, number: int, chunk: int = _CHUNK
    ) -> None:
        """Send *number* datagrams to one port, from many strangers."""
        crowd = self.crowd()
        for sent in range(number):
            crowd[sent % len(crowd)].send(make(), to)
            if sent % chunk == 0:
                await self.reactor.turns(2)
        await self.reactor.turns(5)

    def storms(self, packets: Sequence[bytes], to: Callable[[], Address]) -> dict[str, Storm]:
        """Everything bad that can be done with the packets of a good conversation.

        :param to: the port that they come to, when it is done.
        """
        packets = [packet for packet in packets if packet[:2] != _BINDING_REQUEST]
        messages = [packet for packet in packets if is_stun(packet)]
        longest = self.random.randbytes(LONGEST_DATAGRAM)
        again = _around(packets)
        shuffled = _around(self.random.sample(packets, len(packets)))

        def storm(make: Callable[[], bytes], chunk: int = _CHUNK) -> Storm:
            return lambda number: self.pour(make, to(), number, chunk)

        return {
            "noise": storm(lambda: noise(self.random)),
            "oversize": storm(lambda: longest, 2),
            "cut": storm(lambda: cut(self.random, packets)),
            "changed": storm(lambda: flipped(self.random, packets)),
            "changed, with right fingerprints": storm(lambda: flipped_stun(self.random, messages)),
            "repeated": storm(lambda: next(again)),
            "shuffled": storm(lambda: next(shuffled)),
        }

    async def conversation(self) -> Conversation:
        """Listen to a good client."""
        found = await converse(
            self.reactor, self.client, self.server.target, self.mediator_address, self.url
        )
        # What an agent says to its mediator is not on the client's wire.
        found.to_mediator += self.stun_requests()
        return found

    def stun_requests(self) -> list[bytes]:
        """One good message of each kind that a mediator's UDP port takes."""
        now = self.reactor.seconds()
        connect = Connect(os.urandom(16).hex(), self.server.target, (("192.0.2.1", 5000),))
        link = self.agent.links[0]
        binding = Message(BINDING, MessageClass.REQUEST, os.urandom(12))
        return [
            connect.encode(os.urandom(12), Prover(self.client, HOST, now)),
            WarmUp(link.warm._registration_id, 1).encode(os.urandom(12), link.warm._key),
            ConnectionAck(connect.connection_id, link.warm._registration_id).encode(
                os.urandom(12), link.warm._key
            ),
            ConnectionUpdate(connect.connection_id, 1, ()).encode(os.urandom(12)),
            ConnectionResult(connect.connection_id, 0, ConnectType.UDP, 1.0).encode(os.urandom(12)),
            encode(binding),
        ]

    async def live_session(self) -> tuple[Port, RecordingCarrier, ClientSession, Deferred[None]]:
        """An open session over UDT whose packets are recorded; the last fires when it is over."""
        carrier = RecordingCarrier(self.reactor, interface=HOST)
        port = Port(self.reactor, carrier)
        factory, ready = connect_session(
            self.client,
            self.server.target,
            self.reactor,
            wall_clock=self.reactor.seconds,
        )
        await port.connect(self.agent_udp, factory)
        session = await ready
        over: Deferred[None] = Deferred()
        await session.open(CONTROL, _Told(over))
        await session.ping()
        return port, carrier, session, over


class MediatorDatagramTests(DatagramCase):
    """Nothing that comes to a mediator's UDP port hurts anybody."""

    def test_storms(self) -> Deferred[None]:
        """It is dropped or refused, and a client connects meanwhile."""

        async def check() -> None:
            heard = await self.conversation()
            await self.measured(self.storms(heard.to_mediator, lambda: self.mediator_address))

        return Deferred.fromCoroutine(check())


class AgentDatagramTests(DatagramCase):
    """Nothing that comes to an agent's UDP port hurts anybody."""

    def test_storms(self) -> Deferred[None]:
        """It is dropped, or answered by no more than it is, and a client connects meanwhile."""

        async def check() -> None:
            heard = await self.conversation()
            packets = [*heard.to_agent, *heard.to_mediator]
            await self.measured(self.storms(packets, lambda: self.agent_udp), paths=["udp"])

        return Deferred.fromCoroutine(check())


class ClientDatagramTests(DatagramCase):
    """Nothing that comes to a client's UDP port hurts its connections."""

    def test_storms(self) -> Deferred[None]:
        """It is dropped while the client holds a hole open, and uses it."""

        async def check() -> None:
            heard = await self.conversation()
            connector = self.connector(paths=["udp"])
            self.addCleanup(connector.close)
            await self.echo(connector)
            port = connector._port
            assert isinstance(port, Port)
            await self.reactor.skip(5)
            storms = self.storms(
                [*heard.to_client, *heard.to_agent, *heard.to_mediator],
                lambda: (HOST, port.address[1]),
            )
            await self.measured(storms, connector=connector)

        return Deferred.fromCoroutine(check())


class InsiderTests(DatagramCase):
    """Whoever has a connection, or can forge its source and knows its ids, ends it at worst."""

    def test_own_packets_changed(self) -> Deferred[None]:
        """The packets of a live session again, from its own port, with some bits changed."""

        async def flood(number: int) -> None:
            port, carrier, session, over = await self.live_session()
            packets = [data for data, _ in carrier.recorded]
            for sent in range(number):
                data = flipped(self.random, packets, most=2)
                SocketCarrier.send(carrier, Burst(data, len(data)), self.agent_udp)
                if sent % _CHUNK == 0:
                    await self.reactor.turns(2)
            session.abort()
            await over
            await port.close()

        return Deferred.fromCoroutine(self.measured({"insider": flood}, paths=["udp"]))


class BindingTests(DatagramCase):
    """Anybody may ask where he is seen, and nobody can have much sent to others by it."""

    def test_answers(self) -> Deferred[None]:
        """An answer has 120 bytes at most, and a source gets so many in a while and no more."""
        binding = encode(Message(BINDING, MessageClass.REQUEST, os.urandom(12)))

        async def ask(number: int) -> None:
            for _ in range(number):
                stranger.send(binding, self.mediator_address)
                await self.reactor.turns(1)

        async def check() -> None:
            await self.measured({"binding": ask}, proven=True)
            stranger.take()
            self.assertLessEqual(stranger.longest, MAX_ANSWER)
            answers = stranger.answered / stranger.longest
            # Two bursts, and what flows into the bucket while they last.
            self.assertTrue(300 < answers <= 2 * self.limits.source_burst + 300, answers)

        stranger = self.stranger()
        return Deferred.fromCoroutine(check())


def _around(packets: Sequence[bytes]) -> Any:
    """All packets in their order, again and again."""
    while True:
        yield from packets
