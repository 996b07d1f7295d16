"""Which network this host is on: what is known of paths holds there and nowhere else.

The name is made of this host's own networks and of the routers that lead out of them.  It need not be
right: whoever takes one network for another tries in vain what worked on the other, beside all else.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path

import ifaddr

__all__ = ["network_name"]

_VIRTUAL = ("lo", "docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman")
_ROUTES = Path("/proc/net/route")
_NEIGHBOURS = Path("/proc/net/arp")
_MAX_TABLE = 1 << 18
_TO_ANYWHERE = "00000000"
_UNKNOWN_HARDWARE = "00:00:00:00:00:00"


def network_name(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
    *,
    routes: Path = _ROUTES,
    neighbours: Path = _NEIGHBOURS,
) -> str:
    """Name the network: 16 hex digits, the same as long as the host stays where it is.

    :param routes: the kernel's table of IPv4 routes; left out of the name where there is none.
    :param neighbours: the kernel's table of hardware addresses, likewise.
    """
    parts = {f"net {network}" for network in _networks(adapters())}
    parts |= {f"via {router}" for router in _routers(_read(routes), _read(neighbours))}
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def _networks(adapters: Iterable[ifaddr.Adapter]) -> Iterable[str]:
    """The networks that this host has an address of; IPv6 ones by their /64."""
    for adapter in adapters:
        if adapter.nice_name.startswith(_VIRTUAL):
            continue
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            if address.is_link_local or address.is_loopback:
                continue
            length = ip.network_prefix if address.version == 4 else 64
            yield str(ipaddress.ip_network(f"{text}/{length}", strict=False))


def _routers(routes: str, neighbours: str) -> Iterable[str]:
    """The routers to anywhere, with their hardware addresses as far as those are known."""
    hardware = {
        fields[0]: fields[3]
        for fields in map(str.split, neighbours.splitlines()[1:])
        if len(fields) >= 6 and fields[3] != _UNKNOWN_HARDWARE
    }
    for fields in map(str.split, routes.splitlines()[1:]):
        if len(fields) < 8 or fields[1] != _TO_ANYWHERE or fields[7] != _TO_ANYWHERE:
            continue
        if fields[0].startswith(_VIRTUAL):
            continue
        try:
            # The table shows addresses as numbers of this host's byte order; all that matters here
            # has the lowest byte first.
            router = str(ipaddress.IPv4Address(bytes.fromhex(fields[2])[::-1]))
        except ValueError:
            continue
        yield f"{router} {hardware.get(router, '')}"


def _read(path: Path) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_MAX_TABLE)
    except OSError:
        return ""
