"""What is said to a port for tunnels by those who never want one, or never let go of one."""

from collections.abc import Callable, Iterator
from random import Random

from tests.tunnel.world import HELLO, SIZE, request
from wavesync.tunnel.requests import UPGRADE

__all__ = ["refused_words", "stalled_words"]

Words = Callable[[], bytes]

_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_UPGRADE = "Connection: Upgrade", f"Upgrade: {UPGRADE}"
_SOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    _KEY,
    "Sec-WebSocket-Protocol: wavesync-tunnel-1",
)
_BODY = f"Content-Length: {SIZE}"
_SAME = "5a" * 16


def _poll(tunnel: str, body: bytes, serial: int, hold: int, *fields: str, got: int = 0) -> bytes:
    """A poll of a tunnel whose client has sent nothing but the hello before."""
    at = 0 if serial == 1 else len(HELLO)
    head = f"serial={serial}; at={at}; got={got}; room=4096; keep=1; hold={hold}; live={serial}"
    if body:
        fields = (*fields, f"Content-Length: {len(body)}")
    verb = "POST" if body else "GET"
    return request(verb, "poll", tunnel, f"Wavesync-Poll: {head}", *fields) + body


def refused_words(chance: Random) -> Words:
    """Give what a server closes, or lets the client close, at once: each kind in turn."""

    def kinds() -> Iterator[bytes]:
        tunnel = chance.randbytes(16).hex()
        wrong = b"WST2" + bytes(12)
        yield request("GET", "upgrade", tunnel, *_UPGRADE) + wrong
        yield request("GET", "websocket", tunnel, *_SOCKET) + b"\x01\x85" + bytes(9)
        yield request("GET", "get-post", tunnel) + request("POST", "poll", tunnel, _BODY)
        yield request("POST", "get-post", tunnel, _BODY) + HELLO
        yield request("GET", "nothing", tunnel)
        yield request("GET", "two", "not an id")
        yield b"GET /wavesync/1/tunnel/two HTTP/1.1\r\nX: " + bytes(9000)
        yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(32)
        # Polls: without a hello, of a tunnel that is not there, of one whose client never comes back,
        # and of one that has what was never sent.
        yield _poll(tunnel, wrong, 1, 0)
        yield _poll(chance.randbytes(16).hex(), b"", 2, 0, got=16)
        yield _poll(tunnel, HELLO, 1, 0, "Connection: close")
        tunnel = chance.randbytes(16).hex()
        yield _poll(tunnel, HELLO, 1, 0) + _poll(tunnel, b"", 2, 0, got=1 << 40)

    def forever() -> Iterator[bytes]:
        while True:
            yield from kinds()

    return forever().__next__


def stalled_words(chance: Random) -> Words:
    """Give what a server bears for a while: each kind in turn."""

    def kinds() -> Iterator[bytes]:
        tunnel = chance.randbytes(16).hex()
        yield request("GET", "upgrade", tunnel, *_UPGRADE) + HELLO[:15]
        tunnel = chance.randbytes(16).hex()
        yield request("GET", "websocket", tunnel, *_SOCKET)
        yield request("GET", "get-post", chance.randbytes(16).hex())
        yield request("GET", "two", chance.randbytes(16).hex())
        yield request("POST", "two", chance.randbytes(16).hex(), _BODY) + HELLO
        yield request("POST", "two", chance.randbytes(16).hex(), _BODY) + b"no hello at all"
        yield request("GET", "upgrade", _SAME, *_UPGRADE)  # in use, mostly
        yield b"GET /wavesync/1/tunnel/two HTTP/1.1\r\nX: "
        yield b""
        # Open, and silent.
        tunnel = chance.randbytes(16).hex()
        yield request("GET", "upgrade", tunnel, *_UPGRADE) + HELLO
        # Polls: one that is never followed, one whose body never ends, one that is held.
        tunnel = chance.randbytes(16).hex()
        yield _poll(tunnel, HELLO, 1, 0)
        yield _poll(chance.randbytes(16).hex(), HELLO, 1, 0, "Content-Length: 60000")[:-8]
        tunnel = chance.randbytes(16).hex()
        yield _poll(tunnel, HELLO, 1, 0) + _poll(tunnel, b"", 2, 25_000, got=16)

    def forever() -> Iterator[bytes]:
        while True:
            yield from kinds()

    return forever().__next__
