"""Targets: both ends of short polls, as HTTP that something has changed, and as peers that lie."""

import struct
from collections.abc import Iterator

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from tests.abuse.fuzzing import Target
from tests.session.support import Recorder
from tests.tunnel.test_poll import poll
from tests.tunnel.world import HELLO, World
from wavesync.tunnel.answers import body_head
from wavesync.tunnel.errors import TunnelError
from wavesync.tunnel.hello import make_hello
from wavesync.tunnel.poll_core import MAX_REQUESTS, WINDOW, ClientCore
from wavesync.tunnel.poll_held import ServerCore
from wavesync.tunnel.poll_streams import Incoming
from wavesync.tunnel.poll_wire import (
    HEADER,
    MAX_LIVE,
    PollAnswer,
    PollError,
    PollRequest,
    read_answer,
    read_request,
)

__all__ = ["POLL_TARGETS"]

_LONGEST = 200.0
"""Seconds after which nothing of a tunnel may be left, whoever does not answer."""


class _Refused(Exception):
    """What came was refused; the text says how."""


# A server, and requests.


def _requests() -> list[bytes]:
    first = poll(HELLO + b"up", hold=0)
    return [
        first + poll(b"more", serial=2, at=18, got=16, hold=0),
        first + poll(serial=2, got=16, hold=0, more=""),
        first + poll(b"end", serial=2, at=18, got=16, hold=0, more="; last"),
        first + poll(serial=2, got=16, hold=0, more="; over") + poll(serial=3, got=16),
        first + poll(b"late", serial=3, at=22, hold=0) + poll(b"more", serial=2, at=18),
        poll(HELLO, length=20) + b"late",
        poll(serial=5, got=16),
        poll(b"no hello at all"),
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
    world.wait(_LONGEST)
    assert (len(world.server), len(world.front)) == (0, 0)
    assert not world.clock.getDelayedCalls()
    assert all(guest.lost is not None for guest in world.guests)
    assert not sum(world.server.statistics.open.values())
    return world


def _read_requests(data: bytes) -> None:
    """At once and in pieces the same comes of it, and nothing is left behind."""
    world, slow = _serve(data, 1), _serve(data, 7)
    assert [guest.received for guest in world.guests] == [guest.received for guest in slow.guests]
    refused = world.server.statistics.refused
    assert refused == slow.server.statistics.refused
    if refused:
        raise _Refused(" ".join(refused))


# A client, and answers.


def _answer(answer: PollAnswer, body: bytes = b"") -> bytes:
    fields = ((HEADER, answer.encode()),)
    return body_head(size=len(body), close=False, headers=fields) + body


def _answers() -> list[bytes]:
    first = _answer(PollAnswer(1, 0, 25, WINDOW), HELLO + b"down")
    return [
        first + _answer(PollAnswer(2, 20, 25, WINDOW), b"more"),
        first + _answer(PollAnswer(2, 20, 25, WINDOW, last=True), b"end"),
        _answer(PollAnswer(1, 0, 16, 0), HELLO) + _answer(PollAnswer(2, 16, 25, WINDOW)),
        b"HTTP/1.1 100 Continue\r\n\r\n" + first,
        first + b"HTTP/1.1 404 No\r\nWavesync-Reason: ended\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nWavesync-Reason: tunnels\r\nRetry-After: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
    ]


class _Answering:
    """A server that gives its answers in turn, one to a request; then it closes every connection.

    Some servers close theirs behind the last answer, too.
    """

    def __init__(self, data: bytes) -> None:
        head, *rest = data.split(b"HTTP/1.1 ")
        pieces = [head + b"HTTP/1.1 ".join((b"", *rest[:1])), *map(_whole, rest[1:])]
        self._pieces = iter(pieces)
        self._left = len(pieces)
        self._hurried = len(data) % 2 > 0

    def __call__(self) -> IProtocol:
        server = Recorder()

        def answer(_: bytes) -> None:
            piece = next(self._pieces, None)
            if piece is None:
                server.transport.loseConnection()
            else:
                server.transport.write(piece)
                self._left -= 1
                if self._hurried and not self._left:
                    server.transport.loseConnection()

        server.on_data = answer
        return server


def _whole(piece: bytes) -> bytes:
    return b"HTTP/1.1 " + piece


def _own_hello(world: World) -> bytes:
    """The hello that this world's client sends, behind its tunnel's id."""
    twin = World()
    twin.random(16)
    return make_hello(twin.random)


def _read_answers(data: bytes) -> None:
    """It makes of it a tunnel, or an error with a sentence; and in the end nothing is left."""
    world = World()
    protocol = Recorder(b"here I am")
    data = data.replace(HELLO, _own_hello(world))
    opening = world.open("poll", protocol, dial=world.dial(_Answering(data)))
    errors: list[Failure] = []
    opening.addErrback(errors.append)
    world.pump()
    while world.clock.seconds() < _LONGEST and world.clock.getDelayedCalls():
        world.wait(0.5)
    assert not world.clock.getDelayedCalls()
    assert all(client.lost for client, _ in world.paths)
    assert bool(errors) != (protocol.lost is not None)
    for failure in errors:
        assert isinstance(failure.value, TunnelError), failure
        sentence = str(failure.value)
        assert sentence.isprintable() and 5 < len(sentence) < 250, sentence
        raise _Refused(f"{failure.value.reason}")
    assert protocol.lost is not None
    sentence = protocol.lost.getErrorMessage()
    assert sentence.isprintable(), sentence
    if "makes no sense" in sentence:
        raise _Refused(sentence)


# Peers that speak the protocol, and lie.

_STEP = struct.Struct("!BBHHHHB")
"""What is done; a serial; a place, what is acknowledged, room and a size, in units; flags."""

_UNIT = 8
_PATTERN = bytes(range(251)) * 2600


def _pattern(at: int, size: int) -> bytes:
    """What every honest stream has there, so that whatever is put together can be checked."""
    return _PATTERN[at % 251 : at % 251 + size]


class _Check:
    """Puts together what one end delivers, and checks it."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._delivered = 0

    def __call__(self) -> None:
        data = self._incoming.deliver()
        assert data == _pattern(self._delivered, len(data))
        self._delivered += len(data)
        ahead = sum(len(piece) for _, piece in self._incoming._pieces)
        assert ahead <= WINDOW and self._incoming.room <= WINDOW


def _steps(data: bytes) -> Iterator[tuple[int, ...]]:
    yield from _STEP.iter_unpack(data[: len(data) // _STEP.size * _STEP.size])


def _script(*steps: tuple[int, ...]) -> bytes:
    return b"".join(_STEP.pack(*step) for step in steps)


def _scripts() -> list[bytes]:
    up = [(0, each, 4 * (each - 1), 0, 4096, 4, 0) for each in range(1, 8)]
    mixed = [(2, 0, 0, 0, 0, 64, 0), *up[:3], (0, 4, 12, 40, 4096, 4, 0), (3, 2, 0, 0, 0, 0, 0)]
    return [
        _script(*up),
        _script(*mixed),
        _script(*up[:3], *up[1:3], (0, 4, 12, 0, 4096, 2, 1), (1, 0, 0, 0, 0, 9, 0)),
        _script((0, 1, 0, 0, 4096, 2, 1), (0, 2, 2, 0, 4096, 4, 0)),
        _script((0, 1, 4, 0, 4096, 9, 0), (0, 2, 0, 0, 4096, 3, 1), (0, 3, 20, 0, 4096, 9, 0)),
        _script(*((0, each, 2 * each, 0, 4096, 1, 0) for each in range(1, 72))),
        _script((0, 1, 0x7000, 0, 4096, 0x200, 0), (0, 2, 0x8000, 0, 4096, 4, 0)),
        _script((0, 1, 0, 0, 4096, 2, 255)),
        _script((2, 0, 0, 0, 0, 0x4000, 0), *up, *((0, n, 28, n, 64, 0, 4) for n in range(8, 30))),
    ]


def _lie_to_server(data: bytes) -> None:
    """Whatever is asked: each request is answered once, few are held, and both streams are right."""
    core: ServerCore[int] = ServerCore()
    check = _Check(core.incoming)
    now, carrier = 100.0, 0
    waiting: set[int] = set()
    for what, serial, at, got, room, size, flags in _steps(data):
        match what % 4:
            case 0:
                carrier += 1
                waiting.add(carrier)
                at *= _UNIT
                size = min(size * _UNIT, 65_536)
                live = (serial, *range(max(1, serial - flags % 16), serial))
                asked = PollRequest(
                    serial,
                    at,
                    got * _UNIT,
                    room * _UNIT,
                    1 + flags % 3,
                    size,
                    live,
                    bool(flags & 1),
                )
                # What cannot be said in a header must not be tested here.
                request = read_request(asked.encode())
                core.request(carrier, request, _pattern(at, size), now)
            case 1:
                now += size / 100
            case 2 if not core.outgoing.ended and len(core.outgoing) < WINDOW:
                core.outgoing.write(_pattern(core.outgoing.length, size))
                if flags & 1:
                    core.outgoing.end()
            case 3:
                core.gone(serial)
                waiting.discard(serial)
        for to, answer, body in core.answers(now):
            waiting.remove(to)
            assert read_answer(answer.encode()) == answer
            assert body == _pattern(answer.at, len(body))
        assert len(core) <= min(len(waiting), MAX_LIVE)
        check()
        until = core.deadline()
        assert until is None or until > now


def _lie_to_client(data: bytes) -> None:
    """Whatever is answered: few requests are under way, and both streams are right."""
    core = ClientCore(lambda: 0.5)
    check = _Check(core.incoming)
    now = 100.0
    core.outgoing.write(_pattern(0, 5000))
    sent: set[int] = set()
    for what, serial, at, got, room, size, flags in _steps(data):
        match what % 4:
            case 0:
                at *= _UNIT
                size = min(size * _UNIT, 262_144)
                known = sorted(core._under_way) or [0]
                serial = known[serial % len(known)]
                answer = PollAnswer(
                    serial + (flags > 250), at, got, room * _UNIT, last=bool(flags & 1)
                )
                core.answered(serial, read_answer(answer.encode()), _pattern(at, size), now)
            case 1:
                now += size / 100
                core.timer(now)
            case 2 if not core.outgoing.ended and len(core.outgoing) < WINDOW:
                core.outgoing.write(_pattern(core.outgoing.length, size))
                if flags & 1:
                    core.outgoing.end()
            case 3:
                core.failed(serial, "it was cut", now, life=room / 100 if flags & 1 else None)
        for request, body in core.requests(now):
            assert request.serial not in sent
            sent.add(request.serial)
            assert read_request(request.encode()) == request
            assert body == _pattern(request.at, len(body))
        assert core.under_way <= MAX_REQUESTS
        check()


POLL_TARGETS = (
    Target(
        "poll requests",
        _requests,
        _read_requests,
        _Refused,
        ("head", "path", "id", "poll", "hello", "unknown", "ended"),
        count=200,
    ),
    Target(
        "poll answers",
        _answers,
        _read_answers,
        _Refused,
        ("not-http", "page", "busy", "changed", "closed", "makes no sense"),
        count=150,
    ),
    Target(
        "poll requests that lie",
        _scripts,
        _lie_to_server,
        PollError,
        (
            "never sent",
            "more was sent",
            "after its end",
            "before what has come",
            "too many gaps",
            "out of range",
        ),
        count=500,
    ),
    Target(
        "poll answers that lie",
        _scripts,
        _lie_to_client,
        PollError,
        ("another request", "never sent", "more was sent", "after its end"),
        count=300,
    ),
)
