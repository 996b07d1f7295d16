"""What a relay answers: HTTP/1.1 heads, and a sentence for people behind refusals (docs/relay)."""

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from wavesync.errors import SettingsError
from wavesync.identity.crl import MAX_NUMBER
from wavesync.identity.proofs import MAX_NONCE
from wavesync.signalling.relay_heads import (
    RELAY_PROTOCOL,
    HeadError,
    Headers,
    MessageReader,
    field_map,
    number_field,
    seconds_field,
    wants_upgrade,
)
from wavesync.signalling.relay_lines import MAX_SAID
from wavesync.signalling.relay_urls import MAX_RELAY_URL, Relay, host_name, parse_relay
from wavesync.tunnel.judging import judge
from wavesync.tunnel.place import Place

__all__ = ["AnswerReader", "Challenge", "Parking", "RelayAnswer"]

_OWN = "Wavesync-Relay"
_NOWHERE = Place("relay", False)

SWITCHING = 101
REDIRECT = 307
UNAUTHENTICATED = 401

_CHALLENGE = re.compile(
    r'Wavesync nonce="([A-Za-z0-9_-]{1,48})", time="([0-9]{1,15})", name="([^"]{1,255})"'
)
_REASON = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SINGLE = frozenset(
    {
        "location",
        "retry-after",
        "wavesync-idle",
        "wavesync-keep-alive",
        "wavesync-reason",
        "wavesync-revocations",
        "wavesync-waiting",
        "www-authenticate",
    }
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 asks for: sign the same request again, with this nonce.

    :ivar nonce: 1 to MAX_NONCE bytes, good for a minute.
    :ivar time: the relay's clock, seconds since the epoch.
    :ivar name: the relay's name; where it is not the host that the URL names, one of the two is set
        wrongly.  Never sign for it unasked.
    """

    nonce: bytes
    time: float
    name: str

    def encode(self) -> str:
        """Return the value of WWW-Authenticate."""
        nonce = base64.urlsafe_b64encode(self.nonce).decode("ascii").rstrip("=")
        return f'Wavesync nonce="{nonce}", time="{round(self.time * 1000)}", name="{self.name}"'


@dataclass(frozen=True, slots=True)
class Parking:
    """What a server learns when it has parked a connection.

    :ivar wanted: idle connections that the relay wants.
    :ivar waiting: clients that wait for one.
    :ivar keep_alive: seconds between the relay's PINGs.
    :ivar revocations: number of the newest revocation list of the system that the relay has; 0: none.
    """

    wanted: int
    waiting: int
    keep_alive: float
    revocations: int


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    """One answer.

    :ivar status: HTTP status: 101 when it worked (204 for a revocation list).
    :ivar parking: with a server's 101.
    :ivar location: with 307: the relay that has the server.
    :ivar challenge: with 401.
    :ivar reason: with 403 and some others: a short word ("revoked", "expired", ...), or empty.
    :ivar retry_after: seconds after which to try again; None where nothing is said.
    :ivar sentence: for people; sent, not read.
    """

    status: int
    parking: Parking | None = None
    location: Relay | None = None
    challenge: Challenge | None = None
    reason: str = ""
    retry_after: float | None = None
    sentence: str = field(default="", compare=False)

    def encode(self) -> bytes:
        """Return the answer's bytes: after 101 the connection goes on, after all else it ends."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        if self.status == SWITCHING:
            lines += ["Connection: Upgrade", f"Upgrade: {RELAY_PROTOCOL}"]
        else:
            lines += ["Connection: close", f"{_OWN}: 1"]
        if self.parking is not None:
            lines += [
                f"Wavesync-Idle: {self.parking.wanted}",
                f"Wavesync-Waiting: {self.parking.waiting}",
                f"Wavesync-Keep-Alive: {self.parking.keep_alive:g}",
                f"Wavesync-Revocations: {self.parking.revocations}",
            ]
        if self.location is not None:
            lines.append(f"Location: {self.location}")
        if self.challenge is not None:
            lines.append(f"WWW-Authenticate: {self.challenge.encode()}")
        if self.reason:
            lines.append(f"Wavesync-Reason: {self.reason}")
        if self.retry_after is not None:
            lines.append(f"Retry-After: {math.ceil(self.retry_after)}")
        body = b""
        if self.status not in (SWITCHING, HTTPStatus.NO_CONTENT):
            body = f"{self.sentence}\n".encode()
            lines += ["Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}"]
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii") + body


class AnswerReader(MessageReader[RelayAnswer]):
    """Reads the head of one answer."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(h11.CLIENT, _read)


def _read(event: h11.Response | h11.InformationalResponse) -> RelayAnswer:
    headers = field_map(event.headers, _SINGLE)
    if event.status_code != SWITCHING and _OWN.lower() not in headers:
        # A proxy's page or a portal's; which relay was asked is known to whoever reads on.
        raise HeadError(str(judge(event, _NOWHERE)))
    return _decode(event.status_code, headers)


def _decode(status: int, headers: Headers) -> RelayAnswer:
    if status == SWITCHING:
        if not wants_upgrade(headers):
            raise HeadError("the connection was switched to something else")
        return RelayAnswer(status, parking=_parking(headers))
    reason = headers.get("wavesync-reason", "")
    return RelayAnswer(
        status,
        location=_location(headers) if status == REDIRECT else None,
        challenge=_challenge(headers) if status == UNAUTHENTICATED else None,
        reason=reason if _REASON.fullmatch(reason) else "",
        retry_after=_retry_after(headers),
    )


def _parking(headers: Headers) -> Parking | None:
    if "wavesync-idle" not in headers:
        return None
    keep_alive = seconds_field(headers, "wavesync-keep-alive")
    if not keep_alive:
        raise HeadError("the header wavesync-keep-alive is missing or 0")
    return Parking(
        wanted=number_field(headers, "wavesync-idle", MAX_SAID),
        waiting=number_field(headers, "wavesync-waiting", MAX_SAID),
        keep_alive=keep_alive,
        revocations=number_field(headers, "wavesync-revocations", MAX_NUMBER),
    )


def _location(headers: Headers) -> Relay:
    text = headers.get("location", "")
    try:
        if len(text) <= MAX_RELAY_URL and "://" in text:
            return parse_relay(text)
    except SettingsError:
        pass
    raise HeadError("a redirect to no relay")


def _challenge(headers: Headers) -> Challenge | None:
    """Read a challenge; None for a 401 that is not a relay's (a proxy's, say)."""
    found = _CHALLENGE.fullmatch(headers.get("www-authenticate", ""))
    if found is None:
        return None
    encoded, time, name = found.groups()
    try:
        nonce = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        return None
    host = host_name(name)
    if not 0 < len(nonce) <= MAX_NONCE or host is None:
        return None
    return Challenge(nonce, int(time) / 1000, host)


def _retry_after(headers: Headers) -> float | None:
    """Seconds; a date or garbage, as a proxy may send it, counts as nothing said."""
    try:
        return seconds_field(headers, "retry-after")
    except HeadError:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
