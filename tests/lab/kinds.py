"""The kinds of site that the laboratory can build, in the terms of RFC 4787.

A kind is data: `tests.lab.rules` turns its axes into nftables rules.  A further kind is a further
entry in `KINDS`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tests.lab.commands import LabError

__all__ = ["KINDS", "Filtering", "Kind", "Mapping", "Unsolicited", "kind_named"]


class Mapping(enum.Enum):
    """How an outside port is chosen for an inside address and port (RFC 4787 section 4.1)."""

    NONE = "no translation: the hosts have public addresses"
    INDEPENDENT = "one random port, whoever the remote is"
    PRESERVING = "the inside port, whoever the remote is (Linux masquerade)"
    ADDRESS_DEPENDENT = "a random port for each remote address"
    RANDOM = "a random port for each flow"
    SEQUENTIAL = "the next port for each flow"


class Filtering(enum.Enum):
    """Whose datagrams come in through a mapping (RFC 4787 section 5)."""

    OPEN = "everything comes in, mapped or not"
    INDEPENDENT = "anybody's, once the mapping exists"
    ADDRESS_DEPENDENT = "those of addresses that were sent to"
    ADDRESS_AND_PORT_DEPENDENT = "those of addresses and ports that were sent to"


class Unsolicited(enum.Enum):
    """What the router does with a datagram or connection from outside that nothing asked for."""

    DROP = "drop"
    REJECT = "reject"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of site.

    TCP follows the mapping; its filtering is by address and port wherever there is any.

    :ivar name: as tests and the command line say it.
    :ivar mapping: how outside ports are chosen.
    :ivar filtering: whose datagrams come in.
    :ivar unsolicited: what happens to the rest.  ``ACCEPT`` makes the router take it for its own,
        as cheap routers do, so that it occupies the port.
    :ivar udp: whether UDP passes at all.
    :ivar behind: the kind of the ISP's router that this one is behind, if there is one.
    """

    name: str
    mapping: Mapping
    filtering: Filtering
    unsolicited: Unsolicited = Unsolicited.DROP
    udp: bool = True
    behind: Kind | None = None

    @property
    def outermost(self) -> Kind:
        """What the internet sees first, and, of the kinds here, all that it sees."""
        return self if self.behind is None else self.behind

    @property
    def translates(self) -> bool:
        """Whether the hosts have private addresses."""
        return self.mapping is not Mapping.NONE

    @property
    def summary(self) -> str:
        """One line for people."""
        parts = [self.mapping.value, self.filtering.value]
        if self.filtering is not Filtering.OPEN:
            parts.append(f"the rest: {self.unsolicited.value}")
        if not self.udp:
            parts.append("no UDP passes")
        if self.behind is not None:
            parts.append(f"behind an ISP's router: {self.behind.name}")
        return "; ".join(parts)


_APDF = Filtering.ADDRESS_AND_PORT_DEPENDENT

_PORT = Kind("port", Mapping.INDEPENDENT, _APDF)
_SYMMETRIC = Kind("symmetric", Mapping.RANDOM, _APDF)

#: Every kind, by name.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("none", Mapping.NONE, Filtering.OPEN),
        Kind("firewall", Mapping.NONE, _APDF),
        Kind("full", Mapping.INDEPENDENT, Filtering.INDEPENDENT),
        Kind("restricted", Mapping.INDEPENDENT, Filtering.ADDRESS_DEPENDENT),
        _PORT,
        Kind("linux", Mapping.PRESERVING, _APDF),
        Kind("linux-reject", Mapping.PRESERVING, _APDF, unsolicited=Unsolicited.REJECT),
        Kind("linux-accept", Mapping.PRESERVING, _APDF, unsolicited=Unsolicited.ACCEPT),
        Kind("symmetric-address", Mapping.ADDRESS_DEPENDENT, _APDF),
        Kind("symmetric-sequential", Mapping.SEQUENTIAL, _APDF),
        _SYMMETRIC,
        Kind("symmetric-open", Mapping.RANDOM, Filtering.INDEPENDENT),
        Kind("no-udp", Mapping.INDEPENDENT, _APDF, udp=False),
        Kind("cgnat", Mapping.INDEPENDENT, _APDF, behind=_PORT),
        Kind("cgnat-symmetric", Mapping.INDEPENDENT, _APDF, behind=_SYMMETRIC),
    )
}


def kind_named(name: str) -> Kind:
    """
    Find a kind.

    :raises LabError: naming those that exist.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise LabError(f"no kind {name!r}; there are: {', '.join(KINDS)}") from None
