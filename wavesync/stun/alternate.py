"""Answering Binding requests from two addresses and two ports, for behaviour discovery (RFC 5780).

Sans-I/O: :class:`AddressPair` says what is sent from which of its four sockets.
"""

import socket
from dataclasses import dataclass
from typing import NamedTuple

from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    StunError,
    decode_u32,
    encode_address,
)
from wavesync.stun.binding import KNOWN_IN_BINDING, answer_binding
from wavesync.stun.message import Message, decode

__all__ = [
    "CHANGE_IP",
    "CHANGE_PORT",
    "KNOWN_WITH_ALTERNATE",
    "LOWEST_RESPONSE_PORT",
    "AddressPair",
    "Reply",
    "requested_port",
]

CHANGE_IP = 0x04
"""The bit of CHANGE-REQUEST that asks for the answer from the other address (section 7.2)."""

CHANGE_PORT = 0x02
"""The bit that asks for it from the other port."""

LOWEST_RESPONSE_PORT = 1024
"""Lowest port that a RESPONSE-PORT may name: no answer is aimed at a well-known service."""

KNOWN_WITH_ALTERNATE = KNOWN_IN_BINDING | {CHANGE_REQUEST, RESPONSE_PORT}
"""Comprehension-required attributes that a Binding request may carry to such a server."""


class Reply(NamedTuple):
    """An answer, and the way it takes.

    :ivar data: the answer, at most :data:`wavesync.stun.binding.MAX_ANSWER` bytes.
    :ivar origin: which of the four sockets sends it.
    :ivar destination: where to.
    """

    data: bytes
    origin: Address
    destination: Address


@dataclass(frozen=True, slots=True)
class AddressPair:
    """The two addresses of a server, each with its own port; the sockets are all four pairs.

    :ivar primary: numeric address and port.
    :ivar alternate: another address of the same family, and another port.
    :raises ValueError: they are not like that; half a sentence says how.
    """

    primary: Address
    alternate: Address

    def __post_init__(self) -> None:
        """Refuse what could not tell a client anything."""
        (host, port), (other_host, other_port) = self.primary, self.alternate
        family, other_family = (
            socket.AF_INET6 if ":" in each else socket.AF_INET for each in (host, other_host)
        )
        if family != other_family:
            raise ValueError("the two addresses must be of the same family")
        if socket.inet_pton(family, host) == socket.inet_pton(family, other_host):
            raise ValueError("the second address must be another one than the first")
        if port == other_port:
            raise ValueError("the second port must be another one than the first")

    @property
    def addresses(self) -> tuple[Address, Address, Address, Address]:
        """The four sockets' addresses, the primary one first."""
        (host, port), (other_host, other_port) = self.primary, self.alternate
        return self.primary, (host, other_port), (other_host, port), self.alternate

    def opposite(self, at: Address) -> Address:
        """The socket that shares neither address nor port with *at*."""
        return self._changed(at, CHANGE_IP | CHANGE_PORT)

    def answer(self, data: bytes, source: Address, at: Address) -> Reply | None:
        """Answer the datagram *data*, if it is a Binding request.

        :param source: where it came from.
        :param at: which of the four sockets it came to.
        :returns: None for silence: see :func:`wavesync.stun.binding.binding_response`, and what
            section 6.1 does not let a server do.
        """
        try:
            message = decode(data)
            flags, port = _wishes(message)
        except StunError:
            return None
        origin = self._changed(at, flags)
        extra = (
            (RESPONSE_ORIGIN, encode_address(origin)),
            (OTHER_ADDRESS, encode_address(self.opposite(at))),
        )
        answer = answer_binding(message, source, known=KNOWN_WITH_ALTERNATE, extra=extra)
        if answer is None:
            return None
        return Reply(answer, origin, source if port is None else (source[0], port))

    def _changed(self, at: Address, flags: int) -> Address:
        """The socket that *flags* of CHANGE-REQUEST mean in a request to *at*."""
        (host, port), (other_host, other_port) = self.primary, self.alternate
        first_host = (at[0] == host) is not bool(flags & CHANGE_IP)
        first_port = (at[1] == port) is not bool(flags & CHANGE_PORT)
        return host if first_host else other_host, port if first_port else other_port


def _wishes(message: Message) -> tuple[int, int | None]:
    """The flags of CHANGE-REQUEST, and the port of RESPONSE-PORT if there is one.

    :raises StunError: they are malformed, or there is a port that nothing is sent to.
    """
    change = message.get(CHANGE_REQUEST)
    flags = 0 if change is None else decode_u32(change)
    return flags, requested_port(message)


def requested_port(message: Message) -> int | None:
    """The port of RESPONSE-PORT if there is one (RFC 5780 section 7.5).

    :raises StunError: it is malformed, or a port that nothing is sent to.
    """
    wanted = message.get(RESPONSE_PORT)
    if wanted is None:
        return None
    # Two bytes of port; some write the two bytes of padding into the length (section 7.5).
    if len(wanted) not in (2, 4):
        raise StunError("The RESPONSE-PORT attribute has the wrong length.")
    if message.get(PADDING) is not None:
        raise StunError("RESPONSE-PORT and PADDING exclude each other (section 7.5).")
    port = int.from_bytes(wanted[:2], "big")
    if port < LOWEST_RESPONSE_PORT:
        raise StunError(f"No answer is sent to port {port}.")
    return port
