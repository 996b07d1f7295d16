"""Lists of addresses: their binary form, and which of them may be used at all.

One entry is a family byte (1 = IPv4, 2 = IPv6), the port in network order and 4 or 16 bytes of
address.  A list is entries back to back, at most :data:`~.numbers.MAX_ADDRESSES`.
"""

import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct

from wavesync.interfaces import Address
from wavesync.numeric import canonical, parse_host
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import MAX_ADDRESSES

__all__ = [
    "canonical",
    "decode_addresses",
    "encode_addresses",
    "is_public",
    "punchable",
    "usable",
]

_ENTRY_HEAD = Struct("!BH")
_SIZES = {1: 4, 2: 16}
_JUDGED_HOSTS = 1024
_BROADCAST = IPv4Address("255.255.255.255")


def encode_addresses(addresses: Iterable[Address], *, limit: int = MAX_ADDRESSES) -> bytes:
    """Return the binary form of *addresses*.

    :raises ValueError: more than *limit* of them, or one that is not numeric.
    """
    entries = []
    for address in addresses:
        host, port = canonical(address)
        if ":" in host:
            entries.append(_ENTRY_HEAD.pack(2, port) + socket.inet_pton(socket.AF_INET6, host))
        else:
            entries.append(_ENTRY_HEAD.pack(1, port) + socket.inet_pton(socket.AF_INET, host))
    if len(entries) > limit:
        raise ValueError(f"{len(entries)} addresses are more than the {limit} a list may hold")
    return b"".join(entries)


def decode_addresses(
    data: bytes, *, limit: int = MAX_ADDRESSES, allow_loopback: bool = False
) -> tuple[Address, ...]:
    """Return the addresses of a list, in its order, without repeats and without unusable ones.

    :param allow_loopback: keep loopback addresses (only for everything on one host: demo, tests).
    :raises SignallingError: an unknown family, a cut entry, or more than *limit* entries.
    """
    found: dict[Address, None] = {}
    at = count = 0
    while at < len(data):
        count += 1
        if count > limit:
            raise SignallingError(f"more than {limit} addresses in a list")
        size = _SIZES.get(data[at])
        end = at + _ENTRY_HEAD.size + (size or 0)
        if size is None or end > len(data):
            raise SignallingError("a list of addresses is malformed")
        port: int = _ENTRY_HEAD.unpack_from(data, at)[1]
        packed = data[at + _ENTRY_HEAD.size : end]
        family = socket.AF_INET if size == 4 else socket.AF_INET6
        address = canonical((socket.inet_ntop(family, packed), port))
        if usable(address, allow_loopback=allow_loopback):
            found[address] = None
        at = end
    return tuple(found)


def usable(address: Address, *, allow_loopback: bool = False) -> bool:
    """Tell whether packets may be sent to *address* on a peer's word.

    Never to port 0, nor to loopback, link-local, multicast, broadcast and unspecified addresses:
    nobody may aim us at our own host or at everybody on the link.
    """
    host, port = address
    return port != 0 and _usable_host(host, allow_loopback)


@lru_cache(maxsize=_JUDGED_HOSTS)
def _usable_host(host: str, allow_loopback: bool) -> bool:
    ip = parse_host(host)
    if ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip == _BROADCAST:
        return False
    if ip.is_loopback:
        return allow_loopback
    # 0.0.0.0/8 reaches the local host on some systems.
    return not (isinstance(ip, IPv4Address) and ip.packed[0] == 0)


def is_public(host: str) -> bool:
    """Tell whether *host* may be reached across the Internet (RFC 6890: not private or shared)."""
    return parse_host(host).is_global


def punchable(
    listed: Iterable[Address],
    observed: Iterable[Address],
    *,
    forwarded: int = 0,
    allow_loopback: bool = False,
) -> tuple[Address, ...]:
    """Return where a peer may be punched at: observed addresses first, then listed private ones.

    Public addresses count only as the mediator has observed them, port and all: naming one has no
    packets sent to a third party, and a spoofed source gets no more than one port's share.

    :param forwarded: how many listed public ones count all the same: for a client, which nobody
        makes punch but itself, and which has the list from the very server that it wants
        (:data:`~.numbers.MAX_FORWARDED`).
    """
    candidates: dict[Address, None] = {}
    for address in observed:
        if usable(address, allow_loopback=allow_loopback):
            candidates[canonical(address)] = None
    for address in listed:
        address = canonical(address)
        if address in candidates or not usable(address, allow_loopback=allow_loopback):
            continue
        if is_public(address[0]):
            if not forwarded:
                continue
            forwarded -= 1
        candidates[address] = None
    return tuple(candidates)
