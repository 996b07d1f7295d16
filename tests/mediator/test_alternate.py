"""A mediator with two addresses, on real sockets (RFC 5780)."""

import socket
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from tests.mediator.sockets import AUDIENCE, MediatorCase, reactor
from wavesync.errors import SettingsError
from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.settings import parse_settings
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    decode_address,
    encode_u32,
)
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def asked(*attributes: tuple[int, bytes]) -> bytes:
    """A Binding request."""
    return encode(Message(BINDING, MessageClass.REQUEST, bytes(12), attributes))


class Client(DatagramProtocol):
    """A UDP socket that says where each answer came from."""

    def __init__(self) -> None:
        self._waiting: Deferred[tuple[Message, Address]] | None = None
        self.came = 0

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Hand on what came."""
        self.came += 1
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback((decode(datagram), addr))

    def next(self) -> Deferred[tuple[Message, Address]]:
        """The next datagram, and its source."""
        self._waiting = Deferred()
        return self._waiting

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram."""
        assert self.transport is not None
        self.transport.write(data, to)


class PairCase(MediatorCase):
    """A mediator on two loopback addresses."""

    alternate: ClassVar[tuple[str, ...]] = (f"{SECOND}:0",)

    def setUp(self) -> None:
        """Start it."""
        settings = MediatorSettings(
            name=AUDIENCE,
            listen=(f"{FIRST}:0",),
            alternate=self.alternate,
            limits=self.limits,
        )
        self.service = MediatorService(settings, reactor)
        self.service.startService()
        self.addCleanup(self.stop)
        (self.primary,) = self.service.addresses
        (self.other,) = self.service.alternates

    def client(self) -> Client:
        """A socket, closed when the test ends."""
        client = Client()
        port = reactor.listenUDP(0, client, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return client


class DiscoveryTests(PairCase):
    """Answers come from the socket that was asked for."""

    async def _every_socket(self) -> None:
        client = self.client()
        hosts = self.primary[0], self.other[0]
        ports = self.primary[1], self.other[1]
        for host in (0, 1):
            for port in (0, 1):
                for flags in (0, 2, 4, 6):
                    waiting = client.next()
                    at = hosts[host], ports[port]
                    client.send(asked((CHANGE_REQUEST, encode_u32(flags))), at)
                    message, source = await waiting
                    origin = hosts[host ^ flags >> 2], ports[port ^ flags >> 1 & 1]
                    self.assertEqual(source, origin)
                    self.assertEqual(decode_address(message.get(RESPONSE_ORIGIN) or b""), origin)
                    other = decode_address(message.get(OTHER_ADDRESS) or b"")
                    self.assertEqual(other, (hosts[1 - host], ports[1 - port]))

    def test_every_socket(self) -> Deferred[None]:
        """Each of the four sockets, asked for each change."""
        return Deferred.fromCoroutine(self._every_socket())

    async def _response_port(self) -> None:
        asking, listening = self.client(), self.client()
        assert listening.transport is not None
        port: int = listening.transport.getHost().port
        waiting = listening.next()
        asking.send(asked((RESPONSE_PORT, port.to_bytes(2, "big"))), self.primary)
        _, source = await waiting
        self.assertEqual((source, asking.came), (self.primary, 0))

    def test_response_port(self) -> Deferred[None]:
        """Another port of the host that asks gets the answer."""
        return Deferred.fromCoroutine(self._response_port())

    async def _restarted(self) -> None:
        await self.service.stopService()
        self.assertEqual((self.service.addresses, self.service.alternates), ((), ()))
        for at in (self.primary, self.other):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(at)

    def test_stopped(self) -> Deferred[None]:
        """A mediator that is stopped gives every port back."""
        return Deferred.fromCoroutine(self._restarted())


class BucketTests(PairCase):
    """Four ports are no way around the limits."""

    limits = Limits(source_rate=0.001, source_burst=3.0)

    async def _one_bucket(self) -> None:
        client = self.client()
        ports = self.primary[1], self.other[1]
        for host, port in ((FIRST, ports[1]), (SECOND, ports[0]), (SECOND, ports[1])):
            waiting = client.next()
            client.send(asked(), (host, port))
            await waiting
        dropped = self.service.mediator.statistics.dropped
        client.send(asked((CHANGE_REQUEST, encode_u32(6))), self.primary)
        while self.service.mediator.statistics.dropped == dropped:
            await deferLater(reactor, 0.01)
        self.assertEqual(client.came, 3)

    def test_one_bucket(self) -> Deferred[None]:
        """A source has one bucket for all four together."""
        return Deferred.fromCoroutine(self._one_bucket())


class SettingsTests(MediatorCase):
    """Which second addresses can be had."""

    def test_wrong(self) -> None:
        """Each mistake is told in a sentence that names the address."""
        for listen, alternate, expected in (
            ('"*:1"', '"192.0.2.2:2"', "needs an address of its family in listen"),
            ('"192.0.2.1:1"', '"[2001:db8::1]:2"', "needs an address of its family in listen"),
            ('"192.0.2.1:1"', '"*:2"', "needs an address of its family in listen"),
            ('"192.0.2.1:1"', '"192.0.2.1:2"', "must be another address than those in listen"),
            ('"192.0.2.1:1"', '"192.0.2.2:1"', "must have another port than '192.0.2.1:1'"),
            ('"192.0.2.1:1"', '"192.0.2.2:2", "192.0.2.3:2"', "one address of each family"),
            ('"192.0.2.1:1"', '"192.0.2.2"', "is no address to listen on"),
        ):
            text = f"listen = [{listen}]\nalternate = [{alternate}]\n"
            error = self.assertRaises(
                SettingsError, parse_settings, text, MediatorSettings, name="m.toml"
            )
            self.assertIn(expected, str(error))

    def test_two_families(self) -> None:
        """IPv4 and IPv6 may each have a second address."""
        MediatorSettings(
            listen=("192.0.2.1:1", "[2001:db8::1]:1"),
            alternate=("192.0.2.2:2", "[2001:db8::2]:2"),
        )

    def test_taken(self) -> None:
        """A second port that is taken keeps the mediator from starting, and nothing stays bound."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((SECOND, 0))
            alternate = f"{SECOND}:{taken.getsockname()[1]}"
            settings = MediatorSettings(listen=(f"{FIRST}:0",), alternate=(alternate,))
            service = MediatorService(settings, reactor)
            error = self.assertRaises(SettingsError, service.startService)
            self.assertIn(f"cannot listen on {alternate}", str(error))
