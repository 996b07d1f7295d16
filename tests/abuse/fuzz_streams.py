"""Targets: UDT's packets and connections, sessions' frames, settings, credentials, names."""

import random
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from tests.abuse.fuzzing import Target
from tests.identity.fixed import NOW, client_credentials
from wavesync.agent.settings import AgentSettings
from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import parse as parse_file
from wavesync.identity.files import render
from wavesync.identity.ids import Target as Name
from wavesync.identity.keys import private_key_pem
from wavesync.interfaces import Address
from wavesync.mediator.settings import MediatorSettings
from wavesync.session.core import SessionCore, Side
from wavesync.session.frames import (
    Ack,
    Data,
    End,
    FrameDecoder,
    FrameError,
    Open,
    Opened,
    Ping,
    Pong,
    Refused,
    Reset,
    encode,
)
from wavesync.settings import parse_settings
from wavesync.signalling.urls import parse_mediators
from wavesync.testing.network import Network
from wavesync.udt.carrier import Arrival
from wavesync.udt.connection import Connection
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    REQUEST,
    HandshakeError,
    Offer,
    agree,
    decode_handshake,
)
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    DataPacket,
    PacketError,
    decode_acknowledgement,
    decode_loss_list,
    decode_packet,
    encode_acknowledgement,
    encode_control,
    encode_loss_list,
    encode_nak,
)
from wavesync.udt.port import Port

__all__ = ["STREAM_TARGETS"]

_ME, _ISN = 5, 1000
_PEER: Address = ("192.0.2.9", 9000)
_ETC = Path(__file__).parents[2] / "etc"


def _packets() -> list[bytes]:
    """One packet of each kind, to our socket id."""
    ack = Acknowledgement(_ISN + 1, 20_000, 1000, 100, 5000, 6000)
    light = encode_acknowledgement(Acknowledgement(_ISN))
    return [
        *(DataPacket(2000 + n, 1, _ME, bytes(100 * n)).encode() for n in (0, 1, 3)),
        encode_control(ControlType.ACK, _ME, 1, encode_acknowledgement(ack)),
        encode_control(ControlType.ACK, _ME, 0, light),
        encode_nak(_ME, [(_ISN, _ISN), (_ISN + 1, _ISN + 5)]),
        encode_control(ControlType.ACK2, _ME, 1),
        encode_control(ControlType.KEEP_ALIVE, _ME),
        encode_control(ControlType.SHUTDOWN, _ME),
        encode_control(ControlType.CONGESTION_WARNING, _ME),
    ]


def _handshakes() -> list[bytes]:
    offer = Offer(77, _ISN)
    return [
        offer.handshake(kind, _PEER[0], cookie=cookie, destination=destination).encode()
        for kind, cookie, destination in (
            (REQUEST, 0, 0),
            (ANSWER, 0xC0FFEE, 0),
            (CALL, 0xC0FFEE, 0),
            (FINAL, 0xC0FFEE, _ME),
        )
    ]


def to_us(data: bytearray, chance: random.Random) -> bytes:
    """Let most packets be for our socket id."""
    data[12:16] = (_ME if chance.random() < 0.9 else 0).to_bytes(4, "big")
    return bytes(data)


def as_handshake(data: bytearray, chance: random.Random) -> bytes:
    """Let most packets be handshakes by their size and first word."""
    data += bytes(max(0, 64 - len(data)))
    del data[64:]
    data[:4] = b"\x80\0\0\0"
    return bytes(data)


def read_handshake(data: bytes) -> object:
    """Read a handshake, and agree with it."""
    packet = decode_handshake(data)
    return agree(Offer(5, 6), packet, send_isn=6, receive_isn=packet.isn)


def read_connection(data: bytes) -> object:
    """Put a packet, a part of it and a burst of it into a connection that has much to send."""
    connection = Connection(
        now=0.0,
        local_id=_ME,
        peer_id=6,
        send_isn=_ISN,
        receive_isn=2000,
        send_mss=1500,
        peer_window=100,
        receive_window=100,
    )
    connection.write(bytes(20_000))
    sent = sum(len(burst.data) for burst in connection.datagrams(0.0))
    for number, size in enumerate((len(data), 16, len(data) // 2 + 1)):
        now = 0.05 * (number + 1)
        connection.receive(data, max(1, size), now)
        sent += sum(len(burst.data) for burst in connection.datagrams(now))
        connection.events()
        connection.timer(now)
        connection.deadline()
    assert connection._receiver.held <= 100, "more is held than was offered"
    assert sent < 120_000, "much more is sent than was written"
    return connection.statistics


def read_connection_carelessly(data: bytes) -> object:
    """The same by a connection that decodes first and asks later."""
    packet = decode_packet(data)
    if getattr(packet, "kind", None) == ControlType.NAK:
        decode_loss_list(data[16:])
    return read_connection(data)


class _Port:
    """A port with a listener and a rendezvous, that hears and says nothing by itself."""

    def __init__(self) -> None:
        clock = Clock()
        network = Network(clock)
        self.port = Port(clock, network.host("192.0.2.1").carrier(1000))
        self.port.listen(Factory.forProtocol(Protocol))
        self.port.rendezvous([_PEER], Factory.forProtocol(Protocol), token=0xC0FFEE)
        self.port.stun_handler = lambda data, source: None

    def take(self, data: bytes) -> object:
        """Take a datagram, and a burst of it."""
        # By the sorter, which reports what a port would only log.
        self.port._sorter.take(Arrival(data, max(1, len(data)), _PEER), 0.0)
        if len(data) > 3:
            self.port._sorter.take(Arrival(data, len(data) // 3, _PEER), 0.0)
        assert len(self.port._sorter.links) < 10
        return self.port


@cache
def _port() -> _Port:
    return _Port()


def read_port_carelessly(data: bytes) -> object:
    """Believe the first word."""
    if data[:2] == b"\x80\0":
        decode_handshake(data)
    return _port().take(data)


def _frames() -> list[bytes]:
    each = [
        encode(Open("web", ((1, b"x"), (2, b"")))),
        encode(Opened()),
        encode(Refused(503, "no")),
        encode(Data(b"d" * 50)),
        encode(End()),
        encode(Reset(1, "no")),
        encode(Ping(b"p" * 8)),
        encode(Pong(b"p" * 8)),
        encode(Ack(5)),
    ]
    return [*each, b"".join(each)]


def read_frames(data: bytes) -> object:
    """Read frames, in pieces of a size that the bytes decide."""
    decoder, size = FrameDecoder(), len(data) and data[-1] % 40 + 1
    found = []
    for start in range(0, len(data), size or 1):
        found += list(decoder.feed(data[start : start + size]))
    return found


def read_session(data: bytes) -> object:
    """Let both sides of a session read it."""
    for side in (Side.SERVER, Side.CLIENT):
        core = SessionCore(side, 0.0)
        if side is Side.CLIENT:
            core.open("web", 0.0)
            core.write(b"first", 0.0)
        core.receive(data, 0.1)
        core.receive(data, 0.2)
        sent = core.data_to_send()
        assert len(sent) <= 4 * len(data) + 1000, "a session answers far more than it gets"
        core.events()
        core.timer(5.0)
        core.deadline()
    return None


def read_session_carelessly(data: bytes) -> object:
    """The same, not ready for what is no frame."""
    read_frames(data)
    return read_session(data)


def _settings(name: str) -> list[bytes]:
    good = (_ETC / name).read_bytes()
    return [good, b"\n".join(line.removeprefix(b"#") for line in good.splitlines())]


@cache
def _credentials() -> bytes:
    made = client_credentials()
    head: dict[str, str | int | list[str]] = {
        "version": 1,
        "role": "client",
        "system": made.system,
        "name": "alice",
        "mediators": ["mediator.example"],
        "relays": ["http://relay.example:3356", "2001:db8::1"],
    }
    certificates = made.certificate, made.system_certificate
    blocks = [each.public_bytes(Encoding.PEM).decode() for each in certificates]
    blocks.insert(0, private_key_pem(made.private_key))
    return render("credentials", head, blocks).encode()


def read_credentials(data: bytes) -> object:
    """Read and check a credentials file."""
    made = Credentials._from_contents(parse_file(data))
    made.check(NOW)
    return made


def read_names(data: bytes) -> object:
    """Read what people and messages name servers and mediators by."""
    text = data.decode("utf-8", "replace")
    return Name.parse(text) if len(data) % 2 else parse_mediators((text,))


STREAM_TARGETS = (
    Target(
        "udt packets",
        _packets,
        decode_packet,
        PacketError,
        ("too few for a UDT header",),
    ),
    Target(
        "udt handshakes",
        _handshakes,
        read_handshake,
        HandshakeError,
        (
            "not a handshake packet",
            "31 bits",
            "socket id 0",
            "smaller than UDT allows",
            "no receive window",
        ),
        count=3000,
        mend=as_handshake,
    ),
    Target(
        "udt loss lists",
        lambda: [encode_loss_list([(1, 1), (5, 9), (2**31 - 2, 2)])],
        decode_loss_list,
        PacketError,
        ("cannot have a body", "without an end", "ends before it starts"),
        count=3000,
    ),
    Target(
        "udt acknowledgements",
        lambda: [packet[16:] for packet in _packets()[3:5]],
        decode_acknowledgement,
        PacketError,
        ("cannot have a body", "31 bits"),
    ),
    Target(
        "udt connections",
        _packets,
        read_connection,
        count=2500,
        careless=read_connection_carelessly,
        mend=to_us,
        longest=1472,
    ),
    Target(
        "udt ports",
        lambda: [*_packets(), *_handshakes()],
        lambda data: _port().take(data),
        count=3000,
        careless=read_port_carelessly,
        mend=to_us,
        longest=1472,
    ),
    Target(
        "session frames",
        _frames,
        read_frames,
        FrameError,
        (
            "option is cut short",
            "without a service's name",
            "wrong length",
            "not plain text",
            "no possible service",
            "without eight bytes",
            "without an offset",
            "END with a payload",
            "unknown type",
            "longer than allowed",
        ),
        count=3000,
    ),
    Target(
        "sessions",
        _frames,
        read_session,
        count=3000,
        careless=read_session_carelessly,
    ),
    Target(
        "mediator settings",
        lambda: _settings("mediator.toml"),
        lambda data: parse_settings(data.decode("utf-8", "replace"), MediatorSettings, name="f"),
        SettingsError,
        ("is not TOML",),
        count=400,
        longest=20_000,
    ),
    Target(
        "agent settings",
        lambda: _settings("agent.toml"),
        lambda data: parse_settings(data.decode("utf-8", "replace"), AgentSettings, name="f"),
        SettingsError,
        ("is not TOML",),
        count=400,
        longest=20_000,
    ),
    Target(
        "credentials",
        lambda: [_credentials()],
        read_credentials,
        (SettingsError, NotAllowed),
        ("not TOML", "PEM blocks are damaged", "is not a relay"),
        count=800,
        longest=20_000,
    ),
    Target(
        "names",
        lambda: [
            b"0123456789abcdef0123456789abcdef.fedcba9876543210fedcba9876543210",
            b"01234567-89ab-cdef-0123-456789abcdef",
            b"udp://mediator.example:3345",
            b"[2001:db8::1]:99",
        ],
        read_names,
        SettingsError,
        ("mediator URL", "the port must be", "32 hex digits"),
        count=3000,
    ),
)
