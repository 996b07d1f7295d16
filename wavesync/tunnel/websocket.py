"""Tunnels as WebSocket connections (RFC 6455): binary messages, whose borders mean nothing."""

import base64
import binascii

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from wavesync.tunnel.answers import Refused, switching
from wavesync.tunnel.channel import CodecError
from wavesync.tunnel.heads import Headers, switches_to

__all__ = [
    "MAX_MESSAGE",
    "SUBPROTOCOL",
    "WebSocketCodec",
    "accept_websocket",
    "agrees_to_websocket",
    "websocket_fields",
]

MAX_MESSAGE = 256 * 1024
"""Bytes of the longest message that is sent; any may be received."""

SUBPROTOCOL = "wavesync-tunnel-1"
"""What both ends have to name."""

_ORDERLY = (CloseReason.NORMAL_CLOSURE, CloseReason.GOING_AWAY, CloseReason.NO_STATUS_RCVD)
_VERSION = "13"
_KEY_SIZE = 16


class WebSocketCodec:
    """A stream in binary messages (:class:`~.channel.Codec`).

    :param client: whether this is the client's end, which masks what it sends.
    """

    def __init__(self, *, client: bool) -> None:
        self._frames = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
        self._code = CloseReason.NORMAL_CLOSURE
        self.ended = False
        self.reply = b""

    def encode(self, data: bytes) -> bytes:
        """Return *data* as one message, or several where it is long."""
        if len(data) <= MAX_MESSAGE:
            return self._frames.send(BytesMessage(data))
        view = memoryview(data)
        pieces = (view[at : at + MAX_MESSAGE] for at in range(0, len(data), MAX_MESSAGE))
        return b"".join(self._frames.send(BytesMessage(bytes(piece))) for piece in pieces)

    def decode(self, data: bytes) -> bytes:
        """Return the stream's bytes that came with *data*, of unfinished messages as well.

        :raises CodecError: these are no frames of binary messages.
        """
        found: list[bytes | bytearray] = []
        self._frames.receive_data(data)
        for event in self._frames.events():
            match event:
                case BytesMessage():
                    found.append(event.data)
                case Ping():
                    # The newest is answered (RFC 6455 section 5.5.3): they do not pile up.
                    self.reply = bytes(self._frames.send(event.response()))
                case Pong():
                    pass
                case CloseConnection() if self._frames.state is ConnectionState.OPEN:
                    # Not the peer's word, but wsproto's on what came.
                    raise self._broken(event.reason or "frames are malformed", found)
                case CloseConnection() if event.code in _ORDERLY:
                    self.ended = True
                    break
                case CloseConnection():
                    raise CodecError(f"closed with code {event.code:d}", b"".join(found))
                case _:
                    raise self._broken("a message is not binary", found)
        return b"".join(found)

    def end(self) -> bytes:
        """Return the frame that closes the connection."""
        return bytes(self._frames.send(CloseConnection(code=self._code)))

    def _broken(self, sentence: str, found: list[bytes | bytearray]) -> CodecError:
        self._code = CloseReason.PROTOCOL_ERROR
        return CodecError(sentence, b"".join(found))


def websocket_fields(key: bytes) -> tuple[tuple[str, str], ...]:
    """Return the fields of a request for a WebSocket.

    :param key: 16 random bytes.
    """
    return (
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", _VERSION),
        ("Sec-WebSocket-Key", base64.b64encode(key).decode("ascii")),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
    )


def accept_websocket(headers: Headers) -> bytes:
    """Return the answer that agrees to a request.

    :raises Refused: it is no request for such a WebSocket.
    """
    if not switches_to(headers, "websocket"):
        raise Refused(426, "no-upgrade", "this needs Upgrade: websocket.")
    if headers.get("sec-websocket-version") != _VERSION:
        version = (("Sec-WebSocket-Version", _VERSION),)
        raise Refused(426, "version", "this needs WebSocket version 13.", headers=version)
    key = headers.get("sec-websocket-key", "")
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != _KEY_SIZE:
        raise Refused(400, "key", "the header sec-websocket-key is missing or malformed.")
    offered = {word.strip() for word in headers.get("sec-websocket-protocol", "").split(",")}
    if SUBPROTOCOL not in offered:
        raise Refused(400, "subprotocol", f"this needs the subprotocol {SUBPROTOCOL}.")
    token = generate_accept_token(key.encode("ascii")).decode("ascii")
    fields = (("Sec-WebSocket-Accept", token), ("Sec-WebSocket-Protocol", SUBPROTOCOL))
    return switching("websocket", fields)


def agrees_to_websocket(headers: Headers, key: bytes) -> bool:
    """Tell whether an answer agrees to the request made with *key*, and to nothing besides."""
    token = generate_accept_token(base64.b64encode(key)).decode("ascii")
    return (
        switches_to(headers, "websocket")
        and headers.get("sec-websocket-accept", "").strip() == token
        and headers.get("sec-websocket-protocol", "").strip() == SUBPROTOCOL
        and "sec-websocket-extensions" not in headers
    )
