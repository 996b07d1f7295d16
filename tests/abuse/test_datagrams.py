"""Garbage, cut, oversize and mutated datagrams on every UDP port."""

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.abuse.garbage import (
    LONGEST_DATAGRAM,
    RecordingCarrier,
    cut,
    flipped,
    flipped_stun,
    noise,
)
from tests.abuse.world import HOST, AbuseCase, Stranger
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
from wavesync.stun.message import BINDING, Message, MessageClass, encode
from wavesync.udt.carrier import SocketCarrier
from wavesync.udt.port import Port

_CHUNK = 20
"""Datagrams between two turns of the reactor."""

_STRANGERS = 8


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
        """Send *number* datagrams to one port, from several strangers."""
        if not self.strangers:
            for each in range(_STRANGERS):
                self.stranger(f"127.0.0.{each + 2}")
        for sent in range(number):
            stranger: Stranger = self.strangers[sent % len(self.strangers)]
            stranger.send(make(), to)
            if sent % chunk == 0:
                await self.reactor.turns(2)
                stranger.take()
        await self.reactor.turns(5)

    def stun_requests(self) -> list[bytes]:
        """One good message of each kind that a mediator's UDP port takes."""
        now = self.reactor.seconds()
        connect = Connect(os.urandom(16).hex(), self.server.target, (("192.0.2.1", 5000),))
        link = self.agent.links[0]
        binding = Message(BINDING, MessageClass.REQUEST, os.urandom(12))
        return [
            connect.encode(os.urandom(12), Prover(self.client, HOST, now)),
            WarmUp(link._registration_id, 1).encode(os.urandom(12), link._key),
            ConnectionAck(connect.connection_id, link._registration_id).encode(
                os.urandom(12), link._key
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

    async def udt_packets(self) -> list[bytes]:
        """What a client sends over UDT during a whole session: handshakes, data, control packets."""
        port, carrier, session, over = await self.live_session()
        session.close()
        await over
        await port.close()
        return [data for data, _ in carrier.recorded]


class MediatorDatagramTests(DatagramCase):
    """Nothing that comes to a mediator's UDP port hurts anybody."""

    async def check(self, make: Callable[[], bytes], chunk: int = _CHUNK) -> None:
        """Pour it out while a client connects."""

        async def storm(number: int) -> None:
            await self.under_fire(self.pour(make, self.mediator_address, number, chunk))

        await self.measured(storm)

    def test_noise(self) -> Deferred[None]:
        """Random bytes are dropped."""
        return Deferred.fromCoroutine(self.check(lambda: noise(self.random)))

    def test_oversize(self) -> Deferred[None]:
        """The longest datagrams there are are dropped."""
        data = self.random.randbytes(LONGEST_DATAGRAM)
        return Deferred.fromCoroutine(self.check(lambda: data, chunk=2))

    def test_cut(self) -> Deferred[None]:
        """Beginnings of good messages are dropped."""
        packets = self.stun_requests()
        return Deferred.fromCoroutine(self.check(lambda: cut(self.random, packets)))

    def test_flipped(self) -> Deferred[None]:
        """Good messages with some bits changed are dropped or refused."""
        packets = self.stun_requests()
        return Deferred.fromCoroutine(self.check(lambda: flipped(self.random, packets)))

    def test_flipped_with_right_fingerprint(self) -> Deferred[None]:
        """The same when the checksum fits, so that the contents are looked into."""
        packets = self.stun_requests()[:-1]
        return Deferred.fromCoroutine(self.check(lambda: flipped_stun(self.random, packets)))


class AgentDatagramTests(DatagramCase):
    """Nothing that comes to an agent's UDP port hurts anybody."""

    async def check(self, make: Callable[[], bytes], chunk: int = _CHUNK) -> None:
        """Pour it out while a client connects."""

        async def storm(number: int) -> None:
            await self.under_fire(self.pour(make, self.agent_udp, number, chunk), paths=["udp"])

        await self.measured(storm)

    async def check_recorded(self, change: Callable[[list[bytes]], Callable[[], bytes]]) -> None:
        """Pour out what *change* makes of the packets of a good session."""
        await self.check(change(await self.udt_packets()))

    def test_noise(self) -> Deferred[None]:
        """Random bytes are dropped."""
        return Deferred.fromCoroutine(self.check(lambda: noise(self.random)))

    def test_oversize(self) -> Deferred[None]:
        """The longest datagrams there are are dropped."""
        data = self.random.randbytes(LONGEST_DATAGRAM)
        return Deferred.fromCoroutine(self.check(lambda: data, chunk=2))

    def test_cut(self) -> Deferred[None]:
        """Beginnings of good packets are dropped."""
        return Deferred.fromCoroutine(
            self.check_recorded(lambda packets: lambda: cut(self.random, packets))
        )

    def test_flipped(self) -> Deferred[None]:
        """Good packets with some bits changed are dropped, or answered by no more than they are."""
        return Deferred.fromCoroutine(
            self.check_recorded(lambda packets: lambda: flipped(self.random, packets))
        )

    def test_stun(self) -> Deferred[None]:
        """Messages that are for a mediator mean nothing to an agent."""
        packets = self.stun_requests()
        return Deferred.fromCoroutine(self.check(lambda: flipped_stun(self.random, packets)))


class ClientDatagramTests(DatagramCase):
    """Nothing that comes to a client's UDP port hurts its connections."""

    async def check(self, change: Callable[[list[bytes]], Callable[[], bytes]]) -> None:
        """Pour it out while the client connects and while it holds a hole open."""
        packets = [*await self.udt_packets(), *self.stun_requests()]
        make = change(packets)
        connector = self.connector(paths=["udp"])
        self.addCleanup(connector.close)
        await self.echo(connector)
        assert isinstance(connector._port, Port)
        to = HOST, connector._port.address[1]
        await self.reactor.skip(5)
        before = self.client_tables(connector)

        async def storm(number: int) -> None:
            raging = Deferred.fromCoroutine(self.pour(make, to, number))
            await self.echo(connector)
            await raging

        await self.measured(storm)
        self.assertEqual(self.client_tables(connector), before)
        self.assertTrue(connector.timelines[-1].reused)

    def test_noise(self) -> Deferred[None]:
        """Random bytes are dropped."""
        return Deferred.fromCoroutine(self.check(lambda packets: lambda: noise(self.random)))

    def test_flipped(self) -> Deferred[None]:
        """Packets of another client, and messages to mediators, with some bits changed."""
        return Deferred.fromCoroutine(
            self.check(lambda packets: lambda: flipped(self.random, packets))
        )

    def test_oversize(self) -> Deferred[None]:
        """The longest datagrams there are are dropped."""
        data = self.random.randbytes(LONGEST_DATAGRAM)
        return Deferred.fromCoroutine(self.check(lambda packets: lambda: data))


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

        async def storm(number: int) -> None:
            await self.under_fire(flood(number), paths=["udp"])

        return Deferred.fromCoroutine(self.measured(storm))


class BindingTests(DatagramCase):
    """Anybody may ask where he is seen, and nobody can have much sent to others by it."""

    def test_answers(self) -> Deferred[None]:
        """An answer has 120 bytes at most, and a source gets so many in a while and no more."""
        binding = encode(Message(BINDING, MessageClass.REQUEST, os.urandom(12)))

        async def storm(number: int) -> None:
            await self.under_fire(self.pour(lambda: binding, self.mediator_address, number))

        async def check() -> None:
            self.stranger()
            await self.measured(storm, proven=True)
            (stranger,) = self.strangers
            self.assertLessEqual(stranger.longest, MAX_ANSWER)
            answers = stranger.answered / stranger.longest
            # Twice, for a storm of sixty goes before.
            self.assertTrue(100 < answers <= 2 * self.limits.source_burst + 200, answers)

        return Deferred.fromCoroutine(check())
