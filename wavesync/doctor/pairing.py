"""Which paths two networks allow between them, by what is known of both.

Pure.  The rules are those of simultaneous sending, with answers to whatever source the other side is
seen at, and without guessing of ports:

* by UDP: two mappings that do not depend on the remote are enough; so is one side that takes packets
  from anybody, or one with such a mapping that takes them from any port of an address it has sent to;
* by TCP from both ends: two mappings that do not depend on the remote are enough; so is one side that
  takes connections from anybody;
* behind one router: only through its inside, or where it lets its own hosts meet at its outside.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from wavesync.doctor.findings import Dependence, Family, Findings

__all__ = [
    "BOTH_ENDS",
    "LAN",
    "LIKELY",
    "NO",
    "PATHS",
    "RELAY",
    "TCP",
    "UDP",
    "UNKNOWN",
    "YES",
    "Possibility",
    "Possible",
    "judge_paths",
    "meeting_outside",
    "one_local_network",
    "one_outside",
]

Possible: TypeAlias = Literal["yes", "likely", "unknown", "no"]

YES: Final = "yes"
LIKELY: Final = "likely"
"""Nothing speaks against it, and not all could be looked at."""
UNKNOWN: Final = "unknown"
NO: Final = "no"

_RANK: dict[Possible, int] = {NO: 0, UNKNOWN: 1, LIKELY: 2, YES: 3}

LAN: Final = "lan"
TCP: Final = "tcp"
BOTH_ENDS: Final = "tcp from both ends"
UDP: Final = "udp"
RELAY: Final = "relay"

PATHS = (LAN, TCP, BOTH_ENDS, UDP, RELAY)
"""All paths that there are, the best first."""

_FREE = Dependence.ENDPOINT_INDEPENDENT
_BY_ADDRESS = Dependence.ADDRESS_DEPENDENT


class Possibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether two networks allow one kind of path.

    :ivar path: one of :data:`PATHS`.
    :ivar possible: ``yes``, ``likely``, ``unknown``, ``no``.
    :ivar why: a sentence, without its full stop.
    """

    path: str
    possible: Possible
    why: str

    @property
    def good(self) -> bool:
        """Whether to count on it."""
        return self.possible in (YES, LIKELY)


class _Said(NamedTuple):
    possible: Possible
    why: str


class _Side(NamedTuple):
    """One family of one end."""

    name: str
    family: Family

    @property
    def open(self) -> bool:
        """Whether it takes whatever comes, TCP connections included."""
        return self.family.translated is False and self.family.filtering is _FREE

    @property
    def tcp_mapping(self) -> Dependence | None:
        return self.family.tcp_mapping or self.family.mapping


def judge_paths(client: Findings, server: Findings) -> list[Possibility]:
    """Judge all paths between two ends.

    :returns: one entry for each of :data:`PATHS`, in their order.
    """
    near = one_local_network(client, server)
    said = {
        LAN: _lan(client, server, near),
        TCP: _tcp(client, server, near),
        BOTH_ENDS: _both_ends(client, server, near),
        UDP: _best(_udp(*sides, near) for sides in _families(client, server)),
        RELAY: _relay(client, server),
    }
    return [
        Possibility(path=path, possible=said[path].possible, why=said[path].why) for path in PATHS
    ]


def one_local_network(client: Findings, server: Findings) -> bool:
    """Tell whether both ends are on one local network.

    Equal addresses of networks prove nothing, as many sites have the same private ones: both have to
    be seen at one address outside, too.
    """
    outside = one_outside(client.ipv4, server.ipv4)
    if outside is False:
        return False
    if client.network and client.network == server.network:
        return True
    return bool(_networks(client) & _networks(server)) and bool(outside)


def one_outside(one: Family | None, other: Family | None) -> bool | None:
    """Tell whether both are seen at one address; None where that is not known."""
    if one is None or other is None or not one.mapped or not other.mapped:
        return None
    if one.translated is False and other.translated is False:
        return None
    return one.mapped == other.mapped


def meeting_outside(one: Family, other: Family) -> bool | None:
    """Tell whether the router at whose address both are seen lets its own hosts meet there.

    Who is behind one more router, which gives a new port for every destination, cannot see it.
    """
    seen = {each.hairpinning for each in (one, other) if each.mapping in (None, _FREE)}
    if True in (one.hairpinning, other.hairpinning):
        return False not in seen
    return False if False in seen else None


def _networks(findings: Findings) -> set[str]:
    found = set()
    for interface in findings.interfaces:
        for text in interface.networks:
            try:
                network = ip_interface(text).network
            except ValueError:
                continue
            if not (network.is_loopback or network.is_link_local):
                found.add(str(network))
    return found


def _families(client: Findings, server: Findings) -> Iterator[tuple[_Side, _Side]]:
    for ours, theirs in ((client.ipv6, server.ipv6), (client.ipv4, server.ipv4)):
        if ours is not None and theirs is not None:
            yield _Side("client", ours), _Side("server", theirs)


def _best(said: Iterable[_Said]) -> _Said:
    """The best of all families; what is said where there is none in common."""
    found = sorted(said, key=lambda each: -_RANK[each.possible])
    return found[0] if found else _Said(NO, "one end has IPv4 only, and the other one IPv6 only")


def _lan(client: Findings, server: Findings, near: bool) -> _Said:
    if not near:
        return _Said(NO, "client and server are not on one local network")
    if client.discovery is False or server.discovery is False:
        return _Said(NO, "discovery is switched off at one of them")
    for name, findings in (("client", client), ("server", server)):
        heard = [each.multicast for each in findings.interfaces if each.multicast is not None]
        if heard and not any(heard):
            return _Said(NO, f"multicast does not pass at the {name}'s host")
    return _Said(YES, "client and server are on one local network")


def _tcp(client: Findings, server: Findings, near: bool) -> _Said:
    """To an address of the server."""
    if near:
        return _Said(YES, "the server's own address is on the client's network")
    said = [_forwarded(client, server)]
    for ours, theirs in _families(client, server):
        if ours.family.tcp is False:
            said.append(_Said(NO, "no TCP connection can be made from the client's network"))
        elif theirs.open:
            said.append(
                _Said(YES, "the server has a public address, and no firewall in front of it")
            )
        elif theirs.family.translated is None or (
            theirs.family.translated is False and theirs.family.filtering is None
        ):
            said.append(_Said(UNKNOWN, "nobody knows whether a firewall is in front of the server"))
        elif theirs.family.translated:
            said.append(_Said(NO, "no port of the server's router leads to the server"))
        else:
            said.append(
                _Said(NO, "a firewall is in front of the server that lets nobody in by himself")
            )
    return _best(said)


def _forwarded(client: Findings, server: Findings) -> _Said:
    for text in server.forwarded:
        transport, _, address = text.partition(" ")
        host = address.rpartition(":")[0].strip("[]")
        try:
            public = ip_address(host).is_global
        except ValueError:
            continue
        family = client.ipv6 if ":" in host else client.ipv4
        if ":" not in host and _walled(client.ipv4, server.ipv4):
            where = server.ipv4.mapped if server.ipv4 is not None else host
            return _Said(
                NO,
                f"both are behind one router ({where}), which does not let its own hosts meet outside",
            )
        if transport == "tcp" and public and family is not None and family.tcp is not False:
            return _Said(YES, f"the port {address} leads to the server")
    return _Said(NO, "no port of a router leads to the server")


def _walled(client: Family | None, server: Family | None) -> bool:
    """Whether both are behind one router, and what it forwards cannot be reached from within."""
    if client is None or server is None or not one_outside(client, server):
        return False
    return meeting_outside(client, server) is False


def _both_ends(client: Findings, server: Findings, near: bool) -> _Said:
    """Both ends dial each other, at the addresses at which mediators see them.

    That is in one family only: that of the server's connection to its mediator, IPv6 where there is any.
    """
    six = server.ipv6 is not None and server.ipv6.tcp is not False and server.ipv6.reached
    ours, theirs = (client.ipv6, server.ipv6) if six else (client.ipv4, server.ipv4)
    if ours is None or theirs is None:
        lacking = "IPv6" if six else "IPv4"
        return _Said(NO, f"not both ends have {lacking}, by which the server talks to its mediator")
    sides = _Side("client", ours), _Side("server", theirs)
    for side in sides:
        if side.family.tcp is False:
            return _Said(NO, f"no TCP connection can be made from the {side.name}'s network")
    if near:
        return _Said(YES, "both are on one network")
    hairpin = _hairpin(*sides)
    if hairpin is not None and hairpin.possible != YES:
        return hairpin
    for side in sides:
        if side.open:
            return _Said(YES, f"the {side.name} takes connections from anybody")
    said: _Said = _Said(YES, "both routers keep one port for all destinations")
    for side in sides:
        if side.tcp_mapping is None:
            said = _Said(LIKELY, f"the {side.name}'s router most probably keeps its ports")
        elif side.tcp_mapping is not _FREE:
            return _Said(NO, _new_ports(side, side.tcp_mapping))
    return said


def _udp(client: _Side, server: _Side, near: bool) -> _Said:
    if near:
        return _Said(YES, "both are on one network")
    for side in (client, server):
        if side.family.udp is False:
            return _Said(NO, f"no UDP comes back into the {side.name}'s network")
    hairpin = _hairpin(client, server)
    if hairpin is not None:
        return hairpin
    sides = client, server
    if all(side.family.mapping is _FREE for side in sides):
        if any(side.family.translated for side in sides):
            return _Said(YES, "both sides keep one port for all destinations")
        return _Said(YES, "no addresses are translated")
    for side in sides:
        if side.family.filtering is _FREE:
            return _Said(
                YES, f"the {side.name}'s side takes packets from anybody ({_filtering(side)})"
            )
        if side.family.filtering is _BY_ADDRESS and side.family.mapping is _FREE:
            return _Said(
                YES,
                f"the {side.name}'s side takes packets from any port of who was sent to"
                f" ({_filtering(side)})",
            )
    for side in sides:
        if side.family.mapping is None:
            return _Said(UNKNOWN, f"nobody knows how the {side.name}'s router chooses its ports")
        if side.family.filtering is None:
            return _Said(UNKNOWN, f"nobody knows from whom the {side.name}'s router takes packets")
    # All is known now, and one side at least has a port of its own for each remote.
    side = next(side for side in sides if side.family.mapping is not _FREE)
    other = server if side is client else client
    assert side.family.mapping is not None
    return _Said(
        NO,
        f"{_new_ports(side, side.family.mapping)}, and the {other.name}'s side takes packets only from"
        f" ports that were sent to ({_filtering(other)})",
    )


def _hairpin(client: _Side, server: _Side) -> _Said | None:
    """What is said of two ends behind one router; None where they are not."""
    if not one_outside(client.family, server.family):
        return None
    where = f"both are behind one router ({client.family.mapped})"
    for side, other in ((client, server), (server, client)):
        mapping = side.family.mapping
        if mapping is not None and mapping is not _FREE:
            # The one that both have in common does so to the other one as well.
            nearer = other.family.mapping is _FREE
            return _Said(NO, f"{where}, and {_new_ports(side, mapping, nearer=nearer)}")
    hairpinning = client.family.hairpinning, server.family.hairpinning
    if False in hairpinning:
        return _Said(NO, f"{where}, which does not let its own hosts meet outside (no hairpinning)")
    if None in hairpinning or client.family.mapping is None or server.family.mapping is None:
        return _Said(UNKNOWN, f"{where}; nobody knows whether its own hosts meet outside")
    return _Said(YES, f"{where}, which lets its own hosts meet outside (hairpinning)")


def _relay(client: Findings, server: Findings) -> _Said:
    ours = {each.name for each in client.relays if each.works}
    theirs = {each.name for each in server.relays if each.works}
    if ours & theirs:
        return _Said(YES, f"both reach the relay {min(ours & theirs)}")
    for name, findings, reached in (("client", client, ours), ("server", server, theirs)):
        if findings.relays and not reached:
            return _Said(NO, f"no relay can be reached from the {name}'s network")
    if ours and theirs:
        return _Said(NO, "client and server reach no relay in common")
    if ours:
        return _Said(LIKELY, f"the client reaches the relay {min(ours)}")
    return _Said(UNKNOWN, "no relay is known")


def _new_ports(side: _Side, mapping: Dependence, *, nearer: bool = False) -> str:
    """Say which router gives new ports.

    :param nearer: it is one before that at whose address the side is seen.
    """
    at = f" ({side.family.mapped})" if side.family.mapped else ""
    router = f"the {side.name}'s own router" if nearer else f"the {side.name}'s router{at}"
    what = "address" if mapping is _BY_ADDRESS else "destination"
    return f"{router} gives a new port for every {what} ({mapping.value} Mapping)"


def _filtering(side: _Side) -> str:
    assert side.family.filtering is not None
    return f"{side.family.filtering.value} Filtering"
