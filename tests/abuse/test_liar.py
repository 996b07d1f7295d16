"""An agent whose mediator lies: it cannot be aimed at anybody, nor be filled up."""

import dataclasses
import os
import random
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.abuse.garbage import RecordingCarrier, flipped_stun
from tests.abuse.hurried import hurried
from tests.abuse.memory import memory
from tests.abuse.strangers import LogLines
from tests.abuse.world import HOST, MANY, reactor
from wavesync.agent.introductions import (
    MAX_CLIENT_RENDEZVOUS,
    MAX_REMEMBERED,
    PUNCHES,
    Introductions,
)
from wavesync.agent.link import Link
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.messages import (
    Bound,
    Connect,
    ConnectionRequested,
    ConnectionUpdate,
    Listen,
    Prover,
    Refusal,
    Registered,
    covered,
    registration_key,
)
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.framing import StreamDecoder
from wavesync.udt.port import Port

_MAX_GROWN = 3 << 20
_CHUNK = 20
_VICTIM: Address = ("198.51.100.66", 6666)
_LISTED: tuple[Address, ...] = (("192.168.77.7", 7000),)


class LyingMediator(Protocol):
    """Registers the agent as a good mediator does; what it says then is up to the test."""

    transport: Any

    def __init__(self) -> None:
        self.registered: Deferred[None] = Deferred()
        self._decoder = StreamDecoder()

    def connectionMade(self) -> None:
        """Say everything at once."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Answer requests."""
        for message in self._decoder.feed(data):
            if message.method == Method.LISTEN:
                answer = self._listen(message)
            elif message.method == Method.BIND:
                answer = Bound().encode(message.transaction_id)
                self.registered.callback(None)
            else:
                continue
            self.transport.write(answer)

    def _listen(self, message: Any) -> bytes:
        if covered(message) is None:
            refusal = Refusal(ErrorCode.UNAUTHENTICATED, "", b"n" * 16, HOST, reactor.seconds())
            return refusal.encode(message.method, message.transaction_id)
        exchange = X25519PrivateKey.generate()
        registration_key(exchange, Listen.decode(message).exchange_key, 1)
        public = exchange.public_key().public_bytes_raw()
        return Registered(1, public, 600.0, reactor.seconds()).encode(message.transaction_id)


class LiarTests(TestCase):
    """What the mediator says is believed as far as a client of the system has signed it."""

    timeout = 60
    allow_loopback = False

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Register an agent with a liar."""
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        """Make all that an agent is made of, with a carrier that remembers."""
        self.random = random.Random(self.id())
        self.reactor = hurried(reactor)
        self.addCleanup(self.reactor.stop_clock)
        self.liar = LyingMediator()
        listening = reactor.listenTCP(
            0, ServerFactory.forProtocol(lambda: self.liar), interface=HOST
        )
        self.addCleanup(listening.stopListening)
        number = listening.getHost().port
        self.system = SystemCredentials.create((HOST,))
        now = self.reactor.seconds()
        self.server = self.system.add_server(now=now)
        self.client = self.system.add_client("good", now=now)
        self.carrier = RecordingCarrier(self.reactor)
        self.port = Port(self.reactor, self.carrier)
        self.addCleanup(lambda: self.port.close())
        services = NamedServices({"echo": Factory.forProtocol(Echo)})
        self.introductions = Introductions(
            self.reactor,
            self.server,
            self.port,
            ServerSessionFactory(self.server, services, self.reactor),
            wall_clock=self.reactor.seconds,
        )
        self.link = Link(
            self.reactor,
            Mediator(HOST, None, number),
            HostnameEndpoint(self.reactor, HOST, number),
            self.server,
            self.port.send_stun,
            lambda: ((), (("192.0.2.1", 1),)),
            self.introductions,
            wall_clock=self.reactor.seconds,
        )
        self.link.start()
        self.addCleanup(self.stop)
        await self.link.when_registered()
        await self.liar.registered
        self.lines = LogLines()
        self.addCleanup(self.lines.stop)

    def stop(self) -> Deferred[None]:
        """Leave the mediator, and wait until the connection is closed."""
        self.introductions.stop()
        self.link.stop()
        return Deferred.fromCoroutine(self.reactor.pause(0.05))

    def connect(
        self,
        credentials: Credentials | None = None,
        *,
        audience: str = HOST,
        age: float = 0.0,
        listed: tuple[Address, ...] = _LISTED,
    ) -> tuple[str, bytes]:
        """A client's request, and its id."""
        connection = os.urandom(16).hex()
        who = credentials if credentials is not None else self.client
        prover = Prover(who, audience, self.reactor.seconds() - age)
        request = Connect(connection, self.server.target, listed)
        return connection, request.encode(os.urandom(12), prover)

    def requested(
        self,
        connect: tuple[str, bytes],
        observed: tuple[Address, ...] = (_VICTIM,),
        token: int | None = None,
    ) -> bytes:
        """What a mediator says when that request came."""
        connection, request = connect
        number = self.random.randint(1, 0xFFFFFFFF) if token is None else token
        return ConnectionRequested(connection, request, observed, number, 0.0).encode(
            os.urandom(12)
        )

    async def pour(self, make: Callable[[], bytes], number: int) -> None:
        """Say it *number* times."""
        for sent in range(number):
            self.liar.transport.write(make())
            if sent % _CHUNK == 0:
                await self.reactor.turns(2)
        await self.reactor.turns(10)

    async def check(self, make: Callable[[], bytes], *, lines: int = 1, punches: int = 0) -> None:
        """Say it a thousand times: hardly anything leaves, and nothing stays.

        :param punches: datagrams that may leave in all.
        """
        await self.pour(make, 60)
        await self.reactor.skip(10)
        self.carrier.recorded.clear()
        said, files, before = len(self.lines.lines), len(os.listdir("/proc/self/fd")), memory()
        calls = len(self.reactor.getDelayedCalls())
        await self.pour(make, MANY)
        await self.reactor.skip(10)
        told = self.lines.lines[said:]
        self.assertLessEqual(len(told), lines * MANY, told[:10])
        self.assertLessEqual(len(self.carrier.recorded), punches)
        self.assertEqual(len(self.introductions), 0)
        self.assertLessEqual(len(self.introductions._remembered), MAX_REMEMBERED)
        sorter = self.port._sorter
        self.assertEqual((sorter.links, sorter.calls, sorter.tokens), ({}, {}, {}))
        self.assertEqual(len(self.port._turns._timetable), 0)
        self.assertEqual(len(os.listdir("/proc/self/fd")), files)
        self.assertEqual(len(self.reactor.getDelayedCalls()), calls)
        self.assertLess(memory() - before, _MAX_GROWN)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertTrue(self.link.registered)

    def test_control(self) -> Deferred[None]:
        """A true introduction is punched for: so many packets, to the two addresses, and no more."""

        async def check() -> None:
            await self.pour(lambda: self.requested(self.connect()), 1)
            await self.reactor.skip(10, step=0.05)
            for address in (_VICTIM, *_LISTED):
                sent = [data for data, to in self.carrier.recorded if to == address]
                self.assertEqual(len(sent), PUNCHES)
                self.assertLessEqual(sum(map(len, sent)), 1200)
            self.assertEqual(len(self.carrier.recorded), 2 * PUNCHES)
            self.assertEqual(self.lines.lines, [])

        return Deferred.fromCoroutine(check())

    def test_bad_proofs(self) -> Deferred[None]:
        """Requests that no client of this system has signed, for this mediator, now."""
        now = self.reactor.seconds()
        other = SystemCredentials.create((HOST,)).add_client("eve", now=now)
        old = self.system.add_client("old", now=now - 30 * 86400.0, days=1)
        thief = dataclasses.replace(self.client, private_key=other.private_key)

        def make() -> bytes:
            match self.random.randrange(7):
                case 0:
                    return self.requested(self.connect(other))
                case 1:
                    return self.requested(self.connect(old))
                case 2:
                    return self.requested(self.connect(thief))
                case 3:
                    return self.requested(self.connect(self.server))
                case 4:
                    return self.requested(self.connect(audience="another.example"))
                case 5:
                    return self.requested(self.connect(age=120.0))
                case _:
                    connection, request = self.connect()
                    return self.requested((connection, flipped_stun(self.random, [request])))

        return Deferred.fromCoroutine(self.check(make))

    def test_other_ids(self) -> Deferred[None]:
        """A good request under another connection id."""

        def make() -> bytes:
            return self.requested((os.urandom(16).hex(), self.connect()[1]))

        return Deferred.fromCoroutine(self.check(make))

    def test_replays(self) -> Deferred[None]:
        """The same request again and again, towards other addresses: it is punched for once."""
        connect = self.connect()

        def make() -> bytes:
            return self.requested(connect, (("198.51.100.7", self.random.randint(1, 65535)),))

        return Deferred.fromCoroutine(self.check(make, lines=0))

    def test_addresses_nobody_may_aim_at(self) -> Deferred[None]:
        """Loopback, multicast and the like, whoever names them: good requests, but no packet."""
        hosts = ("127.0.0.1", "224.0.0.251", "255.255.255.255", "0.0.0.0", "169.254.1.1")
        listed = tuple((host, 9) for host in hosts)
        made: list[bytes] = []

        def make() -> bytes:
            if len(made) < 200:  # signing takes its time
                host = self.random.choice(hosts)
                made.append(self.requested(self.connect(listed=listed), ((host, 9),)))
            return self.random.choice(made)

        return Deferred.fromCoroutine(self.check(make))

    def test_listed_only(self) -> Deferred[None]:
        """A client cannot name a third party that the mediator has not seen it at."""

        def make() -> bytes:
            return self.requested(self.connect(listed=(("8.8.8.8", 53),)), ())

        return Deferred.fromCoroutine(self.check(make))

    def test_many_good_ones(self) -> Deferred[None]:
        """However many a client signs: so many are punched for at one time."""

        def make() -> bytes:
            return self.requested(self.connect())

        # A storm takes a second or a few, and each introduction five.
        punches = 2 * MAX_CLIENT_RENDEZVOUS * (2 * PUNCHES)
        return Deferred.fromCoroutine(self.check(make, punches=punches))

    def test_tokens(self) -> Deferred[None]:
        """A token that cannot be, or is in use."""

        def make() -> bytes:
            return self.requested(self.connect(), token=0)

        return Deferred.fromCoroutine(self.check(make))

    def test_updates(self) -> Deferred[None]:
        """Updates about introductions that were never made."""

        def make() -> bytes:
            update = ConnectionUpdate(os.urandom(16).hex(), self.random.randint(1, 9), (_VICTIM,))
            return update.encode(os.urandom(12))

        return Deferred.fromCoroutine(self.check(make, lines=0))
