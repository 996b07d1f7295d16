"""NAT-PMP's datagrams (RFC 6886)."""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from wavesync.portmap.words import TCP, UDP, PortMapError, Reason, Transport

__all__ = [
    "PORT",
    "ExternalAddress",
    "Mapped",
    "NotSpoken",
    "Refused",
    "decode",
    "encode_external",
    "encode_map",
]

PORT = 5351
"""Where routers take requests; PCP shares it."""

_VERSION = 0
_OPCODES: Final[dict[Transport, int]] = {UDP: 1, TCP: 2}
_TRANSPORTS: Final = {opcode: transport for transport, opcode in _OPCODES.items()}
_ANSWER = 128
_HEAD = Struct("!BBHI")
_REQUEST = Struct("!BBHHHI")
_MAPPED = Struct("!HHI")
_RESULTS = {
    1: "it does not speak this version",
    2: "port mapping is switched off, or not allowed for this host",
    3: "it has no external address: it is not connected, or behind one more router",
    4: "it has no room for more mappings",
    5: "it does not know the request",
}
_NOT_SPOKEN = 1


@dataclass(frozen=True, slots=True)
class ExternalAddress:
    """The router's own address outside; ``epoch`` in seconds."""

    epoch: int
    host: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping was made, kept, or (lifetime 0) removed.

    :ivar epoch: the router's seconds.
    :ivar transport: ``tcp`` or ``udp``.
    :ivar internal: this host's port.
    :ivar external: the port outside.
    :ivar lifetime: seconds.
    """

    epoch: int
    transport: Transport
    internal: int
    external: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An error; ``opcode`` is the request's: 0 for the address, 1 for UDP, 2 for TCP."""

    epoch: int
    opcode: int
    code: int

    @property
    def sentence(self) -> str:
        """What it means."""
        return _RESULTS.get(self.code, f"it answers with error {self.code}")


class NotSpoken(PortMapError):
    """The router answers, in another version."""

    def __init__(self) -> None:
        super().__init__(Reason.NO_ANSWER, "it does not speak NAT-PMP")


def encode_external() -> bytes:
    """Ask for the router's external address (section 3.2)."""
    return bytes((_VERSION, 0))


def encode_map(transport: Transport, internal: int, external: int, lifetime: int) -> bytes:
    """Ask for a mapping (section 3.3); for its end with lifetime 0 (section 3.4).

    :param external: the port to have if it is free; 0 for its end.
    """
    return _REQUEST.pack(_VERSION, _OPCODES[transport], 0, internal, external, lifetime)


def decode(data: bytes) -> ExternalAddress | Mapped | Refused:
    """Read an answer.

    :raises PortMapError: it is none.
    """
    if len(data) < _HEAD.size:
        raise PortMapError(Reason.MALFORMED, "a NAT-PMP answer is too short")
    version, opcode, code, epoch = _HEAD.unpack_from(data)
    if version != _VERSION or code == _NOT_SPOKEN:
        raise NotSpoken()
    opcode -= _ANSWER
    if opcode != 0 and opcode not in _TRANSPORTS:
        raise PortMapError(Reason.MALFORMED, "an answer to something that NAT-PMP does not know")
    if code:
        return Refused(epoch, opcode, code)
    body = data[_HEAD.size :]
    if opcode == 0:
        if len(body) < 4:
            raise PortMapError(Reason.MALFORMED, "a NAT-PMP answer is too short")
        return ExternalAddress(epoch, ".".join(map(str, body[:4])))
    if len(body) < _MAPPED.size:
        raise PortMapError(Reason.MALFORMED, "a NAT-PMP answer is too short")
    return Mapped(epoch, _TRANSPORTS[opcode], *_MAPPED.unpack_from(body))
