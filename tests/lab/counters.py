"""Counts, on a router, what passes between its site and the other sites or the mediator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.commands import LabError
from tests.lab.namespaces import Namespace

__all__ = ["Count", "Counts", "counting_rules", "read_counts"]

_NAMES = (
    "udp_sent",
    "udp_received",
    "tcp_sent",
    "tcp_received",
    "mediator_sent",
    "mediator_received",
)


@dataclass(frozen=True, slots=True)
class Count:
    """
    What one counter has seen.

    :ivar packets: how many.
    :ivar bytes: with IP headers.
    """

    packets: int
    bytes: int

    def __sub__(self, earlier: Count) -> Count:
        return Count(self.packets - earlier.packets, self.bytes - earlier.bytes)


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What a router has passed, as seen outside: after translation, after its filters.

    :ivar udp_sent: UDP to the public addresses of the other sites.
    :ivar udp_received: UDP from them that was let in.
    :ivar tcp_sent: TCP to them.
    :ivar tcp_received: TCP from them that was let in.
    :ivar mediator_sent: all protocols to the mediator's addresses.
    :ivar mediator_received: all protocols from them that was let in.
    """

    udp_sent: Count
    udp_received: Count
    tcp_sent: Count
    tcp_received: Count
    mediator_sent: Count
    mediator_received: Count

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(*(getattr(self, name) - getattr(earlier, name) for name in _NAMES))

    @property
    def with_mediator(self) -> int:
        """Bytes exchanged with the mediator, both ways."""
        return self.mediator_sent.bytes + self.mediator_received.bytes


def counting_rules(peers: Sequence[str], mediator: Sequence[str]) -> str:
    """
    Write the rules that count.

    :param peers: public addresses and networks of the other sites.
    :param mediator: the mediator's addresses.
    :return: text for ``nft -f``.
    """
    counters = "\n".join(f"counter {name} {{ }}" for name in _NAMES)
    return f"""
table inet count {{
    {counters}
    {_set("peers", peers)}
    {_set("mediator", mediator)}
    chain sent {{
        type filter hook postrouting priority srcnat + 60; policy accept;
        {_count('oifname "wan" {ip} daddr', "sent")}
    }}
    chain received {{
        type filter hook forward priority filter + 10; policy accept;
        {_count('iifname "wan" {ip} saddr', "received")}
    }}
}}
"""


def _set(name: str, addresses: Sequence[str]) -> str:
    """Write a set of addresses for each family."""
    sets = []
    for family, wanted in (("ipv4", False), ("ipv6", True)):
        members = ", ".join(address for address in addresses if (":" in address) is wanted)
        elements = f"elements = {{ {members} }}" if members else ""
        suffix = "6" if wanted else ""
        sets.append(f"set {name}{suffix} {{ type {family}_addr; flags interval; {elements} }}")
    return "\n".join(sets)


def _count(match: str, direction: str) -> str:
    """Write the rules of one direction for each family."""
    rules = []
    for family, suffix in (("ip", ""), ("ip6", "6")):
        remote = match.format(ip=family)
        for protocol in ("udp", "tcp"):
            counter = f"counter name {protocol}_{direction}"
            rules.append(f"{remote} @peers{suffix} meta l4proto {protocol} {counter}")
        rules.append(f"{remote} @mediator{suffix} counter name mediator_{direction}")
    return "\n".join(rules)


def read_counts(router: Namespace) -> Counts:
    """
    Read a router's counters.

    :raises LabError: when they are not there.
    """
    listing = json.loads(
        router.run(["nft", "-j", "list", "counters", "table", "inet", "count"]).stdout
    )
    found = {
        item["counter"]["name"]: Count(item["counter"]["packets"], item["counter"]["bytes"])
        for item in listing["nftables"]
        if "counter" in item
    }
    try:
        return Counts(*(found[name] for name in _NAMES))
    except KeyError as error:
        raise LabError(f"{router.name} has no counter {error}") from error
