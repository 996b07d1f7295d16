"""Services as Twisted endpoints: any protocol of Twisted speaks through NAT as it is.

``wavesync:TARGET:service=NAME:credentials=FILE`` connects to a service, and
``wavesync:service=NAME:credentials=FILE`` serves one from within the process, without the agent's
service file and without a local port.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import connectionDone
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from wavesync.agent.sharing import AgentOptions, Agents
from wavesync.client.connector import Connector
from wavesync.client.options import PATHS, check_paths
from wavesync.client.pool import ConnectorOptions, Connectors
from wavesync.errors import SettingsError, WavesyncError
from wavesync.identity.files import default_directory
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor
from wavesync.session.names import ServiceAddress, check_service_name
from wavesync.signalling.urls import parse_mediators

__all__ = [
    "WavesyncClientEndpoint",
    "WavesyncClientParser",
    "WavesyncServerEndpoint",
    "WavesyncServerParser",
]


class _Watched:
    """A protocol whose factory is told, once, that its connection is over."""

    def __init__(self, protocol: IProtocol, factory: IProtocolFactory) -> None:
        self._protocol = protocol
        self._factory: IProtocolFactory | None = factory
        # Half-close is offered to those who can take it, and to nobody else.
        directlyProvides(self, providedBy(protocol))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is over (IProtocol)."""
        try:
            self._protocol.connectionLost(reason)
        finally:
            self.over()

    def over(self) -> None:
        """Tell the factory."""
        factory, self._factory = self._factory, None
        if factory is not None:
            factory.doStop()


@implementer(IStreamClientEndpoint)
class WavesyncClientEndpoint:
    """Opens a service of a server.

    :param connector: gives the connector to use; called for each connection.
    :param target: the server, or a system: any server of it.
    :param service: the service's name.
    :raises SettingsError: that is no name of a service.
    """

    def __init__(self, connector: Callable[[], Connector], target: Target, service: str) -> None:
        self._connector = connector
        self._target = target
        self._service = check_service_name(service)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint).

        The protocol is connected as soon as the server is verified, so that its first bytes travel
        with the request for the service.

        :returns: fires with the protocol when the server has opened the service; fails with a
            :class:`wavesync.errors.WavesyncError` whose sentence says why not.  Cancelling it
            gives up.
        """
        factory = protocolFactory
        try:
            connector = self._connector()
            factory.doStart()
            protocol = factory.buildProtocol(ServiceAddress(str(self._target), self._service))
        except Exception:
            return fail(Failure())
        if protocol is None:
            factory.doStop()
            return fail(NoProtocol())
        watched = _Watched(protocol, factory)

        def not_connected(failure: Failure) -> Failure:
            watched.over()
            return failure

        connecting = connector.connect(self._target, self._service, cast(IProtocol, watched))
        return connecting.addCallbacks(lambda _: protocol, not_connected)


@implementer(IStreamServerEndpoint)
class WavesyncServerEndpoint:
    """Serves one service by protocols in this process.

    Endpoints with the same credentials share one agent, whose registration covers all their
    services.

    :param agents: runs the agents.
    :param service: the service's name.
    :raises SettingsError: that is no name of a service.
    """

    def __init__(
        self, reactor: IReactor, agents: Agents, options: AgentOptions, service: str
    ) -> None:
        self._reactor = reactor
        self._agents = agents
        self._options = options
        self._service = check_service_name(service)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Serve (IStreamServerEndpoint).

        :returns: fires with a :class:`wavesync.agent.sharing.ServicePort` when connections are
            accepted; registering with the mediators goes on from there, for as long as it takes.
            Fails with a :class:`wavesync.errors.WavesyncError`.
        """
        return execute(
            self._agents.listen, self._reactor, self._options, self._service, protocolFactory
        )


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class WavesyncClientParser:
    """Reads ``wavesync:TARGET:service=NAME`` and its options.

    ``credentials=FILE`` (by default the one that the command ``wavesync connect`` uses),
    ``mediator=URL`` (several with commas), ``paths=tcp+udp``, ``allowLoopback=yes``.  Colons within
    a value are written ``\\:``.

    :param connectors: what the endpoints share.
    """

    prefix = "wavesync"

    def __init__(self, connectors: Connectors | None = None) -> None:
        self._connectors = Connectors() if connectors is None else connectors

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> WavesyncClientEndpoint:
        """Make the endpoint (IStreamClientEndpointStringParserWithReactor).

        :raises ValueError: the description makes no sense; the sentence says what.
        """
        known = {"service", "credentials", "mediator", "paths", "allowLoopback"}
        if len(args) != 1 or "service" not in kwargs or kwargs.keys() - known:
            raise ValueError(
                "a wavesync client is wavesync:TARGET:service=NAME[:credentials=FILE]"
                "[:mediator=URL][:paths=tcp+udp][:allowLoopback=yes]"
            )
        try:
            options = ConnectorOptions(
                _credentials(kwargs, "client.pem"),
                _mediators(kwargs),
                check_paths(kwargs.get("paths", "+".join(PATHS)).split("+")),
                _yes_or_no(kwargs, "allowLoopback"),
            )
            return WavesyncClientEndpoint(
                lambda: self._connectors.get(reactor, options),
                Target.parse(args[0]),
                kwargs["service"],
            )
        except WavesyncError as error:
            raise ValueError(str(error)) from None


@implementer(IPlugin, IStreamServerEndpointStringParser)
class WavesyncServerParser:
    """Reads ``wavesync:service=NAME`` and its options.

    ``credentials=FILE`` (by default ``~/.config/wavesync/server.pem``), ``mediator=URL`` (several
    with commas), ``tcpPort=NUMBER``, ``udpPort=NUMBER``, ``allowLoopback=yes``.

    :param agents: what the endpoints share.
    """

    prefix = "wavesync"

    def __init__(self, agents: Agents | None = None) -> None:
        self._agents = Agents() if agents is None else agents

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> WavesyncServerEndpoint:
        """Make the endpoint (IStreamServerEndpointStringParser).

        :raises ValueError: the description makes no sense; the sentence says what.
        """
        known = {"service", "credentials", "mediator", "tcpPort", "udpPort", "allowLoopback"}
        if args or "service" not in kwargs or kwargs.keys() - known:
            raise ValueError(
                "a wavesync server is wavesync:service=NAME[:credentials=FILE][:mediator=URL]"
                "[:tcpPort=NUMBER][:udpPort=NUMBER][:allowLoopback=yes]"
            )
        try:
            options = AgentOptions(
                _credentials(kwargs, "server.pem"),
                _mediators(kwargs),
                _port_number(kwargs, "tcpPort"),
                _port_number(kwargs, "udpPort"),
                _yes_or_no(kwargs, "allowLoopback"),
            )
            return WavesyncServerEndpoint(reactor, self._agents, options, kwargs["service"])
        except WavesyncError as error:
            raise ValueError(str(error)) from None


def _credentials(kwargs: dict[str, str], default: str) -> Path:
    """The file, as an absolute path: the same file is the same connector."""
    named = kwargs.get("credentials")
    path = Path(named).expanduser() if named else default_directory() / default
    return path.absolute()


def _mediators(kwargs: dict[str, str]) -> tuple[str, ...]:
    if "mediator" not in kwargs:
        return ()
    urls = tuple(kwargs["mediator"].split(","))
    parse_mediators(urls)
    return urls


def _port_number(kwargs: dict[str, str], name: str) -> int:
    text = kwargs.get(name, "0")
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise SettingsError(f"{name}={text} is no port number: 0 to 65535")
    return int(text)


def _yes_or_no(kwargs: dict[str, str], name: str) -> bool:
    text = kwargs.get(name, "no").lower()
    if text not in ("yes", "no"):
        raise SettingsError(f"{name} must be yes or no, not {text!r}")
    return text == "yes"
