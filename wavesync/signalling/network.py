"""Which network this host is on: what is known of paths holds there and nowhere else.

The name is made of this host's own networks and of the routers that lead out of them.  It need not be
right: whoever takes one network for another tries in vain what worked on the other, beside all else.
"""

import hashlib
import ipaddress
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import ifaddr

from wavesync.routes import ROUTES, default_routes, read_table

__all__ = ["NAME_FOR", "NetworkNaming", "network_name", "this_network"]

NAME_FOR = 3.0
"""Seconds for which the network counts as the same without a look: one takes more than a millisecond."""

_VIRTUAL = ("lo", "docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman")
_NEIGHBOURS = Path("/proc/net/arp")
_UNKNOWN_HARDWARE = "00:00:00:00:00:00"


def network_name(
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
    *,
    routes: Path = ROUTES,
    neighbours: Path = _NEIGHBOURS,
) -> str:
    """Name the network: 16 hex digits, the same as long as the host stays where it is.

    :param routes: the kernel's table of IPv4 routes; left out of the name where there is none.
    :param neighbours: the kernel's table of hardware addresses, likewise.
    """
    parts = {f"net {network}" for network in _networks(adapters())}
    parts |= {f"via {router}" for router in _routers(read_table(routes), read_table(neighbours))}
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
    for route in default_routes(routes):
        if not route.interface.startswith(_VIRTUAL):
            yield f"{route.router} {hardware.get(route.router, '')}"


class NetworkNaming:
    """Names the network, and looks no more often than every :data:`NAME_FOR`.

    :param name: looks.
    :param clock: seconds of a clock that does not jump.
    """

    def __init__(
        self,
        name: Callable[[], str] = network_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._clock = clock
        self._named: tuple[str, float] | None = None

    def __call__(self) -> str:
        """Name it: 16 hex digits."""
        now = self._clock()
        if self._named is None or now - self._named[1] >= NAME_FOR:
            self._named = self._name(), now
        return self._named[0]


this_network = NetworkNaming()
"""Names the network of this host for everybody in the process."""
