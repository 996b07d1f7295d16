"""Targets: both ends of HTTP tunnels, fed by whoever is at the other one."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from tests.abuse.fuzzing import Target
from tests.session.support import Recorder
from tests.tunnel.world import HELLO, SIZE, STREAMS, World, request
from wavesync.tunnel.answers import body_head, switching
from wavesync.tunnel.channel import CodecError
from wavesync.tunnel.errors import TunnelError
from wavesync.tunnel.requests import UPGRADE
from wavesync.tunnel.websocket import WebSocketCodec, accept_websocket

__all__ = ["TUNNEL_TARGETS"]

_ID = "ab" * 16
_BODY = f"Content-Length: {SIZE}"
_SOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: wavesync-tunnel-1",
)


class _Refused(Exception):
    """What came was refused; the text says how."""


def _frame(payload: bytes, first: int = 0x82) -> bytes:
    """A client's frame whose mask leaves the bytes as they are."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + payload


def _requests() -> list[bytes]:
    upgrade = request("GET", "upgrade", _ID, "Connection: Upgrade", f"Upgrade: {UPGRADE}")
    frame = _frame(HELLO + b"up")
    return [
        upgrade + HELLO + b"up",
        request("GET", "websocket", _ID, *_SOCKET) + frame,
        request("GET", "get-post") + request("POST", "get-post", _ID, _BODY) + HELLO + b"up",
        request("GET", "two"),
        request("POST", "two", _ID, _BODY) + HELLO,
    ]


def _serve(data: bytes, pieces: int) -> World:
    """Let a server have this from a client, in pieces; then the client goes."""
    world = World()
    client = world.raw()
    step = -(-len(data) // pieces) or 1
    for at in range(0, len(data), step):
        client.say(data[at : at + step])
        world.pump()
    client.transport.loseConnection()
    world.wait(30.0)
    assert (len(world.server), len(world.front)) == (0, 0)
    assert not world.clock.getDelayedCalls()
    assert all(guest.lost is not None for guest in world.guests)
    return world


def _read_request(data: bytes) -> None:
    """At once and in pieces the same comes of it, and nothing is left behind."""
    world, slow = _serve(data, 1), _serve(data, 7)
    assert [guest.received for guest in world.guests] == [guest.received for guest in slow.guests]
    refused = world.server.statistics.refused
    assert refused == slow.server.statistics.refused
    if refused:
        raise _Refused(" ".join(refused))


def _answers() -> list[bytes]:
    return [
        switching(UPGRADE) + HELLO + b"down",
        body_head(close=False) + HELLO + b"down",
        b"HTTP/1.1 100 Continue\r\n\r\n" + body_head(close=True) + HELLO,
        b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nVia: 1.1 squid\r\n\r\n",
        b"HTTP/1.1 503 No\r\nWavesync-Reason: tunnels\r\nRetry-After: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        accept_websocket({name.lower(): value for name, value in _pairs(_SOCKET)}) + b"\x82\x10",
    ]


def _pairs(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def _ask(method: str, data: bytes) -> "Deferred[IProtocol]":
    """Let a client have this as the answer to its request; then the server goes."""
    world = World()

    def answering() -> IProtocol:
        server = Recorder()

        def answer(_: bytes) -> None:
            server.on_data = None
            server.transport.write(data.replace(HELLO, _hello(world)))
            server.transport.loseConnection()

        server.on_data = answer
        return server

    opening = world.open(method, dial=world.dial(answering))
    world.wait(30.0)
    assert not world.clock.getDelayedCalls()
    assert opening.called and all(path[0].lost for path in world.paths)
    return opening


def _hello(world: World) -> bytes:
    """The hello that a client of this world sends: its second draw of random bytes."""
    twin = Random(7)
    twin.randbytes(16)
    return b"WST1" + twin.randbytes(12)


def _read_answer(data: bytes) -> None:
    """Every method makes of it a tunnel, or an error with a sentence that can be shown."""
    errors: list[TunnelError] = []

    def failed(failure: Failure) -> None:
        assert isinstance(failure.value, TunnelError), failure
        errors.append(failure.value)

    for method in STREAMS:
        _ask(method, data).addErrback(failed)
    for error in errors:
        assert str(error).isprintable() and 5 < len(str(error)) < 250, str(error)
    if len(errors) == len(STREAMS):
        raise _Refused(" ".join(sorted({str(error.reason) for error in errors})))


def _frames() -> list[bytes]:
    said = [_frame(payload) for payload in (b"", b"short", bytes(300), bytes(60_000))]
    ping, text, close = _frame(b"ping", 0x89), _frame(b"text", 0x81), _frame(b"\x03\xe8", 0x88)
    return [*said[:3], said[1] + ping + said[1], said[1] + close, said[3][:300], text]


def _read_frames(data: bytes) -> None:
    """At once and byte by byte the same comes of it."""
    outcomes = []
    for step in (len(data) or 1, 1):
        codec, found, error = WebSocketCodec(client=False), bytearray(), ""
        try:
            for at in range(0, len(data), step):
                found += codec.decode(data[at : at + step])
                if codec.ended:
                    break
        except CodecError as broken:
            found += broken.found
            error = str(broken)
        outcomes.append((bytes(found), bool(error), codec.ended))
    assert outcomes[0] == outcomes[1], outcomes
    if error:
        raise CodecError(error)


TUNNEL_TARGETS = (
    Target(
        "tunnel requests",
        _requests,
        _read_request,
        _Refused,
        ("head", "path", "id", "length", "no-upgrade"),
        count=500,
    ),
    Target(
        "tunnel answers",
        _answers,
        _read_answer,
        _Refused,
        ("not-http", "page", "busy", "proxy-password", "changed", "closed"),
        count=250,
    ),
    Target(
        "tunnel frames",
        _frames,
        _read_frames,
        CodecError,
        ("is not binary",),
        count=500,
    ),
)
