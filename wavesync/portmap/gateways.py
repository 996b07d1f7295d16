"""The routers that may map ports of this host, and this host's addresses on their networks."""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import ifaddr

from wavesync.portmap.words import is_public
from wavesync.routes import ROUTES, ROUTES6, default_routes, read_table

__all__ = ["MAX_GATEWAYS", "Gateway", "Own", "find_gateways", "own_addresses"]

MAX_GATEWAYS = 4
"""Routers that are asked at one time."""

_VIRTUAL = ("lo", "docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A router, and this host's address towards it.

    :ivar interface: the one it is reached by.
    :ivar router: its address; empty where it is not known, so that it has to be searched.
    :ivar own: this host's address on its network.
    :ivar network: that network.
    """

    interface: str
    router: str
    own: str
    network: str

    def neighbour(self, host: str) -> bool:
        """Whether *host* is on that network."""
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(self.network)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Own:
    """One of this host's addresses.

    :ivar interface: whose.
    :ivar host: numeric.
    :ivar length: of the network's prefix, bits.
    """

    interface: str
    host: str
    length: int

    @property
    def network(self) -> str:
        """The network that it is in."""
        return str(ipaddress.ip_network(f"{self.host}/{self.length}", strict=False))


def own_addresses(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
) -> list[Own]:
    """List this host's addresses, but for those that hold on one link only."""
    found = []
    for adapter in adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(host)
            if not (address.is_loopback or address.is_link_local):
                found.append(Own(adapter.nice_name, str(address), ip.network_prefix))
    return found


def find_gateways(
    own: Callable[[], Iterable[Own]] = own_addresses,
    *,
    source: Callable[[socket.AddressFamily], str | None],
    routes: Path = ROUTES,
    routes6: Path = ROUTES6,
) -> list[Gateway]:
    """Find the routers whose mapping may help.

    A host with a public IPv4 address needs none for IPv4.  For IPv6 no address is translated, but a
    firewall may have to be opened (a "pinhole"), for the address that packets leave from.

    :param source: gives the address that packets to the internet leave from.
    """
    known = [each for each in own() if not each.interface.startswith(_VIRTUAL)]
    found: dict[tuple[str, str], Gateway] = {}
    for route in default_routes(read_table(routes)):
        here = _towards(route.router, route.interface, known)
        if here is not None and not is_public(here.host):
            found.setdefault(
                (route.interface, route.router),
                Gateway(route.interface, route.router, here.host, here.network),
            )
    if not routes.exists():
        # No table to read: search on the networks of all private addresses.
        for each in known:
            if ":" not in each.host and not is_public(each.host):
                found[each.interface, each.host] = Gateway(
                    each.interface, "", each.host, each.network
                )
    leaving = source(socket.AF_INET6)
    if leaving is not None and is_public(leaving):
        for route in default_routes(read_table(routes6)):
            here = next((each for each in known if each.host == leaving), None)
            if here is None or here.interface != route.interface or route.router == "::":
                continue
            found.setdefault(
                (route.interface, route.router),
                Gateway(route.interface, route.router, here.host, here.network),
            )
    return list(found.values())[:MAX_GATEWAYS]


def _towards(router: str, interface: str, known: Iterable[Own]) -> Own | None:
    """This host's address on the network of a router."""
    if ipaddress.ip_address(router).is_unspecified:
        return None
    here = [each for each in known if each.interface == interface and ":" not in each.host]
    near = [
        each for each in here if ipaddress.ip_address(router) in ipaddress.ip_network(each.network)
    ]
    return next(iter(near or here), None)
