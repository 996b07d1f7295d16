"""The ways out of this host, as the kernel's tables tell them (Linux; elsewhere none are known)."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

__all__ = ["MAX_TABLE", "ROUTES", "ROUTES6", "Route", "default_routes", "read_table"]

ROUTES = Path("/proc/net/route")
"""The kernel's table of IPv4 routes."""

ROUTES6 = Path("/proc/net/ipv6_route")
"""The same for IPv6."""

MAX_TABLE = 1 << 18
"""Characters of a table that are read."""

_ANY4, _ANY6 = "0" * 8, "0" * 32


@dataclass(frozen=True, slots=True)
class Route:
    """A way to anywhere.

    :ivar interface: by which it leaves.
    :ivar router: the address of the router there; ``0.0.0.0`` or ``::`` where there is none.
    """

    interface: str
    router: str


def default_routes(table: str) -> list[Route]:
    """Read the ways to anywhere from a table of either family, in its order; what makes no sense is
    left out."""
    found: dict[Route, None] = {}
    for line in table.splitlines():
        fields = line.split()
        try:
            route = _route4(fields) if len(fields) > 10 else _route6(fields)
        except ValueError:
            continue
        if route is not None:
            found[route] = None
    return list(found)


def read_table(path: Path) -> str:
    """Read a table; empty where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(MAX_TABLE)
    except OSError:
        return ""


def _route4(fields: list[str]) -> Route | None:
    """A line of eleven fields: Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT."""
    if fields[1] != _ANY4 or fields[7] != _ANY4:
        return None
    # The table shows addresses as numbers of this host's byte order; all that matters here has the
    # lowest byte first.
    return Route(fields[0], str(IPv4Address(bytes.fromhex(fields[2])[::-1])))


def _route6(fields: list[str]) -> Route | None:
    """A line of ten: destination, its length, source, its length, router, metric, uses, flags, interface."""
    if len(fields) < 10 or fields[0] != _ANY6 or int(fields[1], 16):
        return None
    return Route(fields[9], str(IPv6Address(bytes.fromhex(fields[4]))))
