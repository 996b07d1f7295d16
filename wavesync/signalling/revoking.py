"""Revocation lists on their way: from a server to its mediator, from there to all others.

A list may be longer than a message, so it travels in pieces, over TCP only.
"""

from dataclasses import dataclass
from typing import ClassVar

from wavesync.identity.crl import MAX_CRL
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fields import Attributes, Fields, connection_id_field, crl_number_fields
from wavesync.signalling.numbers import MAX_CRL_PIECE, Attribute, Method, Purpose
from wavesync.signalling.proved import ProvesMessages, encode_proved
from wavesync.stun.message import Message, MessageClass, encode

__all__ = [
    "NEVER",
    "CrlAssembly",
    "CrlFetch",
    "CrlNews",
    "CrlPiece",
    "CrlPush",
    "CrlPushed",
    "piece_of",
]

NEVER = "never"
"""Reason of the 404 to :class:`CrlFetch` by a mediator that would remember a list of the system, and
remembers that the system's servers had none."""


@dataclass(frozen=True, slots=True)
class CrlPush:
    """Request, server to mediator over its leg: the next piece of a newer list.

    :ivar number: the list's number, at least 1.
    :ivar offset: where in the list the piece begins.
    :ivar total: bytes of the whole list.
    :ivar piece: 1 .. :data:`~.numbers.MAX_CRL_PIECE` bytes.
    """

    METHOD: ClassVar[int] = Method.CRL_PUSH
    CLASS: ClassVar[MessageClass] = MessageClass.REQUEST

    number: int
    offset: int
    total: int
    piece: bytes

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the message's bytes."""
        attributes: Attributes = [
            *crl_number_fields(self.number),
            _range_field(self.offset, self.total),
            (Attribute.CRL, self.piece),
        ]
        return encode(Message(self.METHOD, self.CLASS, transaction_id, tuple(attributes)))

    @classmethod
    def decode(cls, message: Message) -> "CrlPush":
        """Read the message.

        :raises SignallingError: it is another message, malformed, or its numbers do not fit.
        """
        fields = Fields(message, cls.METHOD, cls.CLASS)
        number, (offset, total) = fields.crl_number(), _range(fields)
        piece = fields.raw(Attribute.CRL)
        if not number:
            raise SignallingError("CRL_NUMBER is missing")
        if not 0 < len(piece) <= MAX_CRL_PIECE or offset + len(piece) > total:
            raise SignallingError("a piece of a revocation list is empty or too long")
        return cls(number, offset, total, piece)


@dataclass(frozen=True, slots=True)
class CrlPiece(CrlPush):
    """Success answer to :class:`CrlFetch`: the piece from the offset asked for."""

    METHOD: ClassVar[int] = Method.CRL_FETCH
    CLASS: ClassVar[MessageClass] = MessageClass.SUCCESS


@dataclass(frozen=True, slots=True)
class CrlPushed:
    """Success answer to :class:`CrlPush`.

    :ivar number: of the list that the mediator holds now, 0 for none.
    """

    CLASS: ClassVar[MessageClass] = MessageClass.SUCCESS

    number: int

    def encode(self, transaction_id: bytes) -> bytes:
        """Return the message's bytes."""
        attributes = tuple(crl_number_fields(self.number))
        return encode(Message(Method.CRL_PUSH, self.CLASS, transaction_id, attributes))

    @classmethod
    def decode(cls, message: Message) -> "CrlPushed":
        """Read the message.

        :raises SignallingError: it is another message, or malformed.
        """
        return cls(Fields(message, Method.CRL_PUSH, cls.CLASS).crl_number())


@dataclass(frozen=True, slots=True)
class CrlNews(CrlPushed):
    """Indication, mediator to a server over its leg: I hold a list with that number now."""

    CLASS: ClassVar[MessageClass] = MessageClass.INDICATION


@dataclass(frozen=True, slots=True)
class CrlFetch:
    """Request over TCP, server or client to mediator: give me a piece of the list you hold.

    :ivar offset: where in the list the piece is to begin.
    :ivar connection_id: a client's live introduction, which tells whose list; empty on the leg of
        a registered server, and where a proof tells.
    :ivar number: of the list that the sender holds: only a newer one is wanted; 0 for whichever.
    """

    PURPOSE: ClassVar[str] = Purpose.CRL_FETCH

    offset: int
    connection_id: str = ""
    number: int = 0

    def encode(self, transaction_id: bytes, prover: ProvesMessages | None = None) -> bytes:
        """Return the request's bytes.

        :param prover: signs it for a client.
        """
        attributes: Attributes = [_range_field(self.offset, 0), *crl_number_fields(self.number)]
        if self.connection_id:
            attributes.append(connection_id_field(self.connection_id))
        if prover is not None:
            return encode_proved(Method.CRL_FETCH, transaction_id, attributes, prover, self.PURPOSE)
        return encode(
            Message(Method.CRL_FETCH, MessageClass.REQUEST, transaction_id, tuple(attributes))
        )

    @classmethod
    def decode(cls, message: Message) -> "CrlFetch":
        """Read the request.

        :raises SignallingError: it is another message, or malformed.
        """
        fields = Fields(message, Method.CRL_FETCH, MessageClass.REQUEST)
        named = fields.optional(Attribute.CONNECTION_ID) is not None
        connection_id = fields.connection_id() if named else ""
        return cls(_range(fields)[0], connection_id, fields.crl_number())


class CrlAssembly:
    """Joins the pieces of one list at a time, which come in order; never holds more than one."""

    __slots__ = ("_data", "_number", "_total")

    def __init__(self) -> None:
        self._number = self._total = 0
        self._data = bytearray()

    def add(self, piece: CrlPush) -> bytes | None:
        """Take the next piece; one with offset 0 begins anew.

        :returns: the whole list once it is complete, and forgets it.
        :raises SignallingError: the piece does not continue what came before.
        """
        if piece.offset == 0:
            self._number, self._total = piece.number, piece.total
            self._data = bytearray()
        expected = self._number, self._total, len(self._data)
        if (piece.number, piece.total, piece.offset) != expected:
            raise SignallingError("a piece of a revocation list is out of turn")
        self._data += piece.piece
        if len(self._data) < self._total:
            return None
        data, self._data = bytes(self._data), bytearray()
        self._number = self._total = 0
        return data


def piece_of(number: int, der: bytes, offset: int) -> tuple[int, int, int, bytes]:
    """Give the four fields of the piece of a list that begins at *offset*."""
    return number, offset, len(der), der[offset : offset + MAX_CRL_PIECE]


def _range_field(offset: int, total: int) -> tuple[int, bytes]:
    """CRL-RANGE: where a piece begins, and the length of the whole list."""
    return Attribute.CRL_RANGE, offset.to_bytes(4, "big") + total.to_bytes(4, "big")


def _range(fields: Fields) -> tuple[int, int]:
    value = fields.raw(Attribute.CRL_RANGE, 8)
    offset, total = int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")
    if max(offset, total) > MAX_CRL:
        raise SignallingError("CRL_RANGE is beyond the longest revocation list")
    return offset, total
