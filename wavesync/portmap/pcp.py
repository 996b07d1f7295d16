"""PCP's datagrams (RFC 6887): ANNOUNCE and MAP, for IPv4 mappings and IPv6 pinholes."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import Final

from wavesync.portmap.words import TCP, UDP, PortMapError, Reason, Transport

__all__ = [
    "NONCE_SIZE",
    "PORT",
    "Announced",
    "Mapped",
    "NotSpoken",
    "Refused",
    "decode",
    "encode_announce",
    "encode_map",
]

PORT = 5351
"""Where routers take requests; NAT-PMP shares it."""

NONCE_SIZE = 12
"""Bytes of the random number that a mapping belongs to."""

MAX_SIZE = 1100
"""Bytes of the largest message (section 7)."""

_VERSION = 2
_ANNOUNCE, _MAP = 0, 1
_ANSWER = 0x80
_PROTOCOLS: Final[dict[Transport, int]] = {TCP: 6, UDP: 17}
_TRANSPORTS: Final = {number: transport for transport, number in _PROTOCOLS.items()}
_REQUEST = Struct("!BBHI16s")
_HEAD = Struct("!BBBBII12x")
_BODY = Struct("!12sB3xHH16s")
_RESULTS = {
    2: "port mapping is switched off, or not allowed for this host",
    3: "it does not understand the request",
    4: "it does not know the request",
    5: "it does not know an option",
    6: "it does not understand an option",
    7: "it has no external address: it is not connected, or behind one more router",
    8: "it has no room for more mappings",
    9: "it does not map this kind of port",
    10: "this host has as many mappings as it may have",
    11: "it cannot give the address asked for",
    12: "another router translates addresses between this host and it",
    13: "it cannot do that for so many",
}
_UNSUPPORTED_VERSION = 1


@dataclass(frozen=True, slots=True)
class Announced:
    """The router is there; ``epoch`` in seconds."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping was made, kept, or (lifetime 0) removed.

    :ivar epoch: the router's seconds.
    :ivar nonce: the request's.
    :ivar transport: ``tcp`` or ``udp``.
    :ivar internal: this host's port.
    :ivar external: the port outside.
    :ivar host: the address outside; IPv4 or IPv6.
    :ivar lifetime: seconds.
    """

    epoch: int
    nonce: bytes
    transport: Transport
    internal: int
    external: int
    host: str
    lifetime: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An error.

    :ivar opcode: the request's: 0 ANNOUNCE, 1 MAP.
    :ivar nonce: that of a MAP request; empty where the answer has none.
    """

    epoch: int
    opcode: int
    code: int
    nonce: bytes

    @property
    def sentence(self) -> str:
        """What it means."""
        return _RESULTS.get(self.code, f"it answers with error {self.code}")


class NotSpoken(PortMapError):
    """The router answers, in another version."""

    def __init__(self) -> None:
        super().__init__(Reason.NO_ANSWER, "it does not speak PCP")


def encode_announce(client: str) -> bytes:
    """Ask whether the router is there, and its time (section 14.1.2).

    :param client: this host's address, that the request is sent from.
    """
    return _REQUEST.pack(_VERSION, _ANNOUNCE, 0, 0, _packed(client))


def encode_map(
    client: str, nonce: bytes, transport: Transport, internal: int, external: int, lifetime: int
) -> bytes:
    """Ask for a mapping, or for its end with lifetime 0 (section 11.1).

    :param client: this host's address, that the request is sent from.
    :param external: the port to have if it is free; its address is the router's choice.
    """
    anywhere = _packed("::" if ":" in client else "0.0.0.0")
    head = _REQUEST.pack(_VERSION, _MAP, 0, lifetime, _packed(client))
    return head + _BODY.pack(nonce, _PROTOCOLS[transport], internal, external, anywhere)


def decode(data: bytes) -> Announced | Mapped | Refused:
    """Read an answer.

    :raises PortMapError: it is none.
    """
    if not data:
        raise PortMapError(Reason.MALFORMED, "an empty PCP answer")
    if data[0] != _VERSION:
        raise NotSpoken()
    if not _HEAD.size <= len(data) <= MAX_SIZE or len(data) % 4:
        raise PortMapError(Reason.MALFORMED, "a PCP answer is of an impossible length")
    _, opcode, _, code, lifetime, epoch = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if code == _UNSUPPORTED_VERSION:
        raise NotSpoken()
    opcode -= _ANSWER
    if opcode not in (_ANNOUNCE, _MAP):
        raise PortMapError(Reason.MALFORMED, "a PCP answer to something else")
    if code:
        return Refused(epoch, opcode, code, body[:NONCE_SIZE] if opcode == _MAP else b"")
    if opcode == _ANNOUNCE:
        return Announced(epoch)
    if len(body) < _BODY.size:
        raise PortMapError(Reason.MALFORMED, "a PCP answer is too short")
    nonce, protocol, internal, external, packed = _BODY.unpack_from(body)
    transport = _TRANSPORTS.get(protocol)
    if transport is None:
        raise PortMapError(Reason.MALFORMED, "a PCP answer is about another protocol")
    ip = IPv6Address(packed)
    host = str(ip.ipv4_mapped or ip)
    return Mapped(epoch, nonce, transport, internal, external, host, lifetime)


def _packed(host: str) -> bytes:
    """An address as PCP has them: IPv4 ones mapped into IPv6 (section 5)."""
    packed = ip_address(host).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
