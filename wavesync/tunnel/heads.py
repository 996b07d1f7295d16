"""HTTP/1.1 heads of a bounded size, of requests and of answers (RFC 9110, 9112).

Parsing is h11's; what follows a head is given back untouched.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import h11

__all__ = [
    "MAX_HEAD",
    "MAX_INTERIM",
    "HeadError",
    "HeadReader",
    "Headers",
    "field_map",
    "number_field",
    "seconds_field",
    "switches_to",
]

MAX_HEAD = 8192
"""Bytes of the longest head of a request or an answer."""

MAX_INTERIM = 8
"""Interim answers (100 Continue and the like) that are skipped in front of the real one."""

Headers: TypeAlias = Mapping[str, str]

_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")


class HeadError(Exception):
    """A head that is none, or asks for nothing that is here; the text is a short sentence for a log.

    :ivar status: the HTTP status to refuse it with.
    """

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class HeadReader:
    """Reads one head.

    :param role: ``h11.SERVER`` to read a request, ``h11.CLIENT`` to read an answer to a GET or to a
        request to switch protocols.
    :ivar rest: what was fed behind the head.
    """

    __slots__ = ("_fed", "_h11", "_interim", "rest")

    def __init__(self, role: type[h11.SERVER] | type[h11.CLIENT]) -> None:
        self._h11 = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        if role is h11.CLIENT:
            # What was asked for matters only in so far as a 101 may be its answer.
            asked = [("Host", "any"), ("Connection", "Upgrade"), ("Upgrade", "any")]
            self._h11.send(h11.Request(method="GET", target="/", headers=asked))
            self._h11.send(h11.EndOfMessage())
        self._fed = 0
        self._interim = 0
        self.rest = b""

    def feed(self, data: bytes) -> h11.Request | h11.InformationalResponse | h11.Response | None:
        """Take more bytes; give the head once it is whole.  Feed no more after that.

        :raises HeadError: this is no head, or a longer one than :data:`MAX_HEAD`.
        """
        self._fed += len(data)
        try:
            if data:
                self._h11.receive_data(data)
            event = self._h11.next_event()
            while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise HeadError("too many interim answers", 431)
                event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            words = str(error).partition(": b")[0]  # without the peer's bytes, which may be secret
            raise HeadError(f"not HTTP/1.1: {words}", error.error_status_hint) from None
        if not isinstance(event, h11.Request | h11.InformationalResponse | h11.Response):
            return None
        self.rest, _ = self._h11.trailing_data
        if self._fed - len(self.rest) > MAX_HEAD:
            raise HeadError("the head is too long", 431)
        return event


def field_map(raw: Iterable[tuple[bytes, bytes]], single: frozenset[str]) -> Headers:
    """Give header fields by name in small letters.

    :param single: names that must not come twice; of others the values are joined by commas.
    :raises HeadError: one of those does, or a value is not ASCII.
    """
    found: dict[str, str] = {}
    try:
        for name, value in raw:
            key, text = name.decode("ascii"), value.decode("ascii")
            if key not in found:
                found[key] = text
            elif key in single:
                raise HeadError(f"the header {key} comes twice")
            else:
                found[key] += f", {text}"
    except UnicodeDecodeError:
        raise HeadError("a header is not ASCII") from None
    return MappingProxyType(found)


def switches_to(headers: Headers, protocol: str) -> bool:
    """Tell whether a head asks for, or agrees to, an upgrade to *protocol*, in small letters."""
    connection = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    offered = {token.strip().lower() for token in headers.get("upgrade", "").split(",")}
    return "upgrade" in connection and protocol in offered


def number_field(headers: Headers, name: str, most: int, missing: int | None = None) -> int:
    """Read a whole number, 0 to *most*.

    :param missing: what it is where the header is not there; ``None`` where it has to be.
    :raises HeadError: there is none, or another value.
    """
    text = headers.get(name)
    if text is None and missing is not None:
        return missing
    if text is not None and text.isascii() and text.isdigit() and len(text) <= 19:
        canonical = str(int(text)) == text
        if canonical and int(text) <= most:
            return int(text)
    raise HeadError(f"the header {name} must be a number from 0 to {most}")


def seconds_field(headers: Headers, name: str) -> float | None:
    """Read a time in seconds, 0 to 999999.999; ``None`` where the header is not there.

    :raises HeadError: it is another value.
    """
    text = headers.get(name)
    if text is None:
        return None
    if not _SECONDS.fullmatch(text):
        raise HeadError(f"the header {name} must be a number of seconds")
    return float(text)
