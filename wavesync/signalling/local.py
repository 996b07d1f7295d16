"""This host's own addresses, as candidates to tell the other side."""

import ipaddress
from collections.abc import Callable, Iterable

import ifaddr

__all__ = ["local_hosts"]


def local_hosts(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
    *,
    loopback: bool = False,
) -> list[str]:
    """List the numeric addresses of all interfaces, IPv4 first, each once.

    Link-local, multicast and unspecified addresses are left out: nobody else could use them.

    :param loopback: keep loopback addresses too, for everything-on-one-host settings.
    """
    found: dict[str, None] = {}
    for adapter in adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            if address.is_link_local or address.is_multicast or address.is_unspecified:
                continue
            if address.is_loopback and not loopback:
                continue
            found[str(address)] = None
    return sorted(found, key=lambda host: ":" in host)
