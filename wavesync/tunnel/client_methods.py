"""How a client opens a tunnel by each method but short polls."""

from collections.abc import Callable, Mapping

import h11
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.tunnel.answers import BODY_SIZE
from wavesync.tunnel.channel import Channel, Codec
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.heads import HeadError, Headers, HeadReader, field_map, switches_to
from wavesync.tunnel.judging import breaks_uploads, judge
from wavesync.tunnel.opening import Answer, Asking, Opening
from wavesync.tunnel.requests import UPGRADE
from wavesync.tunnel.websocket import WebSocketCodec, agrees_to_websocket, websocket_fields
from wavesync.tunnel.wire import Role, Wire

__all__ = ["BEGIN"]

_NONCE_SIZE = 4
_KEY_SIZE = 16
_UPGRADE_FIELDS = (("Connection", "Upgrade"), ("Upgrade", UPGRADE))
_BODY_FIELDS = (
    ("Content-Type", "application/octet-stream"),
    ("Content-Length", str(BODY_SIZE)),
)


def _upgrade(opening: Opening) -> None:
    def agreed(answer: Answer) -> bool:
        return answer.status_code == 101 and switches_to(_fields(answer), UPGRADE)

    request = _get(opening, "upgrade", _UPGRADE_FIELDS)
    opening.connect(lambda wire: _single(opening, wire, request, agreed, lambda: None))


def _websocket(opening: Opening) -> None:
    key = opening.random(_KEY_SIZE)

    def agreed(answer: Answer) -> bool:
        return answer.status_code == 101 and agrees_to_websocket(_fields(answer), key)

    request = _get(opening, "websocket", websocket_fields(key))

    def codec() -> Codec:
        return WebSocketCodec(client=True)

    opening.connect(lambda wire: _single(opening, wire, request, agreed, codec))


def _single(
    opening: Opening,
    wire: Wire,
    request: bytes,
    agreed: Callable[[Answer], bool],
    codec: Callable[[], Codec | None],
) -> Role:
    """Ask for a switch; the hello goes behind the answer, since nothing may go before it."""

    def then() -> Role:
        channel = Channel(opening.clock, opening, wire, codec=codec())
        opening.carry(channel)
        channel.write(opening.hello)
        return channel

    wire.write(request)
    return Asking(opening, agreed, then)


def _get_post(opening: Opening) -> None:
    """The GET, the POST and the hello leave at once: what passes them in order passes them so, too."""
    requests = _get(opening, "get-post") + _post(opening, "get-post") + opening.hello

    def begin(wire: Wire) -> Role:
        def then() -> Role:
            channel = Channel(opening.clock, opening, wire)
            opening.carry(channel)
            return channel

        wire.write(requests)
        return Asking(opening, _has_body, then)

    opening.connect(begin)


class _Two:
    """The two connections, until both are there and the GET is answered; then the role of the GET's."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._down: Wire | None = None
        self._up: Wire | None = None
        self._agreed = False
        self.channel: Channel | None = None

    def begin_down(self, wire: Wire) -> Role:
        """The connection for the GET stands."""
        self._down = wire
        wire.write(_get(self._opening, "two"))
        return Asking(self._opening, _has_body, self._answered)

    def begin_up(self, wire: Wire) -> Role:
        """The connection for the POST stands."""
        self._up = wire
        wire.write(_post(self._opening, "two") + self._opening.hello)
        self._join()
        return _Up(self._opening, self)

    def _answered(self) -> Role:
        self._agreed = True
        self._join()
        return self

    def _join(self) -> None:
        if self._agreed and self._up is not None and self._down is not None:
            self.channel = Channel(self._opening.clock, self._opening, self._down, self._up)
            self._opening.carry(self.channel)

    def received(self, data: bytes) -> None:
        """The stream down."""
        if self.channel is not None:
            self.channel.received(data)
        else:
            sentence = "bytes came back through the tunnel before any were sent"
            self._opening.fail(TunnelError(sentence, Why.CHANGED))

    def lost(self, reason: Failure = connectionDone) -> None:
        """The GET's connection is gone."""
        if self.channel is not None:
            self.channel.lost(reason)
        else:
            self._opening.broke(reason)


class _Up:
    """The role of the POST's connection: it is answered where it is refused, or when all is over."""

    def __init__(self, opening: Opening, two: _Two) -> None:
        self._opening = opening
        self._two = two
        self._reader: HeadReader | None = HeadReader(h11.CLIENT)

    def received(self, data: bytes) -> None:
        """An answer."""
        if self._reader is None:
            return
        try:
            answer = self._reader.feed(data)
        except HeadError:
            self._reader = None
            self._opening.broke(Failure())
            return
        if isinstance(answer, Answer):
            self._reader = None
            if not 200 <= answer.status_code < 300 or not _is_ours(_fields(answer)):
                self._opening.fail(judge(answer, self._opening.place))

    def lost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._two.channel is not None:
            self._two.channel.outward.lost(reason)
        else:
            self._opening.broke(reason)


def _two(opening: Opening) -> None:
    two = _Two(opening)
    opening.connect(two.begin_down)
    opening.connect(two.begin_up)


def _get(opening: Opening, method: str, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    nonce = opening.random(_NONCE_SIZE)
    return opening.place.request("GET", method, opening.tunnel, nonce, headers)


def _post(opening: Opening, method: str) -> bytes:
    return opening.place.request("POST", method, opening.tunnel, headers=_BODY_FIELDS)


def _has_body(answer: Answer) -> bool:
    """Tell whether an answer's body is a stream, unchanged, and one in the other direction will be."""
    headers = _fields(answer)
    return (
        answer.status_code == 200
        and _is_ours(headers)
        and headers.get("content-length") == str(BODY_SIZE)
        and "transfer-encoding" not in headers
        and "content-encoding" not in headers
        and not breaks_uploads(headers)
    )


def _is_ours(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("application/octet-stream")


def _fields(answer: Answer) -> Headers:
    """Return an answer's header fields; none where they make no sense."""
    try:
        return field_map(answer.headers, frozenset({"content-length"}))
    except HeadError:
        return {}


BEGIN: Mapping[str, Callable[[Opening], None]] = {
    "upgrade": _upgrade,
    "websocket": _websocket,
    "get-post": _get_post,
    "two": _two,
}
"""What sends a method's requests."""
