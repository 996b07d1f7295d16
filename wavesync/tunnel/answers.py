"""What a server answers to requests for tunnels, and the header fields that both ends know."""

import re
from collections.abc import Iterable
from http import HTTPStatus

__all__ = [
    "BODY_SIZE",
    "REASON",
    "Refused",
    "body_head",
    "refusal",
    "switching",
]

BODY_SIZE = 10**12
"""Content-Length of the bodies that carry a stream; they end before."""

REASON = "Wavesync-Reason"
"""The header of refusals that are our own and not a proxy's: a short word."""

_KEEP_OUT = (
    "Cache-Control: no-store, no-transform",
    "Pragma: no-cache",
    "X-Accel-Buffering: no",  # nginx
)
_WORD = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Refused(Exception):
    """A request that is refused; the text is a sentence for people.

    :ivar status: the HTTP status.
    :ivar reason: a short word, for counts and for the client.
    :ivar retry_after: seconds after which to try again; None where nothing is said.
    :ivar headers: further ones for the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        sentence: str,
        *,
        retry_after: int | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(sentence)
        assert _WORD.fullmatch(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.headers = tuple(headers)


def refusal(refused: Refused) -> bytes:
    """Return the answer of a refusal; the connection ends behind it."""
    body = f"{refused}\n".encode("ascii", "replace")
    fields = [("Connection", "close"), (REASON, refused.reason), *refused.headers]
    if refused.retry_after is not None:
        fields.append(("Retry-After", str(refused.retry_after)))
    fields += [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return _head(refused.status, fields) + body


def body_head(
    *, size: int = BODY_SIZE, close: bool, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return the head of an answer whose body carries a stream or a part of one, or is empty.

    :param size: of the body.
    :param close: whether nothing else comes on the connection.
    :param headers: further ones.
    """
    fields = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
    fields += headers
    return _head(200, [("Connection", "close"), *fields] if close else fields)


def switching(protocol: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the answer that agrees to a switch: raw bytes follow.

    :param protocol: to what.
    """
    return _head(101, [("Connection", "Upgrade"), ("Upgrade", protocol), *headers])


def _head(status: int, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *_KEEP_OUT]
    lines += [f"{name}: {value}" for name, value in fields]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
