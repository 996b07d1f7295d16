"""What all ways of mapping a port have in common: what is wanted, what was given, why not."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, Protocol, TypeAlias

from twisted.internet.defer import Deferred

from wavesync.errors import WavesyncError
from wavesync.interfaces import Address

__all__ = [
    "LIFETIME",
    "LONGEST",
    "MAX_PORTS",
    "SHORTEST",
    "TCP",
    "UDP",
    "Lease",
    "Method",
    "PortMapError",
    "Reason",
    "Transport",
    "Wanted",
    "check_external",
    "is_public",
]

Transport: TypeAlias = Literal["tcp", "udp"]

TCP: Final = "tcp"
UDP: Final = "udp"

LIFETIME = 3600
"""Seconds for which a mapping is asked: what a dead agent leaves behind is gone by then."""

SHORTEST, LONGEST = 20.0, 86400.0
"""Bounds in seconds of the lifetime that a router's word is taken for."""

MAX_PORTS = 8
"""Ports of this host that may be mapped at one time."""


class Reason:
    """Short codes of what went wrong, for reports and figures."""

    NO_ANSWER: Final = "no-answer"
    """Nothing at that router speaks this protocol."""
    REFUSED: Final = "refused"
    """It does, and does not want to."""
    MALFORMED: Final = "malformed"
    """What it answers makes no sense, or is not to be believed."""
    NO_ADDRESS: Final = "no-address"
    """It has no address of its own just now."""
    ANOTHER_NAT: Final = "another-nat"
    """There is one more router with an address translation before the internet."""
    NO_GATEWAY: Final = "no-gateway"
    """This host has no router, or needs none."""


class PortMapError(WavesyncError):
    """A port could not be mapped.

    :param reason: one of :class:`Reason`.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port of this host that others shall reach.

    :ivar transport: ``tcp`` or ``udp``.
    :ivar port: 1..65535.
    """

    transport: Transport
    port: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What a router has given.

    :ivar wanted: for what.
    :ivar external: where others reach it.
    :ivar lifetime: seconds that it holds, within :data:`SHORTEST` and :data:`LONGEST`.
    """

    wanted: Wanted
    external: Address
    lifetime: float


class Method(Protocol):
    """One protocol, spoken with one router.

    All Deferreds fail with :class:`PortMapError`, and all of them end in bounded time.
    """

    @property
    def name(self) -> str:
        """For people: ``PCP``, ``NAT-PMP``, ``UPnP``."""

    def discover(self) -> Deferred[None]:
        """Find out whether the router speaks it."""

    def map(self, wanted: Wanted, external: int) -> Deferred[Lease]:
        """Ask for a mapping, or for more time of one that there is, and verify it.

        :param external: the outside port to have if it is free.
        """

    def holds(self, leases: tuple[Lease, ...]) -> Deferred[bool]:
        """Find out whether the router still knows what it has given."""

    def unmap(self, lease: Lease) -> Deferred[None]:
        """Give a mapping back."""

    def close(self) -> None:
        """Ask nothing more; what is being asked fails."""


def is_public(host: str) -> bool:
    """Tell whether *host* can be reached across the internet."""
    return ip_address(host).is_global


def check_external(host: str) -> str:
    """Judge the address that a router says it has outside.

    A private one is no mistake: there is one more router before the internet.

    :returns: it, in canonical text.
    :raises PortMapError: nobody can have it.
    """
    try:
        ip = ip_address(host)
    except ValueError:
        raise PortMapError(
            Reason.MALFORMED, "the router's external address is no address"
        ) from None
    if ip.is_unspecified:
        raise PortMapError(
            Reason.NO_ADDRESS,
            "it has no external address: it is not connected, or behind one more router",
        )
    reserved = ip.version == 4 and (ip.packed[0] == 0 or ip.packed[0] >= 240)
    if ip.is_loopback or ip.is_multicast or ip.is_link_local or reserved:
        raise PortMapError(
            Reason.MALFORMED, f"the router's external address {ip} is one that nobody can have"
        )
    return str(ip)
