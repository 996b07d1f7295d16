"""UDT version 4 packets as bytes: headers, control types and the bodies of control packets.

A header is four big-endian words.  Bit 31 of the first tells data (0) from control (1).  Bodies of
control packets are big-endian words too.  The 48-byte handshake body has a module of its own
(:mod:`wavesync.udt.handshake`); here it is opaque.

Everything a peer can send is either decoded or refused with :class:`PacketError`, nothing else.
The fast path for data does not pass here: see :mod:`wavesync.udt.send_buffer` and
:mod:`wavesync.udt.receive_buffer`.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from wavesync.udt.sequence import MODULUS, SEQUENCE_MASK, span

__all__ = [
    "EMPTY_BODY",
    "HEADER",
    "HEADER_SIZE",
    "IP_UDP_OVERHEAD",
    "MAX_BURST_BYTES",
    "MAX_BURST_PACKETS",
    "MAX_MSS",
    "MIN_MSS",
    "Acknowledgement",
    "ControlPacket",
    "ControlType",
    "DataPacket",
    "PacketError",
    "Position",
    "Subtype",
    "decode_acknowledgement",
    "decode_loss_list",
    "decode_packet",
    "encode_acknowledgement",
    "encode_control",
    "encode_loss_list",
    "encode_nak",
    "payload_size",
]

HEADER_SIZE = 16
"""Bytes of every UDT header."""

IP_UDP_OVERHEAD = 28
"""Bytes of IP and UDP header that an MSS includes; libudt counts 28 for IPv6 as well."""

MIN_MSS = 76
"""The smallest MSS that libudt takes (room for a handshake is 92; see the handshake module)."""

MAX_MSS = 65535
"""The largest IP packet."""

MAX_BURST_PACKETS = 44
"""Packets in one burst: 44 packets of 1472 bytes are the most that one ``UDP_SEGMENT`` send takes."""

MAX_BURST_BYTES = 64768
"""Bytes in one burst (44 x 1472): Linux splits sends that come close to 65507 bytes."""

EMPTY_BODY = bytes(4)
"""What libudt sends where a control packet needs no body: one zero word."""

HEADER = Struct("!IIII")
_CONTROL_BIT = 0x8000_0000
_RANGE_BIT = 0x8000_0000
_WORD = 0xFFFF_FFFF


class PacketError(Exception):
    """Bytes are not a UDT packet, or the body does not fit its control type."""


class ControlType(enum.IntEnum):
    """The 15-bit type of a control packet (draft-gg-udt-03 section 4, and libudt 4.11)."""

    HANDSHAKE = 0
    KEEP_ALIVE = 1
    ACK = 2
    NAK = 3
    CONGESTION_WARNING = 4
    SHUTDOWN = 5
    ACK2 = 6
    DROP_REQUEST = 7
    PEER_ERROR = 8
    USER_DEFINED = 0x7FFF


class Subtype(enum.IntEnum):
    """What ``USER_DEFINED`` packets of wavesync ends are, by their lower half word."""

    SIZE_PROBE = 1
    SIZE_ANSWER = 2


class Position(enum.IntEnum):
    """Where in its message a data packet stands: the two top bits of the second word."""

    MIDDLE = 0
    LAST = 1
    FIRST = 2
    ONLY = 3


def payload_size(mss: int) -> int:
    """Give the payload bytes of a full data packet: the MSS less 44.

    :param mss: the size of the whole IP packet in bytes.
    """
    return mss - IP_UDP_OVERHEAD - HEADER_SIZE


@dataclass(frozen=True, slots=True)
class DataPacket:
    """One data packet, decoded field by field (tests and tools; not used on the fast path).

    :ivar sequence: 0 .. 0x7FFFFFFF.
    :ivar message: message number, 0 .. 0x1FFFFFFF.
    :ivar destination: the receiver's socket id.
    :ivar payload: the stream's bytes.
    :ivar position: first, middle, last or only packet of a message; streams ignore it.
    :ivar in_order: the O bit; we never set it.
    :ivar timestamp: microseconds since the sending socket was opened, modulo 2**32.
    """

    sequence: int
    message: int
    destination: int
    payload: bytes
    position: Position = Position.ONLY
    in_order: bool = False
    timestamp: int = 0

    def encode(self) -> bytes:
        """Give the packet's bytes."""
        second = self.position << 30 | self.in_order << 29 | self.message
        return HEADER.pack(self.sequence, second, self.timestamp, self.destination) + self.payload


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One control packet.

    :ivar kind: a :class:`ControlType`, or any other 15-bit number (to be ignored).
    :ivar destination: the receiver's socket id; 0 in a first handshake.
    :ivar info: the "additional info" word: ACK number, message number or error code.
    :ivar body: what follows the header, 0 bytes or more; :data:`EMPTY_BODY` where there is none.
    :ivar subtype: 16 bits, only used with ``USER_DEFINED``.
    :ivar timestamp: libudt writes 0, nobody reads it.
    """

    kind: int
    destination: int
    info: int = 0
    body: bytes = EMPTY_BODY
    subtype: int = 0
    timestamp: int = 0

    def encode(self) -> bytes:
        """Give the packet's bytes."""
        first = _CONTROL_BIT | self.kind << 16 | self.subtype
        return HEADER.pack(first, self.info, self.timestamp, self.destination) + self.body


def decode_packet(data: bytes | memoryview) -> DataPacket | ControlPacket:
    """Decode one datagram.

    :raises PacketError: there is no whole header.  Anything with a header is a packet.
    """
    if len(data) < HEADER_SIZE:
        raise PacketError(f"{len(data)} bytes are too few for a UDT header")
    first, second, timestamp, destination = HEADER.unpack_from(data)
    rest = bytes(data[HEADER_SIZE:])
    if first & _CONTROL_BIT:
        kind = first >> 16 & 0x7FFF
        return ControlPacket(kind, destination, second, rest, first & 0xFFFF, timestamp)
    return DataPacket(
        first,
        second & 0x1FFF_FFFF,
        destination,
        rest,
        Position(second >> 30),
        bool(second >> 29 & 1),
        timestamp,
    )


def encode_control(
    kind: int, destination: int, info: int = 0, body: bytes = EMPTY_BODY, subtype: int = 0
) -> bytes:
    """Encode a control packet with timestamp 0, as libudt does.

    :param kind: a :class:`ControlType`.
    :param destination: the peer's socket id.
    :param info: the second word.
    :param body: whole words; leave it out for types without a body.
    """
    return HEADER.pack(_CONTROL_BIT | kind << 16 | subtype, info, 0, destination) + body


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The body of an ACK: light (only *sequence*), short (up to *free*) or full (all).

    :ivar sequence: the first sequence number not yet received, 0 .. 0x7FFFFFFF.
    :ivar rtt: round-trip time, microseconds; None in a light ACK.
    :ivar rtt_variance: microseconds; None in a light ACK.
    :ivar free: free receive buffer, packets; None in a light ACK.
    :ivar arrival_rate: packets a second, 0 for unknown; None unless full.
    :ivar capacity: packets a second, 0 for unknown; None unless full.
    """

    sequence: int
    rtt: int | None = None
    rtt_variance: int | None = None
    free: int | None = None
    arrival_rate: int | None = None
    capacity: int | None = None


_LIGHT = Struct("!I")
_SHORT = Struct("!4I")
_FULL = Struct("!6I")


def encode_acknowledgement(ack: Acknowledgement) -> bytes:
    """Give the body of an ACK: 4, 16 or 24 bytes."""
    if ack.rtt is None or ack.rtt_variance is None or ack.free is None:
        return _LIGHT.pack(ack.sequence)
    if ack.arrival_rate is None or ack.capacity is None:
        return _SHORT.pack(ack.sequence, ack.rtt, ack.rtt_variance, ack.free)
    return _FULL.pack(
        ack.sequence, ack.rtt, ack.rtt_variance, ack.free, ack.arrival_rate, ack.capacity
    )


def decode_acknowledgement(body: bytes | memoryview) -> Acknowledgement:
    """Decode the body of an ACK; its length tells light (4), short (16 ..) and full (24 ..).

    :raises PacketError: other lengths below 16, or a sequence number of more than 31 bits.
    """
    size = len(body)
    if size >= _FULL.size:
        ack = Acknowledgement(*_FULL.unpack_from(body))
    elif size >= _SHORT.size:
        ack = Acknowledgement(*_SHORT.unpack_from(body))
    elif size == _LIGHT.size:
        ack = Acknowledgement(*_LIGHT.unpack_from(body))
    else:
        raise PacketError(f"an ACK cannot have a body of {size} bytes")
    if ack.sequence > SEQUENCE_MASK:
        raise PacketError("an ACK's sequence number has 31 bits")
    return ack


def encode_loss_list(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Give the body of a NAK.

    :param ranges: pairs of first and last lost sequence number (wire, inclusive); a single loss is
        a pair of equal numbers.
    """
    words: list[int] = []
    for first, last in ranges:
        if first == last:
            words.append(first)
        else:
            words += (first | _RANGE_BIT, last)
    return Struct(f"!{len(words)}I").pack(*words)


def decode_loss_list(body: bytes | memoryview) -> list[tuple[int, int]]:
    """Decode the body of a NAK.

    :returns: pairs of first and last lost sequence number (wire, inclusive), as sent.
    :raises PacketError: no words, half words, a range without an end, or one that ends before it
        starts.
    """
    if not body or len(body) % 4:
        raise PacketError(f"a NAK cannot have a body of {len(body)} bytes")
    ranges: list[tuple[int, int]] = []
    words = iter(Struct(f"!{len(body) // 4}I").unpack(body))
    for word in words:
        first = word & SEQUENCE_MASK
        if not word & _RANGE_BIT:
            ranges.append((first, first))
            continue
        last = next(words, _WORD)
        if last & _RANGE_BIT:
            raise PacketError("a NAK has a range without an end")
        if span(first, last) > MODULUS // 2:
            raise PacketError("a NAK has a range that ends before it starts")
        ranges.append((first, last))
    return ranges


def encode_nak(destination: int, ranges: Iterable[tuple[int, int]]) -> bytes:
    """Encode a whole NAK packet; see :func:`encode_loss_list`."""
    return encode_control(ControlType.NAK, destination, 0, encode_loss_list(ranges))
