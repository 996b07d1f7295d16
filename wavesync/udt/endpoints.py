"""UDT as Twisted endpoints: ``udt:HOST:PORT`` for clients, ``udt:PORT:interface=ADDR`` for servers.

Each endpoint has a UDP port of its own; :class:`wavesync.udt.port.Port` is for sharing one.
"""

import ipaddress
from typing import Any

from twisted.internet import defer, error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHostResolution,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.udt.carrier import AUTO, MODES, SocketCarrier
from wavesync.udt.connecting import DEFAULT_TIMEOUT
from wavesync.udt.port import Port
from wavesync.udt.transport import udt_address

__all__ = [
    "UDTClientEndpoint",
    "UDTClientParser",
    "UDTListeningPort",
    "UDTServerEndpoint",
    "UDTServerParser",
]


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what a name resolves to."""

    def __init__(self, host: str) -> None:
        self.found: Deferred[list[str]] = Deferred(self._cancel)
        self._host = host
        self._hosts: list[str] = []
        self._resolution: IHostResolution | None = None

    def _cancel(self, _found: object) -> None:
        if self._resolution is not None:
            self._resolution.cancel()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver has begun."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: object) -> None:
        """The name has this address, too."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._hosts.append(address.host)

    def resolutionComplete(self) -> None:
        """That was all."""
        if self.found.called:
            return
        if self._hosts:
            self.found.callback(self._hosts)
        else:
            self.found.errback(error.DNSLookupError(f"no address found for {self._host}"))


@implementer(IStreamClientEndpoint)
class UDTClientEndpoint:
    """Connects to a UDT listener from a UDP port of its own.

    The addresses of a name are tried one after the other.

    :param reactor: resolves the name, watches the socket, keeps time.
    :param host: a name or numeric address.
    :param port: UDP port, 1 .. 65535.
    :param timeout: seconds for each address.
    :param bind_address: numeric local address and port, or ``None`` for any.
    :param carrier: how datagrams pass to the system, one of :data:`~wavesync.udt.carrier.MODES`.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        timeout: float = DEFAULT_TIMEOUT,
        bind_address: Address | None = None,
        carrier: str = AUTO,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout
        self._bind_address = bind_address
        self._carrier = carrier

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect.

        :return: fires with the protocol, or fails with an error of
            :mod:`twisted.internet.error`.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if _is_numeric(self._host):
            hosts = [self._host]
        else:
            receiver = _Addresses(self._host)
            self._reactor.nameResolver.resolveHostName(receiver, self._host, self._port)
            hosts = await receiver.found
        for host in hosts[:-1]:
            try:
                return await self._connect_to(host, factory)
            except error.ConnectError:
                continue
        return await self._connect_to(hosts[-1], factory)

    async def _connect_to(self, host: str, factory: IProtocolFactory) -> IProtocol:
        ipv6 = ":" in host
        interface, local_port = self._bind_address or ("::" if ipv6 else "", 0)
        try:
            carrier = SocketCarrier(self._reactor, local_port, interface, self._carrier)
        except error.CannotListenError as problem:
            raise error.ConnectBindError(string=str(problem)) from None
        port = Port(self._reactor, carrier)
        try:
            return await port.connect((host, self._port), factory, self._timeout)
        finally:
            port.close_when_idle()


@implementer(IListeningPort)
class UDTListeningPort:
    """A listening UDT port.

    :param port: the port underneath; its connections outlive the listening.
    :param factory: makes a protocol for each client.
    """

    def __init__(self, port: Port, factory: IProtocolFactory) -> None:
        self.port = port
        self._factory = factory
        self._listening = False

    def startListening(self) -> None:
        """Accept clients."""
        self._factory.doStart()
        self.port.listen(self._factory)
        self._listening = True

    def stopListening(self) -> Deferred[None]:
        """Accept no more clients; the socket closes with the last connection.

        :return: has fired already.
        """
        if self._listening:
            self._listening = False
            self.port.stop_listening()
            self.port.close_when_idle()
            self._factory.doStop()
        return defer.succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """:return: the local address."""
        return udt_address(self.port.address)


@implementer(IStreamServerEndpoint)
class UDTServerEndpoint:
    """Listens for UDT clients on a UDP port of its own.

    :param reactor: watches the socket, keeps time.
    :param port: UDP port, 0 for any.
    :param interface: numeric local address; ``""`` for every IPv4 one, ``"::"`` for every IPv6
        one.
    :param carrier: how datagrams pass to the system, one of :data:`~wavesync.udt.carrier.MODES`.
    """

    def __init__(self, reactor: Any, port: int, interface: str = "", carrier: str = AUTO) -> None:
        self._reactor = reactor
        self._port = port
        self._interface = interface
        self._carrier = carrier

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen.

        :return: fires with the listening port, or fails with ``CannotListenError``.
        """
        return defer.execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        carrier = SocketCarrier(self._reactor, self._port, self._interface, self._carrier)
        listening = UDTListeningPort(Port(self._reactor, carrier), factory)
        listening.startListening()
        return listening


def _port_number(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a UDP port: {least} to 65535")
    return int(text)


def _carrier_mode(text: str) -> str:
    if text not in MODES:
        raise ValueError(f"{text!r} is no way to carry UDP: auto, gso or plain")
    return text


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class UDTClientParser:
    """``udt:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDR][:carrier=auto|gso|plain]``.

    Colons in an address as ``\\:``.
    """

    prefix = "udt"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """:raises ValueError: the description makes no sense."""
        if len(args) != 2 or kwargs.keys() - {"timeout", "bindAddress", "carrier"}:
            raise ValueError(
                "a UDT client is udt:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDR]"
                "[:carrier=auto|gso|plain]"
            )
        host, port = args
        try:
            timeout = float(kwargs.get("timeout", DEFAULT_TIMEOUT))
        except ValueError:
            raise ValueError(f"{kwargs['timeout']!r} is not a number of seconds") from None
        bind = (kwargs["bindAddress"], 0) if "bindAddress" in kwargs else None
        carrier = _carrier_mode(kwargs.get("carrier", AUTO))
        return UDTClientEndpoint(reactor, host, _port_number(port, 1), timeout, bind, carrier)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class UDTServerParser:
    """``udt:PORT[:interface=ADDR][:carrier=auto|gso|plain]``; colons in an address as ``\\:``."""

    prefix = "udt"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """:raises ValueError: the description makes no sense."""
        if len(args) != 1 or kwargs.keys() - {"interface", "carrier"}:
            raise ValueError("a UDT server is udt:PORT[:interface=ADDR][:carrier=auto|gso|plain]")
        interface = kwargs.get("interface", "")
        if interface and not _is_numeric(interface):
            raise ValueError(f"{interface!r} is not a numeric address of this machine")
        carrier = _carrier_mode(kwargs.get("carrier", AUTO))
        return UDTServerEndpoint(reactor, _port_number(args[0], 0), interface, carrier)
