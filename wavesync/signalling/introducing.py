"""What brings a client and a server together: ``connect`` and all that follows it."""

from dataclasses import dataclass
from typing import ClassVar

from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import (
    Attributes,
    Fields,
    connection_id_field,
    crl_number_fields,
    endpoints_field,
    milliseconds_field,
    observed_field,
    target_field,
    u32_field,
    u64_field,
)
from wavesync.signalling.numbers import CONNECT_SIZE, Attribute, ConnectType, Method, Purpose
from wavesync.signalling.proved import ProvesMessages, encode_proved
from wavesync.signalling.relay_lists import decode_relays, encode_relays
from wavesync.signalling.relay_urls import Relay
from wavesync.stun.attributes import encode_xor_address
from wavesync.stun.message import (
    FINGERPRINT_SIZE,
    HEADER_SIZE,
    Message,
    MessageClass,
    encode,
    encode_attributes,
    encode_body,
)

_ANSWER_SIZE = 218
"""Bytes of the longest answer to ``connect`` without signed addresses, relays and a whole revocation
list, but with room for the heads and the padding of the first two."""

_CONNECT_TYPES = tuple(map(ConnectType, range(0x20)))
_HEAD_SIZE = 4
_MAPPED_HEADS = {
    size: Attribute.XOR_MAPPED_ADDRESS.to_bytes(2, "big") + size.to_bytes(2, "big")
    for size in (8, 20)
}

__all__ = [
    "Connect",
    "ConnectAnswer",
    "ConnectionAck",
    "ConnectionAcked",
    "ConnectionRequested",
    "ConnectionResult",
    "ConnectionUpdate",
]


@dataclass(frozen=True, slots=True)
class Connect:
    """Request, client to mediator: introduce me to that server, or to any of that system.

    Sent over UDP; the very same bytes again over TCP when no answer came.

    :ivar connection_id: 32 random hex digits, new for each attempt.
    :ivar target: a server, or a whole system.
    :ivar udp: the client's own addresses of the UDP port that it sends from and punches from.
    :ivar crl_number: of the revocation list that the client holds; 0 for none.
    """

    METHOD: ClassVar[int] = Method.CONNECT
    PURPOSE: ClassVar[str] = Purpose.CONNECT

    connection_id: str
    target: Target
    udp: tuple[Address, ...] = ()
    crl_number: int = 0

    def encode(self, transaction_id: bytes, prover: ProvesMessages) -> bytes:
        """Return the request's bytes, exactly :data:`~.numbers.CONNECT_SIZE` of them.

        :raises ValueError: too many addresses.
        """
        attributes = [
            connection_id_field(self.connection_id),
            target_field(self.target),
            endpoints_field(Attribute.UDP_ENDPOINT_LIST, self.udp),
            *crl_number_fields(self.crl_number),
        ]
        return encode_proved(
            self.METHOD, transaction_id, attributes, prover, self.PURPOSE, size=CONNECT_SIZE
        )

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "Connect":
        """Read the request, leaving out addresses that must not be used.

        A shorter one would cause more packets than it is worth, a longer one would not fit a
        server's leg once it is forwarded.

        :raises SignallingError: it is another message, malformed, or of another size than
            :data:`~.numbers.CONNECT_SIZE`.
        """
        fields = Fields(message, cls.METHOD, MessageClass.REQUEST, allow_loopback=allow_loopback)
        if len(message.raw) != CONNECT_SIZE:
            raise SignallingError(f"a connect is {len(message.raw)} bytes long, not {CONNECT_SIZE}")
        return cls(
            fields.connection_id(),
            fields.target(),
            fields.endpoints(Attribute.UDP_ENDPOINT_LIST),
            fields.crl_number(),
        )


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """Success answer to ``connect``: everything known about the server, at once.

    :ivar connection_id: of the request.
    :ivar server: the whole name of the server that was chosen.
    :ivar signed_addresses: the server's last :class:`~.server_leg.Bind`, its whole bytes; empty
        when it has sent none.  Check its proof before using anything in it.
    :ivar observed: the server's UDP port as the mediator sees it, at most one address a family.
    :ivar token: 32 bits, never 0: the rendezvous cookie of both ends.
    :ivar start_delay: seconds from the moment in which this was sent to the server's first punch.
    :ivar mapped: the source of the request as the mediator saw it, over whatever it came.
    :ivar crl_number: of a revocation list that is newer than the client's; 0 when there is none.
    :ivar crl: that whole list, if the answer has room for it; to be fetched otherwise.
    :ivar relays: those that the mediator knows, where the server has not signed any; the last are
        left out where they do not fit.  On the mediator's word only.
    """

    connection_id: str
    server: Target
    signed_addresses: bytes
    observed: tuple[Address, ...]
    token: int
    start_delay: float
    mapped: Address
    crl_number: int = 0
    crl: bytes = b""
    relays: tuple[Relay, ...] = ()

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        return self.to(transaction_id, self.mapped, self.body())

    @staticmethod
    def to(transaction_id: bytes, mapped: Address, body: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*.

        :param mapped: the source of the request as the mediator saw it, in place of any other.
        :param body: what is the same whatever the source, from :meth:`body`.
        """
        value = encode_xor_address(mapped, transaction_id)
        head = _MAPPED_HEADS[len(value)]
        return encode_body(
            Method.CONNECT, MessageClass.SUCCESS, transaction_id, head + value + body
        )

    @staticmethod
    def size(mapped: Address, body: bytes) -> int:
        """Return the length of what :meth:`to` gives."""
        address = 20 if ":" in mapped[0] else 8
        return HEADER_SIZE + _HEAD_SIZE + address + len(body) + FINGERPRINT_SIZE

    def body(self) -> bytes:
        """Return all attributes but the one that tells the client its address."""
        attributes: Attributes = [
            connection_id_field(self.connection_id),
            target_field(self.server),
            milliseconds_field(Attribute.START_DELAY, self.start_delay),
            u32_field(Attribute.TOKEN, self.token),
            observed_field(self.observed),
        ]
        if self.signed_addresses:
            attributes.append((Attribute.SIGNED_ADDRESSES, self.signed_addresses))
        if self.relays:
            fixed = _ANSWER_SIZE + len(self.signed_addresses)
            listed = encode_relays(self.relays, room=CONNECT_SIZE - fixed)
            attributes.append((Attribute.TRAFFIC_RELAY_URL_LIST, listed))
        attributes += crl_number_fields(self.crl_number)
        if self.crl:
            attributes.append((Attribute.CRL, self.crl))
        return encode_attributes(attributes)

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "ConnectAnswer":
        """Read the answer, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(
            message, Method.CONNECT, MessageClass.SUCCESS, allow_loopback=allow_loopback
        )
        return cls(
            fields.connection_id(),
            fields.target(server=True),
            fields.optional(Attribute.SIGNED_ADDRESSES) or b"",
            fields.observed(),
            fields.u32(Attribute.TOKEN),
            fields.seconds(Attribute.START_DELAY, 0.0),
            fields.mapped(),
            fields.crl_number(),
            fields.optional(Attribute.CRL) or b"",
            decode_relays(
                fields.optional(Attribute.TRAFFIC_RELAY_URL_LIST) or b"",
                allow_loopback=allow_loopback,
            ),
        )


@dataclass(frozen=True, slots=True)
class ConnectionRequested:
    """Indication, mediator to server over its leg: a client asks for you.

    :ivar connection_id: of the client's request.
    :ivar request: the client's whole :class:`Connect`; check its proof again (its NONCE, if it has
        one, is the mediator's to judge).
    :ivar observed: the client's UDP port as the mediator saw it; empty when it came over TCP only.
    :ivar token: 32 bits, never 0: the rendezvous cookie of both ends.
    :ivar start_delay: seconds to wait before the first punch, from when this arrives.
    """

    connection_id: str
    request: bytes
    observed: tuple[Address, ...]
    token: int
    start_delay: float

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the indication's bytes."""
        attributes = (
            connection_id_field(self.connection_id),
            milliseconds_field(Attribute.START_DELAY, self.start_delay),
            u32_field(Attribute.TOKEN, self.token),
            (Attribute.FORWARDED_REQUEST, self.request),
            observed_field(self.observed),
        )
        return encode_body(
            Method.CONNECTION_REQUESTED,
            MessageClass.INDICATION,
            transaction_id,
            encode_attributes(attributes),
        )

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "ConnectionRequested":
        """Read the indication, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(
            message,
            Method.CONNECTION_REQUESTED,
            MessageClass.INDICATION,
            allow_loopback=allow_loopback,
        )
        return cls(
            fields.connection_id(),
            fields.raw(Attribute.FORWARDED_REQUEST),
            fields.observed(),
            fields.u32(Attribute.TOKEN),
            fields.seconds(Attribute.START_DELAY, 0.0),
        )


@dataclass(frozen=True, slots=True)
class ConnectionAck:
    """Request, server to mediator over UDP from the port that punches: I have begun.

    :ivar connection_id: of :class:`ConnectionRequested`.
    :ivar registration_id: from :class:`~.server_leg.Registered`.
    """

    connection_id: str
    registration_id: int

    def encode(self, transaction_id: bytes, key: bytes) -> bytes:
        """Return the request's bytes, with integrity by the registration's *key*."""
        attributes = (
            connection_id_field(self.connection_id),
            u64_field(Attribute.REGISTRATION_ID, self.registration_id),
        )
        message = Message(Method.CONNECTION_ACK, MessageClass.REQUEST, transaction_id, attributes)
        return encode(message, integrity_key=key)

    @classmethod
    def decode(cls, message: Message) -> "ConnectionAck":
        """Read the request; its integrity is for the caller to check, with the id's key.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, Method.CONNECTION_ACK, MessageClass.REQUEST)
        return cls(fields.connection_id(), fields.u64(Attribute.REGISTRATION_ID))


@dataclass(frozen=True, slots=True)
class ConnectionAcked:
    """Success answer to ``connectionAck``, with integrity by the registration's key."""

    def encode(self, transaction_id: bytes, key: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        message = Message(Method.CONNECTION_ACK, MessageClass.SUCCESS, transaction_id)
        return encode(message, integrity_key=key)

    @classmethod
    def decode(cls, message: Message) -> "ConnectionAcked":
        """Read the answer; its integrity is for the caller to check.

        :raises SignallingError: it is another message.
        """
        Fields(message, Method.CONNECTION_ACK, MessageClass.SUCCESS)
        return cls()


@dataclass(frozen=True, slots=True)
class ConnectionUpdate:
    """Indication, mediator to client or server: the other side is seen at new addresses too.

    Whoever gets one sends the same back (:meth:`encode` of the same value), every time.

    :ivar connection_id: which introduction.
    :ivar sequence: rises with each change, from 1, for each side by itself.
    :ivar observed: all addresses of the other side's UDP port now seen, one a family.
    """

    connection_id: str
    sequence: int
    observed: tuple[Address, ...]

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the indication's bytes."""
        attributes = (
            connection_id_field(self.connection_id),
            observed_field(self.observed),
            u32_field(Attribute.SEQUENCE, self.sequence),
        )
        return encode(
            Message(Method.CONNECTION_UPDATE, MessageClass.INDICATION, transaction_id, attributes)
        )

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "ConnectionUpdate":
        """Read the indication, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(
            message,
            Method.CONNECTION_UPDATE,
            MessageClass.INDICATION,
            allow_loopback=allow_loopback,
        )
        return cls(fields.connection_id(), fields.u32(Attribute.SEQUENCE), fields.observed())


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """Indication, client to mediator over UDP: how the attempt ended.

    :ivar connection_id: which introduction.
    :ivar result: a :class:`~.numbers.ResultCode`, or another number from a newer peer.
    :ivar connect_type: the kind of path that won, ``NONE`` when none did.
    :ivar duration: seconds from asking to the authenticated path, or to giving up.
    """

    connection_id: str
    result: int
    connect_type: ConnectType
    duration: float

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the indication's bytes."""
        attributes = (
            connection_id_field(self.connection_id),
            u32_field(Attribute.RESULT_CODE, self.result),
            u32_field(Attribute.CONNECT_TYPE, self.connect_type),
            milliseconds_field(Attribute.DURATION, self.duration),
        )
        return encode(
            Message(Method.CONNECTION_RESULT, MessageClass.INDICATION, transaction_id, attributes)
        )

    @classmethod
    def decode(cls, message: Message) -> "ConnectionResult":
        """Read the indication.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, Method.CONNECTION_RESULT, MessageClass.INDICATION)
        return cls(
            fields.connection_id(),
            fields.u32(Attribute.RESULT_CODE),
            _CONNECT_TYPES[fields.u32(Attribute.CONNECT_TYPE) & 0x1F],
            fields.seconds(Attribute.DURATION, 0.0),
        )
