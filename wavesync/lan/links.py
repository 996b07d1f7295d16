"""The networks that this host is directly connected to."""

import ipaddress
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import ifaddr

__all__ = ["MAX_HOSTS", "MAX_LINKS", "Link", "find_links"]

MAX_LINKS = 16
"""Interfaces that are used at most: Linux lets a socket join 20 groups (``igmp_max_memberships``)."""

MAX_HOSTS = 4
"""IPv4 networks of one interface that are used at most."""

_VIRTUAL = ("docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman", "vmnet")

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Link:
    """An interface with addresses.

    :ivar name: such as ``eth0``.
    :ivar index: the kernel's number for it.
    :ivar hosts: its IPv4 addresses, the first one in each network.
    :ivar ipv6: whether it has an IPv6 address.
    :ivar networks: whose hosts are directly connected.
    """

    name: str
    index: int
    hosts: tuple[str, ...]
    ipv6: bool
    networks: tuple[_Network, ...]

    def reaches(self, host: str) -> bool:
        """Whether *host* is on this link, by its address."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if address.version == 6 and address.is_link_local:
            return self.ipv6
        return any(address in network for network in self.networks)


def find_links(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
    *,
    loopback: bool = False,
    virtual: bool = False,
    names: Collection[str] = (),
) -> list[Link]:
    """List the interfaces, :data:`MAX_LINKS` at most.

    :param loopback: this host's own one, and no others.
    :param virtual: those that lead to this host's own containers, too.
    :param names: these only; all when empty.
    """
    found: list[Link] = []
    for adapter in adapters():
        if names and adapter.nice_name not in names:
            continue
        if adapter.nice_name.startswith(_VIRTUAL) and not (virtual or names):
            continue
        link = _link(adapter)
        own = all(network.is_loopback for network in link.networks)
        if link.networks and own == loopback:
            found.append(link)
    return found[:MAX_LINKS]


def _link(adapter: ifaddr.Adapter) -> Link:
    hosts: list[str] = []
    ipv6 = False
    networks: list[_Network] = []
    for ip in adapter.ips:
        text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        network = ipaddress.ip_network(f"{text}/{ip.network_prefix}", strict=False)
        if ":" in text:
            ipv6 = True
        elif network in networks or network.num_addresses == 1:
            continue  # nobody else is on it
        else:
            hosts.append(text)
        networks.append(network)
    return Link(
        adapter.nice_name, adapter.index or 0, tuple(hosts[:MAX_HOSTS]), ipv6, tuple(networks)
    )
