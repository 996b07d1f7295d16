"""What the requests and answers of short polls say, in one header (docs/tunnel.rst, "poll").

Each end says of each of its bodies where in its stream it begins, what it has of the other stream, and
how much more of that it takes: whatever is lost, repeated or overtaken does no harm then.
"""

import re
from dataclasses import dataclass

__all__ = [
    "HEADER",
    "MAX_BODY_DOWN",
    "MAX_BODY_UP",
    "MAX_HOLD",
    "MAX_LIVE",
    "PollAnswer",
    "PollError",
    "PollRequest",
    "read_answer",
    "read_request",
]

HEADER = "Wavesync-Poll"
"""The header with everything else, in every request and every answer of ours."""

MAX_BODY_UP = 65_536
"""Bytes of the longest request body; some proxies refuse longer ones."""

MAX_BODY_DOWN = 262_144
"""Bytes of the longest answer body."""

MAX_HOLD = 25_000
"""Milliseconds that a request may ask to be held."""

MAX_LIVE = 16
"""Requests that one may name as under way, and that there may be at one time."""

_MOST = 2**53
_NUMBER = r"(0|[1-9][0-9]{0,15})"
_REQUEST = re.compile(
    rf"serial={_NUMBER}; at={_NUMBER}; got={_NUMBER}; room={_NUMBER}; keep={_NUMBER}; "
    rf"hold={_NUMBER}; live=([0-9.]{{1,300}})((?:; (?:last|over))*)"
)
_ANSWER = re.compile(rf"serial={_NUMBER}; at={_NUMBER}; got={_NUMBER}; room={_NUMBER}((?:; last)?)")


class PollError(Exception):
    """The peer sent what it must not; the sentence says what."""


@dataclass(frozen=True, slots=True)
class PollRequest:
    """What a request says.

    :ivar serial: number of the request, 1 for the first; a repeated one has the same.
    :ivar at: where in the stream up the body begins.
    :ivar got: bytes of the stream down that have come without a gap; its end counts as one more.
    :ivar room: bytes behind those that are taken.
    :ivar keep: requests that the server may hold; if there are more, it answers the oldest.
    :ivar hold: milliseconds that this one may be held.
    :ivar live: the serials that may still bring something, or have brought what cannot be used yet:
        what was sent in answer to another one is lost unless *got* covers it.
    :ivar last: the stream up ends behind the body.
    :ivar over: the client wants no more; the tunnel is over.
    """

    serial: int
    at: int
    got: int
    room: int
    keep: int
    hold: int
    live: tuple[int, ...]
    last: bool = False
    over: bool = False

    def encode(self) -> str:
        """Give the header's value."""
        live = ".".join(map(str, self.live))
        return (
            f"serial={self.serial}; at={self.at}; got={self.got}; room={self.room}; "
            f"keep={self.keep}; hold={self.hold}; live={live}"
            f"{'; last' if self.last else ''}{'; over' if self.over else ''}"
        )


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """What an answer says.

    :ivar serial: the request's.
    :ivar at: where in the stream down the body begins.
    :ivar got: bytes of the stream up that have come without a gap; its end counts as one more.
    :ivar room: bytes behind those that are taken.
    :ivar last: the stream down ends behind the body.
    """

    serial: int
    at: int
    got: int
    room: int
    last: bool = False

    def encode(self) -> str:
        """Give the header's value."""
        return (
            f"serial={self.serial}; at={self.at}; got={self.got}; room={self.room}"
            f"{'; last' if self.last else ''}"
        )


def read_request(text: str) -> PollRequest:
    """Read a request's header.

    :raises PollError: it is malformed.
    """
    match = _REQUEST.fullmatch(text)
    if match is None:
        raise PollError("the poll header is malformed")
    serial, at, got, room, keep, hold = (_number(match[place]) for place in range(1, 7))
    words = match[8].split("; ")[1:]
    parts = match[7].split(".")
    if len(parts) > MAX_LIVE or len(set(words)) != len(words) or words == ["over", "last"]:
        raise PollError("the poll header is malformed")
    live = tuple(_number(part) for part in parts)
    if serial < 1 or not 1 <= keep <= MAX_LIVE or hold > MAX_HOLD:
        raise PollError("the poll header has a number out of range")
    return PollRequest(
        serial, at, got, room, keep, hold, live, last="last" in words, over="over" in words
    )


def read_answer(text: str) -> PollAnswer:
    """Read an answer's header.

    :raises PollError: it is malformed.
    """
    match = _ANSWER.fullmatch(text)
    if match is None:
        raise PollError("the poll header is malformed")
    serial, at, got, room = (_number(match[place]) for place in range(1, 5))
    return PollAnswer(serial, at, got, room, last=bool(match[5]))


def _number(text: str) -> int:
    if not text or len(text) > 16 or int(text) > _MOST:
        raise PollError("the poll header has a number out of range")
    return int(text)
