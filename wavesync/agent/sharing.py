"""Agents that server endpoints share: one registration serves all services of one server."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorCore
from zope.interface import implementer

from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations, list_path
from wavesync.identity.verify import Peer
from wavesync.interfaces import IReactor
from wavesync.session.names import ServiceAddress
from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.urls import parse_mediators

__all__ = ["AgentOptions", "Agents", "ServicePort"]


@dataclass(frozen=True)
class AgentOptions:
    """What an agent is made of.

    :ivar credentials: the server's credentials file.
    :ivar mediators: URLs instead of those that the credentials name.
    :ivar tcp_port: where to accept TCP connections; 0 for any free port.
    :ivar udp_port: the same for UDP.
    :ivar allow_loopback: publish and punch loopback addresses too (everything on one host).
    """

    credentials: Path
    mediators: tuple[str, ...] = ()
    tcp_port: int = 0
    udp_port: int = 0
    allow_loopback: bool = False


class _SharedAgent:
    """One agent and the services that come and go."""

    def __init__(self, reactor: IReactor, options: AgentOptions, now: Callable[[], float]) -> None:
        credentials = Credentials.load(options.credentials, now=now())
        self.options = options
        self.server = str(credentials.target)
        self.table: dict[str, IProtocolFactory] = {}
        self.trigger: Any = None
        self.service = AgentService(
            reactor,
            credentials,
            self,
            parse_mediators(options.mediators or credentials.mediators),
            settings=AgentSettings(
                tcp_port=options.tcp_port,
                udp_port=options.udp_port,
                allow_loopback=options.allow_loopback,
            ),
            wall_clock=now,
            revocations=Revocations(
                credentials.system_key_bytes,
                state=list_path(options.credentials.parent, credentials.system),
            ),
            destinations=open_destinations(reactor, directory=options.credentials.parent),
        )

    def __call__(self, name: str, peer: Peer) -> IProtocolFactory | None:
        """Find a service (:class:`wavesync.session.server.Services`)."""
        return self.table.get(name)

    def names(self, peer: Peer) -> Sequence[str]:
        """All names, sorted."""
        return sorted(self.table)


class Agents:
    """Runs one agent for each reactor and credentials file, as long as it has a service.

    Agents that still run are stopped with their reactor.

    :param wall_clock: seconds since the epoch.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._running: dict[tuple[IReactor, Path], _SharedAgent] = {}

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def listen(
        self, reactor: IReactor, options: AgentOptions, service: str, factory: IProtocolFactory
    ) -> "ServicePort":
        """Serve *service* by the protocols that *factory* makes.

        :raises SettingsError: the credentials or an option cannot be used, or the service is
            served already.
        :raises NotAllowed: the credentials have expired or do not fit together.
        """
        key = reactor, options.credentials
        agent = self._running.get(key)
        if agent is None:
            agent = self._start(key, options)
        elif agent.options != options:
            raise SettingsError(
                f"an agent with {options.credentials} runs already, with other options"
            )
        if service in agent.table:
            raise SettingsError(f"the service {service!r} of {agent.server} is served already")
        port = ServicePort(agent, service, factory, lambda: self._served(key))
        port.startListening()
        return port

    def close(self) -> Deferred[Any]:
        """Stop all agents; fires when nothing of them is left."""
        return DeferredList([self._stop(key) for key in list(self._running)])

    def _start(self, key: tuple[IReactor, Path], options: AgentOptions) -> _SharedAgent:
        reactor = key[0]
        agent = _SharedAgent(reactor, options, self._wall_clock)
        agent.service.startService()
        agent.trigger = IReactorCore(reactor).addSystemEventTrigger(
            "before", "shutdown", agent.service.stopService
        )
        self._running[key] = agent
        return agent

    def _served(self, key: tuple[IReactor, Path]) -> Deferred[Any]:
        """A service is served no more: nor is an agent without services needed."""
        agent = self._running.get(key)
        if agent is None or agent.table:
            return succeed(None)
        return self._stop(key)

    def _stop(self, key: tuple[IReactor, Path]) -> Deferred[Any]:
        agent = self._running.pop(key)
        agent.table.clear()
        if agent.service.running:
            IReactorCore(key[0]).removeSystemEventTrigger(agent.trigger)
            return agent.service.stopService()
        return succeed(None)


@implementer(IListeningPort)
class ServicePort:
    """A service that is being served.

    :param on_stopped: called when it is served no more; gives what fires when all is cleaned up.
    """

    def __init__(
        self,
        agent: _SharedAgent,
        service: str,
        factory: IProtocolFactory,
        on_stopped: Callable[[], Deferred[Any]],
    ) -> None:
        self._agent = agent
        self._service = service
        self._factory = factory
        self._on_stopped = on_stopped

    def startListening(self) -> None:
        """Let clients open the service (IListeningPort)."""
        self._factory.doStart()
        self._agent.table[self._service] = self._factory

    def stopListening(self) -> Deferred[Any]:
        """Serve nobody any more (IListeningPort).

        Connections go on while the server has other services; with the last one the agent stops,
        and they end.

        :returns: fires when all is cleaned up.
        """
        if self._agent.table.get(self._service) is not self._factory:
            return succeed(None)
        del self._agent.table[self._service]
        self._factory.doStop()
        return self._on_stopped()

    def getHost(self) -> ServiceAddress:
        """Return the names of the server and the service (IListeningPort)."""
        return ServiceAddress(self._agent.server, self._service)

    def when_registered(self) -> Deferred[None]:
        """Fires once clients can find the server through a mediator."""
        links = self._agent.service.links
        return links[0].when_registered() if links else Deferred()
