"""Targets: everybody who speaks with a relay, or remembers one, stream by stream."""

import os
import tempfile
from functools import cache
from pathlib import Path

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.python.failure import Failure

from tests.abuse.fuzzing import Target
from tests.relay.world import NAME, connect_request, park_request
from tests.signalling.provers import NOW, client, server
from wavesync.agent.parking import MAX_IDLE, Parking, Taken
from wavesync.client.memory import Memory, Remembered
from wavesync.client.relay_leg import RelayLeg
from wavesync.errors import ConnectFailed, SettingsError
from wavesync.relay.factory import RelayFactory
from wavesync.relay.house import House
from wavesync.relay.settings import Proxied, RelaySettings
from wavesync.session.relayed import RelayedAddress
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.fronts import ProxiedFactory
from wavesync.signalling.relay_answers import AnswerReader, Challenge, RelayAnswer
from wavesync.signalling.relay_answers import Parking as Wanted
from wavesync.signalling.relay_lines import Idle, LineReader, Move, Open, Ping, Pong, Ready
from wavesync.signalling.relay_lists import (
    ParkedAt,
    decode_parked,
    decode_relays,
    encode_parked,
    encode_relays,
)
from wavesync.signalling.relay_urls import Relay, parse_relay

__all__ = ["RELAY_PEER_TARGETS"]

_RELAYS = (
    Relay("relay.example", 3356, False),
    Relay("2001:db8::1", 443, True),
    Relay("192.0.2.1", 80, False),
)
_OPEN = Open("c0" * 16, "alice", ("2001:db8::7", 4711))
_PROXY = IPv4Address("TCP", "127.0.0.1", 5)


def _read_relays(data: bytes) -> object:
    """Read a list, and write what was found: it is read again as the same."""
    found = decode_relays(data)
    assert decode_relays(encode_relays(found)) == found
    return found


def _read_parked(data: bytes) -> object:
    found = decode_parked(data)
    assert decode_parked(encode_parked(found)) == found
    return found


def _read_url(data: bytes) -> object:
    found = parse_relay(data.decode("utf-8", "surrogateescape"))
    assert parse_relay(str(found)) == found
    return found


# A client.


@cache
def _directory() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


def _memories() -> list[bytes]:
    target = str(server().target)
    known = [
        Remembered(server=target, relays=("http://relay.example:3356",), direct="udp", at=NOW),
        Remembered(server=target, tcp=("192.0.2.1", 4711), direct="tcp", took=0.2, at=NOW),
        Remembered(server=target, relays=tuple(map(str, _RELAYS)), at=NOW),
    ]
    keyed = {f"home {target}": known[0], f"away {target}": known[1], "home x": known[2]}
    return [
        msgspec.json.encode({"known": keyed}),
        msgspec.json.encode({"known": {"a b": known[0]}}),
    ]


def remember(data: bytes) -> object:
    """Let a client begin with this for its memory, use it, and note something else in it."""
    path = Path(_directory().name) / "known.json"
    path.write_bytes(data)
    os.chmod(path, 0o600)
    memory = Memory(path, wall_clock=lambda: NOW + 1, network=lambda: "home")
    for name in (str(server().target), "x"):
        found = memory.recall(name)
        if found is not None:
            assert found.target.server is not None
            assert len(found.relay_list) <= 4
            assert 0 <= found.tcp[1] <= 65535
    memory.note("y", Remembered(server=str(server(2).target)))
    again = Memory(path, wall_clock=lambda: NOW + 1, network=lambda: "home")
    assert again.recall("y") is not None and len(again) == len(memory)
    return len(memory)


def remember_carelessly(data: bytes) -> object:
    """The same by one that believes its file."""
    known = msgspec.json.decode(data)["known"]
    for each in known.values():
        msgspec.convert(each, Remembered)
    return remember(data)


class _Path(Protocol):
    """What comes over a relay."""

    over = 0

    def connectionMade(self) -> None:
        """Say something."""
        assert self.transport is not None
        self.transport.write(b"\x16\x03\x01")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Count."""
        self.over += 1


def hear_relay(data: bytes) -> object:
    """Let a client's leg take a relay's answer and what follows, in two pieces."""
    leg, wire, path = RelayLeg(), StringTransport(), _Path()
    leg.makeConnection(wire)
    answers: list[RelayAnswer] = []
    failed: list[BaseException] = []
    asked = leg.ask(b"?", Factory.forProtocol(lambda: path))
    asked.addCallbacks(answers.append, lambda failure: failed.append(failure.value))
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not wire.disconnected:
            leg.dataReceived(piece)
    leg.connectionLost(Failure(ConnectionError()))
    assert path.over == 1
    assert len(answers) + len(failed) == 1
    assert all(isinstance(each, ConnectFailed) for each in failed), failed
    assert leg.lost.called
    return answers


def hear_relay_carelessly(data: bytes) -> object:
    """The same by one that takes whatever comes for an answer."""
    AnswerReader().feed(data)
    return hear_relay(data)


def _answers() -> list[bytes]:
    answers = (
        RelayAnswer(101),
        RelayAnswer(307, location=_RELAYS[1]),
        RelayAnswer(401, challenge=Challenge(b"n" * 24, 1.8e9, "relay.example")),
        RelayAnswer(403, reason="revoked"),
    )
    return [answer.encode() + b"\x16raw" for answer in answers]


# A server.


class _Way:
    """Leads to a relay that answers each connection with the same bytes."""

    def __init__(self, clock: Clock, data: bytes) -> None:
        self.dials = 0
        self.wires: list[tuple[IProtocol, StringTransport]] = []
        self._clock = clock
        self._data = data

    def connect(self, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect."""
        self.dials += 1
        made = factory.buildProtocol(_PROXY)
        assert made is not None
        wire = StringTransport(peerAddress=_PROXY)
        self.wires.append((made, wire))
        made.makeConnection(wire)
        if self.dials <= 3:
            self._clock.callLater(0.01, self._answer, made, wire)
        return succeed(made)

    def _answer(self, made: IProtocol, wire: StringTransport) -> None:
        half = len(self._data) // 2
        for piece in (self._data[:half], self._data[half:]):
            if not wire.disconnected:
                made.dataReceived(piece)


def hear_parked(data: bytes) -> object:
    """Let a server park at a relay that says this to each of its first connections."""
    clock = Clock()
    way = _Way(clock, data)
    clients: list[Protocol] = []

    def take(line: Open) -> Taken:
        clients.append(Protocol())
        return clients[-1], RelayedAddress(*line.source, NAME)

    parking = Parking(
        clock,
        _RELAYS[0],
        way,  # type: ignore[arg-type]
        lambda nonce: b"?" + nonce,
        take,
        lambda: None,
    )
    parking.start()
    clock.pump([0.5] * 6)
    assert parking.idle <= MAX_IDLE and way.dials <= 4 * MAX_IDLE
    parking.stop()
    for made, wire in way.wires:
        # Whatever is not a client's is closed.
        made.connectionLost(Failure(ConnectionError()))
        assert wire.disconnected or wire.disconnecting or clients
    assert not clock.getDelayedCalls()
    return len(clients)


def hear_parked_carelessly(data: bytes) -> object:
    """The same by one that takes whatever comes for lines."""
    reader = AnswerReader()
    if reader.feed(data) is not None:
        LineReader().feed(reader.rest)
    return hear_parked(data)


def _parked() -> list[bytes]:
    first = RelayAnswer(101, parking=Wanted(9, 2, 15.0, 9)).encode() + Ping().encode()
    lines = (
        (Idle(64, 3), Ping(), _OPEN),
        (Idle(7, 0), Ping(), Move()),
        (_OPEN,),
    )
    return [
        *(first + b"".join(line.encode() for line in each) + b"\x16raw" for each in lines),
        *_answers()[1:],
    ]


# A relay.


def _house(clock: Clock) -> House:
    settings = RelaySettings(name=NAME)
    return House(settings, clock, os.urandom, wall=lambda now: NOW + now)


def speak_parked(data: bytes) -> object:
    """Let a relay hear this from a parked server that has been given a client."""
    clock = Clock()
    house = _house(clock)
    factory = RelayFactory(house, clock)
    told = []
    for first in (
        park_request(server()),
        connect_request(client(), server().target) + b"\x16early",
    ):
        made, wire = factory.buildProtocol(None), StringTransport(peerAddress=_PROXY)
        assert made is not None
        made.makeConnection(wire)
        made.dataReceived(first)
        told.append((made, wire))
    (parked, _), _ = told
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not told[0][1].disconnected:
            parked.dataReceived(piece)
    joined = house.statistics.joined
    house.drain()
    factory.abort_all()
    clock.pump([1.0] * 3)
    for made, _ in told:
        if made._open:
            made.connectionLost(Failure(ConnectionError()))
    assert not len(house.visitors) and not len(house.roll) and not house.pool.parked
    factory.stop_timer()
    return joined


def speak_parked_carelessly(data: bytes) -> object:
    """The same by one that takes whatever comes for lines."""
    LineReader().feed(data)
    return speak_parked(data)


def _words() -> list[bytes]:
    return [
        Pong().encode() + Ready().encode() + b"raw",
        Ready().encode() + b"raw",
        Pong().encode(),
    ]


def come_by_proxy(data: bytes) -> object:
    """Let a relay take what comes over a proxy's connection."""
    clock = Clock()
    factory = RelayFactory(_house(clock), clock)
    proxied = ProxiedFactory(factory, Proxied(listen="127.0.0.1:1").networks, lambda: None)
    made, wire = proxied.buildProtocol(_PROXY), StringTransport(peerAddress=_PROXY)
    assert made is not None
    made.makeConnection(wire)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not (wire.disconnecting or wire.disconnected):
            made.dataReceived(piece)
    made.connectionLost(Failure(ConnectionError()))
    assert not len(factory) and not len(factory.heads) and not factory._hosts
    factory.stop_timer()
    assert not clock.getDelayedCalls()
    return wire.value()


def come_by_proxy_carelessly(data: bytes) -> object:
    """The same by one that takes what comes for a header."""
    if data.startswith(b"PROXY "):
        V1Parser.parse(data.partition(b"\r\n")[0])
    return come_by_proxy(data)


def _proxied() -> list[bytes]:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21"
    four = b"\x11\0\x0c\xc0\0\2\7\x7f\0\0\1\x12\x67\x0d\x1c"
    six = b"\x21\0\x24" + bytes(15) + b"\1" + bytes(15) + b"\2\x12\x67\x0d\x1c"
    return [
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 3356\r\n" + request,
        b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 3356\r\n" + request,
        b"PROXY UNKNOWN\r\n" + request,
        v2 + four + request,
        v2 + six + request,
        v2[:-1] + b"\x20\0\0\0" + request,
        v2 + b"\x31\0\xd8" + bytes(216) + request,
    ]


RELAY_PEER_TARGETS = (
    Target(
        "lists of relays",
        lambda: [encode_relays(_RELAYS), encode_relays(_RELAYS[:1] * 4)],
        _read_relays,
        SignallingError,
        ("more than", "is malformed"),
        count=1500,
    ),
    Target(
        "where a server has parked",
        lambda: [encode_parked([ParkedAt(each, 0.02) for each in _RELAYS[:2]])],
        _read_parked,
        SignallingError,
        ("more than", "is malformed"),
        count=1500,
    ),
    Target(
        "relay URLs",
        lambda: [
            b"http://a.example:3356/",
            b"https://[2001:db8::1]",
            b"2001:db8::1",
            b"a:1",
            b"http://" + b"a" * 120,
        ],
        _read_url,
        SettingsError,
        ("the scheme must be", "the port must be", "expected http", "longer than"),
        count=1500,
        longest=160,
    ),
    Target(
        "what a client remembers",
        _memories,
        remember,
        count=300,
        careless=remember_carelessly,
    ),
    Target(
        "a client's leg to a relay",
        _answers,
        hear_relay,
        count=600,
        careless=hear_relay_carelessly,
    ),
    Target(
        "a server's legs to a relay",
        _parked,
        hear_parked,
        count=250,
        careless=hear_parked_carelessly,
    ),
    Target(
        "a relay's parked connection",
        _words,
        speak_parked,
        count=150,
        careless=speak_parked_carelessly,
    ),
    Target(
        "a relay behind a proxy",
        _proxied,
        come_by_proxy,
        count=400,
        careless=come_by_proxy_carelessly,
    ),
)
