"""A TLS 1.3 client made by hand (RFC 8446), because OpenSSL refuses to show a certificate whose key
it has not: this one shows what it is given and signs with whatever key it has.

It never looks at the server's certificate, and knows one cipher suite: TLS_AES_128_GCM_SHA256 with
X25519 and Ed25519.
"""

import hashlib
import hmac
import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.session.tls import ALPN

__all__ = ["Impostor"]

_HANDSHAKE, _ALERT, _DATA = 22, 21, 23
_SERVER_HELLO, _CERTIFICATE_REQUEST, _FINISHED = 2, 13, 20
_CERTIFICATE, _CERTIFICATE_VERIFY = 11, 15
_ED25519 = b"\x08\x07"
_X25519 = b"\x00\x1d"
_KEY_SHARE = 51


def _prefixed(data: bytes, size: int = 2) -> bytes:
    """Data behind its length."""
    return len(data).to_bytes(size, "big") + data


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _prefixed(body, 3)


def _expand(secret: bytes, label: str, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label for at most 32 bytes (RFC 8446 section 7.1)."""
    info = _LABELS.get((label, size))
    if info is None:
        info = size.to_bytes(2, "big") + _prefixed(b"tls13 " + label.encode(), 1)
        _LABELS[label, size] = info
    info += bytes((len(context),)) + context + b"\1"
    return hmac.digest(secret, info, "sha256")[:size]


_LABELS: dict[tuple[str, int], bytes] = {}
_EMPTY = hashlib.sha256().digest()
# All share one key for the exchange: they are one attacker.
_EXCHANGE = X25519PrivateKey.generate()
_PUBLIC = _EXCHANGE.public_key().public_bytes_raw()


def _extensions() -> bytes:
    """What follows the random bytes of a ClientHello."""
    extensions = [
        (43, _prefixed(b"\x03\x04", 1)),
        (10, _prefixed(_X25519)),
        (13, _prefixed(_ED25519)),
        (16, _prefixed(_prefixed(ALPN, 1))),
        (_KEY_SHARE, _prefixed(_X25519 + _prefixed(_PUBLIC))),
    ]
    listed = b"".join(kind.to_bytes(2, "big") + _prefixed(value) for kind, value in extensions)
    return b"\0" + _prefixed(b"\x13\x01") + b"\x01\0" + _prefixed(listed)


_REST = _extensions()
_DERIVED = _expand(hmac.digest(bytes(32), bytes(32), "sha256"), "derived", _EMPTY, 32)


class _Keys:
    """What protects one direction for a while."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._cipher = AESGCM(_expand(secret, "key", b"", 16))
        self._iv = int.from_bytes(_expand(secret, "iv", b"", 12), "big")
        self._count = 0

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._count).to_bytes(12, "big")
        self._count += 1
        return nonce

    def seal(self, kind: int, data: bytes) -> bytes:
        """Make a record."""
        head = b"\x17\x03\x03" + (len(data) + 17).to_bytes(2, "big")
        return head + self._cipher.encrypt(self._nonce(), data + bytes([kind]), head)

    def open(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Open a record: its real kind, and what it holds."""
        plain = self._cipher.decrypt(self._nonce(), body, head).rstrip(b"\0")
        return plain[-1], plain[:-1]


class Impostor(Protocol):
    """One connection.

    :param certificate: DER, or anything else, shown as this client's certificate.
    :param key: signs the handshake.
    :param first: sent as application data right behind the handshake.
    :ivar received: application data that came.
    :ivar alert: the last alert that came.
    :ivar over: fires when the connection is closed.
    """

    transport: Any

    def __init__(self, certificate: bytes, key: Ed25519PrivateKey, first: bytes = b"") -> None:
        self.received = b""
        self.alert: int | None = None
        self.over: Deferred[None] = Deferred()
        self._certificate = certificate
        self._key = key
        self._first = first
        self._said = hashlib.sha256()
        self._buffer = b""
        self._messages = b""
        self._context = b""
        self._handshake_secret = b""
        self._reading: _Keys | None = None
        self._writing: _Keys | None = None

    def connectionMade(self) -> None:
        """Send the ClientHello."""
        hello = _message(1, b"\x03\x03" + os.urandom(32) + _REST)
        self._said.update(hello)
        self.transport.write(b"\x16\x03\x01" + _prefixed(hello))

    def dataReceived(self, data: bytes) -> None:
        """Take records."""
        self._buffer += data
        while len(self._buffer) >= 5:
            size = 5 + int.from_bytes(self._buffer[3:5], "big")
            if len(self._buffer) < size:
                return
            head, body = self._buffer[:5], self._buffer[5:size]
            self._buffer = self._buffer[size:]
            if head[0] == _DATA and self._reading is not None:
                self._record(*self._reading.open(head, body))
            elif head[0] in (_HANDSHAKE, _ALERT):
                self._record(head[0], body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.over.callback(None)

    def _record(self, kind: int, data: bytes) -> None:
        if kind == _ALERT:
            self.alert = data[1]
        elif kind == _DATA:
            self.received += data
        elif kind == _HANDSHAKE and self._first is not None:
            self._messages += data
            while len(self._messages) >= 4:
                size = 4 + int.from_bytes(self._messages[1:4], "big")
                if len(self._messages) < size:
                    return
                message, self._messages = self._messages[:size], self._messages[size:]
                self._handshake(message)

    def _handshake(self, message: bytes) -> None:
        if message[0] not in (_SERVER_HELLO, 8, _CERTIFICATE_REQUEST, 11, 15, _FINISHED):
            return  # session tickets
        self._said.update(message)
        if message[0] == _SERVER_HELLO:
            self._agree(message)
        elif message[0] == _CERTIFICATE_REQUEST:
            self._context = message[5 : 5 + message[4]]
        elif message[0] == _FINISHED:
            self._finish()

    def _secret(self, secret: bytes, label: str) -> bytes:
        return _expand(secret, label, self._said.digest(), 32)

    def _agree(self, hello: bytes) -> None:
        """Find the server's share and make the keys of the handshake."""
        at = 4 + 2 + 32
        at += 1 + hello[at] + 3 + 2
        share = b""
        while at < len(hello):
            kind, size = (
                int.from_bytes(hello[at : at + 2], "big"),
                int.from_bytes(hello[at + 2 : at + 4], "big"),
            )
            if kind == _KEY_SHARE:
                share = hello[at + 8 : at + 4 + size]
            at += 4 + size
        shared = _EXCHANGE.exchange(X25519PublicKey.from_public_bytes(share))
        self._handshake_secret = hmac.digest(_DERIVED, shared, "sha256")
        self._writing = _Keys(self._secret(self._handshake_secret, "c hs traffic"))
        self._reading = _Keys(self._secret(self._handshake_secret, "s hs traffic"))

    def _finish(self) -> None:
        """Show the certificate, sign, and go on to application data."""
        master = hmac.digest(
            _expand(self._handshake_secret, "derived", _EMPTY, 32), bytes(32), "sha256"
        )
        writing = _Keys(self._secret(master, "c ap traffic"))
        self._reading = _Keys(self._secret(master, "s ap traffic"))
        old = self._writing
        assert old is not None
        shown = _prefixed(self._certificate, 3) + b"\0\0"
        flight = _message(_CERTIFICATE, _prefixed(self._context, 1) + _prefixed(shown, 3))
        self._said.update(flight)
        signed = b" " * 64 + b"TLS 1.3, client CertificateVerify\0" + self._said.digest()
        verify = _message(_CERTIFICATE_VERIFY, _ED25519 + _prefixed(self._key.sign(signed)))
        self._said.update(verify)
        finished = hmac.digest(
            _expand(old.secret, "finished", b"", 32), self._said.digest(), "sha256"
        )
        flight += verify + _message(_FINISHED, finished)
        self.transport.write(old.seal(_HANDSHAKE, flight))
        if self._first:
            self.transport.write(writing.seal(_DATA, self._first))
