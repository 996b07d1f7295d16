"""A whole revocation list over a leg: pushed or fetched piece by piece, several under way at once."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults

from wavesync.errors import ConnectFailed
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import MAX_CRL_PIECE, ErrorCode
from wavesync.signalling.proved import ProvesMessages
from wavesync.signalling.refusals import Refusal, nonce_asked
from wavesync.signalling.revoking import NEVER, CrlFetch, CrlPiece, CrlPush, CrlPushed, piece_of
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["WINDOW", "Ask", "NeverAny", "NoList", "fetch_crl", "push_crl"]

WINDOW = 8
"""Pieces under way at once: the longest list takes nine round trips and a half."""

_RESTARTS = 2

_T = TypeVar("_T")


class NoList(ConnectFailed):
    """The mediator has no list, or none that is newer."""


class NeverAny(NoList):
    """The mediator says that it knows that there is no list."""


Ask = Callable[[bytes], Deferred[Answer]]
"""Sends a request over the leg, gives its answer (:meth:`wavesync.signalling.leg.Leg.ask`)."""


async def push_crl(ask: Ask, number: int, der: bytes) -> int:
    """Push a list to the mediator.

    :returns: the number of the list that the mediator holds then.
    :raises ConnectFailed: it does not answer, refuses, or answers nonsense.
    """
    held = 0
    offsets = range(0, len(der), MAX_CRL_PIECE)
    for window in _windows(offsets):
        pushes = [CrlPush(*piece_of(number, der, offset)) for offset in window]
        for message in await _ask_all(ask, [push.encode(os.urandom(12)) for push in pushes]):
            held = _read(message, CrlPushed.decode).number
        if held > number:
            break
    return held


async def fetch_crl(
    ask: Ask,
    connection_id: str = "",
    *,
    number: int = 0,
    prove: Callable[[bytes], ProvesMessages] | None = None,
) -> bytes:
    """Fetch the list that the mediator holds; nothing of it is believed yet.

    :param connection_id: for a client: its introduction, if it has one.
    :param number: only a list with a higher number is wanted.
    :param prove: for a client without an introduction: gives what signs over a nonce, which may be
        empty.
    :raises NoList: the mediator has none, or none that is wanted; :class:`NeverAny` where it says that
        there is none.
    :raises ConnectFailed: the mediator does not answer, answers nonsense, or changes its list all
        the time.
    """
    for _ in range(1 + _RESTARTS):
        first = await _first(ask, CrlFetch(0, connection_id, number), prove)
        data = await _rest(ask, connection_id, first)
        if data is not None:
            return data
    raise ConnectFailed("the mediator changes its revocation list all the time")


async def _first(
    ask: Ask, request: CrlFetch, prove: Callable[[bytes], ProvesMessages] | None
) -> CrlPush:
    """Fetch the first piece, signed once more where the mediator has another time."""
    nonce = b""
    while True:
        prover = None if prove is None else prove(nonce)
        (message,) = await _ask_all(ask, [request.encode(os.urandom(12), prover)])
        fresh = nonce_asked(message)
        if prover is None or nonce or not fresh:
            return _read(message, CrlPiece.decode)
        nonce = fresh


async def _rest(ask: Ask, connection_id: str, first: CrlPush) -> bytes | None:
    """Fetch what follows the first piece; None when the mediator has another list meanwhile."""
    data = bytearray(first.piece)
    if first.offset != 0 or len(data) != min(first.total, MAX_CRL_PIECE):
        raise ConnectFailed("the mediator answers with a wrong piece of its revocation list")
    for window in _windows(range(MAX_CRL_PIECE, first.total, MAX_CRL_PIECE)):
        fetches = [CrlFetch(offset, connection_id) for offset in window]
        messages = await _ask_all(ask, [fetch.encode(os.urandom(12)) for fetch in fetches])
        for offset, message in zip(window, messages, strict=True):
            piece = _read(message, CrlPiece.decode)
            if (piece.number, piece.total) != (first.number, first.total):
                return None
            wanted = min(first.total - offset, MAX_CRL_PIECE)
            if piece.offset != offset or len(piece.piece) != wanted:
                raise ConnectFailed(
                    "the mediator answers with a wrong piece of its revocation list"
                )
            data += piece.piece
    return bytes(data)


def _windows(offsets: range) -> Sequence[range]:
    return [offsets[at : at + WINDOW] for at in range(0, len(offsets), WINDOW)]


async def _ask_all(ask: Ask, requests: Sequence[bytes]) -> list[Message]:
    asked = [ask(request) for request in requests]
    try:
        answers = await gatherResults(asked, consumeErrors=True)
    except Exception as error:
        for each in asked:
            each.cancel()
        raise ConnectFailed(f"no answer about the revocation list: {error}") from error
    return [answer.message for answer in answers]


def _read(message: Message, decode: Callable[[Message], _T]) -> _T:
    try:
        if message.message_class is MessageClass.ERROR:
            refusal = Refusal.decode(message)
            if refusal.code == ErrorCode.NOT_FOUND:
                kind = NeverAny if refusal.reason == NEVER else NoList
                raise kind("the mediator has no such revocation list (404)")
            why = refusal.reason or f"error {refusal.code}"
            raise ConnectFailed(f"the mediator refuses the revocation list: {why}")
        return decode(message)
    except SignallingError as error:
        raise ConnectFailed(f"the mediator answers nonsense ({error})") from error
