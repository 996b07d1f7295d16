"""Single attributes: building their values, and reading them out of a decoded message."""

from collections.abc import Iterable
from typing import TypeAlias

from wavesync.errors import SettingsError
from wavesync.identity.crl import MAX_NUMBER
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.addresses import decode_addresses, encode_addresses
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import MAX_ADDRESSES, MAX_OBSERVED, Attribute
from wavesync.stun.attributes import (
    StunError,
    decode_u32,
    decode_u64,
    decode_xor_address,
    encode_u32,
    encode_u64,
)
from wavesync.stun.message import Message, MessageClass

__all__ = [
    "Attributes",
    "Fields",
    "connection_id_field",
    "crl_number_fields",
    "endpoints_field",
    "milliseconds_field",
    "observed_field",
    "target_field",
    "time_field",
    "u32_field",
    "u64_field",
]

Attributes: TypeAlias = list[tuple[int, bytes]]
"""Attributes in the order they are sent."""

_CONNECTION_ID_SIZE = 16
_MAX_HOST_NAME = 128


def connection_id_field(connection_id: str) -> tuple[int, bytes]:
    """CONNECTION-ID: 32 hex digits as 16 bytes."""
    value = bytes.fromhex(connection_id)
    if len(value) != _CONNECTION_ID_SIZE:
        raise ValueError("a connection id has 32 hex digits")
    return Attribute.CONNECTION_ID, value


def target_field(target: Target) -> tuple[int, bytes]:
    """HOST-NAME: the target as text."""
    return Attribute.HOST_NAME, str(target).encode("ascii")


def u32_field(attribute: Attribute, value: int) -> tuple[int, bytes]:
    """A 32-bit number in network order."""
    return attribute, encode_u32(value)


def u64_field(attribute: Attribute, value: int) -> tuple[int, bytes]:
    """A 64-bit number in network order."""
    return attribute, encode_u64(value)


def milliseconds_field(attribute: Attribute, seconds: float) -> tuple[int, bytes]:
    """A span of time: seconds as a 32-bit number of milliseconds, cut to what fits."""
    return u32_field(attribute, min(max(round(seconds * 1000), 0), 0xFFFFFFFF))


def time_field(now: float) -> tuple[int, bytes]:
    """TIME: seconds since the epoch as a 64-bit number of milliseconds."""
    return u64_field(Attribute.TIME, max(round(now * 1000), 0))


def crl_number_fields(number: int) -> Attributes:
    """CRL-NUMBER; nothing at all for 0, which stands for no list."""
    return [u64_field(Attribute.CRL_NUMBER, number)] if number else []


def endpoints_field(attribute: Attribute, addresses: Iterable[Address]) -> tuple[int, bytes]:
    """A list of at most :data:`~.numbers.MAX_ADDRESSES` addresses."""
    return attribute, encode_addresses(addresses)


def observed_field(addresses: Iterable[Address]) -> tuple[int, bytes]:
    """OBSERVED-ENDPOINT: at most one address a family."""
    return Attribute.OBSERVED_ENDPOINT, encode_addresses(addresses, limit=MAX_OBSERVED)


class Fields:
    """Reads the attributes of one received message.

    :param message: the decoded STUN message.
    :param method: the method that it must have.
    :param message_class: the class that it must have.
    :param allow_loopback: keep loopback addresses in lists.
    :raises SignallingError: by everything here, when the message is not as it must be.
    """

    __slots__ = ("_allow_loopback", "_message")

    def __init__(
        self,
        message: Message,
        method: int,
        message_class: MessageClass,
        *,
        allow_loopback: bool = False,
    ) -> None:
        if message.method != method or message.message_class != message_class:
            raise SignallingError("the message is of another kind than expected")
        self._message = message
        self._allow_loopback = allow_loopback

    def optional(self, attribute: Attribute) -> bytes | None:
        """Return the raw value of *attribute*, ``None`` when it is absent."""
        return self._message.get(attribute)

    def raw(self, attribute: Attribute, size: int | None = None) -> bytes:
        """Return the raw value of *attribute*, which must be there and *size* bytes long."""
        value = self._message.get(attribute)
        if value is None:
            raise SignallingError(f"{attribute.name} is missing")
        if size is not None and len(value) != size:
            raise SignallingError(f"{attribute.name} is {len(value)} bytes long, not {size}")
        return value

    def u32(self, attribute: Attribute, default: int | None = None) -> int:
        """Return a 32-bit number, or *default* when it is absent."""
        if default is not None and self._message.get(attribute) is None:
            return default
        return decode_u32(self.raw(attribute, 4))

    def u64(self, attribute: Attribute, default: int | None = None) -> int:
        """Return a 64-bit number, or *default* when it is absent."""
        if default is not None and self._message.get(attribute) is None:
            return default
        return decode_u64(self.raw(attribute, 8))

    def crl_number(self) -> int:
        """Return CRL-NUMBER; 0 when it is absent."""
        number = self.u64(Attribute.CRL_NUMBER, 0)
        if number > MAX_NUMBER:
            raise SignallingError("CRL_NUMBER is too high")
        return number

    def seconds(self, attribute: Attribute, default: float | None = None) -> float:
        """Return a span of time in seconds, or *default* when it is absent."""
        if default is not None and self._message.get(attribute) is None:
            return default
        return self.u32(attribute) / 1000

    def connection_id(self) -> str:
        """Return CONNECTION-ID as 32 lower-case hex digits."""
        return self.raw(Attribute.CONNECTION_ID, _CONNECTION_ID_SIZE).hex()

    def target(self, *, server: bool = False) -> Target:
        """Return HOST-NAME; with *server* it must name a server, not only a system."""
        value = self.raw(Attribute.HOST_NAME)
        if len(value) > _MAX_HOST_NAME:
            raise SignallingError("HOST_NAME is too long")
        try:
            target = Target.parse(value.decode("ascii"))
        except (SettingsError, UnicodeDecodeError):
            raise SignallingError("HOST_NAME is no target") from None
        if server and target.server is None:
            raise SignallingError("HOST_NAME names no server")
        return target

    def endpoints(self, attribute: Attribute, limit: int = MAX_ADDRESSES) -> tuple[Address, ...]:
        """Return a list of usable addresses; empty when the attribute is absent."""
        value = self._message.get(attribute) or b""
        return decode_addresses(value, limit=limit, allow_loopback=self._allow_loopback)

    def observed(self) -> tuple[Address, ...]:
        """Return OBSERVED-ENDPOINT; empty when it is absent."""
        return self.endpoints(Attribute.OBSERVED_ENDPOINT, MAX_OBSERVED)

    def mapped(self) -> Address:
        """Return XOR-MAPPED-ADDRESS, this very message's source as the other side saw it."""
        value = self.raw(Attribute.XOR_MAPPED_ADDRESS)
        try:
            return decode_xor_address(value, self._message.transaction_id)
        except StunError as error:
            raise SignallingError(str(error)) from None
