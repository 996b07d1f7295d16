"""The two messages of LAN discovery: a query to everybody, and the answer of one server (docs/lan).

Both are keyed by the system's id.  Whoever does not know it can neither ask nor read, nor tell for whom a
query is.  Neither message proves anything: that is left to TLS.
"""

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = [
    "ANSWER_SIZE",
    "NONCE_SIZE",
    "QUERY_SIZE",
    "SALT_SIZE",
    "Answer",
    "Keys",
    "LanError",
]

NONCE_SIZE = 16
"""Bytes of a query's nonce; its answers carry it."""

SALT_SIZE = 12
"""Bytes that are drawn for each answer: ChaCha20-Poly1305's nonce (RFC 8439 section 2.8)."""

QUERY_SIZE = 128
"""Bytes of a query, padding included: more than an answer has, so that nobody can be flooded by asking."""

_INFO = b"wavesync-lan-v1"
_MAGIC = b"WSLN"
_VERSION = 1
_QUERY = _MAGIC + bytes((_VERSION, 1, 0, 0))
_ANSWER = _MAGIC + bytes((_VERSION, 2, 0, 0))
_HEADER = len(_QUERY)
_MARK_SIZE = 16
_MAC_SIZE = 32
_TAG_SIZE = 16
_ID_SIZE = 16
_PADDING = bytes(QUERY_SIZE - _HEADER - NONCE_SIZE - _MARK_SIZE - _MAC_SIZE)
_ANY = bytes(_ID_SIZE)

ANSWER_SIZE = _HEADER + NONCE_SIZE + SALT_SIZE + _ID_SIZE + 2 + _TAG_SIZE
"""Bytes of an answer."""


class LanError(Exception):
    """A datagram that is not for us, or not of this protocol; the sentence is for tests and people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server that is there.

    :ivar server: its id, 32 hex digits.
    :ivar port: where it accepts TCP, 1..65535, at the very address that the answer came from.
    """

    server: str
    port: int


class Keys:
    """Makes and reads the messages about one system.

    :param system: its id, 32 hex digits.
    """

    __slots__ = ("_answering", "_asking")

    def __init__(self, system: str) -> None:
        made = HKDF(SHA256(), length=64, salt=None, info=_INFO).derive(bytes.fromhex(system))
        self._asking, self._answering = made[:32], made[32:]

    def query(self, nonce: bytes, server: str | None) -> bytes:
        """Write a query.

        :param nonce: :data:`NONCE_SIZE` bytes that were not used before.
        :param server: the id of the one server that is wanted; ``None`` for any of the system.
        """
        head = _QUERY + nonce + self._mark(nonce, server) + _PADDING
        return head + hmac.digest(self._asking, b"query" + head, "sha256")

    def read_query(self, data: bytes, server: str) -> bytes:
        """Read a query that a server has to answer.

        :param server: the server's id.
        :returns: the nonce.
        :raises LanError: it is nothing that this server answers.
        """
        if len(data) != QUERY_SIZE:
            raise LanError("a query has another length")
        if not data.startswith(_QUERY):
            raise LanError("it is no query of this version")
        head, mac = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
        if not hmac.compare_digest(hmac.digest(self._asking, b"query" + head, "sha256"), mac):
            raise LanError("the query is about another system, or was changed")
        nonce = head[_HEADER : _HEADER + NONCE_SIZE]
        mark = head[_HEADER + NONCE_SIZE :][:_MARK_SIZE]
        if mark not in (self._mark(nonce, server), self._mark(nonce, None)):
            raise LanError("the query is for another server")
        return nonce

    def answer(self, nonce: bytes, salt: bytes, answer: Answer) -> bytes:
        """Write the answer to a query.

        :param nonce: the query's.
        :param salt: :data:`SALT_SIZE` bytes drawn for this answer.
        """
        head = _ANSWER + nonce + salt
        told = bytes.fromhex(answer.server) + answer.port.to_bytes(2, "big")
        return head + self._seal(nonce).encrypt(salt, told, head)

    def read_answer(self, data: bytes, nonce: bytes) -> Answer:
        """Read an answer.

        :param nonce: of the query that was sent.
        :raises LanError: it is none to that query.
        """
        if len(data) != ANSWER_SIZE:
            raise LanError("an answer has another length")
        if not data.startswith(_ANSWER):
            raise LanError("it is no answer of this version")
        head = data[: _HEADER + NONCE_SIZE + SALT_SIZE]
        if head[_HEADER : _HEADER + NONCE_SIZE] != nonce:
            raise LanError("it answers another query")
        try:
            told = self._seal(nonce).decrypt(head[-SALT_SIZE:], data[len(head) :], head)
        except InvalidTag:
            raise LanError("the answer is about another system, or was changed") from None
        port = int.from_bytes(told[_ID_SIZE:], "big")
        if port == 0:
            raise LanError("the answer names no port")
        return Answer(told[:_ID_SIZE].hex(), port)

    def _mark(self, nonce: bytes, server: str | None) -> bytes:
        """What tells a server that it is meant, and tells nobody else anything."""
        whom = _ANY if server is None else bytes.fromhex(server)
        return hmac.digest(self._asking, b"whom" + nonce + whom, "sha256")[:_MARK_SIZE]

    def _seal(self, nonce: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(hmac.digest(self._answering, nonce, "sha256"))
