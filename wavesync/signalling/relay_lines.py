"""What a relay and a parked server say to each other: short lines, until raw bytes follow.

Relay to server: ``PING``, ``IDLE n waiting``, ``MOVE``, ``OPEN connection client host port``.
Server to relay: ``PONG``, ``READY``.  Behind OPEN and READY the bytes are the two peers' own.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from wavesync.interfaces import Address
from wavesync.signalling.errors import SignallingError

__all__ = [
    "MAX_LINE",
    "MAX_LINES",
    "MAX_SAID",
    "Idle",
    "Line",
    "LineReader",
    "Move",
    "Open",
    "Ping",
    "Pong",
    "Ready",
]

MAX_LINE = 256
"""Bytes of the longest line, its end included."""

MAX_LINES = 256
"""Lines that come at once at most: neither side has so much to say."""

MAX_SAID = 65535
"""The largest number in a line."""

_CONNECTION = re.compile(r"[0-9a-f]{32}")
_CLIENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class _Word:
    """A line of one word."""

    word: ClassVar[str]
    last: ClassVar[bool] = False

    def encode(self) -> bytes:
        """Return the line."""
        return f"{self.word}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Ping(_Word):
    """The relay asks whether the server is still there."""

    word = "PING"


@dataclass(frozen=True, slots=True)
class Pong(_Word):
    """The server is."""

    word = "PONG"


@dataclass(frozen=True, slots=True)
class Move(_Word):
    """The relay is going: park elsewhere; this connection will be closed."""

    word = "MOVE"


@dataclass(frozen=True, slots=True)
class Ready(_Word):
    """The server has read OPEN; its own bytes follow."""

    word = "READY"
    last: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Idle:
    """How many connections the relay wants parked.

    :ivar wanted: connections that should be idle, 0 to :data:`MAX_SAID`.
    :ivar waiting: clients that wait for one just now, likewise.
    """

    wanted: int
    waiting: int
    last: ClassVar[bool] = False

    def encode(self) -> bytes:
        """Return the line."""
        return f"IDLE {self.wanted} {self.waiting}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Open:
    """A client takes this connection; its bytes follow.

    :ivar connection: connection id, 32 hex digits.
    :ivar client: the client's name within its system.
    :ivar source: from where it reached the relay.
    """

    connection: str
    client: str
    source: Address
    last: ClassVar[bool] = True

    def encode(self) -> bytes:
        """Return the line."""
        host, port = self.source
        return f"OPEN {self.connection} {self.client} {host} {port}\n".encode("ascii")


Line: TypeAlias = Ping | Pong | Move | Ready | Idle | Open

_WORDS: dict[str, Line] = {each.word: each for each in (Ping(), Pong(), Move(), Ready())}

_READY = Ready().encode()


def _decode(line: bytes) -> Line:
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise SignallingError("a line is not ASCII") from None
    match words:
        case [word] if word in _WORDS:
            return _WORDS[word]
        case ["IDLE", wanted, waiting]:
            return Idle(_number(wanted), _number(waiting))
        case ["OPEN", connection, client, host, port]:
            if not _CONNECTION.fullmatch(connection) or not _CLIENT.fullmatch(client):
                raise SignallingError("OPEN without a connection id and a client's name")
            return Open(connection, client, (_host(host), _number(port)))
    raise SignallingError("an unknown line")


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SAID:
        raise SignallingError("no number where a line has one")
    return int(text)


def _host(text: str) -> str:
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise SignallingError("OPEN without a numeric address")


class LineReader:
    """Takes lines out of a stream, up to the one behind which raw bytes begin.

    :ivar over: whether OPEN or READY has come: everything behind is in :attr:`rest`.
    :ivar rest: raw bytes behind the last line, as far as they were fed.
    """

    __slots__ = ("_buffer", "over", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.over = False
        self.rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that *data* completes.

        :raises SignallingError: what came is no line, or too long; the stream is of no use any more.
        """
        if self.over:
            self.rest += data
            return []
        if data.startswith(_READY) and not self._buffer:
            self.over = True
            self.rest = data[len(_READY) :]
            return [_WORDS["READY"]]
        data = self._buffer + data
        lines: list[Line] = []
        at = 0
        while (end := data.find(b"\n", at, at + MAX_LINE)) >= 0:
            line = _decode(data[at:end])
            lines.append(line)
            if len(lines) > MAX_LINES:
                raise SignallingError("too many lines at once")
            at = end + 1
            if line.last:
                self.over = True
                self.rest, self._buffer = data[at:], b""
                return lines
        if len(data) - at >= MAX_LINE:
            raise SignallingError("a line is too long")
        self._buffer = data[at:]
        return lines
