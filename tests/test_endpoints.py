"""Tests for :mod:`wavesync.endpoints`, :mod:`wavesync.client.pool`, :mod:`wavesync.agent.sharing`."""

import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionDone, NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from tests.cli.support import Site, reactor, save
from wavesync.agent.sharing import AgentOptions, Agents, ServicePort
from wavesync.client.connector import Connector
from wavesync.client.pool import ConnectorOptions, Connectors
from wavesync.client.report import Timeline
from wavesync.endpoints import (
    WavesyncClientEndpoint,
    WavesyncClientParser,
    WavesyncServerEndpoint,
    WavesyncServerParser,
)
from wavesync.errors import ConnectFailed, NotAllowed, SettingsError
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.session.names import ServiceAddress, check_service_name

TARGET = Target("ab" * 16, "cd" * 16)


class CountingFactory(Factory):
    """Makes one kind of protocol, and counts who uses it."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self.make = protocol
        self.users = 0
        self.addresses: list[IAddress | None] = []

    def doStart(self) -> None:
        """One more."""
        self.users += 1

    def doStop(self) -> None:
        """One less."""
        self.users -= 1

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make it."""
        self.addresses.append(addr)
        return self.make()


class FakeConnector:
    """Keeps what it is asked to open."""

    def __init__(self) -> None:
        self.asked: list[tuple[Target, str, IProtocol, Deferred[IProtocol]]] = []

    def connect(
        self, target: Target, service: str, protocol: IProtocol, *, timeline: Timeline | None = None
    ) -> Deferred[IProtocol]:
        """Begin to open."""
        opening: Deferred[IProtocol] = Deferred()
        self.asked.append((target, service, protocol, opening))
        return opening


@implementer(IHalfCloseableProtocol)
class HalfCloser(Protocol):
    """Takes half-close."""

    ended = 0

    def readConnectionLost(self) -> None:
        """Note it."""
        self.ended += 1

    def writeConnectionLost(self) -> None:
        """Note it."""


class ClientEndpointTests(SynchronousTestCase):
    """A Twisted program connects to a service as it connects to anything."""

    def setUp(self) -> None:
        self.connector = FakeConnector()
        self.endpoint = WavesyncClientEndpoint(
            lambda: self.connector,  # type: ignore[arg-type, return-value]
            TARGET,
            "web",
        )

    def test_interface(self) -> None:
        """It is a client endpoint."""
        verifyClass(IStreamClientEndpoint, WavesyncClientEndpoint)
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_connect(self) -> None:
        """The protocol comes back when the service was opened, and its factory learns the end."""
        factory = CountingFactory(Protocol)
        connecting = self.endpoint.connect(factory)
        ((target, service, inner, opening),) = self.connector.asked
        self.assertEqual((target, service), (TARGET, "web"))
        self.assertEqual(factory.addresses, [ServiceAddress(str(TARGET), "web")])
        self.assertEqual(factory.users, 1)
        self.assertNoResult(connecting)
        opening.callback(inner)
        self.assertIs(type(self.successResultOf(connecting)), Protocol)
        inner.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(factory.users, 0)

    def test_half_close(self) -> None:
        """Half-close is offered to protocols that know it, and to no other."""
        for protocol in (HalfCloser, Protocol):
            self.endpoint.connect(CountingFactory(protocol))
        able, unable = (asked[2] for asked in self.connector.asked)
        self.assertIsNone(IHalfCloseableProtocol(unable, None))
        halves = IHalfCloseableProtocol(able)
        halves.readConnectionLost()
        self.assertEqual(able.ended, 1)  # type: ignore[attr-defined]

    def test_failed(self) -> None:
        """A failure is the connector's own, and the factory is used no more."""
        factory = CountingFactory(Protocol)
        connecting = self.endpoint.connect(factory)
        # A refused protocol has been connected, and lost, before that.
        self.connector.asked[0][2].connectionLost(Failure(ConnectFailed("refused")))
        self.connector.asked[0][3].errback(ConnectFailed("refused"))
        self.failureResultOf(connecting, ConnectFailed)
        self.assertEqual(factory.users, 0)

    def test_cancelled(self) -> None:
        """Cancelling gives up."""
        factory = CountingFactory(Protocol)
        connecting = self.endpoint.connect(factory)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(factory.users, 0)

    def test_no_protocol(self) -> None:
        """A factory that makes nothing connects nothing."""
        factory = CountingFactory(lambda: None)
        self.failureResultOf(self.endpoint.connect(factory), NoProtocol)
        self.assertEqual((factory.users, self.connector.asked), (0, []))

    def test_no_connector(self) -> None:
        """Credentials that cannot be used fail the connection, with their sentence."""

        def none() -> Connector:
            raise NotAllowed("expired")

        factory = CountingFactory(Protocol)
        connecting = WavesyncClientEndpoint(none, TARGET, "web").connect(factory)
        self.failureResultOf(connecting, NotAllowed)
        self.assertEqual(factory.users, 0)


class ParserTests(SynchronousTestCase):
    """Endpoints as text; every mistake is a sentence when the text is read."""

    def test_interfaces(self) -> None:
        """They are what Twisted looks for."""
        verifyObject(IPlugin, WavesyncClientParser())
        verifyObject(IPlugin, WavesyncServerParser())
        verifyObject(IStreamClientEndpointStringParserWithReactor, WavesyncClientParser())
        verifyObject(IStreamServerEndpointStringParser, WavesyncServerParser())
        verifyClass(IStreamServerEndpoint, WavesyncServerEndpoint)
        verifyClass(IListeningPort, ServicePort)
        verifyObject(IAddress, ServiceAddress("s", "web"))

    def test_found(self) -> None:
        """Both are found by ``clientFromString`` and ``serverFromString``."""
        client = clientFromString(
            reactor,
            f"wavesync:{TARGET}:service=web:credentials=/nowhere:mediator=udp\\://m\\:1,n.example"
            ":paths=udp:allowLoopback=yes",
        )
        self.assertIsInstance(client, WavesyncClientEndpoint)
        server = serverFromString(
            reactor,
            "wavesync:service=web:credentials=/nowhere:mediator=m:tcpPort=1:udpPort=65535"
            ":allowLoopback=no",
        )
        self.assertIsInstance(server, WavesyncServerEndpoint)
        verifyObject(IStreamServerEndpoint, server)

    def test_missing_credentials(self) -> None:
        """A file that is not there is told on connecting and listening."""
        client = clientFromString(reactor, f"wavesync:{TARGET}:service=web:credentials=/nowhere")
        failure = self.failureResultOf(client.connect(CountingFactory(Protocol)), SettingsError)
        self.assertEqual(failure.getErrorMessage(), "/nowhere does not exist.")
        server = serverFromString(reactor, "wavesync:service=web:credentials=/nowhere")
        failure = self.failureResultOf(server.listen(CountingFactory(Protocol)), SettingsError)
        self.assertEqual(failure.getErrorMessage(), "/nowhere does not exist.")

    def test_client_mistakes(self) -> None:
        """Each is told in words."""
        for text, words in (
            ("wavesync", "a wavesync client is wavesync:TARGET"),
            (f"wavesync:{TARGET}", "a wavesync client is wavesync:TARGET"),
            ("wavesync:service=web", "a wavesync client is wavesync:TARGET"),
            (f"wavesync:{TARGET}:web:service=web", "a wavesync client is"),
            (f"wavesync:{TARGET}:service=web:color=red", "a wavesync client is"),
            (f"wavesync:{TARGET}:service=Web", "'Web' is no name of a service"),
            (f"wavesync:{TARGET}:service=", "is no name of a service"),
            ("wavesync:camera:service=web", "camera"),
            (f"wavesync:{TARGET}:service=web:paths=smoke", "no such path: smoke"),
            (f"wavesync:{TARGET}:service=web:paths=", "no such path"),
            (f"wavesync:{TARGET}:service=web:allowLoopback=maybe", "yes or no"),
            (f"wavesync:{TARGET}:service=web:mediator=", "expected udp"),
            (f"wavesync:{TARGET}:service=web:mediator=ftp\\://m", "the scheme must be"),
        ):
            error = self.assertRaises(ValueError, clientFromString, reactor, text)
            self.assertIn(words, str(error))

    def test_server_mistakes(self) -> None:
        """Each is told in words."""
        for text, words in (
            ("wavesync", "a wavesync server is wavesync:service=NAME"),
            ("wavesync:web", "a wavesync server is"),
            ("wavesync:service=web:paths=udp", "a wavesync server is"),
            ("wavesync:service=we b", "is no name of a service"),
            ("wavesync:service=web:tcpPort=65536", "tcpPort=65536 is no port number"),
            ("wavesync:service=web:udpPort=x", "udpPort=x is no port number"),
            ("wavesync:service=web:allowLoopback=1", "yes or no"),
            ("wavesync:service=web:mediator=ftp\\://m", "must be udp, tcp, http or https"),
        ):
            error = self.assertRaises(ValueError, serverFromString, reactor, text)
            self.assertIn(words, str(error))

    def test_names(self) -> None:
        """The names that a service can have, at the limits."""
        for name in ("a", "0", "a" * 64, "camera-1.rtsp_0"):
            self.assertEqual(check_service_name(name), name)
        for name in ("", "a" * 65, "A", ".a", "a b", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"):
            self.assertRaises(SettingsError, check_service_name, name)


class PoolTests(SynchronousTestCase):
    """Endpoints with the same options share one connector, and with it its holes."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.system = SystemCredentials.create(("tcp://192.0.2.1",))
        self.client = Path(
            save(self.system.add_client("alice", now=time.time()), self.directory, "c.pem")
        )
        self.reactor: Any = MemoryReactorClock()
        self.connectors = Connectors()

    def options(self, **changed: Any) -> ConnectorOptions:
        """Options without UDP, which need no sockets."""
        return ConnectorOptions(self.client, **{"paths": frozenset({"tcp"}), **changed})

    def test_shared(self) -> None:
        """The same options give the same connector, others another."""
        first = self.connectors.get(self.reactor, self.options())
        self.assertIs(self.connectors.get(self.reactor, self.options()), first)
        other = self.connectors.get(self.reactor, self.options(allow_loopback=True))
        elsewhere = self.connectors.get(MemoryReactorClock(), self.options())  # type: ignore[arg-type]
        self.assertEqual(len({id(first), id(other), id(elsewhere)}), 3)
        self.assertEqual(len(self.connectors), 3)

    def test_closed_with_the_reactor(self) -> None:
        """When the reactor stops, its connectors are closed; nobody has to think of it."""
        connector = self.connectors.get(self.reactor, self.options())
        for trigger, args, kwargs in list(self.reactor.triggers["before"]["shutdown"]):
            trigger(*args, **kwargs)
        self.assertEqual(len(self.connectors), 0)
        opening = connector.connect(TARGET, "web", Protocol())
        self.failureResultOf(opening)

    def test_closed_early(self) -> None:
        """Closed by hand, they leave nothing with the reactor, and are made anew if needed."""
        first = self.connectors.get(self.reactor, self.options())
        self.reactor.removeSystemEventTrigger = lambda trigger: self.removed.append(trigger)
        self.removed: list[Any] = []
        self.successResultOf(self.connectors.close())
        self.assertEqual(len(self.removed), 1)
        self.assertIsNot(self.connectors.get(self.reactor, self.options()), first)

    def test_refused(self) -> None:
        """Credentials that cannot be used leave nothing behind."""
        server = save(self.system.add_server(now=time.time()), self.directory, "s.pem")
        expired = save(
            self.system.add_client("x", now=time.time() - 10**7, days=1), self.directory, "e.pem"
        )
        for path, error in (
            (server, SettingsError),
            (expired, NotAllowed),
            ("/nowhere", SettingsError),
        ):
            self.assertRaises(
                error,
                self.connectors.get,
                self.reactor,
                ConnectorOptions(Path(path), paths=frozenset({"tcp"})),
            )
        self.assertEqual(len(self.connectors), 0)

    def test_agent_refused(self) -> None:
        """A client's credentials do not make a server."""
        self.assertRaises(
            SettingsError,
            Agents().listen,
            self.reactor,
            AgentOptions(self.client),
            "web",
            CountingFactory(Protocol),
        )


class Greeter(LineReceiver):
    """Answers each line with a greeting."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        """Greet."""
        self.sendLine(b"hello, " + line)


class Asker(LineReceiver):
    """Says its name, and listens to the answer."""

    delimiter = b"\n"

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.answer: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Say it."""
        self.sendLine(self.name)

    def lineReceived(self, line: bytes) -> None:
        """Keep the answer, and go."""
        self.answer.callback(line)
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.lost.errback(reason)


class RoundTripTests(TestCase):
    """The text of two endpoints is all it takes to get through."""

    timeout = 30

    def setUp(self) -> None:
        """Start a mediator; the site's own agent is not used."""
        self.site = Site(Path(self.mktemp()).absolute())
        self.server = self.site.system.add_server(now=time.time())
        self.file = save(self.server, self.site.directory, "another.pem")
        self.connectors, self.agents = Connectors(), Agents()

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Close everything: what is left over fails the test."""

        async def close() -> None:
            await self.connectors.close()
            await self.agents.close()
            await self.site.mediator.stopService()

        return Deferred.fromCoroutine(close())

    def go(self, test: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Run a test."""
        return Deferred.fromCoroutine(test)

    def client_endpoint(self, service: str, **options: str) -> WavesyncClientEndpoint:
        """A client's endpoint as its parser makes it."""
        return WavesyncClientParser(self.connectors).parseStreamClient(
            reactor,
            str(self.server.target),
            service=service,
            credentials=self.site.client,
            allowLoopback="yes",
            **options,
        )

    async def serve(self, service: str, factory: Factory) -> Any:
        """Serve, and wait until clients can find it."""
        endpoint = WavesyncServerParser(self.agents).parseStreamServer(
            reactor, service=service, credentials=self.file, allowLoopback="yes"
        )
        port: Any = await endpoint.listen(factory)
        await port.when_registered().addTimeout(10, reactor)
        return port

    def test_round_trip(self) -> Deferred[None]:
        """Two services of one server, several clients over either path, one connector each path."""

        async def test() -> None:
            greeter, other = CountingFactory(Greeter), CountingFactory(Greeter)
            port = await self.serve("greet", greeter)
            second = await self.serve("other", other)
            verifyObject(IListeningPort, port)
            self.assertEqual(port.getHost(), ServiceAddress(str(self.server.target), "greet"))
            self.assertEqual(len(self.agents), 1)
            factories = []
            for paths in ("tcp", "udp", "tcp+udp", "tcp"):
                for service in ("greet", "other"):
                    asker = Asker(paths.encode())
                    factory = CountingFactory(lambda asker=asker: asker)
                    endpoint = self.client_endpoint(service, paths=paths)
                    self.assertIs(await endpoint.connect(factory), asker)
                    self.assertEqual(await asker.answer, b"hello, " + paths.encode())
                    await self.assertFailure(asker.lost, ConnectionDone)
                    await deferLater(reactor, 0)
                    factories.append(factory)
            self.assertEqual([each.users for each in factories], [0] * 8)
            self.assertEqual(len(self.connectors), 3)
            self.assertEqual((greeter.users, other.users), (1, 1))
            await port.stopListening()
            await port.stopListening()
            self.assertEqual((greeter.users, other.users, len(self.agents)), (0, 1, 1))
            await self.assertFailure(
                self.client_endpoint("greet").connect(CountingFactory(Protocol)), ConnectFailed
            )
            await second.stopListening()
            self.assertEqual((other.users, len(self.agents)), (0, 0))

        return self.go(test())

    def test_client_service(self) -> Deferred[None]:
        """Twisted's own reconnecting service works over it."""

        async def test() -> None:
            port = await self.serve("greet", CountingFactory(Greeter))
            asker = Asker(b"service")
            service = ClientService(
                self.client_endpoint("greet"), CountingFactory(lambda: asker), clock=reactor
            )
            service.startService()
            self.assertEqual(await asker.answer, b"hello, service")
            await self.assertFailure(asker.lost, ConnectionDone)
            await service.stopService()
            await port.stopListening()

        return self.go(test())

    def test_served_twice(self) -> Deferred[None]:
        """One name is served once, and one server with one set of options."""

        async def test() -> None:
            port = await self.serve("greet", CountingFactory(Greeter))
            failure = await self.assertFailure(
                self.serve_now("greet", allowLoopback="yes"), SettingsError
            )
            self.assertIn("is served already", str(failure))
            failure = await self.assertFailure(self.serve_now("other"), SettingsError)
            self.assertIn("with other options", str(failure))
            await port.stopListening()
            again = await self.serve("greet", CountingFactory(Greeter))
            await again.stopListening()

        return self.go(test())

    def serve_now(self, service: str, **options: str) -> Deferred[IListeningPort]:
        """Serve without waiting."""
        try:
            return (
                WavesyncServerParser(self.agents)
                .parseStreamServer(reactor, service=service, credentials=self.file, **options)
                .listen(CountingFactory(Greeter))
            )
        except ValueError:
            return fail()

    def test_port_in_use(self) -> Deferred[None]:
        """A port that cannot be listened on fails ``listen`` with a sentence."""

        async def test() -> None:
            taken = str(self.site.mediator.addresses[0][1])
            for option in ("tcpPort", "udpPort"):
                failure = await self.assertFailure(
                    self.serve_now("greet", **{option: taken}), SettingsError
                )
                self.assertIn(f"port {taken} cannot be used", str(failure))
            self.assertEqual(len(self.agents), 0)

        return self.go(test())
