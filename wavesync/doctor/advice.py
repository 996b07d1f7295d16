"""What can be changed at a site so that more paths become possible, and in which words to ask for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Literal, TypeAlias

from msgspec.structs import replace

from wavesync.doctor.findings import Dependence, Family, Findings, Place, RouterFound, Trial
from wavesync.doctor.pairing import meeting_outside, one_outside

__all__ = ["Change", "changes"]

_FREE = Dependence.ENDPOINT_INDEPENDENT

Side: TypeAlias = Literal["client", "server"]

_FORWARDED = "tcp 1.1.1.1:1"
"""Stands for a port that leads to the server, when a change is tried."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    :ivar side: where.
    :ivar text: what to do, a sentence.
    :ivar effort: less comes first among equals.
    :ivar apply: gives the findings of both as they would be then.
    """

    side: Side
    text: str
    effort: int
    apply: Callable[[Findings, Findings], tuple[Findings, Findings]]


def changes(client: Findings, server: Findings) -> Iterator[Change]:
    """List what could be changed, whether it helps or not."""
    yield from _let_in(server)
    sides: tuple[tuple[Side, Findings], ...] = (("server", server), ("client", client))
    for side, findings in sides:
        other = client if side == "server" else server
        yield from _let_udp_out(side, findings)
        yield from _keep_ports(side, findings, other)
        yield from _reach_relay(side, findings)
        yield from _common_version(side, findings, other)
    yield from _hairpin(client, server)


def _let_in(server: Findings) -> Iterator[Change]:
    """A port that leads to the server: by a protocol, by hand, or in a firewall."""
    family = server.ipv4
    if family is None:
        return

    def forwarded(client: Findings, server: Findings) -> tuple[Findings, Findings]:
        return client, replace(server, forwarded=(*server.forwarded, _FORWARDED))

    port = f"TCP port {server.port}" if server.port else "a TCP port of the agent (tcp_port)"
    host = family.local or _own(server) or "the server"
    if family.translated is False:
        text = f"let TCP connections to {host}, {port}, pass the firewall in front of the server"
        yield Change("server", text, 1, forwarded)
        return
    router = f"the server's router{_at(family)}"
    if any(each.another_nat for each in server.routers):
        inside = next(each for each in server.routers if each.another_nat)
        text = (
            f"the server's router ({inside.router or 'nearest to it'}) is behind one more router"
            f"{_at(family)}: have that one forward {port} as well, make the first one a bridge, or ask"
            " the internet provider for a public address or for IPv6"
        )
        yield Change("server", text, 4, forwarded)
        return
    refusing = next((each for each in server.routers if each.speaks), None)
    if refusing is not None:
        text = (
            f"{router} speaks {' and '.join(refusing.speaks)} and opens no port"
            f"{_because(refusing)}: allow it there, or forward {port} to {host}"
        )
    else:
        text = (
            f"{router} forwards no port: switch on UPnP, NAT-PMP or PCP there, or forward {port} to"
            f" {host} and name it in the agent's public_addresses (with a fixed tcp_port)"
        )
    yield Change("server", text, 1, forwarded)


def _let_udp_out(side: Side, findings: Findings) -> Iterator[Change]:
    family = findings.ipv4
    if family is None or family.udp is not False:
        return

    def allowed(client: Findings, server: Findings) -> tuple[Findings, Findings]:
        better = replace(family, udp=True, mapping=family.mapping or family.tcp_mapping or _FREE)
        return _swap(side, client, server, better)

    text = (
        f"let the {side}'s host send UDP to the internet, and take the answers{_in_front(family)}"
    )
    yield Change(side, text, 2, allowed)


def _keep_ports(side: Side, findings: Findings, other: Findings) -> Iterator[Change]:
    """A router that gives a new port for every destination."""
    family, others = findings.ipv4, other.ipv4
    if family is None or family.mapping in (None, _FREE) or not family.translated:
        return
    router = f"the {side}'s router{_at(family)}"
    hairpinning = family.hairpinning
    if others is not None and one_outside(family, others):
        hairpinning = meeting_outside(family, others)
        if others.mapping is _FREE:
            # It is not the router that both are behind.
            router = f"the {side}'s own router, behind that at {family.mapped},"

    def kept(client: Findings, server: Findings) -> tuple[Findings, Findings]:
        better = replace(family, mapping=_FREE, tcp_mapping=_FREE, hairpinning=hairpinning)
        return _swap(side, client, server, better)

    assert family.mapping is not None
    text = (
        f"{router} gives a new port for every destination"
        f" ({family.mapping.value} Mapping): switch that off there (it is called symmetric NAT, strict"
        " NAT, random ports, or the lack of static ports), or put another router in its place"
    )
    yield Change(side, text, 3, kept)


def _common_version(side: Side, findings: Findings, other: Findings) -> Iterator[Change]:
    """An end without the version of IP that the other end has."""
    if findings.ipv6 is None and other.ipv6 is not None and other.ipv6.reached:

        def with_six(client: Findings, server: Findings) -> tuple[Findings, Findings]:
            six = _ordinary(translated=False)
            if side == "client":
                return replace(client, ipv6=six), server
            return client, replace(server, ipv6=six)

        text = (
            f"the {side}'s host has no IPv6, and the other end has: switch IPv6 on at the router in front"
            " of it, or ask the internet provider for it"
        )
        yield Change(side, text, 3, with_six)
    if findings.ipv4 is None and other.ipv4 is not None and other.ipv6 is None:

        def with_four(client: Findings, server: Findings) -> tuple[Findings, Findings]:
            return _swap(side, client, server, _ordinary(translated=True))

        text = (
            f"the {side}'s host has no IPv4, and the other end has nothing else: give it an address"
        )
        yield Change(side, text, 3, with_four)


def _ordinary(*, translated: bool) -> Family:
    """A network as most are: a firewall or an ordinary router in front of it."""
    return Family(
        translated=translated,
        udp=True,
        tcp=True,
        mapping=_FREE,
        filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT,
    )


def _reach_relay(side: Side, findings: Findings) -> Iterator[Change]:
    lost = [each for each in findings.relays if each.works is False]
    if not lost or len(lost) < len(findings.relays):
        return
    name = lost[0].name

    def reached(client: Findings, server: Findings) -> tuple[Findings, Findings]:
        relays = (Place(name=name, host=lost[0].host, tcp=Trial(works=True)),)
        if side == "client":
            return replace(client, relays=relays), server
        return client, replace(server, relays=relays)

    text = f"let the {side}'s host make TCP connections to the relay {name}"
    yield Change(side, text, 2, reached)


def _hairpin(client: Findings, server: Findings) -> Iterator[Change]:
    ours, theirs = client.ipv4, server.ipv4
    if ours is None or theirs is None or not ours.mapped or ours.mapped != theirs.mapped:
        return
    if False not in (ours.hairpinning, theirs.hairpinning):
        return

    def meeting(client: Findings, server: Findings) -> tuple[Findings, Findings]:
        return (
            replace(client, ipv4=replace(ours, hairpinning=True)),
            replace(server, ipv4=replace(theirs, hairpinning=True)),
        )

    text = (
        f"client and server are behind one router ({ours.mapped}): switch on NAT loopback (hairpinning)"
        " there, or let the two networks behind it reach each other"
    )
    yield Change("server", text, 2, meeting)


def _swap(
    side: Side, client: Findings, server: Findings, ipv4: Family
) -> tuple[Findings, Findings]:
    if side == "client":
        return replace(client, ipv4=ipv4), server
    return client, replace(server, ipv4=ipv4)


def _at(family: Family) -> str:
    return f" ({family.mapped})" if family.mapped else ""


def _in_front(family: Family) -> str:
    at = _at(family)
    return f": a firewall or the router{at} drops it" if at else ""


def _because(router: RouterFound) -> str:
    return f" ({router.why})" if router.why else ""


def _own(findings: Findings) -> str:
    """An IPv4 address of the host."""
    for interface in findings.interfaces:
        for text in interface.networks:
            try:
                own = ip_interface(text).ip
            except ValueError:
                continue
            if own.version == 4 and not own.is_loopback:
                return str(own)
    return ""
