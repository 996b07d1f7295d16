"""Lists of relays in messages: those that a mediator knows, and those where a server has parked.

A list is entries back to back.  A relay's entry is the length of its URL (1 byte) and the URL; where
a server has parked, the round trip comes first (2 bytes, milliseconds).  URLs of another form, as a
later version may have them, are left out.
"""

from collections.abc import Collection, Iterable
from struct import Struct
from typing import NamedTuple

from wavesync.errors import SettingsError
from wavesync.signalling.addresses import usable
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.relay_urls import MAX_RELAY_URL, MAX_RELAYS, Relay, parse_relay

__all__ = [
    "MAX_PARKED",
    "ParkedAt",
    "decode_parked",
    "decode_relays",
    "encode_parked",
    "encode_relays",
    "other_ports",
    "reachable",
]

MAX_PARKED = 2
"""Relays at which a server parks, and which it tells of."""

_ROUND_TRIP = Struct("!H")
_LONGEST = 0xFFFF


class ParkedAt(NamedTuple):
    """A relay that has a server's connections, or may have.

    :ivar relay: which.
    :ivar round_trip: between server and relay, seconds; 0.0 where nobody has measured it.
    """

    relay: Relay
    round_trip: float = 0.0


def encode_relays(relays: Iterable[Relay], *, room: int | None = None) -> bytes:
    """Return the binary form of *relays*.

    :param room: most bytes; the last ones are left out where they do not fit.
    :raises ValueError: more than :data:`~.relay_urls.MAX_RELAYS`.
    """
    entries = [_entry(relay) for relay in relays]
    if len(entries) > MAX_RELAYS:
        raise ValueError(f"{len(entries)} relays are more than the {MAX_RELAYS} a list may hold")
    while room is not None and entries and sum(map(len, entries)) > room:
        entries.pop()
    return b"".join(entries)


def decode_relays(data: bytes, *, allow_loopback: bool = False) -> tuple[Relay, ...]:
    """Return the relays of a list, in its order, without repeats and without unusable ones.

    :param allow_loopback: keep relays at loopback addresses (only for everything on one host).
    :raises SignallingError: a cut entry, or more than :data:`~.relay_urls.MAX_RELAYS`.
    """
    found = _decode(data, head=0, limit=MAX_RELAYS, allow_loopback=allow_loopback)
    return tuple(parked.relay for parked in found)


def encode_parked(relays: Iterable[ParkedAt]) -> bytes:
    """Return the binary form of where a server has parked.

    :raises ValueError: more than :data:`MAX_PARKED`.
    """
    entries = []
    for relay, round_trip in relays:
        # 0 stands for not measured, however near the relay is.
        milliseconds = min(max(round(round_trip * 1000), 1), _LONGEST) if round_trip > 0 else 0
        entries.append(_ROUND_TRIP.pack(milliseconds) + _entry(relay))
    if len(entries) > MAX_PARKED:
        raise ValueError(f"{len(entries)} relays are more than the {MAX_PARKED} to park at")
    return b"".join(entries)


def decode_parked(data: bytes, *, allow_loopback: bool = False) -> tuple[ParkedAt, ...]:
    """Return where a server has parked; see :func:`decode_relays`.

    :raises SignallingError: a cut entry, or more than :data:`MAX_PARKED`.
    """
    return _decode(data, head=_ROUND_TRIP.size, limit=MAX_PARKED, allow_loopback=allow_loopback)


def reachable(relay: Relay, *, allow_loopback: bool = False) -> bool:
    """Tell whether *relay* may be dialled on a peer's word: never at this very host."""
    name = relay.host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return allow_loopback
    try:
        return usable((relay.host, relay.port), allow_loopback=allow_loopback)
    except ValueError:
        return True


def other_ports(known: Iterable[Relay], of: Collection[Relay]) -> tuple[Relay, ...]:
    """Return those of the *known* URLs that lead to one of the relays *of* by its other port."""
    return tuple(
        relay for relay in known if relay not in of and any(relay.same_as(each) for each in of)
    )


def _entry(relay: Relay) -> bytes:
    url = str(relay).encode("ascii")
    return bytes([len(url)]) + url


def _decode(data: bytes, *, head: int, limit: int, allow_loopback: bool) -> tuple[ParkedAt, ...]:
    found: dict[Relay, float] = {}
    at = count = 0
    while at < len(data):
        count += 1
        if count > limit:
            raise SignallingError(f"more than {limit} relays in a list")
        begin = at + head + 1
        end = begin + (data[begin - 1] if begin <= len(data) else 0)
        if not begin < end <= len(data):
            raise SignallingError("a list of relays is malformed")
        round_trip = _ROUND_TRIP.unpack_from(data, at)[0] / 1000 if head else 0.0
        relay = _parsed(data[begin:end])
        if relay is not None and reachable(relay, allow_loopback=allow_loopback):
            found.setdefault(relay, round_trip)
        at = end
    return tuple(ParkedAt(*each) for each in found.items())


def _parsed(url: bytes) -> Relay | None:
    if len(url) > MAX_RELAY_URL:
        return None
    try:
        return parse_relay(url.decode("ascii"))
    except (SettingsError, UnicodeDecodeError):
        return None
