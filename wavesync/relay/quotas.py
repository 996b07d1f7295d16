"""How many pairs, and how many bytes a second, each system, client and address may have."""

from collections import OrderedDict
from typing import NamedTuple, Protocol

from wavesync.relay.shaping import Bucket, Shaper
from wavesync.shares import Shares
from wavesync.stun.buckets import source_key

__all__ = ["MAX_SPARE_BUCKETS", "Place", "Quotas", "Rates", "Shapes"]

MAX_SPARE_BUCKETS = 4096
"""Buckets of owners without a pair that are kept, so that nobody gets a full one by coming anew."""


class Shapes(Protocol):
    """The limits of this module, as settings have them; 0 for a rate is no limit."""

    @property
    def pairs(self) -> int:
        """Pairs in all."""

    @property
    def pairs_per_system(self) -> int:
        """Pairs of one system."""

    @property
    def pairs_per_client(self) -> int:
        """Pairs of one client."""

    @property
    def pairs_per_address(self) -> int:
        """Pairs of clients at one address."""

    @property
    def system_bytes(self) -> float:
        """Bytes a second of one system's pairs."""

    @property
    def client_bytes(self) -> float:
        """Bytes a second of one client's pairs."""

    @property
    def address_bytes(self) -> float:
        """Bytes a second of the pairs of clients at one address."""


class Place(NamedTuple):
    """What one client takes: give it back with :meth:`Quotas.leave`."""

    system: bytes
    client: bytes
    address: bytes


class Rates:
    """One bucket for each owner that has a pair, shared by its pairs.

    :param rate: bytes a second; 0 for no limit.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._used: dict[bytes, tuple[Bucket, int]] = {}
        self._spare: OrderedDict[bytes, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Count the buckets, the spare ones as well."""
        return len(self._used) + len(self._spare)

    def enter(self, owner: bytes, now: float) -> list[Bucket]:
        """Give an owner's bucket to one more pair: none where there is no limit."""
        if not self._rate:
            return []
        if owner in self._used:
            bucket, count = self._used[owner]
        elif owner in self._spare:
            bucket, count = self._spare.pop(owner), 0
        else:
            bucket, count = Bucket(self._rate, now), 0
        self._used[owner] = bucket, count + 1
        return [bucket]

    def leave(self, owner: bytes) -> None:
        """A pair is over."""
        if not self._rate:
            return
        bucket, count = self._used[owner]
        if count > 1:
            self._used[owner] = bucket, count - 1
            return
        del self._used[owner]
        self._spare[owner] = bucket
        if len(self._spare) > MAX_SPARE_BUCKETS:
            self._spare.popitem(last=False)


class Quotas:
    """Counts the pairs, with the clients that wait to be one, and shares out bytes a second.

    :param limits: how much.
    """

    def __init__(self, limits: Shapes) -> None:
        self._most = limits.pairs
        self._count = 0
        self._systems = Shares(limits.pairs_per_system)
        self._clients = Shares(limits.pairs_per_client)
        self._addresses = Shares(limits.pairs_per_address)
        self._system_rates = Rates(limits.system_bytes)
        self._client_rates = Rates(limits.client_bytes)
        self._address_rates = Rates(limits.address_bytes)
        self._unlimited = not (limits.system_bytes or limits.client_bytes or limits.address_bytes)

    def __len__(self) -> int:
        """Count the places that are taken."""
        return self._count

    def enter(self, system: str, client: bytes, host: str) -> Place | str:
        """Take a place.

        :param client: the fingerprint of its certificate.
        :param host: from where it comes.
        :returns: the place; or whose quota is used up: "relay", "system", "client" or "address".
        """
        place = Place(system.encode("ascii"), client, source_key(host))
        if self._count >= self._most:
            return "relay"
        for shares, owner, whose in (
            (self._systems, place.system, "system"),
            (self._clients, place.client, "client"),
            (self._addresses, place.address, "address"),
        ):
            if not shares.room(owner):
                return whose
        self._count += 1
        self._systems.take(place.system)
        self._clients.take(place.client)
        self._addresses.take(place.address)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._count -= 1
        self._systems.give_back(place.system)
        self._clients.give_back(place.client)
        self._addresses.give_back(place.address)

    def shape(self, place: Place, now: float) -> Shaper | None:
        """Give what a pair has to keep to: end it with :meth:`release`.  None for no limit."""
        if self._unlimited:
            return None
        buckets = [
            *self._system_rates.enter(place.system, now),
            *self._client_rates.enter(place.client, now),
            *self._address_rates.enter(place.address, now),
        ]
        return Shaper(buckets) if buckets else None

    def release(self, place: Place) -> None:
        """A pair that was given a shape is over."""
        if self._unlimited:
            return
        self._system_rates.leave(place.system)
        self._client_rates.leave(place.client)
        self._address_rates.leave(place.address)
