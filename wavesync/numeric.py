"""Numeric addresses in one canonical form."""

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from wavesync.interfaces import Address

__all__ = ["canonical", "parse_host"]

_PARSED_HOSTS = 1024


def canonical(address: Address) -> Address:
    """Return *address* with its host in canonical text, IPv4-mapped IPv6 turned into IPv4.

    :raises ValueError: the host is not a numeric address without scope, or the port out of range.
    """
    host, port = address
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not within 0..65535")
    try:
        if socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, host)) == host:
            return host, port
    except (OSError, ValueError):
        pass  # not IPv4, or not written so
    return str(parse_host(host)), port


@lru_cache(maxsize=_PARSED_HOSTS)
def parse_host(host: str) -> IPv4Address | IPv6Address:
    """Read a numeric host; a scope is ignored, IPv4-mapped IPv6 turned into IPv4.

    :raises ValueError: it is none.
    """
    ip = ip_address(host.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip
