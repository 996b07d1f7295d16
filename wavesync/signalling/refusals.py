"""Error answers, and the word a mediator says before it closes a server's leg."""

from dataclasses import dataclass

from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import Attributes, Fields, time_field
from wavesync.signalling.numbers import MAX_AUDIENCE_SIZE, Attribute, ErrorCode, Method
from wavesync.stun.attributes import StunError, decode_error_code, encode_error_code
from wavesync.stun.message import Message, MessageClass, encode

__all__ = ["Refusal", "RegistrationEnded", "nonce_asked"]

_MAX_NONCE = 32


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer to any request.

    :ivar code: an :class:`~.numbers.ErrorCode`, or another number 300..699 from a newer peer.
    :ivar reason: a short word: empty, or why a proof is refused ("expired", "bad-signature", ...).
    :ivar nonce: with 401 and 438, what the next proof must contain; valid for a minute.
    :ivar audience: with 401, 403 and 438, the mediator's name: when it is not the one that the
        proof was made for, the settings of one of the two are wrong.  Never sign for it unasked.
    :ivar time: with 401, 403 and 438, the mediator's clock, seconds since the epoch; 0 if untold.
    """

    code: int
    reason: str = ""
    nonce: bytes = b""
    audience: str = ""
    time: float = 0.0

    def encode(self, method: int, transaction_id: bytes, *, key: bytes | None = None) -> bytes:
        """Return the answer to the request with that *method* and *transaction_id*.

        :param key: sign with MESSAGE-INTEGRITY-SHA256 (answers to integrity-protected requests).
        """
        attributes: Attributes = [
            (Attribute.ERROR_CODE, encode_error_code(self.code, self.reason)),
        ]
        if self.nonce:
            attributes.append((Attribute.NONCE, self.nonce))
        if self.audience:
            attributes.append((Attribute.AUDIENCE, self.audience.encode("utf-8")))
        if self.time:
            attributes.append(time_field(self.time))
        message = Message(method, MessageClass.ERROR, transaction_id, tuple(attributes))
        return encode(message, integrity_key=key)

    @classmethod
    def decode(cls, message: Message) -> "Refusal":
        """Read an error answer to whatever method.

        :raises SignallingError: it is none, or malformed.
        """
        fields = Fields(message, message.method, MessageClass.ERROR)
        code, reason = _error(fields)
        nonce = fields.optional(Attribute.NONCE) or b""
        if len(nonce) > _MAX_NONCE:
            raise SignallingError("NONCE is too long")
        audience = fields.optional(Attribute.AUDIENCE) or b""
        if len(audience) > MAX_AUDIENCE_SIZE:
            raise SignallingError("AUDIENCE is too long")
        timed = fields.optional(Attribute.TIME) is not None
        return cls(
            code,
            reason,
            nonce,
            audience.decode("utf-8", "replace"),
            fields.u64(Attribute.TIME) / 1000 if timed else 0.0,
        )


@dataclass(frozen=True, slots=True)
class RegistrationEnded:
    """Indication, mediator to server over its leg, right before the leg is closed.

    :ivar code: :attr:`~.numbers.ErrorCode.SUPERSEDED` (stay away for minutes), or another.
    :ivar reason: a short word: "superseded", "shutting-down".
    """

    code: int
    reason: str

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the indication's bytes."""
        attributes = ((Attribute.ERROR_CODE, encode_error_code(self.code, self.reason)),)
        return encode(Message(Method.LISTEN, MessageClass.INDICATION, transaction_id, attributes))

    @classmethod
    def decode(cls, message: Message) -> "RegistrationEnded":
        """Read the indication.

        :raises SignallingError: it is another message, or malformed.
        """
        return cls(*_error(Fields(message, Method.LISTEN, MessageClass.INDICATION)))


def nonce_asked(message: Message) -> bytes:
    """Return the NONCE of an answer that asks for another signature; empty for any other answer."""
    try:
        refusal = Refusal.decode(message)
    except SignallingError:
        return b""
    asked = refusal.code in (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE)
    return refusal.nonce if asked else b""


def _error(fields: Fields) -> tuple[int, str]:
    """Read code and reason; what would forge lines of a log is replaced, for people will read it."""
    try:
        code, reason = decode_error_code(fields.raw(Attribute.ERROR_CODE))
    except StunError:
        raise SignallingError("ERROR_CODE is malformed") from None
    return code, "".join(c if c.isprintable() else "?" for c in reason)
