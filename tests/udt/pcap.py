"""Reads the UDP datagrams out of a capture file."""

from dataclasses import dataclass
from pathlib import Path
from struct import Struct, unpack_from

__all__ = ["VECTORS", "Datagram", "read_capture"]

VECTORS = Path(__file__).parent / "vectors"
"""Captures of libudt 4.11 and ``vectors.json``, which takes packets of theirs apart."""

_RECORD = Struct("<IIII")
_ETHERNET, _RAW, _COOKED, _COOKED2 = 1, 101, 113, 276
_UDP = 17


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram of a capture.

    :ivar time: seconds.
    :ivar source: port.
    :ivar destination: port.
    :ivar payload: UDP payload, as far as captured.
    :ivar whole: whether all of it was captured.
    """

    time: float
    source: int
    destination: int
    payload: bytes
    whole: bool


def read_capture(name: str) -> list[Datagram]:
    """Give the UDP datagrams of ``vectors/<name>.pcap`` in order."""
    data = (VECTORS / f"{name}.pcap").read_bytes()
    (link,) = unpack_from("<I", data, 20)
    skip = {_ETHERNET: 14, _RAW: 0, _COOKED: 16, _COOKED2: 20}[link]
    datagrams = []
    at = 24
    while at < len(data):
        seconds, micros, captured, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        packet = data[at + skip : at + captured]
        at += captured
        header = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
        protocol = packet[6] if packet[0] >> 4 == 6 else packet[9]
        if protocol != _UDP:
            continue
        source, destination, length = unpack_from("!HHH", packet, header)
        payload = packet[header + 8 : header + length]
        whole = len(payload) == length - 8
        datagrams.append(Datagram(seconds + micros / 1e6, source, destination, payload, whole))
    return datagrams
