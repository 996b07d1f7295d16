"""At which relays a server parks: the nearest ones, without changing its mind for nothing."""

from collections.abc import Collection, Mapping, Sequence
from math import inf

from wavesync.signalling.relay_lists import MAX_PARKED
from wavesync.signalling.relay_urls import Relay

__all__ = ["BETTER_BY", "BETTER_FACTOR", "MAX_CANDIDATES", "best_relays", "smoothed"]

MAX_CANDIDATES = 8
"""Relays that are considered: of settings, credentials and all mediators together."""

BETTER_FACTOR = 0.75
"""What the round trip of another relay has to be of that of one that is in use, to take its place."""

BETTER_BY = 0.02
"""By how many seconds it has to be shorter as well."""


def best_relays(
    candidates: Sequence[Relay],
    round_trips: Mapping[Relay, float],
    current: Collection[Relay],
    hopeless: Collection[Relay],
) -> tuple[Relay, ...]:
    """Choose.

    :param candidates: in the order of preference where nothing is known.
    :param round_trips: seconds, of those that were measured.
    :param current: those in use: they stay unless others are clearly nearer.
    :param hopeless: those at which parking does not work now.
    :returns: the nearest :data:`~.relay_lists.MAX_PARKED` that work, the nearest first, and nearer
        ones that do not: to be tried on.
    """

    def score(relay: Relay) -> float:
        round_trip = round_trips.get(relay, inf)
        if relay not in current or round_trip == inf:
            return round_trip
        return min(round_trip * BETTER_FACTOR, round_trip - BETTER_BY)

    chosen: list[Relay] = []
    for relay in sorted(candidates, key=score):  # keeps the order of those that are equal
        chosen.append(relay)
        if sum(each not in hopeless for each in chosen) == MAX_PARKED:
            break
    return tuple(chosen)


def smoothed(before: float, measured: float) -> float:
    """Give a relay's round trip: a shorter one is the network, a longer one may be a busy host.

    :param before: what was thought; 0 for nothing.
    """
    if not before or measured < before:
        return max(measured, 1e-6)
    return before + (measured - before) / 8
