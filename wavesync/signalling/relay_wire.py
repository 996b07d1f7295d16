"""What servers and clients ask a relay: HTTP/1.1 requests with a proof (docs/relay).

The proof covers method, path and the ``Wavesync-`` headers, so that a proxy on the way may add and
change whatever else it likes.
"""

import base64
import enum
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11

from wavesync.identity.crl import MAX_CRL, MAX_NUMBER
from wavesync.identity.ids import Target
from wavesync.identity.proofs import MAX_PROOF
from wavesync.signalling.numbers import Purpose
from wavesync.signalling.proved import ProvesMessages
from wavesync.signalling.relay_heads import (
    RELAY_PROTOCOL,
    HeadError,
    Headers,
    MessageReader,
    field_map,
    number_field,
    wants_upgrade,
)
from wavesync.signalling.relay_urls import Relay

__all__ = ["RelayRequest", "RequestKind", "RequestReader", "decode_request"]

_SCHEME = "Wavesync "
_PROOF = re.compile(r"[A-Za-z0-9_-]+")
_MAX_PROOF_TEXT = -(-MAX_PROOF * 4 // 3)
_SERVER = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")
_CONNECTION = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PREFIX = "/wavesync/1/"

_SINGLE = frozenset(
    {
        "authorization",
        "content-length",
        "wavesync-connection",
        "wavesync-digest",
        "wavesync-revocations",
        "wavesync-server",
        "wavesync-target",
    }
)


class RequestKind(enum.Enum):
    """The three requests: method, path, and the purpose that their proof is made for."""

    PARK = "GET", "park", Purpose.RELAY_PARK
    CONNECT = "GET", "connect", Purpose.RELAY_CONNECT
    REVOKE = "POST", "revocations", Purpose.RELAY_REVOKE

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.value[0]

    @property
    def path(self) -> str:
        """The path of the URL."""
        return _PREFIX + self.value[1]

    @property
    def purpose(self) -> str:
        """What the proof is made for."""
        return self.value[2]


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """One request.

    :ivar kind: which.
    :ivar target: the server: the one that parks, or the one that a client wants.  Both ids are
        there.  None in a REVOKE.
    :ivar connection: in a CONNECT the connection id, 32 hex digits; in a PARK any 32 random ones, so
        that no two proofs are the same.
    :ivar revocations: in a PARK, number of the newest revocation list that the server has; 0: none.
    :ivar digest: in a REVOKE, SHA-256 of the body, 64 hex digits.
    :ivar size: in a REVOKE, bytes of the body (a list in DER), 1 to MAX_CRL.
    :ivar proof: as received; empty where there was none.
    :ivar covers: what :meth:`covered` returns, where somebody has it already.
    """

    kind: RequestKind
    target: Target | None = None
    connection: str = ""
    revocations: int = 0
    digest: str = ""
    size: int = 0
    proof: bytes = b""
    covers: bytes = field(default=b"", compare=False, repr=False)

    def _fields(self) -> list[tuple[str, str]]:
        """The headers that the proof covers, in order."""
        match self.kind:
            case RequestKind.PARK:
                return [
                    ("Wavesync-Server", str(self.target)),
                    ("Wavesync-Connection", self.connection),
                    ("Wavesync-Revocations", str(self.revocations)),
                ]
            case RequestKind.CONNECT:
                asked = ("Wavesync-Target", str(self.target))
                return [asked, ("Wavesync-Connection", self.connection)]
            case RequestKind.REVOKE:
                return [("Wavesync-Digest", self.digest)]

    def covered(self) -> bytes:
        """Return the bytes that the proof is made over."""
        if self.covers:
            return self.covers
        lines = [f"{self.kind.method} {self.kind.path}"]
        lines += [f"{name.lower()}: {value}" for name, value in self._fields()]
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def encode(self, relay: Relay, prover: ProvesMessages | None) -> bytes:
        """Return the head of the request; a REVOKE's body follows it.

        :param relay: where it goes.
        :param prover: signs it; None sends it without a proof.
        """
        lines = [f"{self.kind.method} {self.kind.path} HTTP/1.1", f"Host: {relay.authority}"]
        if self.kind is RequestKind.REVOKE:
            lines += ["Content-Type: application/pkix-crl", f"Content-Length: {self.size}"]
        else:
            lines += ["Connection: Upgrade", f"Upgrade: {RELAY_PROTOCOL}"]
        lines += [f"{name}: {value}" for name, value in self._fields()]
        if prover is not None:
            proof = base64.urlsafe_b64encode(prover(self.kind.purpose, self.covered()))
            lines.append(f"Authorization: {_SCHEME}{proof.decode('ascii').rstrip('=')}")
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


class RequestReader(MessageReader[RelayRequest]):
    """Reads the head of one request."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(h11.SERVER, decode_request)


def decode_request(event: h11.Request) -> RelayRequest:
    """Read the head of a request.

    :raises HeadError: this is no request of ours.
    """
    kind = _kind(event)
    headers = field_map(event.headers, _SINGLE)
    proof = _proof(headers)
    if "transfer-encoding" in headers:
        raise HeadError("send the length of the body", 411)
    if kind is RequestKind.REVOKE:
        size = number_field(headers, "content-length", MAX_NUMBER)
        if not 0 < size <= MAX_CRL:
            raise HeadError(f"a revocation list has 1 to {MAX_CRL} bytes", 413)
        digest = _text(headers, "wavesync-digest", _DIGEST)
        return RelayRequest(kind, digest=digest, size=size, proof=proof)
    if headers.get("content-length", "0") != "0":
        raise HeadError("this request has no body")
    if event.http_version != b"1.1" or not wants_upgrade(headers):
        raise HeadError(f"this needs HTTP/1.1 with Upgrade: {RELAY_PROTOCOL}", 426)
    connection = _text(headers, "wavesync-connection", _CONNECTION)
    if kind is RequestKind.PARK:
        number = number_field(headers, "wavesync-revocations", MAX_NUMBER)
        server = _text(headers, "wavesync-server", _SERVER)
        return RelayRequest(kind, Target.parse(server), connection, number, proof=proof)
    target = Target.parse(_text(headers, "wavesync-target", _SERVER))
    return RelayRequest(kind, target, connection, proof=proof)


def _kind(event: h11.Request) -> RequestKind:
    try:
        # Whoever believes this to be a proxy writes the whole URL (RFC 9112, section 3.2.2).
        path = urlsplit(event.target.decode("ascii")).path
    except ValueError:
        raise HeadError("there is nothing at this path", 404) from None
    for kind in RequestKind:
        if kind.path == path:
            if kind.method.encode("ascii") != event.method:
                raise HeadError(f"use {kind.method} here", 405)
            return kind
    raise HeadError("there is nothing at this path", 404)


def _text(headers: Headers, name: str, pattern: re.Pattern[str]) -> str:
    text = headers.get(name, "")
    if not pattern.fullmatch(text):
        raise HeadError(f"the header {name} is missing or malformed")
    return text


def _proof(headers: Headers) -> bytes:
    text = headers.get("authorization")
    if text is None:
        return b""
    scheme, encoded = text[: len(_SCHEME)], text[len(_SCHEME) :].strip(" ")
    fits = len(encoded) <= _MAX_PROOF_TEXT and len(encoded) % 4 != 1
    if scheme.lower() != _SCHEME.lower() or not fits or not _PROOF.fullmatch(encoded):
        raise HeadError("the header authorization holds no proof")
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
