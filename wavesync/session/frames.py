"""The frames of the session layer: ``type u8 | length u24 | payload`` (docs/session).

All numbers are big-endian.  The parser is total: whatever the peer sends gives frames or
:class:`FrameError`, and it holds at most one frame that is not complete yet, and none of DATA, whose
bytes are given out as they come.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import TypeAlias

__all__ = [
    "HEADER_SIZE",
    "MAX_DATA",
    "MAX_OPTIONS",
    "MAX_SENTENCE",
    "MAX_SERVICE",
    "Ack",
    "Data",
    "End",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "FrameType",
    "Open",
    "Opened",
    "Options",
    "Ping",
    "Pong",
    "Refused",
    "Reset",
    "encode",
    "encode_data",
    "is_service_name",
]

HEADER_SIZE = 4
"""Bytes of a frame before its payload."""

MAX_DATA = 65536
"""Bytes of one frame's payload, of whatever type: what a peer can make us hold."""

MAX_SERVICE = 64
"""Bytes of a service's name."""

MAX_SENTENCE = 512
"""UTF-8 bytes of the sentence in REFUSED and RESET."""

MAX_OPTIONS = 16
"""Options in one OPEN or OPENED."""

MAY_IGNORE = 0x80
"""The bit of a frame's or option's type that lets a reader skip what it does not know."""

_HEADER = Struct("!BBH")
_CODE = Struct("!H")
_OFFSET = Struct("!Q")
_OPTION = Struct("!BH")
_PING_SIZE = 8
_SERVICE = re.compile(r"\.?[a-z0-9][a-z0-9._-]*\Z")

Options: TypeAlias = tuple[tuple[int, bytes], ...]
"""Options of OPEN and OPENED: (type 0..255, value 0..65535 bytes)."""


class FrameError(Exception):
    """The peer sent something that is not a frame; the text says what."""


class FrameType(IntEnum):
    """The first byte of a frame."""

    OPEN = 1
    OPENED = 2
    REFUSED = 3
    DATA = 4
    END = 5
    RESET = 6
    PING = 7
    PONG = 8
    ACK = 9


_DATA = int(FrameType.DATA)


@dataclass(frozen=True, slots=True)
class Open:
    """Client to server, its first frame: open *service* ("" is a control session)."""

    service: str
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """Server to client: the service is there."""

    options: Options = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Server to client: the service was not opened, *code* and *sentence* say why."""

    code: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the stream, 1 .. :data:`MAX_DATA` (0 are allowed and mean nothing).

    What a :class:`FrameDecoder` gives are the bytes of several frames when they have come together, or
    of part of one when the rest has not come yet.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """No more DATA comes in this direction: the authenticated end of the stream."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The session is over, and not by an orderly end of both directions."""

    code: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a :class:`Pong` with the same eight bytes."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a :class:`Ping`."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """All DATA bytes before *offset* have come; END counts as one more."""

    offset: int


Frame: TypeAlias = Open | Opened | Refused | Data | End | Reset | Ping | Pong | Ack


def is_service_name(name: str) -> bool:
    """Whether *name* can be in OPEN: 1 .. 64 of ``a-z 0-9 . _ -``, a letter or digit first.

    In front of that there may be a dot: such a name is of a service that every server has.
    """
    return len(name) <= MAX_SERVICE and _SERVICE.match(name) is not None


def _frame(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEADER.pack(kind, size >> 16, size & 0xFFFF) + payload


def encode_data(data: bytes) -> list[bytes | memoryview]:
    """DATA frames for *data* of any length, as pieces to be joined (none for no bytes)."""
    size = len(data)
    if 0 < size <= MAX_DATA:
        return [_HEADER.pack(_DATA, size >> 16, size & 0xFFFF), data]
    pieces: list[bytes | memoryview] = []
    view = memoryview(data)
    for start in range(0, size, MAX_DATA):
        piece = view[start : start + MAX_DATA]
        pieces.append(_HEADER.pack(_DATA, len(piece) >> 16, len(piece) & 0xFFFF))
        pieces.append(piece)
    return pieces


def _encode_options(options: Options) -> bytes:
    return b"".join(_OPTION.pack(kind, len(value)) + value for kind, value in options)


def _encode_sentence(code: int, sentence: str) -> bytes:
    cut = sentence.encode("utf-8", "replace")[:MAX_SENTENCE]
    return _CODE.pack(code) + cut.decode("utf-8", "ignore").encode()


def encode(frame: Frame) -> bytes:
    """One frame as bytes.  A sentence that is too long is cut at :data:`MAX_SENTENCE`.

    :raises ValueError: our own mistake: a service's name, a ping, or a size that the wire does not have.
    """
    match frame:
        case Open(service, options):
            if service and not is_service_name(service):
                raise ValueError("not a service's name")
            name = service.encode("ascii")
            payload = bytes([len(name)]) + name + _encode_options(options)
            kind = FrameType.OPEN
        case Opened(options):
            kind, payload = FrameType.OPENED, _encode_options(options)
        case Refused(code, sentence):
            kind, payload = FrameType.REFUSED, _encode_sentence(code, sentence)
        case Data(data):
            kind, payload = FrameType.DATA, data
        case End():
            kind, payload = FrameType.END, b""
        case Reset(code, sentence):
            kind, payload = FrameType.RESET, _encode_sentence(code, sentence)
        case Ping(token):
            kind, payload = FrameType.PING, token
        case Pong(token):
            kind, payload = FrameType.PONG, token
        case Ack(offset):
            kind, payload = FrameType.ACK, _OFFSET.pack(offset)
    if len(payload) > MAX_DATA:
        raise ValueError("longer than a frame may be")
    if kind in (FrameType.PING, FrameType.PONG) and len(payload) != _PING_SIZE:
        raise ValueError("a ping carries eight bytes")
    return _frame(kind, payload)


def _decode_options(payload: bytes, start: int) -> Options:
    options: list[tuple[int, bytes]] = []
    while start < len(payload):
        try:
            kind, size = _OPTION.unpack_from(payload, start)
        except StructError as e:
            raise FrameError("an option is cut short") from e
        start += _OPTION.size
        if start + size > len(payload):
            raise FrameError("an option is cut short")
        if len(options) == MAX_OPTIONS:
            raise FrameError("too many options")
        options.append((kind, payload[start : start + size]))
        start += size
    return tuple(options)


def _decode_open(payload: bytes) -> Open:
    if not payload:
        raise FrameError("OPEN without a service's name")
    size = payload[0]
    if size > MAX_SERVICE or 1 + size > len(payload):
        raise FrameError("the name of the service in OPEN has a wrong length")
    try:
        service = payload[1 : 1 + size].decode("ascii")
    except UnicodeDecodeError as e:
        raise FrameError("the name of the service in OPEN is not plain text") from e
    if service and not is_service_name(service):
        raise FrameError("OPEN names no possible service")
    return Open(service, _decode_options(payload, 1 + size))


def _decode_sentence(payload: bytes) -> tuple[int, str]:
    """Code and sentence; what a terminal would obey is replaced, for people will read it."""
    if not _CODE.size <= len(payload) <= _CODE.size + MAX_SENTENCE:
        raise FrameError("a refusal or reset has a wrong length")
    text = payload[_CODE.size :].decode("utf-8", "replace")
    return _CODE.unpack_from(payload)[0], "".join(c if c.isprintable() else "?" for c in text)


def _token(payload: bytes) -> bytes:
    if len(payload) != _PING_SIZE:
        raise FrameError("a ping or pong without eight bytes")
    return payload


def _decode(kind: int, payload: bytes) -> Frame | None:
    """One frame, or None for an unknown one that may be ignored."""
    match kind:
        case FrameType.ACK:
            if len(payload) != _OFFSET.size:
                raise FrameError("ACK without an offset of eight bytes")
            return Ack(_OFFSET.unpack(payload)[0])
        case FrameType.PING:
            return Ping(_token(payload))
        case FrameType.PONG:
            return Pong(_token(payload))
        case FrameType.END:
            if payload:
                raise FrameError("END with a payload")
            return End()
        case FrameType.OPEN:
            return _decode_open(payload)
        case FrameType.OPENED:
            return Opened(_decode_options(payload, 0))
        case FrameType.REFUSED:
            return Refused(*_decode_sentence(payload))
        case FrameType.RESET:
            return Reset(*_decode_sentence(payload))
    if kind & MAY_IGNORE:
        return None
    raise FrameError("a frame of unknown type")


@dataclass(slots=True)
class FrameDecoder:
    """Cuts a stream into frames.

    After a :class:`FrameError` the stream has no meaning any more: do not feed it again.
    """

    _parts: list[bytes] = field(default_factory=list)
    _held: int = 0
    _wanted: int = HEADER_SIZE
    _coming: int = 0

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete: at most ``HEADER_SIZE + MAX_DATA - 1``."""
        return self._held

    def feed(self, data: bytes | memoryview) -> Iterable[Frame]:
        """Take the stream's next bytes and yield each frame that is complete now.

        Bytes of DATA are yielded as they come, those that come together in one.  Frames before a
        malformed one are yielded before the error is raised.

        :param data: nothing keeps it.
        :raises FrameError: not a frame of this protocol, or longer than :data:`MAX_DATA`.
        """
        if self._held:
            self._parts.append(bytes(data))
            self._held += len(data)
            if self._held < self._wanted:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._held = 0
        view = memoryview(data)
        end = len(view)
        start = min(self._coming, end)
        self._coming -= start
        run = [view[:start]] if start else []  # bytes of DATA that nothing else has followed yet
        self._wanted = HEADER_SIZE
        while end - start >= HEADER_SIZE:
            kind, high, low = _HEADER.unpack_from(view, start)
            size = high << 16 | low
            body = start + HEADER_SIZE
            stop = body + size
            if kind == _DATA and size <= MAX_DATA:
                start = min(stop, end)
                self._coming = stop - start
                if start > body or not size:
                    run.append(view[body:start])
                continue
            if run:
                yield Data(b"".join(run))
                run = []
            if size > MAX_DATA:
                raise FrameError("a frame is longer than allowed")
            if stop > end:
                self._wanted = stop - start
                break
            frame = _decode(kind, bytes(view[body:stop]))
            start = stop
            if frame is not None:
                yield frame
        if run:
            yield Data(b"".join(run))
        if start < end:
            self._parts.append(bytes(view[start:]))
            self._held = end - start
