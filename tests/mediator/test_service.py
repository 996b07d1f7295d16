"""The mediator as a service: real sockets, from start to stop."""

import gc
import os
import random
import socket
import time
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from tests.mediator.sockets import AUDIENCE, Datagrams, MediatorCase, Stream, reactor
from tests.signalling.provers import system
from tests.stun.coturn import missing, stunclient
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import Address
from wavesync.mediator.leg import Leg
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.mediator.stream import LegProtocol
from wavesync.signalling.messages import (
    Bind,
    Bound,
    Connect,
    ConnectAnswer,
    ConnectionAck,
    ConnectionAcked,
    ConnectionRequested,
    ConnectionResult,
    ConnectionUpdate,
    Listen,
    Prover,
    Refusal,
    Registered,
    RegistrationEnded,
    WarmedUp,
    WarmUp,
    keep_alive_request,
    registration_key,
)
from wavesync.signalling.numbers import ConnectType
from wavesync.stun.attributes import XOR_MAPPED_ADDRESS, decode_xor_address
from wavesync.stun.message import Message, MessageClass, encode

CONNECTION = "c1" * 16


def new_id() -> bytes:
    """Draw a transaction id."""
    return os.urandom(12)


class Registering:
    """A server that registers over real sockets."""

    def __init__(self, stream: Stream, datagrams: Datagrams, credentials: Credentials) -> None:
        self.stream = stream
        self.datagrams = datagrams
        self.credentials = credentials
        self.id = 0
        self.key = b""

    def proving(self, nonce: bytes = b"") -> Prover:
        """Return what signs for this server now."""
        return Prover(self.credentials, AUDIENCE, time.time(), nonce)

    async def ready(self) -> "Registering":
        """Register, bind and warm up."""
        exchange = X25519PrivateKey.generate()
        listen = Listen(self.credentials.target, exchange.public_key().public_bytes_raw())
        challenge = Refusal.decode(await self.stream.ask(listen.encode(new_id())))
        answer = await self.stream.ask(listen.encode(new_id(), self.proving(challenge.nonce)))
        registered = Registered.decode(answer)
        self.id = registered.registration_id
        self.key = registration_key(exchange, registered.exchange_key, self.id)
        bind = Bind(1, (("192.168.1.2", 7001),), ())
        Bound.decode(await self.stream.ask(bind.encode(new_id(), self.proving())))
        warm_up = WarmUp(self.id, 1).encode(new_id(), self.key)
        WarmedUp.decode(await self.datagrams.ask(warm_up))
        return self


class ServiceCase(MediatorCase):
    """Helpers of the cases below."""

    limits = Limits(source_burst=100_000)

    def setUp(self) -> None:
        """Start the mediator, make credentials that are valid now."""
        super().setUp()
        now = time.time()
        self.server = system().add_server(now=now)
        self.client = system().add_client("alice", now=now)

    async def registered(self) -> Registering:
        """Return a server that is registered."""
        return await Registering(await self.stream(), self.datagrams(), self.server).ready()

    def connect_bytes(self, connection: str = CONNECTION) -> bytes:
        """Return a ``connect`` to the server."""
        proving = Prover(self.client, AUDIENCE, time.time())
        return Connect(connection, self.server.target, ()).encode(new_id(), proving)


class FlowTests(ServiceCase):
    """An introduction over real sockets, from beginning to end."""

    def test_introduction(self) -> Deferred[None]:
        """Server and client learn of each other, and the client's report is counted."""
        return Deferred.fromCoroutine(self._introduction())

    async def _introduction(self) -> None:
        server = await self.registered()
        client = self.datagrams()
        raw = self.connect_bytes()
        answer = ConnectAnswer.decode(await client.ask(raw), allow_loopback=True)
        requested = ConnectionRequested.decode(
            await server.stream.inbox.next(), allow_loopback=True
        )
        self.assertEqual(requested.request, raw)
        self.assertEqual(requested.token, answer.token)
        self.assertEqual(requested.observed, (answer.mapped,))
        self.assertEqual(answer.observed, (host_of(server.datagrams),))
        # The server punches from another port than the one that it kept warm.
        punching = self.datagrams()
        ack = ConnectionAck(CONNECTION, server.id).encode(new_id(), server.key)
        ConnectionAcked.decode(await punching.ask(ack))
        update = ConnectionUpdate.decode(await client.inbox.next(), allow_loopback=True)
        self.assertEqual(update.observed, (host_of(punching),))
        client.send(update.encode(new_id()))
        client.send(ConnectionResult(CONNECTION, 0, ConnectType.UDP, 0.1).encode(new_id()))
        await client.ask(keep_alive_request(new_id()))
        statistics = self.service.mediator.statistics
        self.assertEqual(statistics.results, {("udp", "ok"): 1})
        self.assertEqual((statistics.introductions, statistics.acknowledged), (1, 1))

    def test_lost_answer(self) -> Deferred[None]:
        """When the UDP answer is lost, the TCP copy brings the same one."""
        return Deferred.fromCoroutine(self._lost_answer())

    async def _lost_answer(self) -> None:
        server = await self.registered()
        raw = self.connect_bytes()
        over_udp = ConnectAnswer.decode(await self.datagrams().ask(raw))
        over_tcp = ConnectAnswer.decode(await (await self.stream()).ask(raw))
        self.assertEqual(over_tcp.token, over_udp.token)
        await server.stream.inbox.next()
        self.assertEqual(self.service.mediator.statistics.introductions, 1)
        self.assertEqual(server.stream.inbox.messages, [])

    def test_tcp_first(self) -> Deferred[None]:
        """When TCP was first, the server learns the client's UDP address afterwards."""
        return Deferred.fromCoroutine(self._tcp_first())

    async def _tcp_first(self) -> None:
        server = await self.registered()
        raw = self.connect_bytes()
        await (await self.stream()).ask(raw)
        requested = ConnectionRequested.decode(await server.stream.inbox.next())
        self.assertEqual(requested.observed, ())
        client = self.datagrams()
        await client.ask(raw)
        update = ConnectionUpdate.decode(await server.stream.inbox.next(), allow_loopback=True)
        self.assertEqual(update.observed, (host_of(client),))

    def test_newer_wins(self) -> Deferred[None]:
        """A newer registration closes the older one, which is told why."""
        return Deferred.fromCoroutine(self._newer_wins())

    async def _newer_wins(self) -> None:
        older = await self.registered()
        await self.registered()
        ended = RegistrationEnded.decode(await older.stream.inbox.next())
        self.assertEqual(ended.reason, "superseded")
        await older.stream.lost
        self.assertEqual(len(self.service.mediator.registry), 1)

    def test_vanished(self) -> Deferred[None]:
        """A server whose connection closes is offline once the mediator has noticed."""
        return Deferred.fromCoroutine(self._vanished())

    async def _vanished(self) -> None:
        server = await self.registered()
        await server.stream.close()
        while len(self.service.legs):
            await deferLater(reactor, 0.001)
        refusal = Refusal.decode(await self.datagrams().ask(self.connect_bytes()))
        self.assertEqual(refusal.code, 404)

    def test_restart(self) -> Deferred[None]:
        """A mediator that restarts tells its servers; they register again, clients go on."""
        return Deferred.fromCoroutine(self._restart())

    async def _restart(self) -> None:
        server = await self.registered()
        _, port = self.address
        await self.service.stopService()
        ended = RegistrationEnded.decode(await server.stream.inbox.next())
        self.assertEqual(ended.reason, "shutting-down")
        await server.stream.lost
        self.assertEqual(self.service.addresses, ())
        settings = MediatorSettings(name=AUDIENCE, listen=(f"127.0.0.1:{port}",))
        self.service = MediatorService(settings, reactor)
        self.service.startService()
        await self.registered()
        ConnectAnswer.decode(await self.datagrams().ask(self.connect_bytes()))


class BindingTests(ServiceCase):
    """Standard STUN for anybody."""

    def test_over_both(self) -> Deferred[None]:
        """Binding is answered over UDP and over TCP with the source as it was seen."""
        return Deferred.fromCoroutine(self._over_both())

    async def _over_both(self) -> None:
        datagrams, stream = self.datagrams(), await self.stream()
        assert stream.transport is not None
        tcp = stream.transport.getHost()
        for way, expected in (
            (datagrams, host_of(datagrams)),
            (stream, (tcp.host, tcp.port)),  # type: ignore[attr-defined]
        ):
            answer = await way.ask(keep_alive_request(new_id()))
            self.assertIs(answer.message_class, MessageClass.SUCCESS)
            value = answer.get(XOR_MAPPED_ADDRESS) or b""
            self.assertEqual(decode_xor_address(value, answer.transaction_id), expected)
            self.assertLessEqual(len(answer.raw), 120)

    def test_coturn(self) -> Deferred[None]:
        """coturn's client gets its address from the mediator."""
        return Deferred.fromCoroutine(self._coturn())

    async def _coturn(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        output = await stunclient(self, directory, *self.address)
        self.assertIn("UDP reflexive addr: 127.0.0.1:", output)

    if (why := missing("turnutils_stunclient")) is not None:
        test_coturn.skip = why  # type: ignore[attr-defined]
    del why


class AllAddressesTests(ServiceCase):
    """A mediator on all addresses of both families."""

    listen = ("*:0",)

    def test_both_families(self) -> Deferred[None]:
        """IPv4 and IPv6 are answered at the same port."""
        return Deferred.fromCoroutine(self._both_families())

    async def _both_families(self) -> None:
        (_, port), *more = self.service.addresses
        self.assertEqual([at for _, at in more], [port] * len(more))
        hosts = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        for host, _ in self.service.addresses:
            local = hosts[host]
            datagrams = self.datagrams(local)
            datagrams.to = (local, port)
            answer = await datagrams.ask(keep_alive_request(new_id()))
            value = answer.get(XOR_MAPPED_ADDRESS) or b""
            mapped = decode_xor_address(value, answer.transaction_id)
            self.assertEqual(mapped, host_of(datagrams))


class StartTests(ServiceCase):
    """What happens where the mediator cannot start."""

    def test_taken(self) -> None:
        """A port that is taken is told in one sentence, and nothing stays open."""
        before = descriptors()
        _, port = self.address
        settings = MediatorSettings(listen=("127.0.0.1:0", f"127.0.0.1:{port}"))
        second = MediatorService(settings, reactor)
        error = self.assertRaises(SettingsError, second.startService)
        self.assertEqual(str(error), f"cannot listen on 127.0.0.1:{port}: Address already in use")
        self.assertEqual(descriptors(), before)
        self.assertFalse(second.running)

    def test_udp_taken(self) -> None:
        """The same when only the UDP port is taken."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            second = MediatorService(MediatorSettings(listen=(listen,)), reactor)
            error = self.assertRaises(SettingsError, second.startService)
            self.assertIn(f"cannot listen on {listen}: ", str(error))

    def test_no_such_address(self) -> None:
        """An address that this host does not have is told."""
        second = MediatorService(MediatorSettings(listen=("192.0.2.1:0",)), reactor)
        error = self.assertRaises(SettingsError, second.startService)
        self.assertIn("cannot listen on 192.0.2.1:0: ", str(error))


class GarbageTests(ServiceCase):
    """Rubbish from the network leaves no trace."""

    COUNT = 1000

    def setUp(self) -> None:
        """Watch the log."""
        super().setUp()
        self.lines: list[LogEvent] = []
        observer = cast(ILogObserver, self._observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.chance = random.Random(1)

    def _observe(self, event: LogEvent) -> None:
        if "dropped what" in (event.get("log_format") or ""):
            self.lines.append(event)

    def _garbage(self) -> bytes:
        """Return something that no peer should send."""
        chance = self.chance
        request = bytearray(self.connect_bytes())
        kind = chance.randrange(8)
        if kind == 0:
            return chance.randbytes(chance.randrange(2000))
        if kind == 1:
            return bytes(request[: chance.randrange(len(request))])
        if kind == 2:
            request[chance.randrange(20, len(request))] ^= 1
            return bytes(request)
        if kind == 3:
            return encode(Message(chance.randrange(0x1000) | 2, MessageClass.REQUEST, new_id()))
        if kind == 4:
            return WarmUp(chance.randrange(1 << 64), 1).encode(new_id(), b"wrong")
        if kind == 5:
            return ConnectionAck("0" * 32, 7).encode(new_id(), b"wrong")
        if kind == 6:
            return ConnectionResult("0" * 32, 7, ConnectType.UDP, 1).encode(new_id())
        return bytes(60_000)

    def _state(self) -> tuple[object, ...]:
        gc.collect()
        mediator = self.service.mediator
        legs = sum(
            (isinstance(each, Leg) and each._mediator is mediator)
            or (isinstance(each, LegProtocol) and each._factory is self.service.legs)
            for each in gc.get_objects()
        )
        return (
            descriptors(),
            len(reactor.getDelayedCalls()),
            len(self.service.legs),
            legs,
            len(mediator.registry),
            len(mediator.introductions),
            mediator.replays,
        )

    def test_datagrams(self) -> Deferred[None]:
        """1,000 garbage datagrams: one line in the log, and the next client is served."""
        return Deferred.fromCoroutine(self._datagrams())

    async def _datagrams(self) -> None:
        datagrams = self.datagrams()
        await datagrams.ask(keep_alive_request(new_id()))
        before = self._state()
        for _ in range(self.COUNT // 20):
            for _ in range(20):
                datagrams.send(self._garbage())
            # The answer to this comes once all of those were looked at.
            request = keep_alive_request(new_id())
            answer = await datagrams.ask(request)
            while answer.transaction_id != request[8:20]:
                answer = await datagrams.inbox.next()
        self.assertEqual(self._state(), before)
        self.assertEqual(len(self.lines), 1)
        self.assertGreater(self.service.mediator.statistics.dropped, self.COUNT // 3)

    def test_streams(self) -> Deferred[None]:
        """1,000 garbage connections: one line in the log, and the next client is served."""
        return Deferred.fromCoroutine(self._streams())

    async def _settle(self) -> None:
        while len(self.service.legs):
            await deferLater(reactor, 0.001)
        await deferLater(reactor, 0)

    async def _streams(self) -> None:
        first = await self._open_stream()
        await first.close()
        del first
        await self._settle()
        before = self._state()
        for _ in range(self.COUNT // 50):
            streams = await gatherResults(
                [Deferred.fromCoroutine(self._open_stream()) for _ in range(50)]
            )
            for at, stream in enumerate(streams):
                stream.send(b"\xff" * 4 if at % 2 else self._garbage())
                if at % 3:
                    stream.transport.loseConnection()
                else:
                    stream.transport.abortConnection()
            await gatherResults([stream.lost for stream in streams])
            del streams, stream
        await self._settle()
        self.assertEqual(self._state(), before)
        self.assertLessEqual(len(self.lines), 1)
        answer = await (await self.stream()).ask(keep_alive_request(new_id()))
        self.assertIs(answer.message_class, MessageClass.SUCCESS)

    async def _open_stream(self) -> Any:
        endpoint = TCP4ClientEndpoint(reactor, *self.address)
        return await endpoint.connect(Factory.forProtocol(Stream))


def host_of(datagrams: Datagrams) -> Address:
    """Return a UDP socket's own address."""
    assert datagrams.transport is not None
    host = datagrams.transport.getHost()
    return host.host, host.port


def descriptors() -> int:
    """Count this process' open files."""
    return len(os.listdir("/proc/self/fd"))
