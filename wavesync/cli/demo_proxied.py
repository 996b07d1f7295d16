"""The part of ``wavesync demo`` where nothing but an HTTP proxy leads out, and that lets short requests
pass only."""

import os
import socket
import time
from functools import partial

from twisted.internet.interfaces import IProtocolFactory, IReactorSocket

from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address, IReactor
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.signalling.network import this_network
from wavesync.signalling.urls import parse_mediators
from wavesync.testing.proxy import BufferingProxy
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.ladder_store import Ladders
from wavesync.tunnel.proxies import Proxies, ProxySettings

__all__ = ["ProxiedSite"]


class ProxiedSite:
    """A system of its own: its agent and its clients reach mediator and relay through the proxy alone.

    The ports that its URLs name are closed: only the proxy knows what is behind them.

    :param host: where everything is.
    :param service: makes the protocols of the service ``echo``.
    :ivar agent: the agent, once it was started.
    :ivar relay: the relay's URL.
    :ivar proxy: the proxy.
    :ivar target: the server.
    """

    agent: AgentService
    relay: str
    proxy: BufferingProxy
    target: Target

    def __init__(self, reactor: IReactor, host: str, service: IProtocolFactory) -> None:
        self._reactor = reactor
        self._host = host
        self._service = service
        self._closed: list[socket.socket] = []
        self._services: list[AgentService | MediatorService | RelayService] = []
        # What one end finds out the other one need not.
        self._ladders = Ladders(
            None,
            clock=reactor.seconds,
            wall_clock=time.time,
            network=this_network,
        )

    def start(self) -> None:
        """Run it all."""
        self.proxy = BufferingProxy(self._reactor, self._host)
        relay = RelayService(
            RelaySettings(name=self._host, listen=(f"{self._host}:0",)), self._reactor
        )
        self._run(relay)
        self.relay = self._hide(relay.addresses[0])
        mediator = MediatorService(
            MediatorSettings(
                name=self._host,
                listen=(f"{self._host}:0",),
                http_listen=(f"{self._host}:0",),
                relays=(self.relay,),
            ),
            IReactorSocket(self._reactor),
        )
        self._run(mediator)
        url = self._hide(mediator.http_addresses[0])
        system = SystemCredentials.create((url,))
        server = system.add_server(now=time.time())
        client = system.add_client("demo", now=time.time())
        self.target = server.target
        self._connect = partial(
            open_connector, self._reactor, client, paths={"relay"}, allow_loopback=True
        )
        self.agent = AgentService(
            self._reactor,
            server,
            {"echo": self._service},
            parse_mediators((url,)),
            settings=AgentSettings(allow_loopback=True, lan=False),
            destinations=self._destinations(),
        )
        self._run(self.agent)

    def connector(self) -> Connector:
        """Make a client."""
        return self._connect(destinations=self._destinations())

    async def stop(self) -> None:
        """Stop it all."""
        for service in reversed(self._services):
            await service.stopService()
        if hasattr(self, "proxy"):
            await self.proxy.close()
        for each in self._closed:
            each.close()

    def _run(self, service: AgentService | MediatorService | RelayService) -> None:
        service.startService()
        self._services.append(service)

    def _hide(self, behind: Address) -> str:
        """Take a port at which nobody listens; only the proxy leads on from there."""
        closed = socket.socket()
        self._closed.append(closed)
        closed.bind((self._host, 0))
        shown: Address = closed.getsockname()
        self.proxy.routes[shown] = behind
        return f"http://{shown[0]}:{shown[1]}"

    def _destinations(self) -> Destinations:
        proxies = Proxies(ProxySettings(url=self.proxy.url), {})
        return Destinations(self._reactor, proxies, self._ladders, os.urandom)
