"""Connections that trusted proxies hand on, with word of where they come from (PROXY protocol)."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper

from wavesync.errors import SettingsError
from wavesync.settings import Section
from wavesync.signalling.addresses import canonical
from wavesync.signalling.listening import parse_listen

__all__ = ["Network", "Proxied", "ProxiedWrapper", "comes_from"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxied(Section, frozen=True):
    """An address at which HAProxy, nginx or the like hands connections on by the PROXY protocol."""

    listen: str
    trusted: tuple[str, ...] = ("127.0.0.1", "::1")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        try:
            parse_listen(self.listen)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if not self.trusted:
            raise ValueError("trusted must name an address of a proxy")
        try:
            self.networks  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise ValueError(f"trusted: {error}") from None

    @property
    def networks(self) -> tuple[Network, ...]:
        """The addresses whose word is taken."""
        return tuple(ipaddress.ip_network(text) for text in self.trusted)


def comes_from(address: IAddress | None, networks: Iterable[Network]) -> bool:
    """Tell whether a connection is from one of these networks."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return False
    host, _ = canonical((address.host, address.port))
    ip = ipaddress.ip_address(host)
    return any(ip in network for network in networks)


class ProxiedWrapper(HAProxyProtocolWrapper):
    """Closes the connection whatever is wrong with the header: Twisted's stumbles over some.

    Then ``getPeer`` is what the proxy said.
    """

    @property
    def told(self) -> bool:
        """Whether the proxy has said where the connection comes from."""
        return self._proxyInfo is not None

    def dataReceived(self, data: bytes) -> None:
        """The header, then what the protocol gets (IProtocol)."""
        try:
            super().dataReceived(data)
        except ValueError:
            if self.told:
                raise
            self.loseConnection()
