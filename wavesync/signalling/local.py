"""This host's own addresses, as candidates to tell the other side: the likeliest first."""

import ipaddress
import socket
from collections.abc import Callable, Iterable

import ifaddr

__all__ = ["local_hosts", "route_source"]

# Nobody has these addresses (RFC 5737, RFC 3849), so that the route to them is the default route.
_ANYWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

_VIRTUAL = ("docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman", "vmnet")
"""How the names of interfaces begin that lead to this host's own containers."""


def route_source(family: socket.AddressFamily) -> str | None:
    """Give the address that packets to the internet leave from; nothing is sent.

    :returns: ``None`` when there is no way there.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ANYWHERE[family], 9))
        except OSError:
            return None
        host: str = probe.getsockname()[0]
        return host


def local_hosts(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
    *,
    loopback: bool = False,
    source: Callable[[socket.AddressFamily], str | None] = route_source,
) -> list[str]:
    """List the numeric addresses of all interfaces, each once, the likeliest to be of use first.

    Only the first few will be told to anybody.  So those come first from which packets leave for
    the internet; then the first one of each interface and family, lest an interface with many
    crowd the others out; then the rest; at last those of interfaces for containers.  Among equals
    IPv4 comes first.  Link-local, multicast and unspecified addresses are left out: nobody else
    could use them.

    :param loopback: keep loopback addresses too, for everything-on-one-host settings.
    :param source: gives the address of the default route of a family.
    """
    leaving = {source(socket.AF_INET), source(socket.AF_INET6)}
    found: dict[str, int] = {}
    for adapter in adapters():
        virtual = adapter.nice_name.startswith(_VIRTUAL)
        families: set[int] = set()
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            if address.is_link_local or address.is_multicast or address.is_unspecified:
                continue
            if address.is_loopback and not loopback:
                continue
            if text in leaving:
                rank = 0
            elif virtual:
                rank = 3
            else:
                rank = 2 if address.version in families else 1
            families.add(address.version)
            found.setdefault(str(address), rank)
    return sorted(found, key=lambda host: (found[host], ":" in host))
