"""Tests for :mod:`wavesync.agent.service`."""

import gc
import os
import socket
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.cli.support import Site, reactor
from tests.client.world import Talker
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.opening import open_connector
from wavesync.errors import ConnectFailed, SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.signalling.numbers import MAX_ADDRESSES
from wavesync.signalling.relay_urls import parse_relay
from wavesync.signalling.urls import parse_mediators


def descriptors() -> int:
    """How many descriptors this process has."""
    # Twisted leaves a socket that it could not bind to the garbage collector.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class AgentServiceTests(TestCase):
    """An agent runs, can be found, and stops without a trace."""

    timeout = 30

    def setUp(self) -> None:
        """Start a mediator; the site's own agent is not used."""
        self.site = Site(Path(self.mktemp()).absolute())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop it."""
        return self.site.mediator.stopService()

    def agent(self, credentials: Credentials | None = None, **settings: Any) -> AgentService:
        """An agent with an echo."""
        return AgentService(
            reactor,
            self.site.server_credentials if credentials is None else credentials,
            {"echo": Factory.forProtocol(Echo)},
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True, **settings),
        )

    def test_life(self) -> Deferred[None]:
        """Start, be reached, stop, start again: no descriptor and no delayed call too many."""

        async def test() -> None:
            before = None
            agent = self.agent()
            for _ in range(3):
                agent.startService()
                await agent.links[0].when_registered().addTimeout(10, reactor)
                connector = open_connector(
                    reactor, self.site.client_credentials, allow_loopback=True
                )
                talker = Talker()
                await connector.connect(self.site.target, "echo", talker)
                await connector.close()
                await agent.stopService()
                self.assertEqual(agent.links, [])
                # The mediator takes a moment to notice.
                await deferLater(reactor, 0.3)
                now = descriptors(), len(reactor.getDelayedCalls())
                self.assertEqual(before or now, now)
                before = now

        return Deferred.fromCoroutine(test())

    def test_client_credentials(self) -> None:
        """A client's credentials do not make an agent."""
        error = self.assertRaises(SettingsError, self.agent, self.site.client_credentials)
        self.assertIn("these are a client's credentials", str(error))

    def test_relays(self) -> None:
        """Without a word all relays may be used; a list in the settings means these and no others."""
        named, own, told = (parse_relay(f"http://{name}.example") for name in ("n", "o", "t"))
        system = SystemCredentials.create((self.site.url,), relays=(str(named),))
        credentials = system.add_server(now=time.time())
        for settings, candidates in (
            ({}, (named, told)),
            ({"relays": (str(own),)}, (own,)),
            ({"relays": "none"}, ()),
        ):
            agent = self.agent(credentials, **settings)
            agent.relays.told("m", [told])
            self.assertEqual(agent.relays.candidates, candidates)

    def test_ports_in_use(self) -> Deferred[None]:
        """A port that is taken is one sentence, and everything opened so far is closed."""

        async def test() -> None:
            with (
                socket.create_server(("", 0)) as tcp,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            ):
                udp.bind(("", 0))
                for settings, words in (
                    ({"tcp_port": tcp.getsockname()[1]}, "TCP port"),
                    ({"udp_port": udp.getsockname()[1]}, "UDP port"),
                ):
                    agent = self.agent(**settings)
                    error = self.assertRaises(SettingsError, agent.startService)
                    self.assertIn(words, str(error))
                    number = agent.port.address[1] if agent.port is not None else 0
                    await agent.stopService()
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                        again.bind(("", number))

        return Deferred.fromCoroutine(test())

    def test_addresses(self) -> Deferred[None]:
        """What is published: forwarded addresses first, then every own one, never too many."""

        async def test() -> None:
            public = tuple(f"203.0.113.{number}:7001" for number in range(1, 9))
            agent = self.agent(public_addresses=public)
            agent.startService()
            assert agent.port is not None
            tcp, udp = agent.addresses()
            self.assertEqual(tcp[:8], tuple((f"203.0.113.{n}", 7001) for n in range(1, 9)))
            self.assertIn(("127.0.0.1", agent.tcp_port), tcp)
            self.assertIn(("127.0.0.1", agent.port.address[1]), udp)
            self.assertLessEqual(len(tcp) + len(udp), MAX_ADDRESSES)
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_fresh_port(self) -> Deferred[None]:
        """A fresh UDP port is where the next clients connect; who is connected stays so."""

        async def test() -> None:
            agent = self.agent()
            agent.startService()
            await agent.links[0].when_registered().addTimeout(10, reactor)
            assert agent.port is not None and agent.ports is not None
            old = agent.port
            connectors = [
                open_connector(
                    reactor, self.site.client_credentials, paths={"udp"}, allow_loopback=True
                )
                for _ in range(2)
            ]
            first, further, other = Talker(), Talker(), Talker()
            await connectors[0].connect(self.site.target, "echo", first)
            agent.ports.unheard()
            self.assertIsNot(agent.port, old)
            self.assertIn(("127.0.0.1", agent.port.address[1]), agent.addresses()[1])
            await connectors[1].connect(self.site.target, "echo", other)
            await connectors[0].connect(self.site.target, "echo", further)
            self.assertEqual((old.connections, agent.port.connections), (3, 2))
            self.assertFalse(first.lost)
            for connector in connectors:
                await connector.close()
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_fixed_port(self) -> Deferred[None]:
        """A UDP port that the settings name is kept: somebody may have opened it in a firewall."""

        async def test() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("", 0))
                number = free.getsockname()[1]
            agent = self.agent(udp_port=number)
            agent.startService()
            assert agent.port is not None and agent.ports is not None
            agent.ports.unheard()
            self.assertEqual(agent.port.address[1], number)
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_udp_only_mediator(self) -> Deferred[None]:
        """A mediator named for UDP only cannot be registered with: that is said, and all goes on."""

        async def test() -> None:
            agent = AgentService(
                reactor,
                self.site.server_credentials,
                {},
                parse_mediators(("udp://127.0.0.1:1",)),
                settings=AgentSettings(port_mapping=False),
            )
            agent.startService()
            self.assertEqual(agent.links, [])
            await agent.stopService()

        return Deferred.fromCoroutine(test())

    def test_sessions_limit(self) -> Deferred[None]:
        """One session more than the settings allow is refused as busy, until another ends."""

        async def test() -> None:
            agent = self.agent(max_sessions=2)
            agent.startService()
            await agent.links[0].when_registered().addTimeout(10, reactor)
            connector = open_connector(
                reactor, self.site.client_credentials, paths={"tcp"}, allow_loopback=True
            )
            talkers = [Talker() for _ in range(3)]
            for talker in talkers[:2]:
                await connector.connect(self.site.target, "echo", talker)
            failure = await self.assertFailure(
                connector.connect(self.site.target, "echo", talkers[2]), ConnectFailed
            )
            self.assertIn("as many sessions", str(failure))
            await connector.close()
            for talker in talkers[:2]:
                assert talker.transport is not None
                talker.transport.loseConnection()
            while agent.sessions.serving:
                await deferLater(reactor, 0.01)
            await agent.stopService()

        return Deferred.fromCoroutine(test())
