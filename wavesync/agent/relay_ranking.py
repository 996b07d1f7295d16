"""At which relays a server parks: the nearest ones, without changing its mind for nothing."""

from collections.abc import Collection, Mapping, Sequence
from math import inf
from types import MappingProxyType

from wavesync.signalling.relay_lists import MAX_PARKED
from wavesync.signalling.relay_urls import Relay

__all__ = ["BETTER_BY", "BETTER_FACTOR", "MAX_CANDIDATES", "best_relays", "by_relay", "smoothed"]

MAX_CANDIDATES = 8
"""Relays that are considered: of settings, credentials and all mediators together."""

BETTER_FACTOR = 0.75
"""What the round trip of another relay has to be of that of one that is in use, to take its place."""

BETTER_BY = 0.02
"""By how many seconds it has to be shorter as well."""


_NO_COSTS: Mapping[Relay, float] = MappingProxyType({})


def best_relays(
    candidates: Sequence[Relay],
    round_trips: Mapping[Relay, float],
    current: Collection[Relay],
    hopeless: Collection[Relay],
    costs: Mapping[Relay, float] = _NO_COSTS,
) -> tuple[Relay, ...]:
    """Choose.

    A relay is parked at by one of its ports: connections by the other one would come into the same pool.
    Another host takes the second place before another relay of the first one: what breaks there leaves it.

    :param candidates: in the order of preference where nothing is known.
    :param round_trips: seconds, of those that were measured.
    :param current: those in use: they stay unless others are clearly nearer.
    :param hopeless: those at which parking does not work now.
    :param costs: how much is to be said against the way to each (:attr:`~wavesync.tunnel.way.Way.cost`):
        of a relay's two ports that one is taken whose way costs less.
    :returns: the nearest :data:`~.relay_lists.MAX_PARKED` that work, the nearest first, and nearer
        ones that do not: to be tried on.
    """

    def score(relay: Relay) -> float:
        round_trip = round_trips.get(relay, inf)
        if relay not in current or round_trip == inf:
            return round_trip
        return min(round_trip * BETTER_FACTOR, round_trip - BETTER_BY)

    def port(relay: Relay) -> tuple[bool, float, float]:
        return relay not in round_trips, costs.get(relay, 0.0), score(relay)

    # Sorting keeps the order of those that are equal.
    ranked = sorted(
        (sorted(ports, key=port) for ports in by_relay(candidates)),
        key=lambda ports: score(ports[0]),
    )
    firsts: list[list[Relay]] = []
    others: list[list[Relay]] = []
    hosts: set[str] = set()
    for ports in ranked:
        (others if ports[0].host in hosts else firsts).append(ports)
        hosts.add(ports[0].host)
    chosen: list[Relay] = []
    working = 0
    for ports in (*firsts, *others):
        for relay in ports:
            chosen.append(relay)
            if relay not in hopeless:
                working += 1
                break
        if working == MAX_PARKED:
            break
    return tuple(chosen)


def by_relay(candidates: Sequence[Relay]) -> list[list[Relay]]:
    """Put URLs together that lead to one relay: the one of a host without TLS, and the one with it.

    Where a host has several of either kind they are taken for several relays, and for as many as there are.
    """
    hosts: dict[str, list[Relay]] = {}
    for relay in candidates:
        hosts.setdefault(relay.host, []).append(relay)
    found: list[list[Relay]] = []
    for urls in hosts.values():
        one = len(urls) == 2 and urls[0].same_as(urls[1])
        found += [urls] if one else [[each] for each in urls]
    places = {relay: place for place, relay in enumerate(candidates)}
    return sorted(found, key=lambda ports: places[ports[0]])


def smoothed(before: float, measured: float) -> float:
    """Give a relay's round trip: a shorter one is the network, a longer one may be a busy host.

    :param before: what was thought; 0 for nothing.
    """
    if not before or measured < before:
        return max(measured, 1e-6)
    return before + (measured - before) / 8
