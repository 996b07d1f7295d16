"""Tests for L{wavesync.udt.endpoints}."""

import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    serverFromString,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols import amp
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from wavesync.udt.endpoints import (
    UDTClientEndpoint,
    UDTClientParser,
    UDTServerEndpoint,
    UDTServerParser,
)


def coroutine(
    method: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., "Deferred[None]"]:
    """Make an ``async def`` test one that trial and pytest run."""

    @wraps(method)
    def test(self: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(method(self))

    return test


class Lines(LineReceiver):
    """Answers each line with itself, reversed."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.enough: Deferred[list[bytes]] = Deferred()
        self.wanted = 0
        self.answers = True
        self.over: Deferred[Failure] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Note it, answer it."""
        self.lines.append(line)
        if self.answers:
            self.sendLine(line[::-1])
        elif len(self.lines) == self.wanted:
            self.enough.callback(self.lines)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.over.addErrback(lambda _failure: None)
        self.over.callback(None)  # type: ignore[arg-type]


class Sum(amp.Command):
    """Add two numbers."""

    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Calculator(amp.AMP):
    """Adds."""

    @Sum.responder
    def sum(self, a: int, b: int) -> dict[str, int]:
        """Add."""
        return {"total": a + b}


class EndpointTests(TestCase):
    """Ordinary Twisted protocols over UDT, on real sockets."""

    timeout = 20

    async def serve(self, description: str, protocol: type[Any]) -> int:
        """:return: the port of a new server."""
        self.made: list[Any] = []
        factory = Factory()
        factory.noisy = False

        def build(addr: object) -> Any:
            self.made.append(protocol())
            return self.made[-1]

        factory.buildProtocol = build  # type: ignore[method-assign]
        endpoint = serverFromString(reactor, description)
        listening: IListeningPort = await endpoint.listen(factory)
        self.assertTrue(verifyObject(IListeningPort, listening))
        self.addCleanup(deferLater, reactor, 0.4)
        self.addCleanup(listening.stopListening)
        host: Any = listening.getHost()
        return int(host.port)

    async def connect(self, description: str, protocol: Any) -> Any:
        """:return: the connected protocol; it is disconnected after the test."""
        endpoint = clientFromString(reactor, description)
        connected = await connectProtocol(endpoint, protocol)
        self.addCleanup(connected.transport.loseConnection)
        return connected

    async def exchange(self, server: str, client: str) -> None:
        """Send lines there and get them back."""
        port = await self.serve(server, Lines)
        lines = Lines()
        lines.answers, lines.wanted = False, 3
        await self.connect(client.format(port), lines)
        for line in (b"one", b"two", b"x" * 10_000):
            lines.sendLine(line)
        self.assertEqual(await lines.enough, [b"eno", b"owt", b"x" * 10_000])

    @coroutine
    async def test_lines(self) -> None:
        """Lines go to and fro over IPv4."""
        await self.exchange("udt:0:interface=127.0.0.1", "udt:127.0.0.1:{}")

    @coroutine
    async def test_ipv6(self) -> None:
        """Lines go to and fro over IPv6."""
        await self.exchange(r"udt:0:interface=\:\:1", r"udt:\:\:1:{}")

    @coroutine
    async def test_name(self) -> None:
        """A name is resolved; if its first address does not answer, the next is tried."""
        await self.exchange("udt:0:interface=127.0.0.1", "udt:localhost:{}:timeout=0.5")

    @coroutine
    async def test_amp(self) -> None:
        """AMP works over UDT."""
        port = await self.serve("udt:0:interface=127.0.0.1", Calculator)
        client = await self.connect(f"udt:127.0.0.1:{port}:bindAddress=127.0.0.1", amp.AMP())
        self.assertEqual(await client.callRemote(Sum, a=2, b=3), {"total": 5})

    @coroutine
    async def test_server_closes(self) -> None:
        """When the server closes, the client is told and its socket is given back."""
        port = await self.serve("udt:0:interface=127.0.0.1", Lines)
        lines = Lines()
        await self.connect(f"udt:127.0.0.1:{port}", lines)
        self.made[0].transport.loseConnection()
        await lines.over

    @coroutine
    async def test_carriers(self) -> None:
        """Ends that carry datagrams in different ways understand each other."""
        for theirs, ours in (("plain", "auto"), ("auto", "plain")):
            port = await self.serve(f"udt:0:interface=127.0.0.1:carrier={theirs}", Calculator)
            client = await self.connect(f"udt:127.0.0.1:{port}:carrier={ours}", amp.AMP())
            self.assertEqual(await client.callRemote(Sum, a=2, b=3), {"total": 5})

    @coroutine
    async def test_nobody(self) -> None:
        """With nobody there the connect fails in the time given."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            number = silent.getsockname()[1]
            endpoint = clientFromString(reactor, f"udt:127.0.0.1:{number}:timeout=0.3")
            try:
                await endpoint.connect(Factory())
            except error.TimeoutError:
                return
        self.fail("connected to nobody")

    @coroutine
    async def test_taken(self) -> None:
        """A server on a port in use fails as for TCP; so does a client's local address."""
        port = await self.serve("udt:0:interface=127.0.0.1", Lines)
        try:
            await serverFromString(reactor, f"udt:{port}:interface=127.0.0.1").listen(Factory())
        except error.CannotListenError:
            pass
        else:
            self.fail("listened twice on one port")
        endpoint = UDTClientEndpoint(reactor, "127.0.0.1", 9, 0.3, ("127.0.0.1", port))
        try:
            await endpoint.connect(Factory())
        except error.ConnectBindError:
            return
        self.fail("bound to a port in use")


class ParserTests(SynchronousTestCase):
    """Endpoint descriptions."""

    def test_interfaces(self) -> None:
        """The endpoints are Twisted's kind of endpoints."""
        client = UDTClientParser().parseStreamClient(reactor, "127.0.0.1", "80")
        server = UDTServerParser().parseStreamServer(reactor, "80")
        self.assertTrue(verifyObject(IStreamClientEndpoint, client))
        self.assertTrue(verifyObject(IStreamServerEndpoint, server))
        self.assertIsInstance(client, UDTClientEndpoint)
        self.assertIsInstance(server, UDTServerEndpoint)

    def test_bad_clients(self) -> None:
        """What makes no sense is refused with a sentence."""
        for description in (
            "udt:host",
            "udt:host:0",
            "udt:host:65536",
            "udt:host:http",
            "udt:host:80:90",
            "udt:host:80:timeout=soon",
            "udt:host:80:colour=red",
            "udt:host:80:carrier=fast",
        ):
            with self.subTest(description):
                self.assertRaises(ValueError, clientFromString, reactor, description)

    def test_bad_servers(self) -> None:
        """What makes no sense is refused with a sentence."""
        for description in (
            "udt:",
            "udt:-1",
            "udt:65536",
            "udt:1:2",
            "udt:1:interface=name",
            "udt:1:carrier=fast",
        ):
            with self.subTest(description):
                self.assertRaises(ValueError, serverFromString, reactor, description)

    def test_subprocess(self) -> None:
        """A fresh interpreter finds both parsers as plugins."""
        program = (
            "from twisted.internet import reactor\n"
            "from twisted.internet.endpoints import clientFromString, serverFromString\n"
            "print(type(clientFromString(reactor, 'udt:127.0.0.1:1')).__name__,"
            " type(serverFromString(reactor, 'udt:1:interface=127.0.0.1')).__name__)\n"
        )
        output = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual(output.split(), ["UDTClientEndpoint", "UDTServerEndpoint"])
