"""Turns a kind of site into the nftables rules of its router.

The router's outside interface is called ``wan``.  Ports that stay the same for several flows live
in maps that the rules themselves fill: a flow's first packet gets a random port from the kernel,
the chain ``remember`` (after translation) writes it down, later flows look it up.  The same writes
feed the maps that let unknown remotes in.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.lab.kinds import Filtering, Kind, Mapping, Unsolicited

__all__ = ["BLOCK_UDP", "FORGET", "MUTE_TOO_BIG", "UNBLOCK_UDP", "ruleset"]

_FIRST_PORT, _LAST_PORT = 1024, 65535
_SEQUENTIAL_FIRST, _SEQUENTIAL_COUNT = 20000, 4000

#: Drops all UDP through the router, at any time.
BLOCK_UDP = """
table inet blocked
delete table inet blocked
table inet blocked {
    chain forward {
        type filter hook forward priority -10; policy accept;
        meta l4proto udp drop
    }
}
"""

#: Takes `BLOCK_UDP` back; harmless without it.
UNBLOCK_UDP = """
table inet blocked
delete table inet blocked
"""

#: Goes before a `ruleset` that replaces another one.
FORGET = """
table ip nat
delete table ip nat
table inet filter
delete table inet filter
"""

#: Keeps "fragmentation needed" and "packet too big" from whoever sent too big a packet.
MUTE_TOO_BIG = """
table inet mute {
    chain output {
        type filter hook output priority filter; policy accept;
        ip protocol icmp icmp type destination-unreachable icmp code 4 drop
        meta l4proto icmpv6 icmpv6 type packet-too-big drop
    }
}
"""

_MAPS = """
    map outside {{
        type inet_proto . ipv4_addr . inet_service : inet_service
        flags dynamic,timeout; timeout {timeout}s; size 65535;
    }}
    map outside_by_remote {{
        type inet_proto . ipv4_addr . inet_service . ipv4_addr : inet_service
        flags dynamic,timeout; timeout {timeout}s; size 65535;
    }}
    map inside {{
        type inet_proto . inet_service : ipv4_addr . inet_service
        flags dynamic,timeout; timeout {timeout}s; size 65535;
    }}
    set spoken {{
        type inet_proto . ipv4_addr . inet_service
        flags dynamic,timeout; timeout {timeout}s; size 65535;
    }}
"""

#: What came from inside and goes back there, and nothing that was let in from outside.
_TURNED = 'iifname "lan" oifname "lan" ct status dnat'

_RANDOM = f"masquerade to :{_FIRST_PORT}-{_LAST_PORT} fully-random"
_RANDOM_AT = f"snat ip to {{public}}:{_FIRST_PORT}-{_LAST_PORT} fully-random"


def ruleset(kind: Kind, public: str, *, mapping_timeout: int, hairpin: bool = False) -> str:
    """
    Write the rules of a router.

    :param kind: what it shall be.
    :param public: the IPv4 address of its ``wan``.
    :param mapping_timeout: seconds that an unused mapping lives.
    :param hairpin: whether hosts inside reach each other at ``public``, whatever the filtering.
    :return: text for ``nft -f``; empty for a plain router.
    """
    return "\n".join(
        [
            *_translation(kind, public, mapping_timeout, hairpin),
            *_filters(kind, public),
            *([] if kind.udp else [BLOCK_UDP]),
        ]
    )


def _translation(kind: Kind, public: str, mapping_timeout: int, hairpin: bool) -> Iterator[str]:
    if not kind.translates:
        return
    yield "table ip nat {"
    yield _MAPS.format(timeout=mapping_timeout)
    yield "chain incoming { type nat hook prerouting priority dstnat; policy accept;"
    yield from _incoming(kind)
    if hairpin:
        inside = "dnat ip to meta l4proto . th dport map @inside"
        yield f'iifname "lan" ip daddr {public} meta l4proto {{ tcp, udp }} {inside}'
    yield "}"
    yield "chain outgoing { type nat hook postrouting priority srcnat; policy accept;"
    for statement in _outgoing(kind, public):
        yield f'oifname "wan" meta l4proto {{ tcp, udp }} {statement}'
    yield 'oifname "wan" masquerade'
    if hairpin:
        for statement in _outgoing(kind, public):
            # Masquerade would take the address of ``lan``.
            turned = statement.replace(_RANDOM, _RANDOM_AT.format(public=public))
            yield f"{_TURNED} meta l4proto {{ tcp, udp }} {turned}"
        yield f"{_TURNED} snat ip to {public}"
    yield "}"
    yield "chain remember { type filter hook postrouting priority srcnat + 50; policy accept;"
    for statement in _remembered(kind, hairpin):
        yield f'oifname "wan" meta l4proto {{ tcp, udp }} {statement}'
    yield "}"
    yield "}"


def _outgoing(kind: Kind, public: str) -> Iterator[str]:
    """Choose the outside port of a new flow: the first statement that applies."""
    source = "meta l4proto . ip saddr . th sport"
    match kind.mapping:
        case Mapping.INDEPENDENT:
            yield f"snat ip to {public} : {source} map @outside"
            yield _RANDOM
        case Mapping.ADDRESS_DEPENDENT:
            yield f"snat ip to {public} : {source} . ip daddr map @outside_by_remote"
            yield _RANDOM
        case Mapping.RANDOM:
            yield _RANDOM
        case Mapping.SEQUENTIAL:
            # A map, because the counter itself would arrive byte-swapped.
            ports = ", ".join(
                f"{number} : {public} . {_SEQUENTIAL_FIRST + number}"
                for number in range(_SEQUENTIAL_COUNT)
            )
            yield f"snat ip addr . port to numgen inc mod {_SEQUENTIAL_COUNT} map {{ {ports} }}"
        case Mapping.PRESERVING | Mapping.NONE:
            return


def _remembered(kind: Kind, hairpin: bool) -> Iterator[str]:
    """Write a flow's ports down, as far as later flows or unknown remotes need them."""
    # Which half of conntrack's entry names the host inside depends on who sent first.
    for direction in ("original", "reply"):
        source = f"ct {direction} ip saddr . ct {direction} proto-src"
        updates = []
        if kind.mapping is Mapping.INDEPENDENT:
            updates.append(f"update @outside {{ meta l4proto . {source} : th sport }}")
        if kind.mapping is Mapping.ADDRESS_DEPENDENT:
            updates.append(
                f"update @outside_by_remote {{ meta l4proto . {source} . ip daddr : th sport }}"
            )
        if hairpin or kind.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT:
            updates.append(f"update @inside {{ meta l4proto . th sport : {source} }}")
        for update in updates:
            yield f"ct direction {direction} {update}"
    if kind.filtering is Filtering.ADDRESS_DEPENDENT:
        yield "update @spoken { meta l4proto . ip daddr . th sport }"


def _incoming(kind: Kind) -> Iterator[str]:
    """Let unknown remotes in through a mapping, as far as the filtering says."""
    to_inside = "dnat ip to meta l4proto . udp dport map @inside"
    match kind.filtering:
        case Filtering.INDEPENDENT:
            yield f'iifname "wan" meta l4proto udp {to_inside}'
        case Filtering.ADDRESS_DEPENDENT:
            yield f'iifname "wan" meta l4proto . ip saddr . udp dport @spoken {to_inside}'
        case Filtering.ADDRESS_AND_PORT_DEPENDENT | Filtering.OPEN:
            return


def _filters(kind: Kind, public: str) -> Iterator[str]:
    """Stop what nothing inside asked for, on its way through the router and to the router."""
    if kind.filtering is Filtering.OPEN:
        return
    yield "table inet filter {"
    yield "chain forward { type filter hook forward priority filter; policy accept;"
    yield 'iifname "wan" ct state established,related accept'
    yield 'iifname "wan" ct status dnat accept'
    if kind.unsolicited is Unsolicited.REJECT:
        yield 'iifname "wan" meta l4proto tcp reject with tcp reset'
        yield 'iifname "wan" reject'
    yield 'iifname "wan" drop'
    yield "}"
    yield "chain input { type filter hook input priority filter; policy accept;"
    unsolicited = 'iifname "wan" ct state new'
    match kind.unsolicited:
        case Unsolicited.DROP:
            # Dropped before it is confirmed, a packet leaves no conntrack entry that would
            # occupy the port.
            yield f"{unsolicited} meta l4proto {{ tcp, udp }} drop"
        case Unsolicited.REJECT:
            yield f"{unsolicited} meta l4proto tcp reject with tcp reset"
            yield f"{unsolicited} meta l4proto udp reject"
        case Unsolicited.ACCEPT:
            pass
    if kind.translates:
        # What comes here from inside found no mapping, or there is no hairpin.
        yield f'iifname "lan" ip daddr {public} meta l4proto {{ tcp, udp }} drop'
    yield "}"
    yield "}"
