"""Stands in the core, sees what passes between two sites, and forges rendezvous packets at once.

``python -m tests.lab.forger ONE OTHER OWN``: the sites' public addresses, and an address of its
own.  Upon each handshake it sends at once: copies with another token from the right
address, control packets for guessed ids from there, and the handshake itself from its own address.
Standard input's end makes it print one line of JSON and leave.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from collections import Counter
from dataclasses import replace
from random import Random

from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    REQUEST,
    Handshake,
    HandshakeError,
    decode_handshake,
)
from wavesync.udt.packet import ControlType, DataPacket, encode_control, encode_nak

__all__ = ["main"]

_ETH_P_IP = 0x0800
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_OWN_PORTS = range(6000, 6004)
_MOST = 3000  # handshakes answered, so that the end comes


class Forger:
    """See the module; ``sites`` are the two public addresses, ``own`` the forger's."""

    def __init__(self, sites: tuple[str, str], own: str) -> None:
        self._sites = sites
        self._random = Random(4)
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._tap.setblocking(False)
        self._own = []
        for port in _OWN_PORTS:
            mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            mine.bind((own, port))
            mine.setblocking(False)
            self._own.append(mine)
        self._seen: set[bytes] = set()
        self.handshakes = 0
        self.forged = 0
        self.sent: Counter[str] = Counter()
        self.got: Counter[str] = Counter()

    def watch(self) -> None:
        """Forge until standard input ends."""
        while True:
            ready, _, _ = select.select([self._tap, *self._own, sys.stdin], [], [])
            if sys.stdin in ready and not os.read(0, 1):
                return
            for mine in self._own:
                self._count(mine)
            if self._tap in ready:
                self._look(self._tap.recv(65536))

    def _count(self, mine: socket.socket) -> None:
        try:
            while True:
                data, source = mine.recvfrom(65536)
                self.got[source[0]] += len(data)
        except BlockingIOError:
            return

    def _look(self, packet: bytes) -> None:
        """Look at an IP packet; the core sees each twice, coming and going."""
        head = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_UDP or len(packet) < head + 8 + 64:
            return
        source, target = (socket.inet_ntoa(packet[at : at + 4]) for at in (12, 16))
        if {source, target} != set(self._sites):
            return
        from_port, to_port, _, _ = _UDP.unpack_from(packet, head)
        data = packet[head + 8 :]
        try:
            handshake = decode_handshake(data)
        except HandshakeError:
            return
        # Its own forgeries pass here, too.
        key = packet[12:20] + packet[head : head + 4] + data
        if key in self._seen or self.handshakes >= _MOST:
            return
        self._seen.add(key)
        self.handshakes += 1
        self._forge(handshake, data, (source, from_port), (target, to_port))

    def _forge(
        self, seen: Handshake, data: bytes, source: tuple[str, int], target: tuple[str, int]
    ) -> None:
        random = self._random
        forged = []
        for request in (CALL, ANSWER, FINAL, REQUEST):
            stranger = replace(seen, request=request, socket_id=random.getrandbits(30) or 1)
            forged.append(replace(stranger, cookie=seen.cookie ^ 0x55AA).encode())
            forged.append(replace(stranger, cookie=0, timestamp=0).encode())
        kinds = (ControlType.SHUTDOWN, ControlType.ACK, ControlType.KEEP_ALIVE)
        forged += [encode_control(kind, random.getrandbits(30), 1, bytes(24)) for kind in kinds]
        forged.append(encode_nak(random.getrandbits(30), [(0, 2**31 - 2)]))
        forged.append(DataPacket(5, 1, random.getrandbits(30), bytes(100)).encode())
        for each in forged:
            head = packet_key(source, target)
            self._seen.add(head + each)
            self._spoof(each, source, target)
        mine = random.choice(self._own)
        mine.sendto(data, target)
        self.sent[target[0]] += len(data)
        self.forged += len(forged) + 1

    def _spoof(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        size = _UDP.size + len(data)
        addresses = (socket.inet_aton(source[0]), socket.inet_aton(target[0]))
        ip = _IPV4.pack(0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0, *addresses)
        udp = _UDP.pack(source[1], target[1], size, 0)
        self._raw.sendto(ip + udp + data, target)


def packet_key(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """Give the beginning of what a packet between these two is remembered by."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    return addresses + struct.pack("!HH", source[1], target[1])


def main(arguments: list[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    one, other, own = arguments
    forger = Forger((one, other), own)
    print("ready", flush=True)
    forger.watch()
    figures = {
        "handshakes": forger.handshakes,
        "forged": forger.forged,
        "sent": forger.sent,
        "got": forger.got,
    }
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
