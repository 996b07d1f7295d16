"""Reads what a request wants: a method's tunnel, by its id."""

import re
from urllib.parse import urlsplit

import h11

from wavesync.tunnel.answers import BODY_SIZE, Refused
from wavesync.tunnel.heads import HeadError, Headers, field_map, switches_to
from wavesync.tunnel.place import METHODS, PATH

__all__ = [
    "UPGRADE",
    "check_body",
    "check_upgrade",
    "fields_of",
    "id_of",
    "method_of",
    "path_of",
]

UPGRADE = "wavesync-tunnel/1"
"""What an upgraded connection turns into, in the Upgrade header."""

_ID = re.compile(r"[0-9a-f]{32}")
_SINGLE = frozenset(
    {
        "content-length",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "wavesync-tunnel",
    }
)
_VERBS = {
    "upgrade": ("GET",),
    "websocket": ("GET",),
    "get-post": ("GET", "POST"),
    "two": ("GET", "POST"),
    "poll": ("GET", "POST"),
}


def path_of(target: str) -> str:
    """Return the path of a request's target, in whichever of its forms; empty where it has none."""
    if target.startswith("/"):
        return target.partition("?")[0]
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    return parts.path if parts.scheme in ("http", "https") else ""


def method_of(request: h11.Request) -> tuple[str, str]:
    """Tell which tunnel method a request is of, and its HTTP method.

    :raises Refused: there is no such path, or another HTTP method has to be used.
    """
    path = path_of(request.target.decode("ascii", "replace"))
    method, verb = path.removeprefix(PATH), request.method.decode("ascii")
    if not path.startswith(PATH) or method not in METHODS:
        raise Refused(404, "path", "there is nothing at this path.")
    if verb not in _VERBS[method]:
        allowed = _VERBS[method]
        sentence = f"use {' or '.join(allowed)} here."
        raise Refused(405, "verb", sentence, headers=(("Allow", ", ".join(allowed)),))
    return method, verb


def fields_of(request: h11.Request) -> Headers:
    """Return a request's header fields.

    :raises Refused: one comes twice that must not, or is not ASCII.
    """
    try:
        return field_map(request.headers, _SINGLE)
    except HeadError as error:
        raise Refused(error.status, "head", f"{error}.") from None


def id_of(headers: Headers) -> str:
    """Return the id of the tunnel that a request is for.

    :raises Refused: there is none, or it is malformed.
    """
    tunnel = headers.get("wavesync-tunnel", "")
    if not _ID.fullmatch(tunnel):
        raise Refused(400, "id", "the header wavesync-tunnel is missing or malformed.")
    return tunnel


def check_body(headers: Headers, *, carries: bool) -> None:
    """See that a request has the body that it has to have.

    :param carries: whether it carries a stream; else it has none.
    :raises Refused: it has not.
    """
    size = headers.get("content-length")
    if "transfer-encoding" in headers or (size is None and carries):
        raise Refused(411, "length", "send the length of the body.")
    if carries and size != str(BODY_SIZE):
        raise Refused(400, "length", f"the body has to have {BODY_SIZE} bytes.")
    if not carries and size not in (None, "0"):
        raise Refused(400, "length", "this request has no body.")


def check_upgrade(request: h11.Request, headers: Headers) -> None:
    """See that a request asks for :data:`UPGRADE`.

    :raises Refused: it does not.
    """
    if request.http_version != b"1.1" or not switches_to(headers, UPGRADE):
        raise Refused(426, "no-upgrade", f"this needs HTTP/1.1 with Upgrade: {UPGRADE}.")
