"""Bad input: random bytes, pieces of good packets, good packets with some bits changed."""

import random
import zlib
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorFDSet

from wavesync.interfaces import Address, Burst
from wavesync.stun.message import FINGERPRINT_SIZE
from wavesync.udt.carrier import SocketCarrier, slices

__all__ = [
    "LONGEST_DATAGRAM",
    "RecordingCarrier",
    "cut",
    "flipped",
    "flipped_stun",
    "noise",
    "sealed",
]

LONGEST_DATAGRAM = 65507
"""Bytes of the longest datagram there is over IPv4."""

_FINGERPRINT_MASK = 0x5354554E


def noise(random: random.Random, longest: int = 1400) -> bytes:
    """Random bytes, sometimes with a beginning that looks like STUN or UDT."""
    data = random.randbytes(random.randrange(longest + 1))
    match random.randrange(4):
        case 0:
            length = max(0, len(data) - 20)
            return random.randbytes(2) + length.to_bytes(2, "big") + b"\x21\x12\xa4\x42" + data[8:]
        case 1:
            return bytes([0x80, random.randrange(10)]) + data[2:]
        case 2:
            return data[:12] + bytes(4) + data[16:]
        case _:
            return data


def cut(random: random.Random, packets: Sequence[bytes]) -> bytes:
    """The beginning of a good packet."""
    packet = random.choice(packets)
    return packet[: random.randrange(len(packet))]


def flipped(random: random.Random, packets: Sequence[bytes], most: int = 4) -> bytes:
    """A good packet with a few bits changed."""
    packet = bytearray(random.choice(packets))
    for bit in random.sample(range(8 * len(packet)), random.randint(1, most)):
        packet[bit // 8] ^= 1 << bit % 8
    return bytes(packet)


def flipped_stun(random: random.Random, packets: Sequence[bytes]) -> bytes:
    """A good STUN message with a few bits changed and a FINGERPRINT that fits: it is looked into."""
    return sealed(flipped(random, [packet[:-FINGERPRINT_SIZE] for packet in packets]))


def sealed(message: bytes) -> bytes:
    """Put a right FINGERPRINT behind a STUN message whose header counts it already."""
    checksum = zlib.crc32(message) ^ _FINGERPRINT_MASK
    return message + b"\x80\x28\x00\x04" + checksum.to_bytes(4, "big")


class RecordingCarrier(SocketCarrier):
    """A UDP socket that remembers what it sent.

    :ivar recorded: the datagrams and where they went.
    """

    def __init__(self, reactor: IReactorFDSet, port: int = 0, interface: str = "") -> None:
        super().__init__(reactor, port, interface)
        self.recorded: list[tuple[bytes, Address]] = []

    def send(self, burst: Burst, destination: Address) -> None:
        """Send, and remember."""
        self.recorded += [(piece, destination) for piece in slices(burst)]
        super().send(burst, destination)
