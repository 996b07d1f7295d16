"""What has a client and a server open a TCP connection from both ends at once.

The client asks over a TCP connection to the mediator, whose local port it will dial from; the server
dials from the local port of its leg.  So the mediator has seen the mappings of both.
"""

from dataclasses import dataclass
from typing import ClassVar

from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import (
    Attributes,
    Fields,
    connection_id_field,
    milliseconds_field,
    observed_field,
    target_field,
)
from wavesync.signalling.numbers import MAX_OPEN_STREAM_SIZE, Attribute, Method, Purpose
from wavesync.signalling.proved import ProvesMessages, encode_proved
from wavesync.stun.message import Message, MessageClass, encode

__all__ = ["OpenStream", "StreamAnswer", "StreamRequested"]


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Request, client to mediator over TCP: have that server dial the port that this comes from.

    :ivar connection_id: of an introduction that this client has asked for.
    :ivar server: the server that was chosen.
    :ivar start: seconds from the moment in which the mediator answers to this client's first SYN.
    """

    METHOD: ClassVar[int] = Method.OPEN_STREAM
    PURPOSE: ClassVar[str] = Purpose.OPEN_STREAM

    connection_id: str
    server: Target
    start: float = 0.0

    def encode(self, transaction_id: bytes, prover: ProvesMessages) -> bytes:
        """Return the request's bytes."""
        attributes = [
            connection_id_field(self.connection_id),
            target_field(self.server),
            milliseconds_field(Attribute.START_DELAY, self.start),
        ]
        return encode_proved(self.METHOD, transaction_id, attributes, prover, self.PURPOSE)

    @classmethod
    def decode(cls, message: Message) -> "OpenStream":
        """Read the request.

        :raises SignallingError: it is another message, malformed, or longer than
            :data:`~.numbers.MAX_OPEN_STREAM_SIZE`.
        """
        if len(message.raw) > MAX_OPEN_STREAM_SIZE:
            raise SignallingError("the request is too long")
        fields = Fields(message, cls.METHOD, MessageClass.REQUEST)
        return cls(
            fields.connection_id(),
            fields.target(server=True),
            fields.seconds(Attribute.START_DELAY, 0.0),
        )


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """Success answer to :class:`OpenStream`.

    :ivar observed: the far end of the server's leg as the mediator sees it.  In another address
        family than the request came over, it is only a hint to ask again over that one.
    :ivar start_delay: seconds from the moment in which this was sent to the server's first SYN.
    """

    observed: tuple[Address, ...]
    start_delay: float = 0.0

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the answer to the request with that *transaction_id*."""
        attributes = (
            milliseconds_field(Attribute.START_DELAY, self.start_delay),
            observed_field(self.observed),
        )
        return encode(Message(Method.OPEN_STREAM, MessageClass.SUCCESS, transaction_id, attributes))

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "StreamAnswer":
        """Read the answer, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(
            message, Method.OPEN_STREAM, MessageClass.SUCCESS, allow_loopback=allow_loopback
        )
        return cls(fields.observed(), fields.seconds(Attribute.START_DELAY, 0.0))


@dataclass(frozen=True, slots=True)
class StreamRequested:
    """Indication, mediator to server over its leg: a client dials the port that your leg comes from.

    :ivar connection_id: of the introduction.
    :ivar request: the client's whole :class:`OpenStream`; check its proof again (its NONCE, if it
        has one, is the mediator's to judge).
    :ivar observed: the far end of the client's TCP connection as the mediator sees it.
    :ivar start_delay: seconds to wait before the first SYN, from when this arrives.
    """

    connection_id: str
    request: bytes
    observed: tuple[Address, ...]
    start_delay: float = 0.0

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the indication's bytes."""
        attributes: Attributes = [
            connection_id_field(self.connection_id),
            milliseconds_field(Attribute.START_DELAY, self.start_delay),
            (Attribute.FORWARDED_REQUEST, self.request),
            observed_field(self.observed),
        ]
        return encode(
            Message(
                Method.STREAM_REQUESTED, MessageClass.INDICATION, transaction_id, tuple(attributes)
            )
        )

    @classmethod
    def decode(cls, message: Message, *, allow_loopback: bool = False) -> "StreamRequested":
        """Read the indication, leaving out addresses that must not be used.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(
            message,
            Method.STREAM_REQUESTED,
            MessageClass.INDICATION,
            allow_loopback=allow_loopback,
        )
        return cls(
            fields.connection_id(),
            fields.raw(Attribute.FORWARDED_REQUEST),
            fields.observed(),
            fields.seconds(Attribute.START_DELAY, 0.0),
        )
