"""How pairs end at a relay, by what clients do: :meth:`wavesync.client.connector.Connector.close`,
``wavesync connect``, and a process that is killed."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.cli.support import BLOB, HOST, Blob, Command, Site, save
from tests.relay.world import reactor, until
from tests.signalling.authority import Authority
from wavesync.agent.relays import Relays
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.connector import Connector
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_leg import RelayLeg
from wavesync.client.relay_path import Relaying, RelayPath
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed
from wavesync.identity.ids import new_id
from wavesync.identity.system import SystemCredentials
from wavesync.relay.pair import CLIENT_BROKE, DONE
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.session.client import CONTROL, connect_session
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.relay_endpoint import relay_endpoint
from wavesync.signalling.relay_urls import Relay, parse_relays
from wavesync.signalling.urls import parse_mediators

CONNECTS = 6
"""Clients of each kind."""


@implementer(IStreamClientEndpoint)
class _Process:
    """The connections of what stands for a process: whatever it leaves open is reset when it goes.

    :param trust_root: whose certificates it takes.
    """

    def __init__(self, trust_root: Any = None) -> None:
        self._legs: list[RelayLeg] = []
        self._relay: Relay | None = None
        self._trust_root = trust_root

    def dial(self, relay: Relay) -> "_Process":
        """Make the endpoint of a relay."""
        self._relay = relay
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint)."""
        assert self._relay is not None

        def keep(leg: IProtocol) -> IProtocol:
            assert isinstance(leg, RelayLeg)
            self._legs.append(leg)
            return leg

        endpoint = relay_endpoint(reactor, self._relay, trust_root=self._trust_root)
        return endpoint.connect(protocolFactory).addCallback(keep)

    def exit(self) -> None:
        """End."""
        for leg in self._legs:
            leg.abort()


class Hearer(Protocol):
    """Says one thing, listens, and closes when it has heard enough, or all.

    :param words: what it says.
    :param enough: bytes; ``None`` to wait until the service closes.
    """

    def __init__(self, words: bytes, enough: int | None) -> None:
        self.heard = b""
        self.lost: Deferred[BaseException | None] = Deferred()
        self._words = words
        self._enough = enough

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self._words)

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        self.heard += data
        if self._enough is not None and len(self.heard) >= self._enough:
            assert self.transport is not None
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.lost.callback(reason.value)


class EndTests(TestCase):
    """What an operator reads of how clients leave."""

    timeout = 110

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a relay, a mediator and an agent that parks."""
        directory = Path(self.mktemp()).absolute()
        settings = RelaySettings(name=HOST, listen=(f"{HOST}:0",), drain_grace=0.0)
        self.relay = RelayService(settings, reactor)
        self.relay.startService()
        url = "{}:{}".format(*self.relay.addresses[0])
        self.relays = parse_relays((url,))
        self.site = Site(directory)
        self.site.agent = AgentService(
            reactor,
            self.site.server_credentials,
            self.site.services,
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True, relays=(url,)),
        )
        self.client = self.site.system.add_client("bob", relays=(url,), now=time.time())
        self.file = save(self.client, directory, "bob.pem")
        return Deferred.fromCoroutine(self._begin())

    async def _begin(self) -> None:
        await self.site.start()
        await until(lambda: self.relay.house.pool.parked)

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop all."""

        async def stop() -> None:
            await self.site.stop()
            await self.relay.stopService()

        return Deferred.fromCoroutine(stop())

    def command(self, name: str, *more: str, **options: Any) -> Command:
        """Start a command that goes through the relay."""
        own = ["--credentials", self.file, "--allow-loopback", "--paths", "relay"]
        return Command(name, *own, self.site.server, *more, **options)

    async def ends(self, many: int) -> dict[str, int]:
        """Wait until so many pairs are over, and tell how they ended."""
        ended = self.relay.house.statistics.ended
        await until(lambda: ended.total() >= many)
        return dict(ended)

    def test_closed(self) -> Deferred[None]:
        """Clients that are through leave in order, whoever closes first, and whatever they opened:
        once a connector is closed nothing of it is left, so the end of its process breaks nothing.
        """

        async def come(service: str, words: bytes, enough: int | None) -> None:
            process = _Process()
            connector = Connector(
                reactor,
                self.client,
                parse_mediators((self.site.url,)),
                port=None,
                paths=["relay"],
                wall_clock=time.time,
                allow_loopback=True,
                relaying=Relaying(reactor, self.client, process.dial, wall_clock=time.time),
            )
            hearer = Hearer(words, enough)
            try:
                if service == CONTROL:
                    session = await connector.session(
                        self.site.target, Timeline(self.site.server, reactor.seconds)
                    )
                    await session.open(CONTROL, Protocol())
                    session.close()
                    return
                await connector.connect(self.site.target, service, hearer)
                await hearer.lost
            except ConnectFailed as error:
                self.assertIn("no service", str(error))
            finally:
                await connector.close()
                process.exit()

        async def test() -> None:
            kinds = {
                "the client closes": ("echo", b"hello", 5),
                "the service closes": ("blob", b"", None),
                "a ping": (CONTROL, b"", None),
                "no such service": ("nothing", b"", None),
            }
            for kind in kinds.values():
                for _ in range(CONNECTS):
                    await come(*kind)
            ended = await self.ends(CONNECTS * len(kinds))
            self.assertEqual(ended, {DONE: CONNECTS * len(kinds)})

        return Deferred.fromCoroutine(test())

    def test_commands(self) -> Deferred[None]:
        """``wavesync connect`` and ``ping`` leave in order; one that is killed in the middle broke."""

        async def test() -> None:
            commands = [
                self.command("connect", "shout", stdin=b"hello"),
                self.command("connect", "blob"),
                self.command("ping", "-c", "1"),
            ]
            ended = await gatherResults([each.ended for each in commands])
            self.assertEqual([status for status, _, _ in ended], [0, 0, 0], ended)
            self.assertEqual([ended[0][1], ended[1][1]], [b"HELLO", BLOB])
            self.assertEqual(await self.ends(3), {DONE: 3})
            killed = self.command("connect", "endless", stdin=None)
            await killed.output_with(b"and so on")
            killed.signal("KILL")
            self.assertEqual((await killed.ended)[0], -9)
            self.assertEqual(await self.ends(4), {DONE: 3, CLIENT_BROKE: 1})

        return Deferred.fromCoroutine(test())


class SecuredEndTests(TestCase):
    """The same over TLS, of which each side ends its own direction."""

    timeout = 60

    def test_tls(self) -> Deferred[None]:
        """Clients that are through leave in order."""
        authority = Authority()
        pem = Path(self.mktemp()).absolute()
        pem.write_bytes(authority.certify(HOST))
        settings = RelaySettings(
            name=HOST,
            listen=(),
            tls_listen=(f"{HOST}:0",),
            certificate=str(pem),
            key=str(pem),
            drain_grace=0.0,
        )
        service = RelayService(settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        relay = Relay(HOST, service.addresses[0][1], True)
        roots = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
        system = SystemCredentials.create(())
        server, client = (
            system.add_server(now=time.time()),
            system.add_client("alice", now=time.time()),
        )
        services = NamedServices(
            {"echo": Factory.forProtocol(Echo), "blob": Factory.forProtocol(Blob)}
        )
        agent = Relays(
            reactor,
            server,
            partial(relay_endpoint, reactor, trust_root=roots),
            ServerSessionFactory(server, services, reactor),
            lambda: None,
            own=(relay,),
            wall_clock=time.time,
        )
        agent.start()
        self.addCleanup(agent.stop)

        async def come(name: str, words: bytes, enough: int | None) -> None:
            process = _Process(roots)
            path = RelayPath(
                Relaying(reactor, client, process.dial, wall_clock=time.time),
                server.target,
                [RelayOption(relay)],
                new_id(),
                lambda: connect_session(client, server.target, reactor),
            )
            session = await path.open()
            hearer = Hearer(words, enough)
            await session.open(name, hearer)
            self.assertIsInstance(await hearer.lost, ConnectionDone)
            await session.ended
            process.exit()

        async def test() -> None:
            await until(lambda: service.house.pool.parked)
            for _ in range(CONNECTS):
                await come("echo", b"hello", 5)
                await come("blob", b"", None)
            ended = service.house.statistics.ended
            await until(lambda: ended.total() == 2 * CONNECTS)
            self.assertEqual(dict(ended), {DONE: 2 * CONNECTS})

        return Deferred.fromCoroutine(test())
