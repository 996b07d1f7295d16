"""What a server says to its mediator to be found: ``listen``, ``bind``, and their answers."""

from dataclasses import dataclass
from typing import ClassVar

from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import (
    Attributes,
    Fields,
    crl_number_fields,
    endpoints_field,
    milliseconds_field,
    target_field,
    time_field,
    u32_field,
    u64_field,
)
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.signalling.numbers import (
    EXCHANGE_KEY_SIZE,
    MAX_ADDRESSES,
    MAX_BIND_SIZE,
    WARM_UP_SIZE,
    Attribute,
    Method,
    Purpose,
)
from wavesync.signalling.proved import ProvesMessages, encode_padded, encode_proved
from wavesync.signalling.relay_lists import (
    ParkedAt,
    decode_parked,
    decode_relays,
    encode_parked,
    encode_relays,
)
from wavesync.signalling.relay_urls import Relay
from wavesync.stun.attributes import encode_xor_address
from wavesync.stun.message import Message, MessageClass, encode

__all__ = ["Bind", "Bound", "Listen", "Registered", "WarmUp", "WarmedUp"]


@dataclass(frozen=True, slots=True)
class Listen:
    """Request, server to mediator over its leg: register me.

    :ivar server: the whole name, server and system.
    :ivar exchange_key: the server's fresh X25519 public key, 32 bytes.
    :ivar crl_number: of the revocation list that the server holds; 0 for none.
    :ivar standby: only if the server is not registered: this agent was superseded once, and does
        not take its turn while the other one is there.
    """

    METHOD: ClassVar[int] = Method.LISTEN
    PURPOSE: ClassVar[str] = Purpose.LISTEN

    server: Target
    exchange_key: bytes
    crl_number: int = 0
    standby: bool = False

    def encode(self, transaction_id: bytes, prover: ProvesMessages | None = None) -> bytes:
        """Return the request's bytes; without *prover*, the first one that asks for a NONCE."""
        attributes: Attributes = [
            target_field(self.server),
            (Attribute.EXCHANGE_KEY, self.exchange_key),
            *crl_number_fields(self.crl_number),
        ]
        if self.standby:
            attributes.append((Attribute.STANDBY, b""))
        if prover is not None:
            return encode_proved(self.METHOD, transaction_id, attributes, prover, self.PURPOSE)
        message = Message(self.METHOD, MessageClass.REQUEST, transaction_id, tuple(attributes))
        return encode(message)

    @classmethod
    def decode(cls, message: Message) -> "Listen":
        """Read the request.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, cls.METHOD, MessageClass.REQUEST)
        return cls(
            fields.target(server=True),
            fields.raw(Attribute.EXCHANGE_KEY, EXCHANGE_KEY_SIZE),
            fields.crl_number(),
            message.get(Attribute.STANDBY) is not None,
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """Success answer to ``listen``.

    :ivar registration_id: 64 bits, never 0; names the registration in UDP messages.
    :ivar exchange_key: the mediator's fresh X25519 public key, 32 bytes.
    :ivar keep_alive: seconds between keep-alives, each way.
    :ivar time: the mediator's clock, seconds since the epoch.
    :ivar crl_number: of the revocation list that the mediator holds; 0 for none.
    :ivar relays: those that the mediator knows.
    """

    registration_id: int
    exchange_key: bytes
    keep_alive: float
    time: float
    crl_number: int = 0
    relays: tuple[Relay, ...] = ()

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        attributes: Attributes = [
            milliseconds_field(Attribute.KEEP_ALIVE_INTERVAL, self.keep_alive),
            u64_field(Attribute.REGISTRATION_ID, self.registration_id),
            (Attribute.EXCHANGE_KEY, self.exchange_key),
            time_field(self.time),
            *crl_number_fields(self.crl_number),
        ]
        if self.relays:
            attributes.append((Attribute.TRAFFIC_RELAY_URL_LIST, encode_relays(self.relays)))
        return encode(
            Message(Method.LISTEN, MessageClass.SUCCESS, transaction_id, tuple(attributes))
        )

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "Registered":
        """Read the answer, leaving out relays that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, Method.LISTEN, MessageClass.SUCCESS)
        return cls(
            fields.u64(Attribute.REGISTRATION_ID),
            fields.raw(Attribute.EXCHANGE_KEY, EXCHANGE_KEY_SIZE),
            fields.seconds(Attribute.KEEP_ALIVE_INTERVAL),
            fields.u64(Attribute.TIME) / 1000,
            fields.crl_number(),
            decode_relays(
                fields.optional(Attribute.TRAFFIC_RELAY_URL_LIST) or b"",
                allow_loopback=allow_loopback,
            ),
        )


@dataclass(frozen=True, slots=True)
class Bind:
    """Request, server to mediator over its leg: all my addresses, signed.

    The mediator keeps the whole request and hands it to clients as SIGNED-ADDRESSES; a client
    checks its proof again.

    :ivar sequence: rises with every ``bind`` of a registration, from 1.
    :ivar tcp: where the server accepts TCP connections.
    :ivar udp: its own addresses of the UDP port that it punches from.
    :ivar relays: where it has parked connections, at most :data:`~.relay_lists.MAX_PARKED`.
    :ivar network: what is known of its network, if anything is.
    """

    METHOD: ClassVar[int] = Method.BIND
    PURPOSE: ClassVar[str] = Purpose.BIND

    sequence: int
    tcp: tuple[Address, ...]
    udp: tuple[Address, ...]
    relays: tuple[ParkedAt, ...] = ()
    network: NetworkSummary | None = None

    def encode(self, transaction_id: bytes, prover: ProvesMessages) -> bytes:
        """Return the request's bytes.

        :raises ValueError: more than :data:`~.numbers.MAX_ADDRESSES` addresses in both lists, or
            more than :data:`~.numbers.MAX_BIND_SIZE` bytes: leave some out.
        """
        if len(self.tcp) + len(self.udp) > MAX_ADDRESSES:
            raise ValueError(f"a bind holds at most {MAX_ADDRESSES} addresses")
        attributes = [
            endpoints_field(Attribute.PUBLIC_ENDPOINT_LIST, self.tcp),
            endpoints_field(Attribute.UDP_ENDPOINT_LIST, self.udp),
            u32_field(Attribute.SEQUENCE, self.sequence),
        ]
        if self.relays:
            attributes.append((Attribute.PARKED_RELAY_LIST, encode_parked(self.relays)))
        if self.network is not None:
            attributes.append((Attribute.NETWORK, self.network.encode()))
        raw = encode_proved(self.METHOD, transaction_id, attributes, prover, self.PURPOSE)
        if len(raw) > MAX_BIND_SIZE:
            raise ValueError(f"the bind is {len(raw)} bytes long, more than {MAX_BIND_SIZE}")
        return raw

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "Bind":
        """Read the request, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, malformed, or too long.
        """
        if len(message.raw) > MAX_BIND_SIZE:
            raise SignallingError("a bind is too long")
        fields = Fields(message, cls.METHOD, MessageClass.REQUEST, allow_loopback=allow_loopback)
        tcp = fields.endpoints(Attribute.PUBLIC_ENDPOINT_LIST)
        udp = fields.endpoints(Attribute.UDP_ENDPOINT_LIST)
        if len(tcp) + len(udp) > MAX_ADDRESSES:
            raise SignallingError("a bind holds too many addresses")
        parked = fields.optional(Attribute.PARKED_RELAY_LIST) or b""
        relays = decode_parked(parked, allow_loopback=allow_loopback)
        network = NetworkSummary.decode(fields.optional(Attribute.NETWORK))
        return cls(fields.u32(Attribute.SEQUENCE), tcp, udp, relays, network)


@dataclass(frozen=True, slots=True)
class Bound:
    """Success answer to ``bind`` over the leg: nothing but that."""

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        return encode(Message(Method.BIND, MessageClass.SUCCESS, transaction_id))

    @classmethod
    def decode(cls, message: Message) -> "Bound":
        """Read the answer.

        :raises SignallingError: it is another message.
        """
        Fields(message, Method.BIND, MessageClass.SUCCESS)
        return cls()


@dataclass(frozen=True, slots=True)
class WarmUp:
    """``bind`` over UDP, server to mediator, from the port that it punches from.

    Keeps the mapping in the server's router warm and shows it to the mediator.

    :ivar registration_id: from :class:`Registered`.
    :ivar sequence: rises with every one of a registration (not with its retransmissions), from 1;
        the mediator believes the source only of a higher one.
    """

    registration_id: int
    sequence: int

    def encode(self, transaction_id: bytes, key: bytes) -> bytes:
        """Return the request's bytes, with integrity by the registration's *key*."""
        attributes: Attributes = [
            u64_field(Attribute.REGISTRATION_ID, self.registration_id),
            u32_field(Attribute.SEQUENCE, self.sequence),
        ]
        return encode_padded(Method.BIND, transaction_id, attributes, key=key, size=WARM_UP_SIZE)

    @classmethod
    def decode(cls, message: Message) -> "WarmUp":
        """Read the request; its integrity is for the caller to check, with the id's key.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, Method.BIND, MessageClass.REQUEST)
        return cls(fields.u64(Attribute.REGISTRATION_ID), fields.u32(Attribute.SEQUENCE))


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """Success answer to ``bind`` over UDP, with integrity by the registration's key.

    :ivar mapped: the server's UDP port as the mediator sees it.
    """

    mapped: Address

    def encode(self, transaction_id: bytes, key: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        mapped = encode_xor_address(self.mapped, transaction_id)
        attributes = ((Attribute.XOR_MAPPED_ADDRESS, mapped),)
        message = Message(Method.BIND, MessageClass.SUCCESS, transaction_id, attributes)
        return encode(message, integrity_key=key)

    @classmethod
    def decode(cls, message: Message) -> "WarmedUp":
        """Read the answer; its integrity is for the caller to check.

        :raises SignallingError: it is another message, or malformed.
        """
        return cls(Fields(message, Method.BIND, MessageClass.SUCCESS).mapped())
